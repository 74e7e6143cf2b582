"""Communities within communities: what members' clients see of it, and that a kill at any point loses nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Group, Join, Role
from bridge.core.errors import Forbidden, Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD, FakeRoom
from tests.fakes.scene import Scene

ANN, BEA, DAN, EVE, FAY = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "dan", "eve", "fay"))
CHESS = RoomKeyName("chess")
SCHOOL = Community(
    CommunityId("school"), name="School", general=False, owners=frozenset({ANN}), admins=frozenset({BEA})
)
YEAR = Community(CommunityId("year-1"), name="Year 1", parent=SCHOOL.id, general=False)
CLASS = Community(
    CommunityId("class-1a"),
    name="Class 1A",
    parent=YEAR.id,
    join=Join.REQUEST,
    admins=frozenset({EVE}),
    members=frozenset({DAN}),
    groups=(Group(CHESS),),
)
ALL = (SCHOOL, YEAR, CLASS)
LEVELS = "m.room.power_levels"


def room(scene: Scene, community: Community, key: RoomKeyName = SPACE) -> FakeRoom:
    """A community's room of that key, by its mark."""
    mark = {"community": community.id, "key": key}
    [found] = [
        one
        for one in scene.homeserver.rooms.values()
        if (one.content("m.room.create") or {}).get("org.matrix-communities.room") == mark
    ]
    return found


def states(scene: Scene, user: UserId, *communities: Community) -> list[str]:
    """Somebody's membership in the spaces of communities."""
    return [room(scene, one).membership(user) for one in communities or ALL]


def level(scene: Scene, community: Community, user: UserId, key: RoomKeyName = SPACE) -> int:
    return int((room(scene, community, key).content(LEVELS) or {})["users"].get(user, 0))


async def settle(scene: Scene, communities: Sequence[Community] = ALL) -> None:
    """Do all that there is to do, and let everybody accept; from then on these are what is declared."""
    scene.reconciler.declare(communities)
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


async def now(scene: Scene, community: Community) -> Community:
    return scene.reconciler.declared[community.id]


async def at_rest(scene: Scene) -> bool:
    """Whether nothing is left to be done in any community."""
    looks = [await scene.reconciler.look(one) for one in scene.reconciler.declared.values()]
    return all(look.plan.empty for look in looks)


async def test_spaces_list_each_other_and_members_below_are_members_above(scene: Scene) -> None:
    await settle(scene)
    assert await at_rest(scene)
    school, year, class_ = (room(scene, one) for one in ALL)
    assert (school.content("m.space.child", year.room_id) or {})["via"] == ["example.org"]
    assert (year.content("m.space.parent", school.room_id) or {})["via"] == ["example.org"]
    assert (year.content("m.space.child", class_.room_id) or {})["via"] == ["example.org"]
    assert school.content("m.space.child", class_.room_id) is None
    assert states(scene, DAN) == ["join"] * 3
    assert room(scene, SCHOOL, ANNOUNCEMENTS).membership(DAN) == "join"
    await scene.members.invite(await now(scene, CLASS), EVE, [FAY])
    await settle(scene)
    assert states(scene, FAY) == ["join"] * 3


async def test_who_is_invited_below_in_a_client_is_invited_above(scene: Scene) -> None:
    await settle(scene)
    await scene.move(EVE, room(scene, CLASS), "invite", FAY)
    await scene.catch_up()
    assert states(scene, FAY) == ["invite"] * 3
    await scene.leave(FAY, room(scene, SCHOOL))  # they decline the school, and so the class
    await scene.catch_up()
    assert states(scene, FAY) == ["leave"] * 3
    await settle(scene)
    assert states(scene, FAY) == ["leave"] * 3
    await scene.members.invite(await now(scene, CLASS), EVE, [FAY])  # asked again, they come
    await settle(scene)
    assert states(scene, FAY) == ["join"] * 3


async def test_admins_above_are_admins_below_without_being_invited(scene: Scene) -> None:
    await settle(scene)
    assert (level(scene, CLASS, ANN, ANNOUNCEMENTS), level(scene, CLASS, BEA, CHESS)) == (Role.OWNER, Role.ADMIN)
    assert level(scene, SCHOOL, EVE) == 0
    assert states(scene, BEA, YEAR, CLASS) == ["", ""]
    assert await scene.reconciler.role_of(CLASS.id, BEA) is Role.ADMIN
    await scene.join(BEA, room(scene, CLASS))  # open to whoever is in the school's control room
    with pytest.raises(Forbidden):
        await scene.join(DAN, room(scene, CLASS, CONTROL))
    await settle(scene)
    for key in (ANNOUNCEMENTS, CONTROL, GENERAL):
        assert room(scene, CLASS, key).membership(BEA) == "join"
    posted = await scene.post(BEA, room(scene, CLASS, ANNOUNCEMENTS))
    await scene.catch_up()
    assert posted not in [one["content"].get("redacts") for one in scene.homeserver.feed]
    # what somebody is by the school is changed in the school
    with pytest.raises(Refused, match="by a community above this one"):
        await scene.members.remove(await now(scene, CLASS), EVE, BEA, "", ban=True)
    await scene.write(ANN, room(scene, SCHOOL), LEVELS, scene.with_users(room(scene, SCHOOL), bea=100))
    fewer = replace(SCHOOL, admins=frozenset(), members=frozenset({BEA}))
    await settle(scene, (fewer, YEAR, CLASS))
    assert (level(scene, CLASS, BEA), level(scene, CLASS, BEA, ANNOUNCEMENTS)) == (0, 0)
    assert room(scene, CLASS, CONTROL).membership(BEA) == "leave"
    assert await at_rest(scene)


async def test_an_owner_below_cannot_unmake_an_admin_of_above(scene: Scene) -> None:
    class_ = replace(CLASS, owners=frozenset({EVE}), admins=None)
    await settle(scene, (SCHOOL, YEAR, class_))
    space = room(scene, class_)
    await scene.write(EVE, space, LEVELS, scene.with_users(space, bea=0, dan=100))
    await scene.catch_up()
    assert (level(scene, CLASS, BEA), level(scene, CLASS, DAN)) == (Role.ADMIN, Role.ADMIN)
    assert await scene.reconciler.role_of(CLASS.id, BEA) is Role.ADMIN
    known = await scene.known(CLASS.id)
    assert known.roles == {EVE: Role.OWNER, DAN: Role.ADMIN}  # what comes from above is remembered there alone


async def test_removed_above_is_removed_below_and_removed_below_is_not_removed_above(scene: Scene) -> None:
    people = (SCHOOL, YEAR, replace(CLASS, members=None, admins=None))
    await settle(scene)
    with pytest.raises(Refused, match=r"communities\.class-1a\.members in the configuration decides that"):
        await scene.members.remove(await now(scene, SCHOOL), ANN, DAN, "", ban=False)
    await settle(scene, people)
    await scene.members.remove(await now(scene, CLASS), ANN, EVE, "moved", ban=False)
    await scene.catch_up()
    assert states(scene, EVE) == ["join", "join", "leave"]
    await scene.members.remove(await now(scene, SCHOOL), ANN, DAN, "left", ban=False)
    await scene.catch_up()
    assert states(scene, DAN) == ["leave"] * 3
    for key in (ANNOUNCEMENTS, GENERAL):
        assert room(scene, CLASS, key).membership(DAN) == "leave"
    await settle(scene, people)
    assert states(scene, DAN) == ["leave"] * 3
    assert await at_rest(scene)


async def test_banned_above_stays_out_below_by_every_door_until_it_is_lifted(scene: Scene) -> None:
    await settle(scene)
    await settle(scene, (SCHOOL, YEAR, replace(CLASS, members=None)))
    school, class_ = await now(scene, SCHOOL), await now(scene, CLASS)
    await scene.move(ANN, room(scene, SCHOOL), "ban", DAN)
    await scene.move(ANN, room(scene, SCHOOL), "ban", FAY)  # who never was in the class
    await scene.catch_up()
    assert states(scene, DAN) == states(scene, FAY) == ["ban"] * 3
    for attempt in (
        lambda: scene.join(DAN, room(scene, CLASS, CHESS)),
        lambda: scene.do(DAN, "POST", "knock", room(scene, CLASS).room_id),
        lambda: scene.move(EVE, room(scene, CLASS), "invite", FAY),
    ):
        with pytest.raises(Forbidden):
            await attempt()
    assert await scene.reconciler.arrivals.is_barred(class_.id, FAY)
    assert not (await scene.reconciler.arrivals.let_in(class_.id, FAY, [])).welcome
    with pytest.raises(Refused, match="kept out by school"):
        await scene.members.invite(class_, EVE, [FAY])
    with pytest.raises(Refused, match="kept out by school"):
        await scene.members.unban(class_, EVE, FAY)
    await scene.members.remove(class_, EVE, DAN, "", ban=True)  # the class bans dan, too
    await scene.catch_up()
    for user in (DAN, FAY):
        await scene.members.unban(school, ANN, user)
    await scene.catch_up()
    assert states(scene, FAY) == ["leave"] * 3
    assert states(scene, DAN) == ["leave", "leave", "ban"]  # what the class did for itself stands
    await scene.members.invite(class_, EVE, [FAY])
    await settle(scene, (SCHOOL, YEAR, replace(CLASS, members=None)))
    assert states(scene, FAY) == ["join"] * 3
    assert (await scene.known(CLASS.id)).shut_out == frozenset()


async def test_while_a_space_above_cannot_be_read_no_ban_is_lifted(scene: Scene) -> None:
    await settle(scene)
    await settle(scene, (SCHOOL, YEAR, replace(CLASS, members=None)))
    await scene.move(ANN, room(scene, SCHOOL), "ban", DAN)
    await scene.catch_up()
    scene.homeserver.rooms[room(scene, SCHOOL).room_id].state.pop(("m.room.member", STEWARD))
    await settle(scene, (SCHOOL, YEAR, replace(CLASS, members=None)))
    assert states(scene, DAN, YEAR, CLASS) == ["ban", "ban"]
    assert level(scene, CLASS, BEA) == Role.ADMIN


async def test_a_plan_above_that_waits_for_a_word_does_nothing_below(scene: Scene) -> None:
    crowd = frozenset(UserId(f"@pupil{number}:example.org") for number in range(8))
    school, class_ = replace(SCHOOL, members=crowd), replace(CLASS, members=crowd)
    await settle(scene, (school, YEAR, class_))
    await settle(scene, (school, YEAR, replace(class_, members=None)))
    await settle(scene, (replace(school, members=frozenset()), YEAR, replace(class_, members=None)))
    assert await scene.reconciler.held(SCHOOL.id) is not None
    assert states(scene, min(crowd)) == ["join"] * 3


async def test_a_sub_community_that_moves_keeps_its_people(scene: Scene) -> None:
    await settle(scene)
    year_2 = replace(YEAR, id=CommunityId("year-2"), name="Year 2")
    moved = (SCHOOL, YEAR, year_2, replace(CLASS, parent=year_2.id))
    ids = dict((await scene.known(CLASS.id)).rooms)
    await settle(scene, moved)
    assert await at_rest(scene)
    assert (await scene.known(CLASS.id)).rooms == ids
    class_ = room(scene, CLASS)
    assert states(scene, DAN, SCHOOL, year_2, CLASS) == ["join"] * 3
    assert not room(scene, YEAR).content("m.space.child", class_.room_id)
    assert (room(scene, year_2).content("m.space.child", class_.room_id) or {})["via"]
    assert not class_.content("m.space.parent", room(scene, YEAR).room_id)
    assert (class_.content("m.space.parent", room(scene, year_2).room_id) or {})["via"]
    await settle(scene, (SCHOOL, YEAR, year_2))  # declared no longer: left as it is, also where it is listed
    assert (room(scene, year_2).content("m.space.child", class_.room_id) or {})["via"]
    assert states(scene, DAN, CLASS) == ["join"]
    await settle(scene, (SCHOOL, YEAR, year_2, replace(CLASS, parent=None)))  # it stands alone now
    assert not class_.content("m.space.parent", room(scene, year_2).room_id)
    assert level(scene, CLASS, ANN) == 0
    assert class_.content("m.room.join_rules") == {"join_rule": "knock"}
    assert await at_rest(scene)


async def test_an_announcement_waits_for_the_removal_of_who_is_out_above(scene: Scene) -> None:
    await settle(scene)
    scene.homeserver.feed.clear()
    scene._read = 0
    await scene.leave(DAN, room(scene, SCHOOL))  # and nobody has heard of it yet
    await scene.reconciler.before_announcing(CLASS.id)
    assert room(scene, CLASS, ANNOUNCEMENTS).membership(DAN) == "leave"


Act = Callable[[Scene], Awaitable[None]]


async def kill_everywhere(
    new_scene: Callable[..., Any], version: str, step: int, act: Act, begin: Act | None = None
) -> AsyncIterator[tuple[Scene, int]]:
    """Scenes in which something was done by a process that was killed at one point after the other, and what was asked
    came again, up to one that survives."""
    point, survived = 0, False
    while not survived:
        scene: Scene = await new_scene(version=version)
        await settle(scene)
        if begin is not None:
            await begin(scene)
        scene.faults.arm(point)
        try:
            await act(scene)
            await scene.catch_up()
        except Crash:
            pass
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
            scene.reconciler.declare(ALL)
        scene.faults.arm(None)
        await act(scene)
        yield scene, point
        await scene.stop()
        point += step
    assert point > 8


FEW_AND_ALL = [("12", 29), *(pytest.param(one, 1, marks=pytest.mark.soak) for one in ("11", "12"))]


@pytest.mark.parametrize(("version", "step"), FEW_AND_ALL)
async def test_a_ban_goes_down_whatever_dies_on_the_way(new_scene: Callable[..., Any], version: str, step: int) -> None:
    async def ban(scene: Scene) -> None:
        if room(scene, SCHOOL).membership(DAN) != "ban":  # as a client of an admin does it, where it did not arrive
            await scene.move(ANN, room(scene, SCHOOL), "ban", DAN)

    async for scene, point in kill_everywhere(new_scene, version, step, ban):
        await settle(scene)
        assert states(scene, DAN) == ["ban"] * 3, f"killed at {point}"
        for key in (ANNOUNCEMENTS, GENERAL):
            assert room(scene, CLASS, key).membership(DAN) == "ban", f"killed at {point}"


@pytest.mark.parametrize(("version", "step"), FEW_AND_ALL)
async def test_a_move_keeps_its_people_whatever_dies_on_the_way(
    new_scene: Callable[..., Any], version: str, step: int
) -> None:
    year_2 = replace(YEAR, id=CommunityId("year-2"), name="Year 2", members=frozenset({DAN}))
    moved = (SCHOOL, YEAR, year_2, replace(CLASS, parent=year_2.id))

    async def begin(scene: Scene) -> None:
        await settle(scene, (SCHOOL, YEAR, year_2, CLASS))
        await scene.leave(DAN, room(scene, year_2))
        await scene.catch_up()

    async def move(scene: Scene) -> None:
        scene.reconciler.declare(moved)

    async for scene, point in kill_everywhere(new_scene, version, step, move, begin):
        await settle(scene, moved)
        assert states(scene, DAN, SCHOOL, year_2, CLASS) == ["join"] * 3, f"killed at {point}"
        assert not room(scene, YEAR).content("m.space.child", room(scene, CLASS).room_id)
        assert await at_rest(scene)


# --- by command -------------------------------------------------------------------------------------------------------


async def test_people_make_move_and_rename_communities_and_a_restart_keeps_them(scene: Scene) -> None:
    await settle(scene)
    made = await scene.subcommunities.create(await now(scene, SCHOOL), BEA, "Year 2", None, source="$ask")
    assert made == "year-2"
    assert await scene.subcommunities.create(await now(scene, SCHOOL), BEA, "Year 2", None, source="$ask") == made
    await settle(scene)
    second = await scene.subcommunities.create(scene.reconciler.declared[made], ANN, "Class 2B", "class-2b")
    await settle(scene)
    year, class_ = scene.reconciler.declared[made], scene.reconciler.declared[second]
    assert room(scene, year).content("m.room.name") == {"name": "Year 2"}
    assert (room(scene, SCHOOL).content("m.space.child", room(scene, year).room_id) or {})["via"]
    assert level(scene, class_, BEA) == Role.ADMIN
    await scene.members.invite(class_, BEA, [EVE, FAY])
    await settle(scene)
    assert states(scene, FAY, SCHOOL, year, class_) == ["join"] * 3
    await scene.members.give_role(class_, ANN, EVE, Role.ADMIN)
    for ask in (
        scene.subcommunities.create(await now(scene, SCHOOL), DAN, "Mine", None),
        scene.subcommunities.create(await now(scene, SCHOOL), BEA, "Again", "class-1a"),
        scene.subcommunities.create(await now(scene, SCHOOL), BEA, " ", None),
        scene.subcommunities.move(await now(scene, CLASS), BEA, year),  # the configuration says where it stands
        scene.subcommunities.move(year, BEA, class_),  # into itself
        scene.subcommunities.move(class_, EVE, await now(scene, CLASS)),  # an admin of both, and not of where it is
        scene.subcommunities.rename(await now(scene, YEAR), BEA, "First"),
    ):
        with pytest.raises(Refused):
            await ask
    await scene.subcommunities.move(class_, BEA, await now(scene, YEAR))
    await scene.subcommunities.rename(class_, BEA, "Class 1B")
    await settle(scene)
    assert states(scene, FAY, SCHOOL, YEAR, class_) == ["join"] * 3
    assert room(scene, class_).content("m.room.name") == {"name": "Class 1B"}
    shown = await scene.subcommunities.listed(await now(scene, SCHOOL))
    assert [(one.id, one.depth, one.declared) for one in shown] == [
        ("school", 0, True), ("year-1", 1, True), ("class-1a", 2, True), ("class-2b", 2, False), ("year-2", 1, False),
    ]  # fmt: skip
    await scene.restart()
    scene.reconciler.declare(ALL)
    assert await at_rest(scene)
    assert scene.reconciler.declared[second].parent == YEAR.id


async def test_moving_keeps_also_who_left_the_new_parent_some_time_but_nobody_who_is_banned_there(
    scene: Scene,
) -> None:
    year_2 = replace(YEAR, id=CommunityId("year-2"), name="Year 2", members=frozenset({DAN}))
    class_ = replace(CLASS, members=frozenset({DAN, FAY}))
    await settle(scene, (SCHOOL, YEAR, year_2, class_))
    await scene.leave(DAN, room(scene, year_2))
    await scene.join(ANN, room(scene, year_2))
    await scene.move(ANN, room(scene, year_2), "ban", FAY)
    await settle(scene, (SCHOOL, YEAR, year_2, class_))
    assert states(scene, DAN, year_2, CLASS) == ["leave", "join"]
    await settle(scene, (SCHOOL, YEAR, year_2, replace(class_, parent=year_2.id)))
    assert states(scene, DAN, year_2, CLASS) == ["join", "join"]
    assert states(scene, FAY, SCHOOL, YEAR, year_2, CLASS) == ["join", "join", "ban", "ban"]


async def test_they_stand_five_deep_at_most(scene: Scene) -> None:
    await settle(scene)
    four = await scene.subcommunities.create(await now(scene, CLASS), ANN, "Four", None)
    await settle(scene)
    five = await scene.subcommunities.create(scene.reconciler.declared[four], ANN, "Five", None)
    await settle(scene)
    with pytest.raises(Refused, match="at most 5"):
        await scene.subcommunities.create(scene.reconciler.declared[five], ANN, "Six", None)
    other = await scene.subcommunities.create(await now(scene, SCHOOL), ANN, "Other", None)
    await settle(scene)
    deeper = await scene.subcommunities.create(scene.reconciler.declared[other], ANN, "Deeper", None)
    await settle(scene)
    assert deeper == "deeper"
    with pytest.raises(Refused, match="at most 5"):
        await scene.subcommunities.move(scene.reconciler.declared[other], ANN, scene.reconciler.declared[four])


async def test_one_that_is_deactivated_is_listed_no_longer_until_it_begins_again(scene: Scene) -> None:
    await settle(scene)
    year, class_ = room(scene, YEAR), room(scene, CLASS)
    links = ((year, "m.space.child", class_), (class_, "m.space.parent", year))
    assert all((one.content(kind, other.room_id) or {}).get("via") for one, kind, other in links)
    await scene.deactivations.deactivate(await now(scene, CLASS), ANN, "Class 1A")
    await settle(scene)
    assert [one.content(kind, other.room_id) for one, kind, other in links] == [{}, {}]
    assert await at_rest(scene)
    assert states(scene, DAN, SCHOOL, YEAR) == ["join", "join"], "who came by it stays"
    await scene.deactivations.reactivate(CLASS.id)
    await settle(scene)
    assert all((one.content(kind, other.room_id) or {}).get("via") for one, kind, other in links)
    assert await at_rest(scene)


async def test_a_kill_leaves_no_link_to_one_that_is_deactivated(new_scene: Callable[..., Awaitable[Scene]]) -> None:
    for point in itertools.count(0, 4):
        scene = await new_scene()
        await settle(scene)
        year, class_ = room(scene, YEAR), room(scene, CLASS)
        await scene.deactivations.deactivate(await now(scene, CLASS), ANN, "Class 1A")
        scene.faults.arm(point)
        with contextlib.suppress(Crash):
            await scene.catch_up()
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            await scene.start()
        scene.faults.arm(None)
        await settle(scene)
        assert await scene.deactivations.outstanding(CLASS.id) == 0
        links = [year.content("m.space.child", class_.room_id), class_.content("m.space.parent", year.room_id)]
        assert links == [{}, {}], f"killed at {point}"
        if survived:
            assert point > 20
            return
