"""The newsroom: everything about announcements, wired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from bridge.core.announcements import Audience, Target, person_of
from bridge.core.community import ANNOUNCEMENTS, Community, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.languages import Language
from bridge.core.messages import Announce, DeliverAnnouncement, ExpireDraft, Posted, Reacted, ShowDraft
from bridge.features.announcements import Announcements
from bridge.features.drafts import Drafts, Reach
from bridge.plan.family import Family
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, RoomReader
from bridge.store import shares
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex
from bridge.worker import Complete

AnnouncementJob = DeliverAnnouncement | Announce | ShowDraft | ExpireDraft


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
        role_of: Callable[[CommunityId, UserId], Awaitable[Role | None]],
        reader: RoomReader,
        draft_hours: Callable[[], int],
    ) -> None:
        """
        Args:
            declared: every community as it is to be.
            before_announcing: sees who is out of a community before something is said in it.
            draft_hours: how long a draft waits for its author's word.
        """
        self._database = database
        self._accounts = accounts
        self._reader = reader
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
        )

        self.drafts = Drafts(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            clock=clock,
            role_of=role_of,
            targets_of=self.targets_of,
            reach_of=self.reach_of,
            language_of=language_of,
            lapse_ms=lambda: draft_hours() * 3_600_000,
        )

    async def do(self, job_id: str, job: AnnouncementJob, complete: Complete) -> None:
        """Do a job about announcements: safe to repeat."""
        match job:
            case DeliverAnnouncement():
                await self._before_announcing(job.community)
                await self.announcements.deliver(job_id, job)
            case Announce():
                await self.announcements.announce(job, complete)
            case ShowDraft() | ExpireDraft():
                await self.drafts.do(job_id, job)

    async def given_up(self, job_id: str, job: AnnouncementJob, reason: str) -> None:
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

    async def reacted(self, event: Reacted) -> None:
        """Somebody reacted to a message in a chat or control room."""
        await self.drafts.reacted(event)

    async def reach_of(self, targets: Sequence[Target]) -> Reach:
        """How many people an announcement would reach now, each counted once, and how many devices hold its keys."""
        people: set[str] = set()
        devices = 0
        async with self._database.transaction() as tx:
            for target in targets:
                if target.room_id is not None:
                    devices += (await shares.reach(tx, target.room_id, ours=self._accounts.both)).devices
        for target in targets:
            room = None if target.room_id is None else self._reader.peek(target.room_id)
            if room is not None and person_of(target.place) is None:
                people |= {user for user, here in room.members.items() if here.state == "join"}
            elif (user := person_of(target.place)) is not None:
                people.add(user)
        return Reach(len(people - self._accounts.both), devices)

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
