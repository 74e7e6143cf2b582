"""Before an announcement: whoever is out of the community is out of its announcement room, whatever else waits."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from bridge.core.community import Community, Group, RoomKind
from bridge.core.errors import Forbidden, Refused, Unreachable
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan"))
PUPILS = frozenset(UserId(f"@pupil-{number}:example.org") for number in range(8))
CHESS = RoomKeyName("chess")
NAME = CommunityId("school")
SCHOOL = Community(
    NAME,
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID, DAN}),
    groups=(Group(CHESS, RoomKind.OPEN, members=frozenset({CID})),),
)
WITHOUT_DAN = replace(SCHOOL, members=frozenset({CID}))


@pytest.fixture
async def settled(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    return scene


def kicks(room_id: str, name: str) -> bool:
    return f"rooms/{room_id.replace('!', '%21').replace(':', '%3A')}/kick" in name


async def test_whoever_the_declaration_removes_is_out_before_the_first_pass(settled: Scene) -> None:
    settled.reconciler.declare([WITHOUT_DAN])
    assert await settled.reconciler.before_announcing(NAME)
    assert settled.announcement_room.membership(DAN) == "leave"
    await settled.reconcile(WITHOUT_DAN)
    assert settled.space.membership(DAN) == "leave"


async def test_a_removal_that_was_cut_off_behind_the_space_is_finished(settled: Scene) -> None:
    for room in (settled.announcement_room, settled.room("general")):
        settled.faults.fail(Unreachable("HTTP 502", status=502), partial(kicks, room.room_id))
    await settled.apply(WITHOUT_DAN)
    assert settled.space.membership(DAN) == "leave"
    assert settled.announcement_room.membership(DAN) == "join"
    await settled.restart()
    settled.reconciler.declare([WITHOUT_DAN])
    await settled.reconciler.before_announcing(NAME)
    assert settled.announcement_room.membership(DAN) == "leave"


async def test_whenever_a_removal_is_killed_nobody_is_left_in_the_room(settled: Scene) -> None:
    for point in itertools.count():
        await settled.settle(SCHOOL)
        settled.faults.arm(point)
        try:
            await settled.apply(WITHOUT_DAN)
        except Crash:
            await settled.die()
            await settled.start()
        else:
            settled.faults.arm(None)
            break
        settled.reconciler.declare([WITHOUT_DAN])
        await settled.reconciler.before_announcing(NAME)
        assert settled.announcement_room.membership(DAN) == "leave", point
        await settled.settle(WITHOUT_DAN)
        assert settled.space.membership(DAN) == "leave", point
    assert point > 20


async def test_a_held_removal_waits_but_who_is_out_of_the_space_does_not(scene: Scene) -> None:
    school = replace(SCHOOL, members=frozenset({CID, DAN}) | PUPILS)
    await scene.settle(school)
    scene.reconciler.declare([replace(SCHOOL, members=frozenset())])
    await scene.leave(DAN, scene.space)
    await scene.reconciler.before_announcing(NAME)
    assert scene.announcement_room.membership(DAN) == "leave"
    assert all(scene.announcement_room.membership(user) == "join" for user in PUPILS)


async def test_while_a_plan_is_held_the_removals_of_the_one_in_force_are_finished(scene: Scene) -> None:
    school = replace(SCHOOL, members=frozenset({CID, DAN}) | PUPILS)
    await scene.settle(school)
    for room in (scene.space, scene.announcement_room):
        scene.faults.fail(Unreachable("HTTP 502", status=502), partial(kicks, room.room_id), times=None)
    await scene.apply(replace(WITHOUT_DAN, members=frozenset({CID}) | PUPILS))
    scene.faults.heal()
    assert scene.announcement_room.membership(DAN) == "join"
    scene.reconciler.declare([replace(SCHOOL, members=frozenset())])
    await scene.reconciler.before_announcing(NAME)
    assert scene.announcement_room.membership(DAN) == "leave"
    assert all(scene.announcement_room.membership(user) == "join" for user in PUPILS)


async def test_where_nobody_has_to_go_nobody_goes_and_nothing_is_written(settled: Scene) -> None:
    settled.forget_requests()
    assert not await settled.reconciler.before_announcing(NAME)
    assert settled.homeserver.writes == []


async def test_a_homeserver_that_does_not_answer_lets_the_announcement_wait(settled: Scene) -> None:
    settled.reconciler.declare([WITHOUT_DAN])
    settled.faults.fail(Unreachable("HTTP 502", status=502), partial(kicks, settled.announcement_room.room_id))
    with pytest.raises(Unreachable, match=r"@dan:example\.org should no longer .* HTTP 502"):
        await settled.reconciler.before_announcing(NAME)
    await settled.reconciler.before_announcing(NAME)
    assert settled.announcement_room.membership(DAN) == "leave"


async def test_a_homeserver_that_refuses_lets_the_announcement_fail_in_words(settled: Scene) -> None:
    settled.reconciler.declare([WITHOUT_DAN])
    refused = Forbidden("you have no power here", status=403, errcode="M_FORBIDDEN")
    settled.faults.fail(refused, partial(kicks, settled.announcement_room.room_id))
    with pytest.raises(Refused, match=r"@dan:example\.org should no longer .* no power here"):
        await settled.reconciler.before_announcing(NAME)


async def test_whom_nobody_can_remove_is_a_reason_to_fail_too(new_scene: Callable[..., Any]) -> None:
    scene = await new_scene(version="11")
    await scene.settle(SCHOOL)
    room = scene.announcement_room
    scene.homeserver.tamper(room.room_id, "m.room.power_levels", scene.with_users(room, dan=200), by=STEWARD)
    scene.reconciler.declare([WITHOUT_DAN])
    with pytest.raises(Refused, match=r"@dan:example\.org should no longer"):
        await scene.reconciler.before_announcing(NAME)


async def test_a_room_that_cannot_be_looked_into_is_not_announced_in(settled: Scene) -> None:
    refused = Forbidden("you are not in the room", status=403, errcode="M_FORBIDDEN")
    state = f"{settled.announcement_room.room_id.replace('!', '%21')}/state"
    settled.faults.fail(refused, lambda name: state in name and name.startswith("GET"))
    with pytest.raises(Refused, match="cannot be read"):
        await settled.reconciler.before_announcing(NAME)


async def test_what_the_look_found_is_worked_off_though_its_events_are_no_news(settled: Scene) -> None:
    """Rooms are read anew before an announcement; who left the space a moment before has to leave the groups all the
    same."""
    await settled.leave(CID, settled.space)
    assert await settled.reconciler.before_announcing(NAME)
    settled.watch.look_again(NAME)
    await settled.hear()
    assert settled.room(CHESS).membership(CID) == "leave"
