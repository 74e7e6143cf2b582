"""The process dies, or the homeserver does, at every point of making a community: what follows converges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge.core.community import Community, Group, RoomKind
from bridge.core.errors import Unreachable
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD, Event
from tests.fakes.scene import Scene

ANN, DAN = UserId("@ann:example.org"), UserId("@dan:example.org")
BOARD = RoomKeyName("board")
CLUB = Community(
    CommunityId("club"),
    name="Club",
    owners=frozenset({ANN}),
    general=False,
    groups=(Group(BOARD, RoomKind.OPEN, members=frozenset({DAN})),),
)
KEYS = ("space", "announcements", "control", "board")


async def attempt(scene: Scene) -> str:
    """Apply, until the end or until death."""
    try:
        outcome = await scene.apply(CLUB)
    except Crash:
        await scene.die()
        await scene.start()
        return "dead"
    except Unreachable:
        return "failed"
    finally:
        scene.faults.arm(None)
    return "done" if outcome.ok else "failed"


def unprotected(feed: list[Event]) -> list[str]:
    """Invites into rooms that had no encryption, or no levels of ours, at that moment."""
    state: dict[RoomId, dict[str, Any]] = {}
    found = []
    for event in feed:
        here = state.setdefault(event["room_id"], {})
        if event["type"] == "m.room.member":
            if event["content"]["membership"] == "invite":
                levels = here.get("m.room.power_levels", {})
                space = here["m.room.create"].get("type") == "m.space"
                if not (levels.get("state_default") == 200 and (space or "m.room.encryption" in here)):
                    found.append(f"{event['state_key']} into {event['room_id']}")
        elif "state_key" in event:
            here[event["type"]] = event["content"]
    return found


def invites(feed: list[Event]) -> list[tuple[str, str]]:
    return sorted(
        (event["room_id"], event["state_key"])
        for event in feed
        if event["type"] == "m.room.member" and event["content"]["membership"] == "invite"
    )


async def converges(scene: Scene) -> None:
    """After a restart everything is there, once."""
    outcome = await scene.apply(CLUB)
    assert outcome.ok, outcome
    known = await scene.known(CLUB.id)
    assert known.rooms.keys() == set(KEYS)
    assert set(known.rooms.values()) == scene.homeserver.rooms.keys(), "a room is doubled or orphaned"
    assert scene.homeserver.aliases == {}
    assert {key: scene.room(key).room_id for key in KEYS} == known.rooms
    sent = invites(scene.homeserver.feed)
    assert len(sent) == len(set(sent)), "somebody was invited twice"
    assert unprotected(scene.homeserver.feed) == []
    await scene.restart()
    scene.forget_requests()
    assert (await scene.apply(CLUB)).done == 0
    assert scene.homeserver.writes == []
    assert (await scene.reconciler.status(CLUB))["drift"] == []


async def count_points(scene: Scene) -> int:
    scene.faults.arm(None)
    assert (await scene.apply(CLUB)).ok
    points = scene.faults.points
    await converges(scene)
    return points


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
async def test_the_process_is_killed_at_every_point(
    new_scene: Callable[..., Any], part: int, room_version: str
) -> None:
    points = await count_points(await new_scene(version=room_version))
    assert points > 100
    for point in range(part, points, PARTS if room_version == "12" else 3 * PARTS):
        scene = await new_scene(version=room_version)
        scene.faults.arm(point)
        assert await attempt(scene) == "dead", point
        await converges(scene)
        await scene.stop()


async def test_the_homeserver_dies_at_every_point(new_scene: Callable[..., Any]) -> None:
    points = await count_points(await new_scene())
    for point in range(0, points, 3):
        scene = await new_scene()
        scene.faults.arm(point, instead=Unreachable("HTTP 502", status=502))
        await attempt(scene)
        await converges(scene)
        await scene.stop()


async def test_the_process_is_killed_again_and_again(new_scene: Callable[..., Any]) -> None:
    """Whoever is killed every few steps gets there as well."""
    scene = await new_scene()
    for round_number in range(200):
        scene.faults.arm(23 + round_number % 7)
        if await attempt(scene) == "done":
            break
    else:
        pytest.fail("no progress")
    await converges(scene)


async def test_killed_while_healing(new_scene: Callable[..., Any]) -> None:
    """Drift that was found before the death is healed after it."""
    for point in range(0, 60, 2):
        scene = await new_scene()
        assert (await scene.apply(CLUB)).ok
        room = scene.announcement_room
        await scene.accept_all()
        scene.homeserver.tamper(room.room_id, "m.room.power_levels", scene.levels(room, events_default=0), by=STEWARD)
        scene.homeserver.tamper(room.room_id, "m.room.encryption", {}, by=STEWARD)
        await scene.restart()
        scene.faults.arm(point)
        await attempt(scene)
        assert (await scene.apply(CLUB)).ok
        assert room.needed("m.room.encrypted", state=False) == 100
        assert room.content("m.room.encryption") == {"algorithm": "m.megolm.v1.aes-sha2"}
        await scene.stop()
