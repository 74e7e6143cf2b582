"""Join requests: one card, one decision, and the person is told; whatever is killed, and whoever decides at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, SPACE, Community, Group, Join, RoomKind
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomKeyName, UserId
from bridge.core.messages import AskToJoin
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
CHESS = RoomKeyName("chess")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID}),
    join=Join.REQUEST,
    groups=(Group(CHESS, RoomKind.HIDDEN),),
)
HOUR = 3_600_000


async def knock(scene: Scene, user: UserId = EVE, reason: str = "I am new here") -> None:
    await scene.do(user, "POST", "knock", scene.space.room_id, reason=reason)
    await scene.catch_up()


def cards(scene: Scene) -> list[str]:
    return [text for text in scene.messenger.said(scene.control_room.room_id) if "asks to join" in text]


def card(scene: Scene) -> EventId:
    """The card that was posted last, by its reactions."""
    return scene.messenger.reactions[-1][0]


def standing(scene: Scene, user: UserId = EVE) -> str:
    return str(scene.space.membership(user))


@pytest.fixture
async def school(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    await scene.catch_up()
    return scene


async def test_a_knock_makes_one_card_with_the_facts(school: Scene) -> None:
    await knock(school)
    [text] = cards(school)
    assert "@eve:example.org" in text
    assert "They knocked" in text
    assert "“I am new here”" in text
    assert [key for _, key in school.messenger.reactions] == ["✅", "❌"]
    [(_, called)] = [call for call in school.messenger.calls(school.control_room.room_id) if "asks" in call[0]]
    assert called == [ANN, BEA]


async def test_a_card_says_since_when_they_are_here_where_the_homeserver_tells_us(school: Scene) -> None:
    school.homeserver.admins = {STEWARD}
    await knock(school)
    assert "They have had their account on this server since 2019-06-13." in cards(school)[-1]
    await knock(school, UserId("@far:example.net"))
    assert "@far:example.net asks to join" in cards(school)[-1]
    assert "since" not in cards(school)[-1], "their server is another"
    asked = [name for name in school.homeserver.requests if "/admin/v2/users/" in name]
    assert len(asked) == 1
    school.homeserver.admins = set()
    await knock(school, DAN)
    assert "@dan:example.org asks to join" in cards(school)[-1]
    assert "since" not in cards(school)[-1], "we are refused"


async def test_a_card_does_not_wait_for_a_homeserver_that_does_not_say_since_when(school: Scene) -> None:
    school.homeserver.admins = {STEWARD}
    school.faults.fail(Unreachable("no answer"), lambda name: "/admin/v2/users/" in name)
    await knock(school)
    assert "since" not in cards(school)[-1]


async def test_an_admins_yes_lets_them_in_and_the_card_says_who(school: Scene) -> None:
    await knock(school)
    await school.react(BEA, card(school), "✅\ufe0f")
    await school.catch_up()
    assert standing(school) == "invite"
    _, edit = school.messenger.sent[-1]
    assert edit["m.relates_to"] == {"rel_type": "m.replace", "event_id": card(school)}
    assert "Approved by @bea:example.org" in edit["m.new_content"]["body"]
    await school.accept_all()
    await school.catch_up()
    assert school.announcement_room.membership(EVE) == "invite"


async def test_reactions_of_others_do_nothing(school: Scene) -> None:
    await knock(school)
    await school.react(CID, card(school), "✅")
    await school.react(EVE, card(school), "✅")
    await school.react(BEA, card(school), "🎉")
    await school.catch_up()
    assert standing(school) == "knock"
    assert len(await school.requests.waiting(SCHOOL.id)) == 1


async def test_of_two_who_decide_at_once_one_does(school: Scene) -> None:
    await knock(school)
    await asyncio.gather(school.react(ANN, card(school), "✅"), school.react(BEA, card(school), "❌"))
    await school.catch_up()
    decided = [text for text in cards(school) if text.startswith("*")]
    assert len(decided) == 1
    assert ("Approved" in decided[0]) == (standing(school) == "invite")
    with pytest.raises(Refused, match="not waiting"):
        await school.requests.decide(SCHOOL.id, BEA, EVE, approve=False)


async def test_a_rejected_knock_is_taken_back_with_the_reason_and_may_come_again_later(school: Scene) -> None:
    await knock(school)
    await school.requests.decide(SCHOOL.id, BEA, EVE, approve=False, reason="parents only")
    await school.catch_up()
    assert standing(school) == "leave"
    assert "parents only" in (school.space.content("m.room.member", EVE) or {})["reason"]
    await knock(school)
    assert standing(school) == "leave"
    assert "you may ask again 24 hours" in (school.space.content("m.room.member", EVE) or {})["reason"]
    assert len([text for text in cards(school) if not text.startswith("*")]) == 1
    school.clock.now += 25 * HOUR
    await knock(school)
    assert standing(school) == "knock"
    assert len([text for text in cards(school) if not text.startswith("*")]) == 2


async def test_what_nobody_decides_is_reminded_of_and_expires(school: Scene) -> None:
    await knock(school)
    school.clock.now += 24 * HOUR
    await school.catch_up()
    assert any("still waits for an answer" in text for text in await school.told())
    school.clock.now += 14 * 24 * HOUR
    await school.catch_up()
    assert standing(school) == "leave"
    assert "Nobody answered" in (school.space.content("m.room.member", EVE) or {})["reason"]
    assert "Expired" in cards(school)[-1]


async def test_what_was_answered_in_a_client_is_no_open_question(school: Scene) -> None:
    await knock(school)
    await school.move(BEA, school.space, "invite", EVE)
    await school.catch_up()
    assert "Approved by @bea:example.org" in cards(school)[-1]
    assert await school.requests.waiting(SCHOOL.id) == []
    await knock(school, DAN)
    await school.leave(UserId("@dan:example.org"), school.space)
    await school.catch_up()
    assert "Withdrawn by @dan:example.org" in cards(school)[-1]


async def test_a_link_that_needs_approval_brings_its_groups(school: Scene) -> None:
    job = AskToJoin(SCHOOL.id, EVE, "link", "for new parents", (CHESS,), "I am **Eve**,\n\nof year 5" + "!" * 500)
    for _ in range(2):
        await school.requests.ask("link-1", job)
        await school.catch_up()
    [text] = cards(school)
    assert "“for new parents”" in text
    assert "by whoever typed this name there: “I am **Eve**, of year 5!" in text
    assert len(text) < 1000, "it is cut"
    assert "chess" in text
    await school.react(ANN, card(school), "✅")
    for _ in range(3):
        await school.catch_up()
        await school.accept_all()
    assert [school.room(key).membership(EVE) for key in (SPACE, ANNOUNCEMENTS, CHESS)] == ["join"] * 3


async def test_whoever_is_removed_is_not_asked_about(school: Scene) -> None:
    await knock(school)
    await school.members.remove(SCHOOL, BEA, EVE, "no", ban=True)
    await school.catch_up()
    assert standing(school) == "ban"
    assert "Rejected by @bea:example.org. The reason: no" in cards(school)[-1]
    await school.requests.ask("link-2", AskToJoin(SCHOOL.id, EVE, "link", "", ()))
    assert await school.requests.waiting(SCHOOL.id) == []


@pytest.mark.parametrize("approve", [True, False])
async def test_a_request_survives_a_kill_at_any_point(new_scene: Callable[..., Any], approve: bool) -> None:
    point = int(approve)
    while True:
        scene = await new_scene()
        await scene.settle(SCHOOL)
        await scene.catch_up()
        read, asked = scene._read, EventId("")
        scene.faults.arm(point)
        try:
            await knock(scene)
            asked = card(scene)
            await scene.react(BEA, asked, "✅" if approve else "❌")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            scene.faults.arm(None)
            await scene.start()
            scene.reconciler.declare([SCHOOL])
        scene.faults.arm(None)
        scene._read = read  # the homeserver sends again what was not taken in
        if standing(scene) == "":
            await knock(scene)
        await scene.catch_up()
        await scene.react(BEA, card(scene), "✅" if approve else "❌")
        await scene.catch_up()
        assert standing(scene) == ("invite" if approve else "leave"), f"killed at {point}"
        assert len([text for text in cards(scene) if not text.startswith("*")]) == 1
        assert len([text for text in cards(scene) if text.startswith("*")]) == 1
        assert len(scene.messenger.reactions) == 2
        if survived:
            assert point > 10
            return
        point += 3
