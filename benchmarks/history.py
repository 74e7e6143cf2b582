"""Past announcements for newcomers: what it costs to look, and to give, against the floor of raw Olm calls.

`python -m benchmarks.history`. A stub stands for the homeserver: it hands out real signed keys, and receives nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson

from bridge.core.ids import EventId, RoomId, UserId
from bridge.e2ee.bulk import seal
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import Account, Peer, Ratchet, import_room_key, new_group
from bridge.e2ee.window import Window
from bridge.store import history
from bridge.store import keys as key_store
from bridge.store.database import Database, Transaction
from bridge.store.history import MoveRow, SpokenRow
from bridge.store.keys import InboundRow
from tests.harness.key_world import ANNOUNCER, PICKLE_KEY, ROOM, Device, KeyWorld, StillClock, keys_upon

SESSIONS = 20
MEMBERS = 5_000
DEVICES_EACH = 2


class Stub(KeyWorld):
    """A homeserver whose devices receive nothing, and that counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.largest = 0
        self.seconds = 0.0
        """How long it takes to send messages to devices."""

    async def send_to_device(self, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        self.requests += 1
        self.largest = max(self.largest, len(orjson.dumps({"messages": messages})))
        await asyncio.sleep(self.seconds)

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        self.requests += 1
        return await super().still_joined(room_id, users)

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        self.requests += 1
        return await super().claim_keys(wanted)


class Statements:
    """Counts the statements of all database transactions while it is open."""

    def __enter__(self) -> Statements:
        self.count = 0
        self._real = {name: getattr(Transaction, name) for name in ("execute", "execute_many", "fetch", "fetch_row")}
        for name, real in self._real.items():

            async def counted(tx: Transaction, *args: Any, _real: Any = real) -> Any:
                self.count += 1
                return await _real(tx, *args)

            setattr(Transaction, name, counted)
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(Transaction, name, real)


async def say(database: Database, clock: StillClock, number: int) -> None:
    """A session of ours that was begun, used once, and ended."""
    group = new_group(PICKLE_KEY)
    async with database.transaction() as tx:
        account = await OwnDevice(ANNOUNCER, PICKLE_KEY).account(tx)
        key = import_room_key(group.session_key, PICKLE_KEY)
        await key_store.save_inbound(
            tx,
            InboundRow(
                ROOM,
                group.session_id,
                ANNOUNCER,
                account.curve25519,
                account.ed25519,
                True,
                True,
                0,
                key.pickle,
                group.pickle,
            ),
            now_ms=clock.now,
        )
    row = SpokenRow(f"$said{number}", group.session_id, ANNOUNCER, 0, clock.now)
    async with database.transaction() as tx:
        await history.save_spoken(tx, ROOM, row)


async def come(keys: Keys, database: Database, world: Stub, clock: StillClock, users: list[str]) -> None:
    async with database.transaction() as tx:
        for user in users:
            world.join(user)
            event = f"${world.members[user]}"
            await keys.history.moved(tx, ROOM, MoveRow(user, event, "join", ANNOUNCER, clock.now))


def floor(devices: list[Device], times: int) -> float:
    """Seconds of raw Olm calls for that many messages to fresh devices: a new session each, then encrypting on it."""
    account = Account.create(ANNOUNCER, "FLOOR")
    content = {"session_key": "x" * 310, "session_id": "x" * 43, "room_id": ROOM, "algorithm": "m.megolm.v1.aes-sha2"}
    sample = devices[:50]
    begin = time.perf_counter()
    peers = [
        Peer(one.user_id, one.device_id, one.account.curve25519, one.account.ed25519, None, one.account.curve25519)
        for one in sample
    ]
    for _ in range(times):
        sealed, _failed = seal(account, PICKLE_KEY, peers, "m.room_key", content)
        peers = [
            Peer(s.peer.user_id, s.peer.device_id, s.peer.curve25519, s.peer.ed25519, Ratchet(s.session_id, s.pickle))
            for s in sealed
        ]
    return (time.perf_counter() - begin) * len(devices) / len(sample)


async def measured(name: str, keys: Keys, world: Stub, least: float | None = None) -> None:
    world.requests = world.largest = 0
    world.queries.clear()
    with Statements() as statements:
        begin, cpu = time.perf_counter(), time.process_time()
        await keys.catch_up(ROOM)
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    ratio = "" if least is None else f", {cpu / least:.2f} x the floor of raw Olm calls ({least:.2f} s)"
    print(
        f"{name}: {wall:.3f} s, CPU {cpu:.3f} s{ratio}; {statements.count} statements, {world.requests} requests, "
        f"{len(world.queries)} of `/keys/query`, largest body {world.largest / 1000:.0f} kB"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'keys.db'}")
        await database.start()
        try:
            await run(database)
        finally:
            await database.stop()


async def run(database: Database) -> None:
    world, clock = Stub(), StillClock()
    keys = keys_upon(world, database, clock, window=Window(100, 365))
    await keys.start()
    users = [f"@member{number}:example.org" for number in range(MEMBERS)]
    print(f"{MEMBERS} members x {DEVICES_EACH} devices, {SESSIONS} past sessions, SQLite")
    for user in users:
        world.add(user, *(f"D{number}" for number in range(DEVICES_EACH)), join=False, one_time_keys=1)
    await come(keys, database, world, clock, users)
    await measured("the first members of a room, nothing said yet (their device lists are read)", keys, world)
    for number in range(SESSIONS):
        clock.now += 1000
        await say(database, clock, number)
    await measured("everybody served: a look", keys, world)
    for count, world.seconds in ((1, 0.0), (500, 0.0), (500, 0.1)):
        new = [f"@new{count}-{number}-{world.seconds}:example.org" for number in range(count)]
        devices = [
            device
            for user in new
            for device in world.add(user, *(f"D{n}" for n in range(DEVICES_EACH)), join=False, one_time_keys=1)
        ]
        clock.now += 1000
        await come(keys, database, world, clock, new)
        least = floor(devices, SESSIONS)
        slow = f", a homeserver that takes {world.seconds} s for each request" if world.seconds else ""
        await measured(f"{count} newcomers x {DEVICES_EACH} devices x {SESSIONS} sessions{slow}", keys, world, least)


if __name__ == "__main__":
    asyncio.run(main())
