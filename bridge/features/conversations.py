"""What outlives one message of a chat: a command that waits for a yes, and that a stranger was answered."""

from __future__ import annotations

from bridge.core.ids import EventId, RoomId, UserId
from bridge.ports import Clock
from bridge.store import conversations as store
from bridge.store.database import Database

CONFIRM_MS = 10 * 60 * 1000
DAY_MS = 24 * 3600 * 1000


class Conversations:
    """All of it is by message: one that comes again, after a crash, finds what it found before."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def ask_to_confirm(self, room_id: RoomId, user: UserId, command: str, event_id: EventId) -> None:
        """Let a command wait for its author's yes in that room, ten minutes; one that waited before is dropped."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await store.forget_before(tx, now - DAY_MS)
            waiting = await store.pending(tx, room_id, user)
            if waiting is None or waiting.asked_by != event_id:
                await store.ask(tx, room_id, user, command, event_id, now)

    async def confirmed(self, room_id: RoomId, user: UserId, event_id: EventId) -> str | None:
        """The command that this yes confirms; None where nothing waits, or it was answered by another message."""
        return await self._answered(room_id, user, event_id, "yes")

    async def let_be(self, room_id: RoomId, user: UserId, event_id: EventId) -> bool:
        """Drop what waits for somebody's yes; whether anything did."""
        return await self._answered(room_id, user, event_id, "no") is not None

    async def _answered(self, room_id: RoomId, user: UserId, event_id: EventId, word: str) -> str | None:
        async with self._database.transaction() as tx:
            waiting = await store.pending(tx, room_id, user)
            if waiting is None:
                return None
            if waiting.answered_by is not None:
                return waiting.command if (waiting.answered_by, waiting.answer) == (event_id, word) else None
            if waiting.at + CONFIRM_MS < self._clock.now_ms():
                return None
            await store.answer(tx, room_id, user, event_id, word)
            return waiting.command

    async def first_today(self, user: UserId, event_id: EventId) -> bool:
        """Whether a stranger's message is the first in a day, and so the one that is answered."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            last = await store.stranger(tx, user)
            if last is not None and last[0] != event_id and last[1] + DAY_MS > now:
                return False
            if last is None or last[0] != event_id:
                await store.forget_before(tx, now - DAY_MS)
                await store.answered_stranger(tx, user, event_id, now)
            return True
