"""Whoever joins a community gets one short welcome, in a direct chat with the announcer: once, whatever is restarted.

The message waits until they are in the chat: who is only invited could not read it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from bridge.core import texts
from bridge.core.community import SPACE, Community
from bridge.core.errors import BadRequest, Forbidden
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import MembershipChanged, Reacted, SayWelcome, SendMessage, Welcome, notice
from bridge.plan import changes
from bridge.plan.desired import group_name_of, name_of
from bridge.plan.state import Accounts, Known, digest_of
from bridge.ports import Clock, Messenger
from bridge.store import arrivals
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

YES = "✅"
LANE = "welcome"
"""One lane for all: a crowd is welcomed one after the other."""


class Facts(Protocol):
    """Who is in a chat."""

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]: ...


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...


class Arrivals:
    """Welcomes whoever joins a community that has a text for it."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        memory: Memory,
        declared: Callable[[CommunityId], Community | None],
        chat_with: Callable[[UserId], Awaitable[RoomId]],
        facts: Facts,
        messenger: Messenger,
        look_again: Callable[[CommunityId], None],
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            chat_with: the chat with somebody, made where there is none.
        """
        self._database = database
        self._index = index
        self._memory = memory
        self._declared = declared
        self._chat_with = chat_with
        self._facts = facts
        self._messenger = messenger
        self._look_again = look_again
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody joined: a community, or a chat in which a welcome waits for them."""
        if event.membership != "join" or event.user in self._accounts.both:
            return
        place = self._index.place_of(event.room_id)
        if place is None:
            if self._index.chats.get(event.room_id) == event.user:
                await self._say(event.room_id, event.user)
        elif place.key == SPACE:
            await self._arrived(place.community, event.user)

    async def _arrived(self, community_id: CommunityId, user: UserId) -> None:
        community = self._declared(community_id)
        if community is None or not (community.welcome or community.rules):
            return
        if user in community.named or user in (await self._memory.known(community_id)).roles:
            return  # the operator knows whom they named, and tells them
        async with self._database.transaction() as tx:
            if await arrivals.has_arrived(tx, community_id, user):
                return
        if community.rules_required:
            await self._memory.update(community_id, lambda known: changes.asked_to_agree(known, user))
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            if await arrivals.add(tx, community_id, user, now):
                job_id = f"welcome-{digest_of([community_id, user])}"
                await self._jobs.add(tx, job_id, LANE, Welcome(community_id, user), now)
        self._wake()

    async def do(self, job_id: str, job: Welcome | SayWelcome) -> None:
        """Make the chat, or say the welcome there: safe to repeat."""
        if isinstance(job, Welcome):
            await self._welcome(job)
        else:
            await self._say_one(job_id, job)

    async def _welcome(self, job: Welcome) -> None:
        """See that there is a chat with somebody, and say the welcome if they are in it.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            expected = await arrivals.has_arrived(tx, job.community, job.user)
        if self._declared(job.community) is None or not expected:
            return
        try:
            room_id = await self._chat_with(job.user)
            if job.user in await self._facts.still_joined(room_id, [job.user]):
                await self._say(room_id, job.user)
        except (Forbidden, BadRequest):
            return  # they cannot be reached, or do not want to be

    async def _say(self, room_id: RoomId, user: UserId) -> None:
        """Say every welcome that waits for somebody, and that it was said, in one database transaction."""
        async with self._database.transaction() as tx:
            for name in await arrivals.untold(tx, user):
                await arrivals.told(tx, name, user)
                job = SayWelcome(name, user, room_id)
                await self._jobs.add(tx, f"welcomed-{digest_of([name, user])}", room_id, job, self._clock.now_ms())
        self._wake()

    async def _say_one(self, job_id: str, job: SayWelcome) -> None:
        community = self._declared(job.community)
        if community is None:
            return
        known = await self._memory.known(community.id)
        groups = [group_name_of(group, known) for group in community.groups if group.kind.is_listed]
        text = texts.welcome(
            name_of(community, known),
            community.welcome or "",
            community.rules or "",
            groups,
            community.reach_names,
            community.discusses,
            community.language,
        )
        async with self._database.transaction() as tx:
            knows_how = await arrivals.was_welcomed(tx, job.user, but=job.community)
        if not knows_how:
            text = texts.recommend_notifications(text, community.language)
        if community.rules_required:
            text = texts.please_agree(text, community.language)
        sent = await self._messenger.send(job.room_id, notice(text), txn_id=job_id)
        if community.rules_required:
            await self._messenger.react(job.room_id, sent.event_id, YES, txn_id=f"{job_id}-yes")
        async with self._database.transaction() as tx:
            await arrivals.said(tx, job.community, job.user, sent.event_id)

    async def reacted(self, event: Reacted) -> None:
        """A newcomer's ✅ on their welcome: they agree to the rules, and the rooms open."""
        if self._index.chats.get(event.room_id) != event.sender or event.key.rstrip("\ufe0f") != YES:
            return
        async with self._database.transaction() as tx:
            name = await arrivals.welcomed_by(tx, event.sender, event.to)
        community = None if name is None else self._declared(name)
        if community is None or event.sender not in (await self._memory.known(community.id)).waiting:
            return
        await self._memory.update(community.id, lambda known: changes.agreed(known, event.sender))
        self._look_again(community.id)
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            job = SendMessage(event.room_id, notice(texts.thanks_for_agreeing(community.language)))
            await self._jobs.add(tx, f"agreed-{digest_of([community.id, event.sender])}", event.room_id, job, now)
        self._wake()
