"""Announcements to people one by one: a copy each, in their direct chat, once they are in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from bridge.core.announcements import Missed, Target, person_of
from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import DeliverAnnouncement, MembershipChanged
from bridge.ports import Clock
from bridge.store import announcements as store
from bridge.store.announcements import Copy
from bridge.store.database import Database
from bridge.store.jobs import Jobs


class Facts(Protocol):
    """Who is in a chat."""

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]: ...


class Deliver(Protocol):
    """Sends one copy, and records that."""

    async def __call__(self, job_id: str, job: DeliverAnnouncement, *, tell: bool) -> None: ...


class Miss(Protocol):
    """Records that somebody will not get their copy."""

    async def __call__(self, announcement: str, target: Target, why: Missed, *, tell: bool) -> None: ...


class DirectCopies:
    """Finds the chat, waits there for the person, and has the copy sent: who is only invited could not read it."""

    def __init__(
        self,
        *,
        database: Database,
        belongs: Callable[[CommunityId, UserId], Awaitable[bool]],
        chat_with: Callable[[UserId], Awaitable[RoomId]],
        facts: Facts,
        deliver: Deliver,
        miss: Miss,
        tell: Callable[[str], Awaitable[None]],
        jobs: Jobs,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        """
        Args:
            belongs: whether somebody is in a community, as it is now.
            chat_with: the chat with somebody, made where there is none.
            deliver: sends a copy into the chat that the job names.
            miss: records that a copy will not be sent.
            tell: tells an author how their announcement stands, if nothing is under way any more.
        """
        self._database = database
        self._belongs = belongs
        self._chat_with = chat_with
        self._facts = facts
        self._deliver = deliver
        self._miss = miss
        self._tell = tell
        self._jobs = jobs
        self._wake = wake
        self._clock = clock

    async def do(self, job_id: str, job: DeliverAnnouncement) -> None:
        """Send somebody their copy, or have it wait for them in their chat: safe to repeat.

        Raises:
            MatrixError: the homeserver cannot be asked; a later try may help.
        """
        user = person_of(job.place)
        assert user is not None
        target = Target(job.community, job.room_id, job.place)
        first = job_id == target.job_of(job.announcement)  # whoever enters their chat later is nobody's news
        async with self._database.transaction() as tx:
            settled = await store.is_settled(tx, job.announcement, target)
        if settled:
            return
        if not await self._belongs(job.community, user):
            await self._miss(job.announcement, target, Missed.LEFT, tell=first)
            return
        try:
            room_id = await self._chat_with(user)
        except (Forbidden, BadRequest):
            await self._miss(job.announcement, target, Missed.UNREACHABLE, tell=first)
            return
        target = Target(job.community, room_id, job.place)
        # recorded before anybody is asked whether they are there: who enters meanwhile is heard, and the copy found
        async with self._database.transaction() as tx:
            await store.has_chat(tx, job.announcement, target)
        if user in await self._facts.still_joined(room_id, [user]):
            sent = DeliverAnnouncement(job.announcement, job.community, room_id, job.place)
            await self._deliver(job_id, sent, tell=first)
        elif first:
            await self._tell(job.announcement)

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody entered the chat in which copies wait for them, or declined or left it."""
        if event.membership not in ("join", "leave", "ban"):
            return
        async with self._database.transaction() as tx:
            waiting = [
                one for one in await store.waiting_in(tx, event.room_id) if person_of(one.target.place) == event.user
            ]
            if event.membership == "join":
                for one in waiting:
                    await self._jobs.add(
                        tx, f"{one.target.job_of(one.announcement)}-{event.event_id}", f"person {event.user}",
                        _job(one), self._clock.now_ms(),
                    )  # fmt: skip
        if event.membership == "join":
            self._wake()
            return
        for one in waiting:
            await self._miss(one.announcement, one.target, Missed.DECLINED, tell=False)


def _job(one: Copy) -> DeliverAnnouncement:
    return DeliverAnnouncement(one.announcement, one.target.community, one.target.room_id, one.target.place)
