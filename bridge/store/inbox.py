"""Events that came from the homeserver and are not worked off yet.

A row lives from the transaction that brought it until its handler is done; then it is deleted, for it is what people
wrote. `inbox_seen` remembers the ids of all that were taken in, `inbox_transaction` the transactions, for as long as
the homeserver might repeat them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from bridge.core.ids import EventId, RoomId
from bridge.store.database import Database, Transaction

log = logging.getLogger(__name__)

PRUNE_ROWS = 5000
"""How many rows one database transaction of the pruning deletes, so that it holds up nobody."""


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
    """The durable inbox. One process writes to it; `store` is serialised so that order of arrival is order of `seq`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = asyncio.Lock()
        value = "value FROM json_each($1)" if database.is_sqlite else "value FROM json_array_elements_text($1::json)"
        # "WHERE true" tells SQLite's parser that ON belongs to the upsert and not to a join.
        self._note_new = (
            f"INSERT INTO inbox_seen (event_id, at) SELECT value, {'$2' if database.is_sqlite else '$2::bigint'} "  # noqa: S608
            f"FROM (SELECT {value}) AS arrived WHERE true ON CONFLICT (event_id) DO NOTHING RETURNING event_id"
        )

    async def store(self, txn_id: str, arrivals: Sequence[Arrival], now_ms: int) -> int:
        """Take in one transaction of the homeserver, whole or not at all; give how many events were new.

        A repeated transaction is known by its id together with the events in it: a homeserver that was restored from a
        backup counts its transactions anew, and must not lose what they bring.
        """
        digest = _digest(arrivals)
        ids = orjson.dumps([arrival.event_id for arrival in arrivals]).decode()
        async with self._one_at_a_time, self._database.transaction() as tx:
            if not await self._first_time(tx, txn_id, digest, now_ms):
                return 0
            fresh = {row[0] for row in await tx.fetch(self._note_new, ids, now_ms)}
            rows = []
            for arrival in arrivals:
                if arrival.event_id in fresh:
                    fresh.discard(arrival.event_id)
                    rows.append((arrival.event_id, arrival.room_id, arrival.body, now_ms))
            await tx.execute_many("INSERT INTO inbox (event_id, room_id, body, at) VALUES ($1, $2, $3, $4)", rows)
            return len(rows)

    async def _first_time(self, tx: Transaction, txn_id: str, digest: str, now_ms: int) -> bool:
        known = await tx.fetch_value("SELECT digest FROM inbox_transaction WHERE txn_id = $1", txn_id)
        if known == digest:
            return False
        if known is not None:
            log.warning("transaction %s came again with other events: is the homeserver counting anew?", txn_id)
        await tx.execute(
            "INSERT INTO inbox_transaction (txn_id, digest, at) VALUES ($1, $2, $3) "
            "ON CONFLICT (txn_id) DO UPDATE SET digest = excluded.digest, at = excluded.at",
            txn_id,
            digest,
            now_ms,
        )
        return True

    async def after(self, seq: int, limit: int) -> list[Held]:
        """The next events behind `seq` that are not parked, in order of arrival."""
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
        async with self._database.transaction() as tx:
            query = "UPDATE inbox SET parked = NULL WHERE event_id = $1 AND parked IS NOT NULL RETURNING seq"
            return await tx.fetch_row(query, event_id) is not None

    async def waiting(self) -> int:
        """How many events are to be worked off, parked ones not counted."""
        async with self._database.transaction() as tx:
            return int(await tx.fetch_value("SELECT COUNT(*) FROM inbox WHERE parked IS NULL"))

    async def prune(self, before_ms: int) -> int:
        """Forget ids of events and transactions, and parked events, that came before `before_ms`; give how many."""
        total = 0
        for table, key, only in (
            ("inbox_seen", "event_id", ""),
            ("inbox_transaction", "txn_id", ""),
            ("inbox", "seq", "AND parked IS NOT NULL"),
        ):
            total += await self._prune_table(table, key, only, before_ms)
        return total

    async def _prune_table(self, table: str, key: str, only: str, before_ms: int) -> int:
        query = (
            f"DELETE FROM {table} WHERE {key} IN "  # noqa: S608 - all three are constants of this module
            f"(SELECT {key} FROM {table} WHERE at < $1 {only} LIMIT {PRUNE_ROWS}) RETURNING 1"
        )
        total = 0
        while True:
            async with self._database.transaction() as tx:
                gone = len(await tx.fetch(query, before_ms))
            total += gone
            if gone < PRUNE_ROWS:
                return total


def _digest(arrivals: Iterable[Arrival]) -> str:
    return hashlib.blake2b("\n".join(arrival.event_id for arrival in arrivals).encode(), digest_size=16).hexdigest()
