"""Events that came from the homeserver and are not worked off yet.

A row lives from the transaction that brought it until its handler is done; then it is deleted, for it is what people
wrote. `inbox_seen` remembers the ids of all that were taken in, for as long as the homeserver might repeat them.

A transaction that comes again is known by the events in it, not by its number: a homeserver that was restored from a
backup counts its transactions anew, and must not lose what they bring.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from bridge.core.ids import EventId, RoomId
from bridge.store.database import Database, Transaction

PRUNE_ROWS = 5000
"""How many rows one database transaction of the pruning deletes, so that it holds up nobody."""
KEPT_AT_HAND = 2000
"""How many stored events are kept in memory as well, so that they need not be read from the disk again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A wanted event, as it is stored."""

    event_id: EventId
    room_id: RoomId
    body: bytes
    """The raw event, JSON."""


@dataclass(frozen=True, slots=True)
class Held:
    """An event that waits to be worked off."""

    seq: int
    event_id: EventId
    room_id: RoomId
    body: bytes
    arrived_at: int


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
        value = "value FROM json_each($1)" if database.is_sqlite else "value FROM json_array_elements_text($1::json)"
        # "WHERE true" tells SQLite's parser that ON belongs to the upsert and not to a join.
        self._note_new = (
            f"INSERT INTO inbox_seen (event_id, at) SELECT value, {'$2' if database.is_sqlite else '$2::bigint'} "  # noqa: S608
            f"FROM (SELECT {value}) AS arrived WHERE true ON CONFLICT (event_id) DO NOTHING RETURNING event_id"
        )

    async def store(self, arrivals: Sequence[Arrival], now_ms: int) -> int:
        """Take in what one transaction of the homeserver brought, or nothing of it; give how many events were new."""
        async with self._one_at_a_time:
            complete_after, self._complete_after = self._complete_after, None
            async with self._database.transaction() as tx:
                held = await self._insert(tx, arrivals, now_ms)
            if complete_after is not None and len(self._at_hand) + len(held) <= KEPT_AT_HAND:
                self._at_hand.extend(held)
                self._complete_after = complete_after
            else:
                self._at_hand.clear()
            return len(held)

    async def _insert(self, tx: Transaction, arrivals: Sequence[Arrival], now_ms: int) -> list[Held]:
        ids = orjson.dumps([arrival.event_id for arrival in arrivals]).decode()
        fresh = {row[0] for row in await tx.fetch(self._note_new, ids, now_ms)}
        if not fresh:
            return []
        seq = self._last_seq
        if seq is None:
            seq = int(await tx.fetch_value("SELECT COALESCE(MAX(seq), 0) FROM inbox"))
        # Used up even if the transaction fails: whether it was committed can stay unknown.
        self._last_seq = seq + len(fresh)
        held = []
        for arrival in arrivals:
            if arrival.event_id in fresh:
                fresh.discard(arrival.event_id)
                seq += 1
                held.append(Held(seq, arrival.event_id, arrival.room_id, arrival.body, now_ms))
        await tx.execute_many(
            "INSERT INTO inbox (seq, event_id, room_id, body, at) VALUES ($1, $2, $3, $4, $5)",
            [(one.seq, one.event_id, one.room_id, one.body, now_ms) for one in held],
        )
        return held

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
        """Delete events that are worked off."""
        async with self._database.transaction() as tx:
            await tx.execute_many("DELETE FROM inbox WHERE seq = $1", [(seq,) for seq in seqs])

    async def park(self, seq: int, reason: str, attempts: int) -> None:
        """Give an event up: it stays, with the reason, out of the way of those behind it."""
        async with self._database.transaction() as tx:
            await tx.execute("UPDATE inbox SET parked = $2, attempts = $3 WHERE seq = $1", seq, reason, attempts)

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

    async def waiting(self) -> int:
        """How many events are to be worked off, parked ones not counted."""
        async with self._database.transaction() as tx:
            return int(await tx.fetch_value("SELECT COUNT(*) FROM inbox WHERE parked IS NULL"))

    async def prune(self, before_ms: int) -> int:
        """Forget ids of events, and parked events, that came before `before_ms`; give how many."""
        total = await self._prune_table("parked IS NOT NULL AND at < $1", "inbox", before_ms)
        # Ids are numbered as they come, so the oldest stand first and no index on their age is needed.
        return total + await self._prune_table("at < $1", "inbox_seen", before_ms)

    async def _prune_table(self, which: str, table: str, before_ms: int) -> int:
        oldest = f"SELECT * FROM {table} ORDER BY seq LIMIT {PRUNE_ROWS}"  # noqa: S608 - constants of this module
        query = f"DELETE FROM {table} WHERE seq IN (SELECT seq FROM ({oldest}) AS oldest WHERE {which}) RETURNING 1"  # noqa: S608
        total = 0
        while True:
            async with self._database.transaction() as tx:
                gone = len(await tx.fetch(query, before_ms))
            total += gone
            if gone < PRUNE_ROWS:
                return total
