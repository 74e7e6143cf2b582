"""Announcements that are pinned for a while: ours come and go, and what others pinned stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bridge.core import texts
from bridge.core.afterwards import Stage, pinned
from bridge.core.announcements import Target
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import KeepPins, SendMessage, call
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import announcements
from bridge.store import pins as store
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

PINNED_EVENTS = "m.room.pinned_events"
Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""


class Pins:
    """Keeps which announcements are to be pinned until when, and brings rooms to it, as the steward."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        reader: RoomReader,
        rooms: RoomExecutor,
        clock: Clock,
        language_of: Callable[[CommunityId], Language] = lambda _: EN,
        most: int = 3,
    ) -> None:
        """
        Args:
            most: how many announcements we pin in a room at most; of more the oldest go.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._reader = reader
        self._rooms = rooms
        self._clock = clock
        self._language_of = language_of
        self.most = most

    async def pin(
        self,
        announcement: str,
        copies: Sequence[tuple[Target, EventId]],
        span_ms: int,
        *,
        author: str,
        reply_room: RoomId | None = None,
    ) -> int:
        """Have copies of an announcement pinned for so many milliseconds, from now on; gives until when.

        Pinned already, it is until then, be it earlier or later.

        Raises:
            Refused: it is withdrawn.
        """
        now = self._clock.now_ms()
        until = now + span_ms
        async with self._database.transaction() as tx:
            taken = await announcements.get(tx, announcement)
            if taken is None or taken.withdrawn_at is not None:
                raise Refused("it is withdrawn", remedy="announce it anew")
            for target, event_id in copies:
                assert target.room_id is not None
                await store.want(
                    tx, target.room_id, event_id, announcement,
                    author=author, reply_room=reply_room, until=until, now=now,
                )  # fmt: skip
                await self._have_kept(tx, target, f"pin-{event_id}-{now}", now)
                await self._have_kept(tx, target, f"unpin-{event_id}-{until}", until)
                await record(tx, now, target.community, target.room_id, author, "pinned", announcement)
        self._wake()
        return until

    async def unpin(self, announcement: str, copies: Sequence[tuple[Target, EventId]], *, author: str) -> None:
        """Have copies of an announcement pinned no longer, by whomever they were."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            for target, event_id in copies:
                assert target.room_id is not None
                await store.unwant(tx, target.room_id, event_id, announcement, now)
                await self._have_kept(tx, target, f"unpin-{event_id}-{now}", now)
                await record(tx, now, target.community, target.room_id, author, "unpinned", announcement)
        self._wake()

    async def _have_kept(self, tx: Transaction, target: Target, job_id: str, at: int) -> None:
        assert target.room_id is not None
        job = KeepPins(target.community, target.room_id)
        await self._jobs.add(tx, job_id, f"pins {target.room_id}", job, at)

    async def keep(self, job: KeepPins, complete: Complete) -> None:
        """Write a room's pinned messages (`m.room.pinned_events`) if they are not as they should be. Safe to repeat.

        Raises:
            MatrixError: it cannot be done now.
        """
        room = await self._reader.refresh(job.room_id, PINNED_EVENTS, "")
        content = room.content(PINNED_EVENTS) or {}
        listed = content.get("pinned")
        there = [EventId(one) for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
        async with self._database.transaction() as tx:
            ours = await store.of_room(tx, job.room_id)
            plan = pinned(there, ours, self._clock.now_ms(), self.most)
            await store.advance(tx, job.room_id, plan.placing, Stage.WANTED, Stage.PLACING)
        if list(plan.events) != there:
            await self._rooms.set_state(job.room_id, PINNED_EVENTS, "", {**content, "pinned": list(plan.events)})
        async with self._database.transaction() as tx:
            await store.advance(tx, job.room_id, plan.placing, Stage.PLACING, Stage.PLACED)
            await store.forget(tx, job.room_id, [pin for pin in ours if pin.event_id in plan.gone])
            await complete(tx)

    async def failed(self, job: KeepPins, job_id: str, why: str) -> None:
        """Tell whoever asked for it that a room's pins are not as they should be."""
        now = self._clock.now_ms()
        text = texts.pin_failed(job.community, why, self._language_of(job.community))
        async with self._database.transaction() as tx:
            for number, (author, room_id) in enumerate(await store.askers(tx, job.room_id, now)):
                if room_id is not None:
                    send = SendMessage(room_id, call(text, [author] if author.startswith("@") else []))
                    await self._jobs.add(tx, f"failed-{job_id}-{number}", room_id, send, now)
        self._wake()
