"""A group moves to another community of its family: what people's clients see, and that a kill at any point loses
nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community, Group, Posting, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.links import Link
from bridge.store import links
from tests.fakes.faults import Crash
from tests.fakes.homeserver import FakeRoom
from tests.fakes.scene import Scene

ANN, BEA, DAN, EVE, FAY, GIL = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan", "eve", "fay", "gil"))
GO, CHESS = RoomKeyName("go"), RoomKeyName("chess")
SCHOOL = Community(CommunityId("school"), name="School", general=False, owners=frozenset({ANN}))
YEAR_1 = Community(
    CommunityId("year-1"),
    name="Year 1",
    parent=SCHOOL.id,
    general=False,
    admins=frozenset({BEA}),
    members=frozenset({DAN, EVE, FAY}),
    groups=(Group(CHESS),),
)
YEAR_2 = Community(
    CommunityId("year-2"), name="Year 2", parent=SCHOOL.id, general=False, members=frozenset({EVE, GIL, FAY})
)
OTHER = Community(CommunityId("other"), name="Other", general=False, owners=frozenset({ANN}))
ALL = (SCHOOL, YEAR_1, YEAR_2, OTHER)


def room(scene: Scene, community: Community, key: RoomKeyName = SPACE) -> FakeRoom:
    """A community's room of that key, by the mark with which it was made."""
    mark = {"community": community.id, "key": key}
    [found] = [
        one
        for one in scene.homeserver.rooms.values()
        if (one.content("m.room.create") or {}).get("org.matrix-communities.room") == mark
    ]
    return found


async def settle(scene: Scene) -> None:
    """Do all that there is to do, and let everybody accept."""
    scene.reconciler.declare(ALL)
    for community in scene.reconciler.declared:
        scene.watch.all_of(community)
    await scene.catch_up()
    for _ in range(5):
        before = scene._read
        await scene.accept_all()
        await scene.catch_up()
        if scene._read == before:
            return
    raise AssertionError("people are invited for ever")


async def at_rest(scene: Scene) -> bool:
    looks = [await scene.reconciler.look(one) for one in scene.reconciler.declared.values()]
    return all(look.plan.empty for look in looks)


def now(scene: Scene, community: Community) -> Community:
    return scene.reconciler.declared[community.id]


async def with_go(scene: Scene) -> FakeRoom:
    """Dan moderates the group go of year 1; eve is in both years, fay was removed from year 2 by a person."""
    await settle(scene)
    await scene.groups.create(now(scene, YEAR_1), BEA, "Go", RoomKind.OPEN, None, source="$ask")
    await scene.groups.change(now(scene, YEAR_1), BEA, GO, posting=Posting.MODERATORS)
    await settle(scene)
    go = room(scene, YEAR_1, GO)
    for user in (DAN, EVE, FAY):
        await scene.join(user, go)
    await scene.members.moderator(now(scene, YEAR_1), BEA, GO, DAN, add=True)
    await scene.join(ANN, room(scene, YEAR_2))
    await scene.move(ANN, room(scene, YEAR_2), "kick", FAY)
    await settle(scene)
    return go


def check_moved(scene: Scene, go: FakeRoom, when: str = "") -> None:
    """What clients see of the group, and who is where."""
    old, new = room(scene, YEAR_1), room(scene, YEAR_2)
    assert not old.content("m.space.child", go.room_id), when
    assert (new.content("m.space.child", go.room_id) or {})["via"], when
    assert not go.content("m.space.parent", old.room_id), when
    assert (go.content("m.space.parent", new.room_id) or {})["via"], when
    [allowed] = (go.content("m.room.join_rules") or {})["allow"]
    assert allowed["room_id"] == new.room_id, when
    levels = go.content("m.room.power_levels") or {}
    # bea is an admin of the year that it left alone, and moderates the group since she made it
    assert [levels["users"][user] for user in (DAN, BEA)] == [Role.MODERATOR.level] * 2, when
    assert levels["events_default"] == Role.MODERATOR.level, when
    assert go.content("m.room.name") == {"name": "Go"}, when
    assert [go.membership(user) for user in (BEA, DAN, EVE)] == ["join"] * 3, when
    assert [new.membership(user) for user in (BEA, DAN, EVE, FAY)] == ["join"] * 3 + ["leave"], when
    assert [old.membership(user) for user in (DAN, EVE, FAY)] == ["join"] * 3, when


async def test_a_group_moves_with_its_room_its_people_and_its_moderators(scene: Scene) -> None:
    go = await with_go(scene)
    link = Link("abc", YEAR_1.id, BEA, 1, groups=(GO, CHESS))
    async with scene.database.transaction() as tx:
        await links.add(tx, link, "digest")
    assert await scene.moving.move(now(scene, YEAR_1), ANN, GO, YEAR_2.id)
    assert not await scene.moving.move(now(scene, YEAR_1), ANN, GO, YEAR_2.id)  # the same message again
    await settle(scene)
    check_moved(scene, go)
    assert await at_rest(scene)
    for one, word in ((YEAR_1, "belongs to year-2"), (YEAR_2, "came from year-1")):
        [said] = [text for text in scene.messenger.said(room(scene, one, CONTROL).room_id) if word in text]
        assert "`go`" in said or "go" in said
    async with scene.database.transaction() as tx:
        assert [one.groups for one in await links.of_community(tx, YEAR_1.id)] == [(CHESS,)]
    rooms = len(scene.homeserver.rooms)
    await scene.restart()
    await settle(scene)
    assert await at_rest(scene)
    assert len(scene.homeserver.rooms) == rooms
    assert (await scene.known(YEAR_2.id)).rooms[GO] == go.room_id
    # and whoever comes to the group by its new community is let in
    await scene.join(GIL, go)
    # back again, and a new group takes its place
    assert await scene.moving.move(now(scene, YEAR_2), None, GO, YEAR_1.id)
    await settle(scene)
    assert (room(scene, YEAR_1).content("m.space.child", go.room_id) or {})["via"]
    assert not room(scene, YEAR_2).content("m.space.child", go.room_id)
    assert await at_rest(scene)


async def test_what_stands_against_it(scene: Scene) -> None:
    await with_go(scene)
    for name in ("Go", "Tea"):  # that there is such a group is no sign that it came from elsewhere
        await scene.groups.create(now(scene, YEAR_2), ANN, name, RoomKind.OPEN, None)
    await settle(scene)
    year, move = now(scene, YEAR_1), scene.moving.move
    for by, key, to, why in (
        (DAN, GO, YEAR_2.id, "only an owner or admin"),
        (BEA, GO, YEAR_2.id, "only an owner or admin"),  # an admin of where it is, and not of where it goes
        (ANN, CHESS, YEAR_2.id, "in the configuration declares that group"),
        (ANN, ANNOUNCEMENTS, YEAR_2.id, "no group"),
        (ANN, RoomKeyName("tea"), YEAR_2.id, "there is no group 'tea'"),
        (ANN, GO, YEAR_2.id, "of the key 'go' in year-2 already"),
        (ANN, GO, OTHER.id, "above, below or beside"),
        (ANN, GO, YEAR_1.id, "above, below or beside"),
        (ANN, GO, CommunityId("nowhere"), "above, below or beside"),
    ):
        with pytest.raises(Refused, match=why):
            await move(year, by, key, to)
    scene.groups.limit = 0
    with pytest.raises(Refused, match=r"limits\.groups_per_community"):
        await move(year, ANN, GO, SCHOOL.id)
    scene.groups.limit = 100
    young = replace(YEAR_2, id=CommunityId("year-3"), name="Year 3", members=None)
    scene.reconciler.declare((*ALL, young))
    with pytest.raises(Refused, match="has no space yet"):
        await move(now(scene, YEAR_1), ANN, GO, young.id)
    await move(now(scene, YEAR_1), ANN, GO, SCHOOL.id)  # up to the parent
    await settle(scene)
    assert await at_rest(scene)


async def test_a_pass_that_waited_meanwhile_makes_no_second_room(scene: Scene) -> None:
    await with_go(scene)
    before, rooms = now(scene, YEAR_1), len(scene.homeserver.rooms)
    await scene.moving.move(before, ANN, GO, YEAR_2.id)
    await scene.reconciler.apply(before)
    assert len(scene.homeserver.rooms) == rooms


@pytest.mark.parametrize(
    ("version", "step"), [("12", 7), *(pytest.param(one, 1, marks=pytest.mark.soak) for one in ("11", "12"))]
)
async def test_a_move_survives_a_kill_at_any_point(new_scene: Callable[..., Any], version: str, step: int) -> None:
    point, survived = 0, False
    while not survived:
        scene: Scene = await new_scene(version=version)
        go = await with_go(scene)
        scene.faults.arm(point)
        try:
            await scene.moving.move(now(scene, YEAR_1), ANN, GO, YEAR_2.id)
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare(ALL)
        scene.faults.arm(None)
        await scene.moving.move(now(scene, YEAR_1), ANN, GO, YEAR_2.id)  # the message comes again
        await settle(scene)
        check_moved(scene, go, f"killed at {point}")
        assert await at_rest(scene), f"killed at {point}"
        await scene.stop()
        point += step
    assert point > 8
