"""Groups that let the announcer in, so that announcements can be posted there: by their moderators' word, in the open.

What is asked is stored; the announcer's place in the room follows by the reconciler. The group is told by the announcer
itself when it has come in, and before it goes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from bridge.core import rank, texts
from bridge.core.community import Community
from bridge.core.errors import CommunitiesError, Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.messages import MembershipChanged, SendMessage, ShutAnnouncerOut, notice
from bridge.core.rank import People
from bridge.plan import changes
from bridge.plan.desired import admits_announcer, moderators_of, name_of
from bridge.plan.people import NOT_ADMITTED
from bridge.plan.state import Accounts, Known, digest_of
from bridge.ports import Clock, Messenger
from bridge.store.communities import record
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...


class Admitting:
    """Lets the announcer into groups and out again. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        memory: Memory,
        declared: Callable[[], Mapping[CommunityId, Community]],
        people: Callable[[Community], Awaitable[People]],
        language_of: Callable[[CommunityId], Language],
        look_again: Callable[[CommunityId], None],
        leave: Callable[[RoomId, str], Awaitable[None]],
        messenger: Messenger,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            leave: has the announcer leave a room, with a reason.
        """
        self._leave = leave
        self._database = database
        self._index = index
        self._memory = memory
        self._declared = declared
        self._people = people
        self._language_of = language_of
        self._look_again = look_again
        self._messenger = messenger
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock

    async def check(self, community: Community, by: UserId | None, key: RoomKeyName, *, admit: bool) -> bool:
        """Whether `by` may let the announcer into a group, or out of it; gives whether it would be something new.

        Raises:
            Refused: why not.
            MatrixError: the homeserver cannot be asked who somebody is.
        """
        known = await self._memory.known(community.id)
        group = community.group(key)
        moderators = moderators_of(known, key, group)
        rank.check_admitting(await self._people(community), by, key, moderators)
        if group is not None and admit and group.archived:
            raise Refused(
                f"the group {key!r} is archived", where=str(community.id), remedy="take it into use again first"
            )
        if admit and key in known.frozen:
            raise Refused(
                f"the group {key!r} is locked after a dispute over its settings",
                where=str(community.id),
                remedy=f"an owner lifts the lock by writing `thaw {community.id}` to the announcer",
            )
        return (key in known.admitting) is not admit

    async def change(
        self, community: Community, by: UserId | None, key: RoomKeyName, *, admit: bool, source: str
    ) -> bool:
        """Let the announcer into a group, or have it say farewell and go; whether that is something new.

        Args:
            source: what asked for it; the same source again does nothing more.

        Raises:
            Refused: why not.
        """
        if not await self.check(community, by, key, admit=admit):
            return False
        now = self._clock.now_ms()
        actor = str(by) if by is not None else texts.the_operator()
        if admit:
            await self._memory.update(community.id, lambda one: changes.admitting(one, key))
            async with self._database.transaction() as tx:
                await record(tx, now, community.id, key, actor, "group announcements", "on")
            self._look_again(community.id)
            return True
        job_id = f"shut-out-{digest_of([community.id, key, source or now])}"
        async with self._database.transaction() as tx:
            job = ShutAnnouncerOut(community.id, key, actor)
            if await self._jobs.add(tx, job_id, f"group {community.id}/{key}", job, now):
                await record(tx, now, community.id, key, actor, "group announcements", "off")
        self._wake()
        return True

    async def shut_out(self, job_id: str, job: ShutAnnouncerOut) -> None:
        """Say farewell in a group, and let it go: safe to repeat.

        That the announcer goes does not wait for its words: what keeps them from being said may keep on.
        """
        known = await self._memory.known(job.community)
        room_id = known.rooms.get(job.key)
        if room_id is not None and job.key in known.admitting:
            text = texts.announcer_leaves(job.by, self._language_of(job.community))
            try:
                await self._messenger.send(room_id, notice(text), txn_id=job_id)
            except CommunitiesError as error:
                log.info("%s/%s: nothing was said before the announcer goes: %s", job.community, job.key, error.what)
        await self._memory.update(job.community, lambda one: changes.not_admitting(one, job.key))
        if room_id is not None and not self._lets_in(job.community, await self._memory.known(job.community), job.key):
            await self._leave(room_id, NOT_ADMITTED)  # at once: a pass may wait for somebody's word
        self._look_again(job.community)

    def _lets_in(self, name: CommunityId, known: Known, key: RoomKeyName) -> bool:
        community = self._declared().get(name)
        return community is not None and admits_announcer(known, community.group(key))

    async def moved(self, event: MembershipChanged) -> None:
        """The announcer came into a group, which is told what that means; or somebody in charge there removed it, which
        is their word that it shall stay out, where the file does not decide.
        """
        place = self._index.place_of(event.room_id)
        if event.user != self._accounts.announcer or place is None or not place.kind.is_group:
            return
        community = self._declared().get(place.community)
        known = await self._memory.known(place.community)
        if community is None or not self._lets_in(place.community, known, place.key):
            return
        if event.membership == "join" and event.before != "join":  # else it is called otherwise now
            await self._say_hello(community, known, event)
        elif event.membership in ("leave", "ban") and event.sender not in self._accounts.both:
            await self._removed(community, place.key, event)

    async def _say_hello(self, community: Community, known: Known, event: MembershipChanged) -> None:
        text = texts.announcer_is_here(name_of(community, known), self._language_of(community.id))
        async with self._database.transaction() as tx:
            send = SendMessage(event.room_id, notice(text))
            await self._jobs.add(tx, f"admitted-{event.event_id}", event.room_id, send, self._clock.now_ms())
        self._wake()

    async def _removed(self, community: Community, key: RoomKeyName, event: MembershipChanged) -> None:
        try:
            await self.check(community, event.sender, key, admit=False)
        except Refused:
            return  # it is brought back
        await self._memory.update(community.id, lambda one: changes.not_admitting(one, key))
        async with self._database.transaction() as tx:
            now = self._clock.now_ms()
            await record(tx, now, community.id, key, event.sender, "group announcements", "off")
