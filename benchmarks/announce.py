"""From giving an announcement until it can be read: on 1 to 1,000 devices in one room, and in 1 to 100 rooms.

    python -m benchmarks.announce [--devices 1 10 100 1000] [--rooms 1 10 100] [--rounds 5] [--json FILE]

On a private Synapse on SQLite, with the whole service beside it, and keys sent ahead as they are where people do not
come and go in the same moment. The floor is a bare `PUT …/send` of an encrypted event of the same size into the same
rooms, by a script that looks at nothing; into many rooms with as many in flight as the service has (`worker.LANES`).
They take turns. Both go through a proxy, which counts the requests.

- *devices*: the people of each room have libolm devices (up to 10: one a user; 100: two; 1,000: five). Up to 10 of
  them, spread over the room, wait in `/sync`; the time is over when the last of them has the event and has read it with
  the key that it was given. Of the floor nothing can be read; there it is over when they have the event.
- *rooms*: an announcement to so many communities, each with a room of its own, in all of which is one device. It is
  over when that has read it in every room. *Growth* is the time for a room, against that with a single one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.megolm.reader import TEXT
from benchmarks.megolm_synapse import AT_ONCE, WATCHERS, Device, all_of, devices_a_user, keys_in, person
from benchmarks.stage import ANNOUNCER, Stage, stage
from bridge.cli.door import Door
from bridge.config import load
from bridge.core.ids import UserId
from bridge.matrix.client import Client, path
from bridge.worker import LANES
from tests.harness.wait import eventually

MOST_READABLE = 3.0
"""Our time until an announcement can be read, against that of a bare event: in one room."""
EVENTS_ALONE = json.dumps(
    {
        "room": {"timeline": {"types": ["m.room.encrypted"]}, "state": {"types": []}, "ephemeral": {"types": []}},
        "presence": {"types": []},
        "account_data": {"types": []},
    }
)


@dataclass
class Watcher:
    """A device that waits for what is said, and reads it."""

    device: Device
    since: str = ""
    joined: set[str] = field(default_factory=set)

    async def look(self, timeout_ms: int = 0) -> dict[str, dict[str, Any]]:
        """Take the keys that have come; gives what was said since, by room."""
        query = {"filter": EVENTS_ALONE, "timeout": str(timeout_ms), "set_presence": "offline"}
        if self.since:
            query["since"] = self.since
        answer = await self.device.ask("GET", path("v3", "sync"), params=query)
        self.since = answer["next_batch"]
        for content in keys_in(answer):
            self.device.reader.take(content)
        rooms = answer.get("rooms", {}).get("join", {})
        self.joined |= rooms.keys()
        said = {
            room: one["timeline"]["events"][-1]["content"] for room, one in rooms.items() if one["timeline"]["events"]
        }
        return {room: content for room, content in said.items() if "ciphertext" in content}

    async def sees(self, rooms: Sequence[str], *, reads: bool) -> None:
        """Wait until something was said in each of the rooms, and read it."""
        missing = set(rooms)
        while missing:
            said = await self.look(timeout_ms=30_000)
            for room in missing & said.keys():
                assert not reads or self.device.reader.read(said[room]) == TEXT
            missing -= said.keys()

    async def accept(self, invites: int) -> None:
        """Join whatever one is invited to, until there were so many invitations."""
        done: set[str] = set()

        async def all_accepted() -> bool:
            answer = await self.device.ask("GET", path("v3", "sync"), params={"timeout": "0"})
            for room in answer.get("rooms", {}).get("invite", {}).keys() - done:
                await self.device.ask("POST", path("v3", "join", room), json={})
                done.add(room)
            return len(done) >= invites

        await eventually(all_accepted, deadline=600, interval=0.2, what=f"{invites} invitations")


class Place:
    """The service with its communities, and a script with its token."""

    def __init__(self, at: Stage, client: Client) -> None:
        self.at, self.client = at, client
        self.door = Door(load(at.operator.config))
        self.declared: dict[str, Any] = {}
        self.rooms: dict[str, str] = {}
        self.content: dict[str, Any] = {}
        self.device_id = ""

    async def declare(self, names: Sequence[str], owner: str, members: Sequence[str]) -> None:
        """Make communities with the same people in them."""
        one = {"owners": [owner], "members": list(members), "general": False}
        self.declared |= {name: {"name": name, **one} for name in names}
        self.at.operator.edit(communities=self.declared)
        outcome = await self.door.ask("apply", {"communities": list(names), "force": False})
        assert outcome["ok"], outcome
        for found in (await self.door.ask("status", {}))["communities"]:
            self.rooms[found["id"]] = next(one["room_id"] for one in found["rooms"] if one["key"] == "announcements")

    async def keys_are_ahead(self, names: Sequence[str], devices: int) -> None:
        """Say something, so that there is a session, and wait until every device holds its key."""
        await self.ours(names)

        async def ahead() -> bool:
            status = await self.door.ask("status", {})
            held = [one["keys"]["devices"] for one in status["communities"] if one["id"] in names]
            return held == [devices] * len(names) and status["queue"]["jobs"] == 0 == status["queue"]["events"]

        await eventually(ahead, deadline=300, interval=0.5, what="keys for every device")
        room = self.rooms[names[0]]
        page = await self.client.request(
            "GET", path("v3", "rooms", room, "messages"), as_user=UserId(ANNOUNCER), query={"dir": "b", "limit": "20"}
        )
        self.content = next(one["content"] for one in page["chunk"] if one["type"] == "m.room.encrypted")

    async def ours(self, names: Sequence[str]) -> None:
        """Announce, and wait until the service says that it is there."""
        what = {"communities": list(names), "text": TEXT, "source": secrets.token_hex(8)}
        outcome = await self.door.ask("announce", what)
        assert outcome["ok"], outcome

    async def bare(self, names: Sequence[str]) -> None:
        """The floor: an event of the same size into the same rooms."""
        gate = asyncio.Semaphore(LANES)

        async def put(room: str) -> None:
            async with gate:
                url = path("v3", "rooms", room, "send", "m.room.encrypted", secrets.token_hex(8))
                await self.client.request("PUT", url, as_user=UserId(ANNOUNCER), body=self.content)

        await asyncio.gather(*(put(self.rooms[name]) for name in names))

    async def timed(self, say: Callable[[], Awaitable[None]], watch: Awaitable[Any]) -> tuple[float, float]:
        """Seconds until it was answered, and until everybody who watches has seen it."""
        watching = asyncio.ensure_future(watch)
        await asyncio.sleep(0.5)  # until they wait at the homeserver
        began = time.perf_counter()
        await say()
        answered = time.perf_counter() - began
        await asyncio.wait_for(watching, 120)
        return answered, time.perf_counter() - began

    async def compared(self, names: Sequence[str], watchers: Sequence[Watcher], rounds: int) -> dict[str, Any]:
        """Ours and the floor in turns."""
        rooms = [self.rooms[name] for name in names]
        ours, bare, requests = [], [], 0
        for _ in range(rounds):
            await asyncio.gather(*(one.look() for one in watchers))
            mark = self.at.mark()
            ours.append(
                await self.timed(
                    lambda: self.ours(names), asyncio.gather(*(one.sees(rooms, reads=True) for one in watchers))
                )
            )
            requests = len(self.at.requests(mark))
            bare.append(
                await self.timed(
                    lambda: self.bare(names), asyncio.gather(*(one.sees(rooms, reads=False) for one in watchers))
                )
            )
        figures: dict[str, Any] = {"requests": requests}
        for name, index in (("answered", 0), ("readable", 1)):
            mine, floor = (statistics.median(one[index] for one in found) for found in (ours, bare))
            figures |= {name: round(mine, 3), f"bare_{name}": round(floor, 3), f"{name}_ratio": round(mine / floor, 2)}
        return figures


async def measure_devices(place: Place, http: aiohttp.ClientSession, sizes: Sequence[int], rounds: int) -> list[Any]:
    """One room with so many devices in it, for each size."""
    rows = []
    owner = (await place.at.people.account("owner")).user_id
    for size in sizes:
        a_user = devices_a_user(size)
        names = [f"member-{size}-{number}" for number in range(size // a_user)]
        people = await all_of(person(place.at.synapse, http, name, a_user) for name in names)
        users = [devices[0].account.user_id for devices in people]
        await place.declare([f"devices-{size}"], owner, users)
        await all_of(Watcher(devices[0]).accept(2) for devices in people)
        devices = [one for devices in people for one in devices]
        watchers = [Watcher(one) for one in devices[:: max(1, size // WATCHERS)][:WATCHERS]]
        await place.keys_are_ahead([f"devices-{size}"], size)
        rows.append({"devices": size, **await place.compared([f"devices-{size}"], watchers, rounds)})
        _note(f"{size} devices: {rows[-1]}")
    return rows


async def measure_rooms(place: Place, http: aiohttp.ClientSession, sizes: Sequence[int], rounds: int) -> list[Any]:
    """So many rooms, with one device in all of them."""
    rows: list[dict[str, Any]] = []
    [device] = await person(place.at.synapse, http, "everywhere", 1)
    watcher = Watcher(device)
    names = [f"town-{number}" for number in range(max(sizes))]
    owner = (await place.at.people.account("owner")).user_id
    await place.declare(names, owner, [device.account.user_id])
    await watcher.accept(2 * len(names))
    await place.keys_are_ahead(names, 1)
    for size in sizes:
        row = {"rooms": size, **await place.compared(names[:size], [watcher], rounds)}
        rows.append(row | {"growth": round(row["readable"] / size / (rows[0] if rows else row)["readable"], 2)})
        _note(f"{size} rooms: {rows[-1]}")
    return rows


async def measure(devices: Sequence[int], rooms: Sequence[int], rounds: int) -> dict[str, Any]:
    """Both, each on a homeserver of its own."""
    found: dict[str, Any] = {}
    for name, sizes, work in (("devices", devices, measure_devices), ("rooms", rooms, measure_rooms)):
        if not sizes:
            continue
        connector = aiohttp.TCPConnector(limit=AT_ONCE + WATCHERS)
        timeout = aiohttp.ClientTimeout(total=120)
        async with stage() as at, aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            await at.operator.start()
            client = Client(at.tap.url, str(at.operator.settings()["registration"]["as_token"]))
            await client.start()
            try:
                found[name] = await work(Place(at, client), http, sizes, rounds)
            finally:
                await client.stop()
    return found


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    for what in ("devices", "rooms"):
        for row in found.get(what, []):
            growth = f", a room takes {row['growth']} × what a single one does" if what == "rooms" else ""
            print(
                f"{row[what]} {what}: readable after {row['readable']} s, bare {row['bare_readable']} s: "
                f"{row['readable_ratio']} × (answered {row['answered_ratio']} ×); {row['requests']} requests{growth}"
            )


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Print what was measured; 1 if the ratio in a single room is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.announce", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--rooms", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found = asyncio.run(measure(options.devices, options.rooms, options.rounds))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(row["readable_ratio"] <= MOST_READABLE for row in found.get("devices", [])) else 1


if __name__ == "__main__":
    sys.exit(main())
