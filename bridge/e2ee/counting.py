"""Whether database and homeserver are current: both remember how often the announcer's device was used.

An old copy of the database stands behind the homeserver; a homeserver that was put back stands behind the database.
"""

from __future__ import annotations

from bridge.core.errors import OldDatabase
from bridge.e2ee.device import OwnDevice
from bridge.ports import Clock, DeviceServer
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.keys import AccountRow

COUNT_EVERY_MS = 3600 * 1000


class Rewound(Exception):
    """The homeserver is older than the keys in the database: it was put back from a backup."""


def old_copy(what: str) -> OldDatabase:
    """The error for a database that is an old copy.

    Args:
        what: by what that was noticed.
    """
    return OldDatabase(
        f"{what}: the database is an old copy, and its keys and jobs were used since",
        where="keys",
        remedy="stop everything and put the newest database back. If there is none, `matrix-communities rotate-device "
        "--accept-old-database` goes on with this one: the announcer gets a new device, and jobs and events of the "
        "copy are set aside",
    )


class Counting:
    """Counts the uses of the device: at each start, and every hour."""

    def __init__(self, database: Database, server: DeviceServer, clock: Clock, own: OwnDevice) -> None:
        self._database = database
        self._server = server
        self._clock = clock
        self._own = own
        self._counted_at = clock.now_ms()
        self._told: int | None = None
        """The count that the homeserver has confirmed to this process."""

    async def must_be_current(self, row: AccountRow) -> int:
        """See that neither the database nor the homeserver is an old copy; gives the homeserver's count.

        That is one behind where the homeserver was not reached in the moment between both.

        Raises:
            OldDatabase: the database is an old copy.
            Rewound: the homeserver was put back.
        """
        seen = await self._server.generation() or 0
        if row.published and seen > row.generation:
            raise _counted_on(seen, row)
        if row.published and seen < row.generation - 1:
            raise Rewound(f"the homeserver was put back: it has counted to {seen}, we to {row.generation}")
        return seen

    async def count(self, counted: int, seen: int) -> None:
        """Count one on: in the database first, then at the homeserver.

        A number that the homeserver has not confirmed is sent again, and counted on only then. So however often this
        fails, the database is ahead by one at most, and by more only if the homeserver was put back.

        Args:
            counted: the number in the database.
            seen: the number at the homeserver.
        """
        if seen < counted:
            await self._server.set_generation(counted)
            self._told = counted
        number = max(counted, seen) + 1
        async with self._database.transaction() as tx:
            await store.set_generation(tx, self._own.user_id, number)
        await self._server.set_generation(number)
        self._told = number
        self._counted_at = self._clock.now_ms()

    async def count_hourly(self) -> bool:
        """Count on while running, so that a copy made meanwhile can be told from the original; whether it was time.

        Raises:
            OldDatabase: another process counts, too: it has a copy of the database.
            Rewound: the homeserver was put back.
        """
        if abs(self._clock.now_ms() - self._counted_at) < COUNT_EVERY_MS:
            return False
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
        seen = await self._server.generation() or 0
        if seen > row.generation:
            raise _counted_on(seen, row)
        if self._told is not None and seen < self._told:
            raise Rewound(f"the homeserver was put back: it has counted to {seen}")
        await self.count(row.generation, seen)
        return True


def _counted_on(seen: int, row: AccountRow) -> OldDatabase:
    return old_copy(f"the homeserver has counted its use to {seen}, and this one stands at {max(0, row.generation)}")
