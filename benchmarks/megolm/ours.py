"""Our side: device lists, and a room's key to everybody, by the public entrances of `bridge.e2ee`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.megolm.homeserver import ANNOUNCER, ROOM, Wire
from benchmarks.megolm.meter import Cost, Meter
from benchmarks.megolm.our_server import OurServer
from benchmarks.megolm.reader import TEXT
from benchmarks.megolm.world import PICKLE_KEY, World
from bridge.app.memory import share_one_heap
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.keys import Keys
from bridge.store.database import Database

_STEP_MS = 2 * 3600 * 1000
_STEPS = ("lists", "ready", "cold", "warm")


class _Clock:
    """Each case is two hours after the one before it."""

    def __init__(self, case: str) -> None:
        self._now = 1_790_000_000_000 + _STEPS.index(case) * _STEP_MS

    def now_ms(self) -> int:
        return self._now


async def run(case: str, world: World, url: str, folder: Path) -> tuple[Cost, Wire, dict[str, object] | None]:
    """One case upon the database that the one before it has left; the message that everybody has to read.

    Args:
        folder: where the homeserver remembers the device.
        case: `ready` is not measured: it makes the room known, with devices that have no one-time keys yet.
    """
    share_one_heap()  # as the service does
    wire = Wire(world, one_time_keys=case == "cold")
    # A change of the room's history visibility makes the next session due: by that the cold case has one of its own.
    visibility = "joined" if case == "ready" else "shared"
    server = OurServer(wire, world.members - (case == "warm"), visibility=visibility, memory=folder / "generation")
    database = Database(url)
    await database.start()
    try:
        clock = _Clock(case)
        keys = Keys(
            database,
            server,
            server,
            clock,
            user_id=ANNOUNCER,
            identity_seed=b"a secret of the configuration",
            pickle_key=PICKLE_KEY,
        )
        await keys.start()
        wire.forget()
        if case == "lists":
            lists = DeviceLists(database, server, clock, me=ANNOUNCER)
            meter = Meter()
            failed = await lists.refresh(world.users)
            cost = meter.stop()
            assert not failed
            return cost, wire, None
        meter = Meter()
        await keys.prepare(ROOM)
        cost = meter.stop()
        await keys.sync_once()
        if case == "ready":
            return cost, wire, None
        message, _ = await keys.encrypt(ROOM, "m.room.message", {"msgtype": "m.text", "body": TEXT})
        return cost, wire, message
    finally:
        await database.stop()
