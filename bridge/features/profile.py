"""What a community is called and how it is set up, by somebody's word: set, reset and shown.

Values are stored, and the rooms follow by the reconciler. Name, description and picture are state of the space.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from bridge.core import profile as rules
from bridge.core import rank, texts
from bridge.core.announcements import EVERYBODY, Kind
from bridge.core.community import SPACE, Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.messages import Announce, notice
from bridge.core.profile import Aspect
from bridge.core.rank import People
from bridge.plan.state import Known
from bridge.ports import Clock, RoomExecutor
from bridge.store import communities as store
from bridge.store import profile
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...


class Profile:
    """Carries out what owners, admins or the operator ask. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        read_profile: Callable[[], Awaitable[None]],
        current: Callable[[CommunityId], Community | None],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        people: Callable[[Community], Awaitable[People]],
        rooms: RoomExecutor,
        jobs: Jobs,
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        """
        Args:
            read_profile: has the communities put together anew, after something of this was stored.
            current: a community as it is to be now.
            lock_of: held while a community's rooms are worked on.
        """
        self._database = database
        self._memory = memory
        self._read_profile = read_profile
        self._current = current
        self._lock_of = lock_of
        self._people = people
        self._rooms = rooms
        self._jobs = jobs
        self._wake = wake
        self._clock = clock
        self._storing = asyncio.Lock()

    async def check(self, community: Community, by: UserId | None, aspect: Aspect) -> None:
        """Whether somebody may set one thing.

        Raises:
            Refused: why not.
        """
        rank.check_profile(await self._people(community), by)
        rules.check_not_declared(community, aspect)

    async def set(self, community: Community, by: UserId | None, aspect: Aspect, text: str) -> None:
        """Set one thing. The rooms follow. Safe to do twice.

        Raises:
            Refused: why not.
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        await self.check(community, by, aspect)
        async with self._storing:
            # judged and stored without anybody between: rules may be taken away by one who is faster
            value = rules.stored(self._current(community.id) or community, aspect, text)
            await self._keep(community, by, aspect, value)

    async def reset(self, community: Community, by: UserId | None, aspect: Aspect) -> None:
        """Take back what was set of one thing. Safe to do twice.

        Raises:
            Refused: why not.
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        await self.check(community, by, aspect)
        async with self._storing:
            rules.check_reset(self._current(community.id) or community, aspect)
            await self._keep(community, by, aspect, None)

    async def _keep(self, community: Community, by: UserId | None, aspect: Aspect, value: str | None) -> None:
        if aspect.is_state:
            await self._call(community, aspect, value or "")
        async with self._database.transaction() as tx:
            if not aspect.is_state and value is not None:
                await profile.put(tx, community.id, aspect, value)
            elif not aspect.is_state:
                await profile.drop(tx, community.id, aspect)
            if aspect is Aspect.REACH_NAMES:
                await self._tell_members(tx, community, by, names=value == "yes")
            deed = "reset" if value is None else "set"
            actor = by or texts.the_operator()
            await store.record(tx, self._clock.now_ms(), community.id, "", actor, deed, aspect.value)
        await self._read_profile()
        self._wake()

    async def _tell_members(self, tx: Transaction, community: Community, by: UserId | None, *, names: bool) -> None:
        """Have everybody told what admins see of them, where that changes: who was there before has read no welcome."""
        now = self._clock.now_ms()
        current = self._current(community.id) or community
        if current.reach_names == names:
            return
        source = f"reach-names-{community.id}-{now}"
        parts = (notice(texts.members_are_told(names, current.language)),)
        author = by or "operator"
        job = Announce(community.id, source, author, parts, EVERYBODY.as_words(), Kind.TEXT.value, None)
        await self._jobs.add(tx, source, f"announce {community.id}", job, now)

    async def _call(self, community: Community, aspect: Aspect, value: str) -> None:
        """Write a piece of the space's state before it is remembered, and let no pass of the reconciler come between:
        one that finds the old value would take it for a wish of whoever gave it.
        """
        event_type, field = aspect.event
        content = {} if aspect is Aspect.PICTURE and not value else {field: value}
        async with self._lock_of(community.id):
            if self._current(community.id) is None:  # while it waited for the lock
                raise Refused(
                    "was deactivated, or is declared no longer", where=str(community.id), remedy="see `status`"
                )
            room_id = (await self._memory.known(community.id)).rooms.get(SPACE)
            if room_id is not None:
                await self._rooms.set_state(room_id, event_type, "", content)
            await self._memory.update(
                community.id, lambda known: replace(known, profile={**known.profile, (SPACE, event_type): content})
            )

    async def shown(self, community: Community, by: UserId | None) -> list[tuple[Aspect, str, bool]]:
        """Everything that can be set: what it is now (empty where nothing), and whether the configuration says so.

        Raises:
            Refused: they may not see it.
        """
        rank.check_profile(await self._people(community), by)
        known = await self._memory.known(community.id)
        found = []
        for aspect in Aspect:
            value = getattr(community, aspect.value)
            if aspect.is_state and value is None:
                event_type, field = aspect.event
                value = known.profile.get((SPACE, event_type), {}).get(field)
            if isinstance(value, bool):
                value = "yes" if value else "no"
            found.append((aspect, str(value or ""), community.declares(aspect.value)))
        return found
