"""Which announcements are to be pinned in which room, and until when."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.afterwards import Pin, Stage
from bridge.core.ids import EventId, RoomId
from bridge.store.database import Transaction


async def want(
    tx: Transaction,
    room_id: RoomId,
    event_id: EventId,
    announcement: str,
    *,
    author: str,
    reply_room: RoomId | None,
    until: int,
    now: int,
) -> None:
    """Have an event pinned until that time (milliseconds since 1970); what is pinned by us already, until then."""
    await tx.execute(
        """INSERT INTO announcement_pin (room_id, event_id, announcement, author, reply_room, until, at, stage)
           VALUES ($1, $2, $3, $4, $5, $6, $7, 'wanted')
           ON CONFLICT (room_id, event_id) DO UPDATE SET until = excluded.until, at = excluded.at,
               author = excluded.author, reply_room = excluded.reply_room,
               stage = CASE WHEN announcement_pin.stage = 'wanted' THEN 'wanted' ELSE 'placing' END""",
        room_id, event_id, announcement, author, reply_room, until, now,
    )  # fmt: skip


async def unwant(tx: Transaction, room_id: RoomId, event_id: EventId, announcement: str, now: int) -> None:
    """Have an event pinned no longer, by whomever it was pinned."""
    await tx.execute(
        """INSERT INTO announcement_pin (room_id, event_id, announcement, author, until, at, stage)
           VALUES ($1, $2, $3, '', 0, $4, 'leaving')
           ON CONFLICT (room_id, event_id) DO UPDATE SET until = 0, stage = 'leaving'""",
        room_id, event_id, announcement, now,
    )  # fmt: skip


async def leave(tx: Transaction, announcement: str) -> list[RoomId]:
    """Have an announcement pinned no longer where it was pinned by us; gives the rooms."""
    rows = await tx.fetch(
        """UPDATE announcement_pin SET until = 0, stage = 'leaving' WHERE announcement = $1 RETURNING room_id""",
        announcement,
    )
    return [RoomId(row["room_id"]) for row in rows]


async def of_room(tx: Transaction, room_id: RoomId) -> list[Pin]:
    rows = await tx.fetch(
        "SELECT event_id, until, at, stage FROM announcement_pin WHERE room_id = $1 ORDER BY at, event_id", room_id
    )
    return [Pin(EventId(row["event_id"]), row["until"], row["at"], Stage(row["stage"])) for row in rows]


async def advance(tx: Transaction, room_id: RoomId, events: Sequence[EventId], before: Stage, after: Stage) -> None:
    """Note how far pins have come; those that somebody asked for otherwise meanwhile stay as they are."""
    for event_id in events:
        await tx.execute(
            "UPDATE announcement_pin SET stage = $4 WHERE room_id = $1 AND event_id = $2 AND stage = $3",
            room_id, event_id, before.value, after.value,
        )  # fmt: skip


async def forget(tx: Transaction, room_id: RoomId, pins: Sequence[Pin]) -> None:
    """Forget pins, if nobody asked for them anew meanwhile."""
    for pin in pins:
        await tx.execute(
            "DELETE FROM announcement_pin WHERE room_id = $1 AND event_id = $2 AND at = $3 AND until = $4",
            room_id, pin.event_id, pin.at, pin.until,
        )  # fmt: skip


async def askers(tx: Transaction, room_id: RoomId, now: int) -> list[tuple[str, RoomId | None]]:
    """Who asked for the pins in a room that are not as they should be by now, and in which chat they are told."""
    rows = await tx.fetch(
        """SELECT DISTINCT author, reply_room FROM announcement_pin
           WHERE room_id = $1 AND (stage <> 'placed' OR until <= $2) ORDER BY author, reply_room""",
        room_id, now,
    )  # fmt: skip
    return [(row["author"], None if row["reply_room"] is None else RoomId(row["reply_room"])) for row in rows]
