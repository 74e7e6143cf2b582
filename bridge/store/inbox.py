"""Events that came from the homeserver and are not worked off yet.

A row lives from the transaction that brought it until its handler is done; then it is deleted, for it is what people
wrote, and `inbox_seen` remembers its id. That is only ever appended to and read as a whole, into memory: event ids are
random, and an index on them would cost a written page an event.

A transaction that comes again is known by the events in it, not by its number: a homeserver that was restored from a
backup counts its transactions anew, and must not lose what they bring.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bridge.core.ids import EventId, RoomId
from bridge.store.database import Database, Transaction

KEPT_AT_HAND = 2000
"""How many stored events are kept in memory as well, so that they need not be read from the disk again."""
REMEMBERED = 50_000
"""How many event ids are remembered. A homeserver repeats transactions that were on their way, 100 events each."""


class Arrival(NamedTuple):
    """A wanted event, as it is stored."""

    event_id: EventId
    room_id: RoomId
    body: bytes
    """The raw event, JSON."""
    raw: dict[str, Any] | None = None
    """The same decoded, where it is at hand; not to be changed."""


class Held(NamedTuple):
    """An event that waits to be worked off."""

    seq: int
    event_id: EventId
    room_id: RoomId
    body: bytes
    arrived_at: int
    raw: dict[str, Any] | None = None
    """The same as `body`, decoded, where it is at hand; not to be changed."""


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that was given up."""

    event_id: EventId
    room_id: RoomId
    reason: str
    arrived_at: int


class Inbox:
    """The durable inbox. One process writes to it, and numbers its rows.

    What was stored last is kept at hand as well: as long as the reader keeps up, it is never read back from the disk.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = asyncio.Lock()
        self._last_seq: int | None = None
        self._at_hand: deque[Held] = deque()
        self._complete_after: int | None = None
        """All rows with a higher number are at hand; None if some are on the disk alone."""
        self._seen: dict[EventId, int] | None = None
        """The ids that were taken in last with their numbers, oldest first; None if they have to be read."""

    async def store(self, arrivals: Sequence[Arrival], now_ms: int) -> int:
        """Take in what one transaction of the homeserver brought, or nothing of it; give how many events were new."""
        async with self._one_at_a_time:
            complete_after, self._complete_after = self._complete_after, None
            seen, self._seen = self._seen, None  # both are known again when the commit is known
            async with self._database.transaction() as tx:
                if seen is None:
                    seen = await self._read_seen(tx)
                held = await self._number(tx, [one for one in _once(arrivals) if one.event_id not in seen], now_ms)
                await self._insert(tx, held)
            self._seen = seen
            self._remember(seen, held)
            if complete_after is not None and len(self._at_hand) + len(held) <= KEPT_AT_HAND:
                self._at_hand.extend(held)
                self._complete_after = complete_after
            else:
                self._at_hand.clear()
            return len(held)

    async def positions(self, event_ids: Iterable[EventId]) -> dict[EventId, int]:
        """Where events stand in the order in which they came: of two in a room, the later has the larger number.

        Those of the last `REMEMBERED` that are known; the others are left out.
        """
        async with self._one_at_a_time:
            seen = self._seen
            if seen is None:
                async with self._database.transaction() as tx:
                    seen = await self._read_seen(tx)
                self._seen = seen
            return {one: seen[one] for one in event_ids if one in seen}

    async def _read_seen(self, tx: Transaction) -> dict[EventId, int]:
        done = await tx.fetch("SELECT event_id, seq FROM inbox_seen ORDER BY seq DESC LIMIT $1", REMEMBERED)
        waiting = await tx.fetch("SELECT event_id, seq FROM inbox ORDER BY seq")
        return {EventId(row[0]): int(row[1]) for row in [*reversed(done), *waiting]}

    async def _number(self, tx: Transaction, new: list[Arrival], now_ms: int) -> list[Held]:
        seq = self._last_seq
        if seq is None:
            both = "SELECT MAX(seq) AS seq FROM inbox UNION ALL SELECT MAX(seq) FROM inbox_seen"
            seq = int(await tx.fetch_value(f"SELECT COALESCE(MAX(seq), 0) FROM ({both}) AS both_tables"))  # noqa: S608
        # Used up even if the transaction fails: whether it was committed can stay unknown.
        self._last_seq = seq + len(new)
        return [
            Held(number, one.event_id, one.room_id, one.body, now_ms, one.raw)
            for number, one in enumerate(new, seq + 1)
        ]

    async def _insert(self, tx: Transaction, held: list[Held]) -> None:
        await tx.execute_many(
            "INSERT INTO inbox (seq, event_id, room_id, body, at) VALUES ($1, $2, $3, $4, $5)",
            [one[:5] for one in held],
        )

    def _remember(self, seen: dict[EventId, int], held: list[Held]) -> None:
        for one in held:
            seen[one.event_id] = one.seq
        for oldest in list(itertools.islice(seen, max(0, len(seen) - REMEMBERED))):
            del seen[oldest]

    async def after(self, seq: int, limit: int) -> list[Held]:
        """The next events behind `seq` that are not parked, in order of arrival."""
        async with self._one_at_a_time:
            if self._complete_after is not None and seq >= self._complete_after:
                return self._take_at_hand(seq, limit)
            self._at_hand.clear()
            rows = await self._read(seq, limit)
            if len(rows) < limit:
                self._complete_after = rows[-1].seq if rows else seq
            return rows

    def _take_at_hand(self, seq: int, limit: int) -> list[Held]:
        taken: list[Held] = []
        while self._at_hand and len(taken) < limit:
            one = self._at_hand.popleft()
            self._complete_after = one.seq
            if one.seq > seq:
                taken.append(one)
        return taken

    async def _read(self, seq: int, limit: int) -> list[Held]:
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                "SELECT seq, event_id, room_id, body, at FROM inbox "
                "WHERE seq > $1 AND parked IS NULL ORDER BY seq LIMIT $2",
                seq,
                limit,
            )
        return [Held(row[0], EventId(row[1]), RoomId(row[2]), bytes(row[3]), row[4]) for row in rows]

    async def forget(self, seqs: Iterable[int]) -> None:
        """Delete events that are worked off, and remember their ids."""
        runs = _runs(seqs)
        async with self._database.transaction() as tx:
            await tx.execute_many(
                "INSERT INTO inbox_seen (seq, event_id, at) "
                "SELECT seq, event_id, at FROM inbox WHERE seq BETWEEN $1 AND $2",
                runs,
            )
            await tx.execute_many("DELETE FROM inbox WHERE seq BETWEEN $1 AND $2", runs)

    async def park(self, seq: int, reason: str, attempts: int) -> None:
        """Give an event up: it stays, with the reason, out of the way of those behind it."""
        async with self._database.transaction() as tx:
            await tx.execute("UPDATE inbox SET parked = $2, attempts = $3 WHERE seq = $1", seq, reason, attempts)

    async def set_aside(self, reason: str) -> int:
        """Park all events that wait; gives how many. Not while a pump runs."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch("UPDATE inbox SET parked = $1 WHERE parked IS NULL RETURNING seq", reason)
        return len(rows)

    async def parked(self, limit: int = 100) -> list[ParkedEvent]:
        """The events that were given up, newest first."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                "SELECT event_id, room_id, parked, at FROM inbox WHERE parked IS NOT NULL ORDER BY seq DESC LIMIT $1",
                limit,
            )
        return [ParkedEvent(EventId(row[0]), RoomId(row[1]), row[2], row[3]) for row in rows]

    async def release(self, event_id: EventId) -> bool:
        """Let a parked event be tried again; whether there was one. The pump has to be told (`Pump.rescan`)."""
        self._complete_after = None
        async with self._database.transaction() as tx:
            query = "UPDATE inbox SET parked = NULL WHERE event_id = $1 AND parked IS NOT NULL RETURNING seq"
            return await tx.fetch_row(query, event_id) is not None

    async def drop(self, event_id: EventId) -> bool:
        """Forget a parked event; whether there was one. It stays known: the homeserver may send it again."""
        async with self._database.transaction() as tx:
            row = await tx.fetch_row("SELECT seq FROM inbox WHERE event_id = $1 AND parked IS NOT NULL", event_id)
        if row is None:
            return False
        await self.forget([row["seq"]])
        return True

    async def waiting(self) -> int:
        """How many events are to be worked off, parked ones not counted."""
        async with self._database.transaction() as tx:
            return int(await tx.fetch_value("SELECT COUNT(*) FROM inbox WHERE parked IS NULL"))

    async def prune(self, before_ms: int) -> int:
        """Forget ids of events, and parked events, that came before `before_ms`; give how many.

        The last id stays, however old: numbers go on from it, and who has read up to where is told by them.
        """
        async with self._database.transaction() as tx:
            last = int(await tx.fetch_value("SELECT COALESCE(MAX(seq), 0) FROM inbox_seen"))
            gone = await tx.fetch(
                "DELETE FROM inbox_seen WHERE (at < $1 OR seq <= $2) AND seq < $3 RETURNING 1",
                before_ms, last - REMEMBERED, last,
            )  # fmt: skip
            given_up = await tx.fetch("DELETE FROM inbox WHERE parked IS NOT NULL AND at < $1 RETURNING 1", before_ms)
        return len(gone) + len(given_up)


def _once(arrivals: Iterable[Arrival]) -> Iterable[Arrival]:
    """Each event once, where it stands first."""
    found: dict[EventId, Arrival] = {}
    for arrival in arrivals:
        found.setdefault(arrival.event_id, arrival)
    return found.values()


def _runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers as runs of consecutive ones, first and last of each."""
    runs: list[tuple[int, int]] = []
    for seq in sorted(seqs):
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs
