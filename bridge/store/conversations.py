"""Commands that wait for a yes, and strangers who were answered."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.ids import EventId, RoomId, UserId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Pending:
    """What waits, or waited, for somebody's word in a room. Times are milliseconds since 1970."""

    command: str
    asked_by: EventId
    at: int
    answered_by: EventId | None
    answer: str | None
    """`yes` or `no`."""


async def pending(tx: Transaction, room_id: RoomId, user: UserId) -> Pending | None:
    """The last command that somebody was asked about in a room."""
    rows = await tx.fetch(
        """SELECT command, asked_by, at, answered_by, answer FROM pending_command
           WHERE room_id = $1 AND user_id = $2""",
        room_id, user,
    )  # fmt: skip
    for row in rows:
        return Pending(row["command"], row["asked_by"], row["at"], row["answered_by"], row["answer"])
    return None


async def ask(tx: Transaction, room_id: RoomId, user: UserId, command: str, event_id: EventId, now: int) -> None:
    """Let a command wait, in the place of the one before."""
    await tx.execute(
        """INSERT INTO pending_command (room_id, user_id, command, asked_by, at) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (room_id, user_id) DO UPDATE SET command = excluded.command, asked_by = excluded.asked_by,
               at = excluded.at, answered_by = NULL, answer = NULL""",
        room_id, user, command, event_id, now,
    )  # fmt: skip


async def answer(tx: Transaction, room_id: RoomId, user: UserId, event_id: EventId, word: str) -> None:
    """Record the message that answered, and its word."""
    await tx.execute(
        "UPDATE pending_command SET answered_by = $3, answer = $4 WHERE room_id = $1 AND user_id = $2",
        room_id, user, event_id, word,
    )  # fmt: skip


async def stranger(tx: Transaction, user: UserId) -> tuple[EventId, int] | None:
    """The message of a stranger that was answered last, and when."""
    rows = await tx.fetch("SELECT event_id, at FROM stranger WHERE user_id = $1", user)
    for row in rows:
        return row["event_id"], row["at"]
    return None


async def answered_stranger(tx: Transaction, user: UserId, event_id: EventId, now: int) -> None:
    await tx.execute(
        """INSERT INTO stranger (user_id, event_id, at) VALUES ($1, $2, $3)
           ON CONFLICT (user_id) DO UPDATE SET event_id = excluded.event_id, at = excluded.at""",
        user, event_id, now,
    )  # fmt: skip


async def forget_before(tx: Transaction, at: int) -> None:
    """Forget everything that is older."""
    await tx.execute("DELETE FROM pending_command WHERE at < $1", at)
    await tx.execute("DELETE FROM stranger WHERE at < $1", at)
