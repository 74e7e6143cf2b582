"""The newsroom: everything about announcements, wired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, tzinfo

from bridge.core.announcements import Audience, Target, first_words
from bridge.core.community import ANNOUNCEMENTS, Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import (
    Announce,
    CountPoll,
    DeliverAnnouncement,
    LookAfterEvent,
    PlaceOptions,
    Posted,
    PrepareEvent,
    Redacted,
    SeatPeople,
    SendDigest,
    SendLetter,
    ShowEvent,
    ShowPoll,
)
from bridge.core.moments import zone_of
from bridge.core.rank import People
from bridge.features.announcements import Announcements
from bridge.features.digests import Digests
from bridge.features.events import Events
from bridge.features.feeds import Feeds
from bridge.features.mailing import Mailing
from bridge.features.polls import Polls
from bridge.matrix.recall import Recall
from bridge.plan.family import Family
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, PostOffice, RoomFacts
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex
from bridge.worker import Complete


class Newsroom:
    """The parts that announce, each made once; and who of them does which job, and hears of which event."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        accounts: Accounts,
        clock: Clock,
        declared: Callable[[], Mapping[CommunityId, Community]],
        language_of: Callable[[CommunityId], Language],
        before_announcing: Callable[[CommunityId], Awaitable[None]],
        facts: RoomFacts,
        recall: Recall,
        is_member: Callable[[CommunityId, UserId], Awaitable[bool]],
        domain: str,
        people: Callable[[Community], Awaitable[People]],
        secret: bytes,
        url: str,
        post_office: PostOffice | None,
    ) -> None:
        """
        Args:
            declared: every community as it is to be.
            people: what the rules ask of a community's people.
            secret: of which secrets are made that people ask for in chats.
            url: what stands before the addresses of pages; empty where nobody outside can reach them.
            post_office: None where the operator has set up no mail server.
            before_announcing: sees who is out of a community before something is said in it.
            is_member: whether somebody is in a community now.
            domain: the homeserver's name.
        """
        self._index = index
        self._declared = declared
        self._before_announcing = before_announcing
        self.polls = Polls(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            content_of=recall.original,
            is_member=is_member,
            zone_of=self.zone_of,
            language_of=language_of,
            accounts=accounts,
            clock=clock,
        )
        self.events = Events(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            content_of=recall.content,
            is_member=is_member,
            chat_of=self.chat_of,
            zone_of=self.zone_of,
            language_of=language_of,
            domain=domain,
            accounts=accounts,
            clock=clock,
        )
        self.announcements = Announcements(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            accounts=accounts,
            clock=clock,
            language_of=language_of,
            targets_of=self.targets_of,
            also_delivered=self._delivered,
        )
        self.mailing = Mailing(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            post_office=post_office,
            people=people,
            clock=clock,
            secret=secret,
            url=url,
        )
        self._recall = recall
        self.digests = Digests(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            facts=facts,
            words_of=self.words_of,
            declared=lambda name: declared().get(name),
            zone_of=self.zone_of,
            language_of=language_of,
            clock=clock,
            unsubscribe_url=self.mailing.unsubscribe_url,
        )
        self.feeds = Feeds(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            recall=recall.content,
            declared=lambda name: declared().get(name),
            people=people,
            clock=clock,
            secret=secret,
            url=url,
        )

    async def community_of_ticket(self, ticket: str) -> str | None:
        """The name of the community whose letters a ticket ends; None for one that ends none."""
        found = await self.mailing.subscriber(ticket)
        if found is None:
            return None
        community = self._declared().get(found.community)
        return str(found.community) if community is None else community.name or str(community.id)

    def zone_of(self, community: CommunityId) -> tzinfo:
        """The time zone in which a community lives."""
        declared = self._declared().get(community)
        return UTC if declared is None else zone_of(declared)

    def chat_of(self, user: UserId) -> RoomId | None:
        """The direct chat with somebody."""
        return next((room_id for room_id, one in self._index.chats.items() if one == user), None)

    async def _delivered(self, tx: Transaction, announcement: str, target: Target, event_id: EventId) -> None:
        await self.polls.delivered(tx, announcement, target, event_id)
        await self.events.delivered(tx, announcement, target, event_id)

    async def words_of(self, room_id: RoomId, event_id: EventId) -> str:
        """The first words of a message in an announcement room; empty for what was redacted."""
        content = await self._recall.content(room_id, event_id)
        return "" if content is None else first_words([content])

    async def do(
        self,
        job_id: str,
        job: DeliverAnnouncement
        | Announce
        | SendDigest
        | SendLetter
        | PlaceOptions
        | ShowPoll
        | CountPoll
        | PrepareEvent
        | SeatPeople
        | ShowEvent
        | LookAfterEvent,
        complete: Complete,
    ) -> None:
        """Do a job about announcements: safe to repeat."""
        match job:
            case DeliverAnnouncement():
                await self._before_announcing(job.community)
                await self.announcements.deliver(job_id, job)
            case Announce():
                await self.announcements.announce(job, complete)
            case SendDigest():
                await self.digests.send(job, complete)
            case PlaceOptions():
                await self.polls.place(job_id, job)
            case ShowPoll():
                await self.polls.show(job_id, job, complete)
            case CountPoll():
                await self.polls.count(job, complete)
            case PrepareEvent():
                await self.events.prepare(job_id, job)
            case SeatPeople():
                await self.events.seat(job, complete)
            case ShowEvent():
                await self.events.show(job_id, job)
            case LookAfterEvent():
                await self.events.look_after(job, complete)
            case SendLetter():
                await self.mailing.send(job_id, job)

    async def given_up(self, job_id: str, job: DeliverAnnouncement | Announce, reason: str) -> None:
        """Tell whoever has to know of a job that was given up."""
        match job:
            case DeliverAnnouncement():
                await self.announcements.failed(job, job_id, reason)
            case Announce():
                await self.announcements.not_announced(job, job_id, reason)

    async def posted(self, community: CommunityId, event: Posted, *, by_admin: bool) -> None:
        """Something was posted in a community's announcement room, by an admin with their own client or not."""
        await self.polls.reacted(community, event)
        await self.events.reacted(community, event)
        if by_admin:
            await self.announcements.noticed(community, event)

    async def redacted(self, event: Redacted) -> None:
        """Something was redacted in a room of ours."""
        await self.polls.taken_back(event)
        await self.events.taken_back(event)

    async def targets_of(self, community: CommunityId, audience: Audience) -> Sequence[Target]:
        """Whom an audience of a community means now.

        Raises:
            Refused: it names what is not there, or what cannot be announced to.
        """
        family = Family(self._declared())
        names = [community] if audience.everybody else []
        below = {one.id for one in family.below(community)}
        for name in audience.communities:
            if name not in below:
                known = ", ".join(sorted(below)) or "none"
                raise Refused(f"{name} is no community within {community}", remedy=f"within it are: {known}")
            names.append(name)
        if audience.groups or audience.tags:
            raise Refused("announcements go to announcement rooms", where=" ".join(audience.as_words()))
        return [self._announcement_room(name) for name in dict.fromkeys(names)]

    def _announcement_room(self, community: CommunityId) -> Target:
        room_id = self._index.room_of(community, ANNOUNCEMENTS)
        if room_id is None:
            raise Refused("has no announcement room yet", where=str(community), remedy="apply the configuration first")
        return Target(community, room_id)
