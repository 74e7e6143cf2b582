"""What handling one event costs, among ever more communities and ever more members.

    python -m benchmarks.event [--json FILE]

Processor time and requests for one change of a membership, from its being handed over by intake to the end of the pass
that follows, in memory: somebody is invited to the space by an owner, and joins. The homeserver is the fake one of the
tests, whose own work is in the figures. The floor is the same with 10 communities of 10 members.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bridge.core.community import ANNOUNCEMENTS, GENERAL, SPACE, Community, Group, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.fakes.homeserver import FakeRoom
from tests.fakes.scene import Scene, url_in

SIZES = (10, 100, 1000)
EVENTS = 100
WARM_UP = 3
MOST_GROWTH = 1.5
OWNER = UserId("@owner:example.org")


def seat(room: FakeRoom, users: list[UserId]) -> None:
    """Have people in a room, whom nobody has heard coming."""
    for user in users:
        room.state["m.room.member", user] = {
            "type": "m.room.member", "state_key": user, "sender": user, "content": {"membership": "join"},
            "event_id": f"$joined-{user}-{room.room_id}", "room_id": room.room_id, "origin_server_ts": 1,
        }  # fmt: skip


async def peopled(scene: Scene, communities: int, members: int) -> Community:
    """So many communities at rest, one of which has so many members."""
    group = Group(RoomKeyName("chess"), RoomKind.REQUEST)
    declared = [
        Community(CommunityId(f"c{number}"), name="C", owners=frozenset({OWNER}), groups=(group,))
        for number in range(communities)
    ]
    scene.reconciler.declare(declared)
    for community in declared:
        await scene.reconciler.apply(community)
    await scene.accept_all()
    chosen = declared[communities // 2]
    known = await scene.known(chosen.id)
    for key in (SPACE, ANNOUNCEMENTS, GENERAL):
        room = scene.homeserver.room(known.rooms[key])
        seat(room, [UserId(f"@member{number}:example.org") for number in range(members)])
        scene.reader.forget(room.room_id)
    scene.heard_all()
    for _ in range(2):
        await scene.watch.settled(chosen.id)
        await scene.catch_up()
    return chosen


async def measure_one(communities: int, members: int) -> dict[str, float]:
    """Milliseconds of processor time, and requests, for one event."""
    with tempfile.TemporaryDirectory(prefix="matrix-communities-benchmark-") as folder:
        scene = Scene(url_in(Path(folder)))
        await scene.start()
        community = await peopled(scene, communities, members)
        space = scene.homeserver.room((await scene.known(community.id)).rooms[SPACE])
        begin, before = 0.0, 0
        for number in range(WARM_UP + EVENTS // 2):
            if number == WARM_UP:
                begin, before = time.process_time(), len(scene.homeserver.requests)
            guest = UserId(f"@guest{number}:example.org")
            await scene.move(OWNER, space, "invite", guest)
            await scene.hear()
            await scene.join(guest, space)
            await scene.hear()
        took = time.process_time() - begin
        requests = len(scene.homeserver.requests) - before
        await scene.stop()
    return {"ms": round(took / EVENTS * 1000, 2), "requests": round(requests / EVENTS, 2)}


async def measure() -> dict[str, Any]:
    """Everything, the floor first."""
    floor = await measure_one(10, 10)
    found: dict[str, Any] = {"floor": floor, "communities": {}, "members": {}}
    for size in SIZES:
        found["communities"][str(size)] = floor if size == 10 else await measure_one(size, 10)
        found["members"][str(size)] = floor if size == 10 else await measure_one(10, size)
    return found


def main() -> int:
    """Print what was measured; 1 if it grows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = asyncio.run(measure())
    floor, grows = found["floor"], False
    for what in ("communities", "members"):
        for size, one in found[what].items():
            growth = one["ms"] / floor["ms"]
            grows |= growth > MOST_GROWTH or one["requests"] > floor["requests"]
            print(
                f"{size} {what}: {one['ms']} ms of processor time and {one['requests']} requests for one event: "
                f"{growth:.2f} × (to reach: {MOST_GROWTH})"
            )
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if grows else 0


if __name__ == "__main__":
    sys.exit(main())
