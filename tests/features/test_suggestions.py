"""Groups that members suggest: one card, one decision, and who suggested it moderates it, or is told why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, Group, GroupsBy, Join, RoomKind
from bridge.core.errors import Refused
from bridge.core.groups import Wish
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

ANN, BEA, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan"))
GO = RoomKeyName("go")
CHAT = RoomId("!chat")
CLUB = Community(
    CommunityId("school"),
    name="Club",
    general=False,
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({DAN}),
    join=Join.REQUEST,
    groups_by=GroupsBy.SUGGEST,
    groups=(Group(RoomKeyName("chess")),),
)


async def settle(scene: Scene, community: Community = CLUB) -> None:
    scene.index.chats[CHAT] = DAN
    await scene.come_to_rest(community)


def now(scene: Scene) -> Community:
    return scene.reconciler.declared[CLUB.id]


async def suggest(scene: Scene, source: str = "$ask", name: str = "Go", key: str | None = None) -> None:
    """What `group create` does for a member."""
    wish = await scene.groups.wish(now(scene), DAN, name, RoomKind.REQUEST, key)
    assert wish is not None
    await scene.requests.suggest(now(scene), DAN, wish, source)
    await scene.catch_up()


def cards(scene: Scene) -> list[str]:
    return [text for text in scene.messenger.said(scene.control_room.room_id) if "suggests a group" in text]


def card(scene: Scene) -> EventId:
    return scene.messenger.reactions[-1][0]


async def state_of(scene: Scene) -> list[str]:
    async with scene.database.transaction() as tx:
        rows = await tx.fetch("SELECT state FROM join_request WHERE wish <> '' ORDER BY asked_at, id")
    return [row["state"] for row in rows]


async def test_an_agreed_suggestion_is_a_group_of_whoever_suggested_it(scene: Scene) -> None:
    await settle(scene)
    assert await scene.groups.wish(now(scene), ANN, "Go", RoomKind.OPEN, None) is None  # admins make them
    with pytest.raises(Refused, match="only suggest"):
        await scene.groups.create(now(scene), DAN, "Go", RoomKind.OPEN, None)
    await suggest(scene)
    await suggest(scene)  # the same message comes again
    with pytest.raises(Refused, match="another group that you suggested waits"):
        await suggest(scene, source="$other", name="Draughts")
    [text] = cards(scene)
    assert "@dan:example.org" in text
    assert "“Go”" in text
    assert "can ask to join" in text
    await scene.react(DAN, card(scene), "✅")  # a member decides nothing
    await scene.catch_up()
    assert now(scene).group(GO) is None
    await scene.react(ANN, card(scene), "✅")
    await scene.react(BEA, card(scene), "❌")  # too late
    await settle(scene)
    assert await state_of(scene) == ["approved"]
    room = scene.room(GO)
    assert (room.membership(DAN), (room.content("m.room.power_levels") or {})["users"][DAN]) == ("join", 50)
    assert room.content("m.room.join_rules") == {"join_rule": "knock"}
    assert [text for text in scene.messenger.said(CHAT) if "you moderate it" in text and "`go`" in text]
    edit = [content for _, content in scene.messenger.sent if "m.new_content" in content][-1]
    assert "Approved by @ann:example.org" in edit["m.new_content"]["body"]


async def test_a_declined_one_is_told_and_may_be_followed_by_another(scene: Scene) -> None:
    await settle(scene)
    await suggest(scene)
    await scene.requests.decide(CLUB.id, BEA, DAN, approve=False, reason="There is one next door")
    await settle(scene)
    assert now(scene).group(GO) is None
    assert [text for text in scene.messenger.said(CHAT) if "declined" in text and "next door" in text]
    await suggest(scene, source="$again", name="Draughts")
    await scene.requests.decide(CLUB.id, BEA, DAN, approve=True)
    await settle(scene)
    assert now(scene).group(RoomKeyName("draughts")) is not None


async def test_what_cannot_be_made_any_more_is_told_to_both(scene: Scene) -> None:
    await settle(scene)
    await suggest(scene)
    scene.groups.limit = 1
    await scene.react(ANN, card(scene), "✅")
    await settle(scene)
    for room_id in (CHAT, scene.control_room.room_id):
        assert [text for text in scene.messenger.said(room_id) if "cannot be made" in text and "allows 1" in text]
    with pytest.raises(Refused, match="allows 1"):
        await suggest(scene, source="$more")


async def test_a_suggestion_and_a_knock_of_the_same_person_stand_apart(scene: Scene) -> None:
    await settle(scene, replace(CLUB, members=None))
    await scene.reconciler.memory.bid(CLUB.id, DAN)
    await settle(scene, replace(CLUB, members=None))
    await suggest(scene)
    await scene.leave(DAN, scene.space)  # nobody waits for the group of somebody who left
    await scene.catch_up()
    assert await state_of(scene) == ["withdrawn"]
    await scene.do(DAN, "POST", "knock", scene.space.room_id)
    await scene.catch_up()
    assert [one.wish for one in await scene.requests.waiting(CLUB.id)] == [None]
    async with scene.database.transaction() as tx:
        await tx.execute("UPDATE join_request SET state = 'open' WHERE wish <> ''")
    assert {one.wish for one in await scene.requests.waiting(CLUB.id)} == {None, Wish("Go", RoomKind.REQUEST)}
    await scene.requests.decide(CLUB.id, BEA, DAN, approve=True)  # who asks to come in comes first
    assert [one.wish for one in await scene.requests.waiting(CLUB.id)] == [Wish("Go", RoomKind.REQUEST)]


async def test_an_agreement_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await new_scene()
        await settle(scene)
        await suggest(scene, key="igo")
        shown = card(scene)
        scene.faults.arm(point)
        try:
            await scene.react(ANN, shown, "✅")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        await scene.react(ANN, shown, "✅")  # the reaction comes again
        await settle(scene)
        assert [group.key for group in now(scene).groups] == ["chess", "igo"], f"killed at {point}"
        assert scene.room("igo").membership(DAN) == "join"
        assert len([text for text in scene.messenger.said(CHAT) if "you moderate it" in text]) == 1
        if survived:
            assert point > 6
            return
        point += 6
