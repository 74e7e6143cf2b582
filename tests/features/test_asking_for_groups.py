"""Members ask to be let into groups by command, since not every client can knock: the card, the answer, and who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.community import SPACE, Community, Group, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.markup import plain
from bridge.core.messages import MembershipChanged
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
CHESS, CHOIR, BOARD, TEA = (RoomKeyName(key) for key in ("chess", "choir", "board", "tea"))
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID, DAN}),
    groups=(
        Group(CHESS, RoomKind.REQUEST, name="Chess Club", moderators=frozenset({DAN})),
        Group(CHOIR, RoomKind.REQUEST),
        Group(BOARD, RoomKind.HIDDEN),
        Group(TEA),
    ),
)
HOUR = 3_600_000


@pytest.fixture
async def school(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    await scene.catch_up()
    return scene


async def ask(scene: Scene, named: str = "chess", source: str = "$1", user: UserId = CID) -> str:
    place = await scene.requests.ask_for_group(SCHOOL, user, named, source)
    await scene.catch_up()
    return plain(place)


def cards(scene: Scene) -> list[str]:
    return [text for text in scene.messenger.said(scene.control_room.room_id) if "asks to join" in text]


async def test_an_admins_yes_lets_a_member_into_the_group(school: Scene) -> None:
    for _ in range(2):  # the message is handled again
        assert await ask(school, " chess  CLUB") == "Chess Club in School"
    [card] = cards(school)
    assert f"{CID} asks to join Chess Club in School." in card
    assert "asked me in a chat" in card
    assert "also be invited" not in card
    renamed = MembershipChanged(EventId("$name"), school.space.room_id, CID, 1, CID, "join", before="join")
    await school.requests.moved(renamed)
    assert len(await school.requests.waiting(SCHOOL.id)) == 1, "a new name is no answer"
    await school.members.invite(SCHOOL, BEA, [CID], [TEA])
    assert len(await school.requests.waiting(SCHOOL.id)) == 1, "an invitation elsewhere is none, either"
    await school.react(BEA, school.messenger.reactions[-1][0], "✅")
    await school.catch_up()
    assert school.room(CHESS).membership(CID) == "invite"
    assert "Approved by @bea:example.org" in cards(school)[-1]
    with pytest.raises(Refused, match="are invited"):
        await ask(school, source="$2")
    await school.accept_all()
    with pytest.raises(Refused, match="are in that group"):
        await ask(school, source="$2")


async def test_a_no_holds_for_that_group_and_a_while(school: Scene) -> None:
    await ask(school)
    with pytest.raises(Refused, match="something else that you asked waits"):
        await ask(school, "choir", "$2")
    await school.requests.decide(SCHOOL.id, BEA, CID, approve=False, reason="full")
    await school.catch_up()
    assert not school.room(CHESS).membership(CID)
    with pytest.raises(Refused, match="declined a short while ago"):
        await ask(school, source="$3")
    await ask(school, "choir", "$4")
    await school.leave(CID, school.space)
    await school.catch_up()
    assert await school.requests.waiting(SCHOOL.id) == [], "who leaves asks for nothing any more"
    await school.members.invite(SCHOOL, BEA, [CID])
    await school.come_to_rest(SCHOOL)
    school.clock.now += 25 * HOUR
    await ask(school, source="$5")
    assert len(await school.requests.waiting(SCHOOL.id)) == 1


async def test_a_moderator_who_lets_them_in_has_answered(school: Scene) -> None:
    chat = RoomId("!dan:example.org")
    school.index.chats |= {chat: DAN, RoomId("!eve:example.org"): EVE}
    await ask(school)
    [told] = school.messenger.said(chat)
    assert f"{CID} asks to join Chess Club in School, of which you are a moderator" in told
    assert school.messenger.said(RoomId("!eve:example.org")) == []
    await school.move(DAN, school.room(CHESS), "invite", CID)
    await school.catch_up()
    assert f"Approved by {DAN}" in cards(school)[-1]
    assert await school.requests.waiting(SCHOOL.id) == []


@pytest.mark.parametrize(("user", "named", "why"), [
    (CID, "board", "there is no group 'board'"), (CID, "nothing", "there is no group 'nothing'"),
    (CID, "tea", "it is open"), (EVE, "chess", "only members"), (CID, SPACE, "there is no group"),
])  # fmt: skip
async def test_who_may_ask_for_what(school: Scene, user: UserId, named: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        await ask(school, named, user=user)
    assert "board" not in refused.value.remedy, "hidden groups are told to nobody"
    assert cards(school) == []


async def test_who_is_banned_from_the_group_cannot_ask_for_it(school: Scene) -> None:
    await school.move(DAN, school.room(CHESS), "ban", CID)
    with pytest.raises(Refused, match="cannot be let into"):
        await ask(school)


async def test_it_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point, survived = 0, False
    while not survived:
        scene = await new_scene()
        await scene.settle(SCHOOL)
        await scene.catch_up()
        scene.faults.arm(point)
        try:
            await ask(scene)
            await scene.react(BEA, scene.messenger.reactions[-1][0], "✅")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([SCHOOL])
            scene.watch.all_of(SCHOOL.id)  # as at every start
        scene.faults.arm(None)
        if scene.room(CHESS).membership(CID) != "invite":
            await ask(scene)  # the message comes again, and so does the reaction
        await scene.react(BEA, EventId(scene.messenger.reactions[-1][0]), "✅")
        await scene.catch_up()
        assert scene.room(CHESS).membership(CID) == "invite", f"killed at {point}"
        assert len([text for text in cards(scene) if not text.startswith("*")]) == 1, f"killed at {point}"
        point += 4
    assert point > 12
