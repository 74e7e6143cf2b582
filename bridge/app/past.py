"""The past of announcement rooms: who was in them when and what was said, remembered as it happens, so that newcomers
can be given it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from bridge.config.sections import History
from bridge.core.community import Community, RoomKind
from bridge.core.errors import CommunitiesError
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.messages import GiveHistory, MembershipChanged, Posted
from bridge.e2ee.keys import Keys
from bridge.e2ee.window import Window
from bridge.features.readiness import Readiness
from bridge.plan.state import Accounts
from bridge.ports import Clock
from bridge.store.database import Database, Transaction
from bridge.store.history import MoveRow, SpokenRow, rooms_of
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

HISTORY_SPAN_MS = 1_000
"""Newcomers within this time are given the past together."""


class Past:
    """Remembers it, and has it given."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        keys: Keys,
        readiness: Readiness,
        declared: Callable[[CommunityId], Community | None],
        shown: Callable[[], History],
        forget_before: Callable[[int], Awaitable[None]],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            declared: a community as it is to be; None for one that there is no more.
            shown: how much of the past newcomers are given.
            forget_before: forgets what else is kept of announcements that were sent before a time.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._keys = keys
        self._readiness = readiness
        self._declared = declared
        self._shown = shown
        self._forget_before = forget_before
        self._accounts = accounts
        self._clock = clock

    def window_of(self, room_id: RoomId) -> Window | None:
        """How much of a room's past newcomers are given; None where they are given nothing by us."""
        place = self._index.places.get(room_id)
        community = None if place is None else self._declared(place.community)
        if place is None or community is None or place.kind is not RoomKind.ANNOUNCEMENTS:
            return None
        shown = self._shown()
        return Window(
            shown.announcements if community.history else 0, shown.days, while_away=community.history_while_away
        )

    async def wanted(self, tx: Transaction, room_id: RoomId, at: int | None = None) -> None:
        """Have whoever came into an announcement room given its past, soon (or at that time): many at once, where many
        come at once. Wake the worker after the commit.
        """
        # A job is not begun before its span is over, so what happens in the span is never too late for it.
        over = max(self._clock.now_ms() // HISTORY_SPAN_MS + 1, -(-(at or 0) // HISTORY_SPAN_MS))
        job_id = f"history-{over}-{room_id}"
        await self._jobs.add(tx, job_id, f"keys {room_id}", GiveHistory(room_id), over * HISTORY_SPAN_MS)

    async def member_moved(self, event: MembershipChanged) -> None:
        """Remember who is in an announcement room and who is outside; newcomers are given its past."""
        if event.user in self._accounts.both:
            return
        move = MoveRow(event.user, event.event_id, event.membership, event.sender, event.sent_at)
        async with self._database.transaction() as tx:
            await self._keys.history.moved(tx, event.room_id, move)
            if event.membership == "join":
                await self.wanted(tx, event.room_id)
        self._wake()

    async def look_after(self) -> None:
        """Find out who came in without our knowing, and forget what lies behind the window: now and then."""
        for room_id, place in list(self._index.places.items()):
            if place.kind is not RoomKind.ANNOUNCEMENTS:
                continue
            try:
                await self._keys.history.meet(room_id, but=self._accounts.both)
                async with self._database.transaction() as tx:
                    await self.wanted(tx, room_id)
            except CommunitiesError as error:
                log.info("who is in %s cannot be compared now: %s", room_id, error.what)
        try:
            await self._forget_before(self._clock.now_ms() - self._shown().days * 24 * 3_600_000)
        except CommunitiesError as error:
            log.info("what lies behind the window cannot be forgotten now: %s", error.what)
        self._wake()

    async def devices_changed(self, tx: Transaction, users: Collection[UserId]) -> None:
        """Have whoever has another device now given what it misses; within the database transaction that notes it."""
        await self._readiness.devices_changed(tx, users)
        for room_id in await rooms_of(tx, users):
            await self.wanted(tx, RoomId(room_id))
        asyncio.get_running_loop().call_later(HISTORY_SPAN_MS / 1000, self._wake)  # well after the commit

    async def posted(self, event: Posted) -> None:
        """Remember when something was said in an announcement room, and under which session."""
        if not event.session_id:
            return
        spoken = SpokenRow(event.event_id, event.session_id, event.sender, event.message_index, event.sent_at)
        async with self._database.transaction() as tx:
            missed = await self._keys.history.spoke(tx, event.room_id, spoken)
            if missed:
                await self.wanted(tx, event.room_id)
        if missed:
            self._wake()
