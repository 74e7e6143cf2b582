"""The newsroom: everything about announcements, wired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC

from bridge.core.announcements import Audience, Target, first_words
from bridge.core.community import ANNOUNCEMENTS, Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import Language
from bridge.core.messages import Announce, DeliverAnnouncement, Posted, SendDigest, SendLetter
from bridge.core.rank import People
from bridge.features.announcements import Announcements
from bridge.features.digests import Digests
from bridge.features.feeds import Feeds
from bridge.features.mailing import Mailing
from bridge.matrix.recall import Recall
from bridge.plan.family import Family
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, PostOffice, RoomFacts
from bridge.store.database import Database
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
        name_of: Callable[[CommunityId], Awaitable[str]],
        before_announcing: Callable[[CommunityId], Awaitable[None]],
        facts: RoomFacts,
        recall: Recall,
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
        """
        self._index = index
        self._declared = declared
        self._before_announcing = before_announcing
        self.announcements = Announcements(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            accounts=accounts,
            clock=clock,
            language_of=language_of,
            targets_of=self.targets_of,
            name_of=name_of,
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
            zone_of=lambda _: UTC,
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

    async def words_of(self, room_id: RoomId, event_id: EventId) -> str:
        """The first words of a message in an announcement room; empty for what was redacted."""
        content = await self._recall.content(room_id, event_id)
        return "" if content is None else first_words([content])

    async def do(
        self, job_id: str, job: DeliverAnnouncement | Announce | SendDigest | SendLetter, complete: Complete
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
        if by_admin:
            await self.announcements.noticed(community, event)

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
