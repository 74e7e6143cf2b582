"""A community of a hundred groups: made, shown, given another admin, and left by somebody who is removed.

    python -m benchmarks.hundred [--groups 100] [--rounds 3] [--json FILE]

On a private Synapse on SQLite. Somebody is made an admin in the space by an owner's client, until every room has their
level; somebody is kicked from the space by an owner's client, until they are in no room. The floor of either are the
bare requests: one PUT of levels or one kick a room, with as many in flight as the service has
(`reconcile.parallel_rooms`), from a script that knows what to do and reads nothing. They take turns; the service is
frozen meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from benchmarks.stage import Stage, stage
from bridge.cli.demo.person import Person
from bridge.cli.door import Door
from bridge.config import load
from bridge.matrix.client import Client, path
from tests.harness.wait import eventually

IN_FLIGHT = 8
"""`reconcile.parallel_rooms` as it is where nobody changes it."""
LEVELS = "m.room.power_levels"
MOST_ROLE, MOST_CASCADE = 2.0, 1.5
POLL_SECONDS = 0.01


async def at_most(jobs: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Do things with so many in flight."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(job: Coroutine[Any, Any, Any]) -> None:
        async with gate:
            await job

    await asyncio.gather(*(one(job) for job in jobs))


async def timed(begin: Callable[[], Awaitable[Any]], over: Callable[[], Awaitable[bool]]) -> float:
    """Seconds from the beginning of something until it is over."""
    started = time.perf_counter()
    await begin()
    await eventually(over, deadline=300, interval=POLL_SECONDS)
    return time.perf_counter() - started


class Hundred:
    """The community, its people, and the script with the service's token."""

    def __init__(self, place: Stage, client: Client, rooms: dict[str, str], owner: Person, dan: Person) -> None:
        self.place, self.client, self.rooms, self.owner, self.dan = place, client, rooms, owner, dan
        self.space = rooms["space"]

    async def levels(self, room: str) -> dict[str, Any]:
        return await self.client.request("GET", path("v3", "rooms", room, "state", LEVELS, ""))

    # --- roles ------------------------------------------------------------------------------------------------------

    async def role_carried(self, level: int) -> float:
        """An owner writes a level in the space; until it stands in every other room."""
        content = await self.levels(self.space)
        content = {**content, "users": {**content["users"], self.dan.user_id: level}}
        others = len(self.rooms) - 1
        mark = self.place.mark()

        async def carried() -> bool:
            return sum(LEVELS in one.path and one.method == "PUT" for one in self.place.tap.heard[mark:]) >= others

        return await timed(lambda: self.owner.put_state(self.space, LEVELS, "", content), carried)

    async def role_bare(self, contents: dict[str, dict[str, Any]], level: int) -> float:
        """The floor: the same levels, one PUT a room."""

        async def put(room: str) -> None:
            users = {**contents[room]["users"], self.dan.user_id: level}
            parts = path("v3", "rooms", room, "state", LEVELS, "")
            await self.client.request("PUT", parts, body={**contents[room], "users": users})

        async def over() -> bool:
            return True

        return await timed(lambda: at_most([put(room) for room in self.rooms.values()]), over)

    # --- removals ---------------------------------------------------------------------------------------------------

    async def everywhere(self, person: Person) -> None:
        """Somebody who was invited to the space joins every room that is open to them."""
        await person.wait_invite(self.space, 60)
        await person.call("POST", f"/join/{self.space}", {})
        for key in ("announcements", "general"):
            await person.wait_invite(self.rooms[key], 60)
        keys = [key for key in self.rooms if key not in ("space", "control")]
        await at_most([person.call("POST", f"/join/{self.rooms[key]}", {}) for key in keys])

    async def cascade(self, person: Person) -> float:
        """An owner kicks them from the space; until they are in no room."""
        return await timed(lambda: self.owner.kick(self.space, person.user_id), lambda: _nowhere(person))

    async def kicked_bare(self, person: Person) -> float:
        """The floor: one kick a room."""

        async def kick(room: str) -> None:
            body = {"user_id": person.user_id}
            await self.client.request("POST", path("v3", "rooms", room, "kick"), body=body)

        rooms = [room for key, room in self.rooms.items() if key != "control"]
        return await timed(lambda: at_most([kick(room) for room in rooms]), lambda: _nowhere(person))


async def _nowhere(person: Person) -> bool:
    return not await person.joined_rooms()


async def _at_rest(door: Door) -> None:
    async def done() -> bool:
        status = await door.ask("status", {})
        return status["queue"]["events"] == 0 and not status["communities"][0]["drift"]

    await eventually(done, deadline=120, interval=0.2, what="the service to be at rest")


async def measure(groups: int, rounds: int) -> dict[str, Any]:
    async with stage(reconcile={"freeze_after_changes": 1000, "every_minutes": 1440}) as place:
        owner, dan = await place.people.nio("owner"), await place.people.nio("dan")
        guests = [await place.people.nio("guest") for _ in range(2 * rounds)]
        named = [person.user_id for person in (dan, *guests)]
        declared = {f"group-{number}": {"name": f"Group {number}", "kind": "open"} for number in range(groups)}
        community = {"name": "Benchmark", "owners": [owner.user_id], "members": named, "groups": declared}
        place.operator.edit(communities={"bench": community})
        await place.operator.start()
        door = Door(load(place.operator.config))
        mark, begin = place.mark(), time.perf_counter()
        outcome = await door.ask("apply", {"communities": ["bench"], "force": False})
        applied = time.perf_counter() - begin
        assert outcome["ok"], outcome
        requests = len(place.requests(mark))
        status = (await door.ask("status", {}))["communities"][0]
        rooms = {"space": status["space"], **{room["key"]: room["room_id"] for room in status["rooms"]}}
        owner.accept_invites()
        dan.accept_invites()
        for person in (owner, dan):
            await person.wait_joined(rooms["general"])
        begin = time.perf_counter()
        shown = {one["room_id"] for one in await owner.hierarchy(rooms["space"])}
        listed = time.perf_counter() - begin
        assert shown == {room for key, room in rooms.items() if key != "control"}, "the hierarchy is complete"
        token = str(place.operator.settings()["registration"]["as_token"])
        client = Client(place.tap.url, token)
        await client.start()
        hundred = Hundred(place, client, rooms, owner, dan)
        await asyncio.gather(*(hundred.everywhere(guest) for guest in guests))
        # who is declared is not adopted: from here on the people decide
        kept = {key: value for key, value in community.items() if key not in ("owners", "members")}
        place.operator.edit(communities={"bench": kept})
        await place.operator.command("apply", "--yes")
        roles, cascades, bare_roles, bare_kicks = [], [], [], []
        for number in range(rounds):
            roles += [await hundred.role_carried(level) for level in (100, 0)]
            cascades.append(await hundred.cascade(guests[number]))
            await _at_rest(door)
            contents = {room: await hundred.levels(room) for room in rooms.values()}
            place.operator.send_signal(signal.SIGSTOP)
            bare_roles += [await hundred.role_bare(contents, level) for level in (100, 0)]
            bare_kicks.append(await hundred.kicked_bare(guests[rounds + number]))
            place.operator.send_signal(signal.SIGCONT)
            await _at_rest(door)
        await client.stop()
    result: dict[str, Any] = {
        "rooms": len(rooms),
        "apply_seconds": round(applied, 1),
        "apply_requests_a_room": round(requests / len(rooms), 2),
        "hierarchy_seconds": round(listed, 2),
    }
    for name, ours, bare in (("role", roles, bare_roles), ("cascade", cascades, bare_kicks)):
        ours_median, bare_median = statistics.median(ours), statistics.median(bare)
        result[name] = {
            "seconds": round(ours_median, 2),
            "bare_seconds": round(bare_median, 2),
            "ratio": round(ours_median / bare_median, 2),
        }
    return result


def main() -> int:
    """Print what was measured; 1 if a ratio is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = asyncio.run(measure(args.groups, args.rounds))
    print(
        f"{found['rooms']} rooms: applied in {found['apply_seconds']} s with {found['apply_requests_a_room']} requests "
        f"a room; all pages of the hierarchy, complete, in {found['hierarchy_seconds']} s"
    )
    for name, what, most in (
        ("role", "a role in the space, until every room has it", MOST_ROLE),
        ("cascade", "a kick from the space, until somebody is in no room", MOST_CASCADE),
    ):
        one = found[name]
        print(f"{what}: {one['seconds']} s, bare {one['bare_seconds']} s: {one['ratio']} × (to reach: {most})")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if found["role"]["ratio"] <= MOST_ROLE and found["cascade"]["ratio"] <= MOST_CASCADE else 1


if __name__ == "__main__":
    sys.exit(main())
