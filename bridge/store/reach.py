"""Who has read up to where, and who reacted with what, in announcement rooms.

Where something stands is its place in the order in which the homeserver pushed events (`store/inbox`), so the reading
of an announcement is one comparison. A receipt may be here before its event: then it is pending until that came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.core.ids import EventId, RoomId, UserId
from bridge.store.database import Transaction


async def save_receipts(
    tx: Transaction, rows: Mapping[tuple[RoomId, UserId], tuple[int, EventId | None]], now: int
) -> None:
    """Note up to where people have read. Nobody goes back: a smaller position changes nothing.

    Args:
        rows: by room and person, the position and an event whose position is not known yet.
    """
    await tx.put(
        "INSERT INTO receipt (room_id, user_id, position, pending, at) {rows} "
        "ON CONFLICT (room_id, user_id) DO UPDATE SET "
        "position = CASE WHEN excluded.position > receipt.position THEN excluded.position ELSE receipt.position END, "
        "pending = CASE WHEN excluded.pending <> '' THEN excluded.pending ELSE receipt.pending END, "
        "at = excluded.at",
        ("text", "text", "bigint", "text"),
        [(room, user, position, pending or "") for (room, user), (position, pending) in rows.items()],
        always={"at": now},
    )


async def pending(tx: Transaction) -> list[EventId]:
    """The events that receipts wait for."""
    return [EventId(row[0]) for row in await tx.fetch("SELECT DISTINCT pending FROM receipt WHERE pending <> ''")]


async def settle(tx: Transaction, positions: Mapping[EventId, int]) -> None:
    """Give receipts that waited for events their positions."""
    await tx.execute_many(
        "UPDATE receipt SET pending = '', position = CASE WHEN position < $2 THEN $2 ELSE position END "
        "WHERE pending = $1",
        list(positions.items()),
    )


async def readers(tx: Transaction, room_id: RoomId) -> list[tuple[UserId, int]]:
    """Everybody of whom a receipt is known, with the position up to which they have read."""
    rows = await tx.fetch_many(
        {"user_id": "text", "position": "bigint"}, "SELECT user_id, position FROM receipt WHERE room_id = $1", room_id
    )
    return [(UserId(row[0]), int(row[1])) for row in rows]


async def spoke(tx: Transaction, room_id: RoomId, event_id: EventId, position: int, at: int) -> None:
    """Note where a message stands that may be an announcement."""
    await tx.execute(
        "INSERT INTO spoken_position (event_id, room_id, position, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        event_id, room_id, position, at,
    )  # fmt: skip


async def positions(tx: Transaction, event_ids: Iterable[EventId]) -> dict[EventId, int]:
    """Where messages stand, of those that were noted."""
    rows = await tx.fetch(
        f"SELECT event_id, position FROM spoken_position WHERE event_id {tx.one_of('$1')}",  # noqa: S608
        tx.texts(event_ids),
    )
    return {EventId(row[0]): int(row[1]) for row in rows}


@dataclass(frozen=True, slots=True)
class Reaction:
    """Somebody's reaction; `withdrawn` is one that was taken back."""

    to: EventId
    user: UserId
    key: str
    withdrawn: bool


async def reacted(
    tx: Transaction, event_id: EventId, room_id: RoomId, to: EventId, user: UserId, key: str, at: int
) -> None:
    """Note a reaction; the same event again changes nothing."""
    await tx.execute(
        """INSERT INTO reaction (event_id, room_id, to_event, user_id, key, at) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT DO NOTHING""",
        event_id, room_id, to, user, key, at,
    )  # fmt: skip


async def withdrawn(tx: Transaction, event_id: EventId, room_id: RoomId, at: int, *, by: UserId | None) -> None:
    """Note that a reaction was taken back.

    Args:
        by: who did it, which counts for their own alone; None is somebody who may take back everybody's.
    """
    await tx.execute(
        """UPDATE reaction SET withdrawn_at = $3 WHERE event_id = $1 AND room_id = $2 AND withdrawn_at IS NULL
           AND ($4 = '' OR user_id = $4)""",
        event_id, room_id, at, by or "",
    )  # fmt: skip


async def reactions(tx: Transaction, to: Iterable[EventId]) -> list[Reaction]:
    """All reactions to some messages, those that were taken back among them, in their order."""
    rows = await tx.fetch(
        f"SELECT to_event, user_id, key, withdrawn_at FROM reaction WHERE to_event {tx.one_of('$1')} "  # noqa: S608
        "ORDER BY at, event_id",
        tx.texts(to),
    )
    return [Reaction(EventId(row[0]), UserId(row[1]), row[2], row[3] is not None) for row in rows]


async def people_then(tx: Transaction, announcement: str, community: str, place: str, people: int) -> None:
    """Note how many members a room had when an announcement went out."""
    await tx.execute(
        "UPDATE announcement_copy SET people = $4 WHERE announcement = $1 AND community = $2 AND place = $3",
        announcement, community, place, people,
    )  # fmt: skip


async def forget_before(tx: Transaction, before: int) -> None:
    """Forget what lies behind that time (milliseconds since 1970): who read last then, and who reacted then."""
    for table in ("receipt", "spoken_position", "reaction"):
        await tx.execute(f"DELETE FROM {table} WHERE at < $1", before)  # noqa: S608 - names of ours
