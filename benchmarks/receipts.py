"""What read receipts cost: a crowd that opens its phones after an announcement, and the figures afterwards.

    python -m benchmarks.receipts [--sizes 1000 10000 100000] [--json FILE]

So many people, each with one receipt at the newest announcement, come in transactions of 100 over HTTP on the loopback
interface and are stored in a SQLite file (WAL, synchronous=FULL) before each is answered. Against it stands the same in
rooms of which nobody wants to know, which are thrown away: the floor. Growth is the processor time of one receipt in
the largest crowd over that in the smallest. `figures` is how long it then takes to tell how far 20 announcements came.
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

import aiohttp
import orjson
from aiohttp import web

from bridge.core.announcements import Target
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import Posted
from bridge.features.reach import Reach
from bridge.intake.interest import Interest
from bridge.intake.transactions import MAX_BODY_BYTES, Transactions
from bridge.plan.state import Accounts, Membership, RoomState
from bridge.store import announcements
from bridge.store.database import Database
from bridge.store.inbox import Arrival, Inbox

TOKEN = "benchmark"
STEWARD, ANNOUNCER = UserId("@communities:example.org"), UserId("@announcements:example.org")
SCHOOL, ROOM, OTHER = CommunityId("school"), RoomId("!announcements:example.org"), RoomId("!group:example.org")
ANNOUNCEMENTS = 20
TXN = 100
TARGET_PER_MINUTE = 10_000


class SystemClock:
    def now_ms(self) -> int:
        return int(time.time() * 1000)


class Ground:
    """A room of so many members on a database of its own, and whoever takes transactions in."""

    def __init__(self, folder: Path, members: int) -> None:
        self.people = [UserId(f"@member{number}:example.org") for number in range(members)]
        self.state = RoomState(ROOM, "12", frozenset(), {}, {user: Membership("join") for user in self.people})
        self.database = Database(f"sqlite:///{folder}/receipts.db")
        self.inbox = Inbox(self.database)
        clock = SystemClock()
        self.reach = Reach(
            database=self.database,
            positions=self.inbox.positions,
            reader=self,  # type: ignore[arg-type]
            accounts=Accounts(STEWARD, ANNOUNCER),
            clock=clock,
        )
        self.transactions = Transactions(
            hs_token=TOKEN,
            steward=STEWARD,
            announcer=ANNOUNCER,
            rooms=self,
            inbox=self.inbox,
            clock=clock,
            on_receipts=self.reach.read,
        )

    def interest(self, room_id: RoomId) -> Interest | None:
        return {ROOM: Interest.ANNOUNCEMENTS, OTHER: Interest.GROUP}.get(room_id)

    def is_voting(self, room_id: RoomId) -> bool:
        return False

    def peek(self, _: RoomId) -> RoomState:
        return self.state

    async def read(self, _: RoomId) -> RoomState:
        return self.state

    async def announce(self) -> EventId:
        """Announcements, as they are noted when they come back from the homeserver; gives the last one's event."""
        for number in range(ANNOUNCEMENTS):
            event_id = EventId(f"$announcement-{number}")
            target = Target(SCHOOL, ROOM)
            async with self.database.transaction() as tx:
                one = await announcements.add(tx, str(number), "operator", "", None, number)
                await announcements.add_target(tx, one, target)
                await announcements.delivered(tx, one, target, event_id, devices=1, unreached=0, now=number)
            await self.inbox.store([Arrival(event_id, ROOM, b"{}")], number)
            await self.reach.posted(Posted(event_id, ROOM, ANNOUNCER, number, "m.room.encrypted", short_reaction=False))
        return event_id

    def bodies(self, room: RoomId, event_id: str) -> list[bytes]:
        """One receipt of each person, as Synapse sends them: each a piece of its own."""
        found = []
        for start in range(0, len(self.people), TXN):
            pieces = [
                {
                    "type": "m.receipt",
                    "room_id": room,
                    "content": {event_id: {"m.read": {user: {"ts": 1_790_000_000_000, "thread_id": "main"}}}},
                }
                for user in self.people[start : start + TXN]
            ]
            found.append(orjson.dumps({"events": [], "ephemeral": pieces}))
        return found


async def push(url: str, bodies: list[bytes]) -> tuple[float, float]:
    """Send transactions one after the other, as a homeserver does; gives seconds, and seconds of processor time."""
    began, worked = time.perf_counter(), time.process_time()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        for number, body in enumerate(bodies):
            async with session.put(f"{url}/_matrix/app/v1/transactions/{number}", data=body) as response:
                assert response.status == 200, await response.text()
    return time.perf_counter() - began, time.process_time() - worked


async def measure(members: int) -> dict[str, Any]:
    """A crowd of that size."""
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), members)
        await ground.database.start()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        ground.transactions.add_routes(app)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        url = f"http://127.0.0.1:{port}"
        try:
            event_id = await ground.announce()
            _, floor = await push(url, ground.bodies(OTHER, event_id))
            seconds, worked = await push(url, ground.bodies(ROOM, event_id))
            began = time.perf_counter()
            figures = await ground.reach.latest(SCHOOL, ANNOUNCEMENTS)
            told = time.perf_counter() - began
            assert [one.read for one in figures] == [members] * ANNOUNCEMENTS, "every one was counted"
        finally:
            await runner.cleanup()
            await ground.database.stop()
    return {
        "people": members,
        "per_minute": round(members / seconds * 60),
        "processor_us": round(worked / members * 1e6, 1),
        "floor_us": round(floor / members * 1e6, 1),
        "ratio": round(worked / floor, 2),
        "figures_ms": round(told * 1e3, 1),
    }


def main() -> int:
    """Measure, and print a table; 1 where a crowd of `TARGET_PER_MINUTE` would be too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    results = [asyncio.run(measure(size)) for size in given.sizes]
    print("people   a minute   processor time each   thrown away   ratio   figures of 20")
    for one in results:
        print(
            f"{one['people']:>6,}  {one['per_minute']:>9,}  {one['processor_us']:>16} µs  {one['floor_us']:>9} µs  "
            f"{one['ratio']:>6}  {one['figures_ms']:>9} ms"
        )
    growth = results[-1]["processor_us"] / results[0]["processor_us"]
    print(f"growth from {results[0]['people']:,} to {results[-1]['people']:,}: {growth:.2f}")
    if given.json:
        given.json.write_text(json.dumps({"results": results, "growth": round(growth, 2)}, indent=2) + "\n")
    return 0 if all(one["per_minute"] > TARGET_PER_MINUTE for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
