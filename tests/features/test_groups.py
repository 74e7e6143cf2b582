"""Groups by somebody's word: what the rooms are afterwards, and that a kill at any point loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import Community, Group, GroupsBy, Posting, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene

ANN, BEA, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan"))
CHESS, GO = RoomKeyName("chess"), RoomKeyName("go")
CLUB = Community(
    CommunityId("school"),
    name="Club",
    general=False,
    owners=frozenset({ANN}),
    members=frozenset({DAN}),
    groups_by=GroupsBy.MEMBERS,
    groups=(Group(CHESS),),
)


async def at_home(scene: Scene) -> Scene:
    """A community with ann as owner and dan as member, who have joined."""
    await scene.come_to_rest(CLUB)
    return scene


def now(scene: Scene) -> Community:
    """The community as it is to be, with the groups that people made."""
    return scene.reconciler.declared[CLUB.id]


async def with_go(scene: Scene) -> Scene:
    await at_home(scene)
    assert await scene.groups.create(now(scene), DAN, "Go", RoomKind.OPEN, None, source="$ask") == GO
    await scene.come_to_rest(CLUB)
    return scene


async def test_a_member_makes_a_group_and_moderates_it_and_a_restart_keeps_it(scene: Scene) -> None:
    await with_go(scene)
    room = scene.room(GO)
    assert room.content("m.room.name") == {"name": "Go"}
    assert (room.content("m.room.power_levels") or {})["users"][DAN] == 50
    assert room.membership(DAN) == "join"
    assert (
        await scene.groups.create(now(scene), DAN, "Go", RoomKind.OPEN, None, source="$ask") == GO
    )  # the same message
    await scene.restart()
    scene.reconciler.declare([CLUB])
    assert (await scene.reconciler.look(now(scene))).plan.empty
    assert now(scene).group(GO) is not None


async def test_a_group_in_both_is_the_configurations(scene: Scene) -> None:
    await with_go(scene)
    declared = replace(CLUB, groups=(*CLUB.groups, Group(GO, RoomKind.HIDDEN)))
    await scene.come_to_rest(declared)
    assert scene.room(GO).content("m.room.join_rules") == {"join_rule": "invite"}
    for ask in (
        lambda: scene.groups.change(now(scene), ANN, GO, kind=RoomKind.OPEN),
        lambda: scene.groups.release(now(scene), ANN, GO),
    ):
        with pytest.raises(Refused, match=r"communities\.school\.groups\.go in the configuration decides that"):
            await ask()


async def test_kind_posting_and_archive_reach_the_room(scene: Scene) -> None:
    await with_go(scene)
    await scene.groups.change(now(scene), ANN, GO, kind=RoomKind.REQUEST, posting=Posting.MODERATORS)
    await scene.come_to_rest(CLUB)
    room = scene.room(GO)
    assert room.content("m.room.join_rules") == {"join_rule": "knock"}
    assert (room.content("m.room.power_levels") or {})["events_default"] == 50
    await scene.groups.change(now(scene), ANN, GO, archived=True)
    await scene.come_to_rest(CLUB)
    assert (room.content("m.room.power_levels") or {})["events_default"] == 100
    with pytest.raises(Refused, match="owner or admin"):
        await scene.groups.change(now(scene), DAN, GO, archived=False)


async def test_the_limit_holds_for_all_groups_together(scene: Scene) -> None:
    await at_home(scene)
    for number in range(99):
        await scene.groups.create(now(scene), ANN, f"Group {number}", RoomKind.HIDDEN, None)
    with pytest.raises(Refused, match=r"limits\.groups_per_community"):
        await scene.groups.create(now(scene), ANN, "One more", RoomKind.OPEN, None)
    await scene.come_to_rest(CLUB)
    assert len((await scene.known()).rooms) == 3 + 100
    assert (await scene.reconciler.look(now(scene))).plan.empty


async def test_a_group_that_nobody_would_rule_is_not_released(scene: Scene) -> None:
    await with_go(scene)
    await scene.leave(DAN, scene.room(GO))
    await scene.catch_up()
    with pytest.raises(Refused, match="nobody would be in charge"):
        await scene.groups.release(now(scene), ANN, GO)


async def test_a_name_by_command_wins_over_one_that_a_moderator_gave(scene: Scene) -> None:
    await with_go(scene)
    await scene.write(DAN, scene.room(GO), "m.room.name", {"name": "Baduk"})
    await scene.catch_up()
    await scene.groups.call(now(scene), ANN, GO, "name", "Weiqi")
    await scene.come_to_rest(CLUB)
    assert scene.room(GO).content("m.room.name") == {"name": "Weiqi"}


async def test_making_a_group_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await at_home(await new_scene())
        scene.faults.arm(point)
        try:
            await scene.groups.create(now(scene), DAN, "Go", RoomKind.OPEN, None, source="$ask")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        # the message comes again
        assert await scene.groups.create(now(scene), DAN, "Go", RoomKind.OPEN, None, source="$ask") == GO
        await scene.come_to_rest(CLUB)
        assert scene.room(GO).membership(DAN) == "join", f"killed at {point}"
        assert (scene.room(GO).content("m.room.power_levels") or {})["users"][DAN] == 50
        if survived:
            assert point > 3
            return
        point += 2


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_release_survives_a_kill_at_any_point(new_scene: Callable[..., Any], version: str) -> None:
    point = 0
    while True:
        scene = await with_go(await new_scene(version=version))
        room = scene.room(GO)
        scene.faults.arm(point)
        try:
            await scene.groups.release(now(scene), ANN, GO, source="$release")
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
        scene.faults.arm(None)
        if now(scene).group(GO) is not None:  # it was killed before the wish was stored, so the message comes again
            await scene.groups.release(now(scene), ANN, GO, source="$release")
        await scene.come_to_rest(CLUB)
        levels = room.content("m.room.power_levels") or {}
        assert room.membership(STEWARD) == "leave", f"killed at {point}"
        assert levels["users"][DAN] == Role.MODERATOR
        assert max(levels["events"].values()) == levels["state_default"] == 50
        assert not scene.space.content("m.space.child", room.room_id)
        assert not room.content("m.space.parent", scene.space.room_id)
        assert room.content("m.room.join_rules") == {"join_rule": "invite"}
        assert now(scene).group(GO) is None
        assert GO not in (await scene.known()).rooms
        assert len([text for text in await scene.told() if "has left the community" in text]) == 1
        assert len(scene.rooms_of(GO)) == 1  # nothing makes it anew
        if survived:
            assert point > 8
            return
        point += 2
