"""The newsroom: everything about announcements, wired."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from bridge.app.audiences import Audiences
from bridge.app.handouts import RoleOf
from bridge.app.reaching import ReachDesk
from bridge.core.announcements import Audience, Target, first_words, person_of
from bridge.core.audience import heard_in
from bridge.core.community import ANNOUNCEMENTS, DISCUSSION, Community, Group, RoomKind
from bridge.core.discussions import without_link
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import (
    Announce,
    AskToAcknowledge,
    CloseAcknowledgement,
    CloseCopies,
    CountPoll,
    DeliverAnnouncement,
    EditCopy,
    EndBallot,
    EndBallots,
    EndPoll,
    ExpireDraft,
    Job,
    KeepPins,
    LookAfterEvent,
    MembershipChanged,
    PlaceOptions,
    PostAgain,
    Posted,
    PrepareEvent,
    Reacted,
    Redacted,
    RemindOne,
    RemindToAcknowledge,
    RunSchedule,
    SeatPeople,
    SendBallot,
    SendBallots,
    SendDigest,
    SendFigures,
    SendLetter,
    ShowDraft,
    ShowEvent,
    ShowPoll,
    ShutAnnouncerOut,
    TellAuthor,
    TendThread,
    WithdrawCopy,
)
from bridge.core.rank import People
from bridge.features.acknowledgements import Acknowledgements, Reminders
from bridge.features.admitting import Admitting
from bridge.features.afterwards import Afterwards
from bridge.features.announcements import Announcements
from bridge.features.ballots import Ballots
from bridge.features.calendars import Calendars
from bridge.features.digests import Digests
from bridge.features.direct_copies import DirectCopies
from bridge.features.discussions import Discussions
from bridge.features.drafts import Drafts
from bridge.features.events import Events
from bridge.features.feeds import Feeds
from bridge.features.mailing import Mailing
from bridge.features.pins import Pins
from bridge.features.polls import Polls
from bridge.features.reach import Positions, Reach
from bridge.features.reconcile import Reconciler
from bridge.features.reposts import Reposts
from bridge.features.schedules import Rules, Schedules, shown
from bridge.matrix.recall import Recall
from bridge.plan.desired import group_name_of
from bridge.plan.state import Accounts
from bridge.ports import Clock, Messenger, PostOffice, Posts, RoomExecutor, RoomFacts, RoomReader
from bridge.store.database import Database, Transaction
from bridge.store.drafts import Draft
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex
from bridge.worker import Complete, Park

AnnouncementJob = (
    DeliverAnnouncement
    | Announce
    | SendDigest
    | SendLetter
    | TellAuthor
    | EditCopy
    | WithdrawCopy
    | KeepPins
    | PostAgain
    | ShutAnnouncerOut
    | CloseCopies
    | SendFigures
    | AskToAcknowledge
    | RemindToAcknowledge
    | RemindOne
    | CloseAcknowledgement
    | RunSchedule
    | PlaceOptions
    | ShowPoll
    | CountPoll
    | EndPoll
    | SendBallots
    | SendBallot
    | EndBallots
    | EndBallot
    | PrepareEvent
    | SeatPeople
    | ShowEvent
    | LookAfterEvent
    | ShowDraft
    | ExpireDraft
    | TendThread
)
"""The jobs that are done here."""


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
        reconciler: Reconciler,
        facts: RoomFacts,
        posts: Posts,
        reader: RoomReader,
        rooms: RoomExecutor,
        draft_hours: Callable[[], int],
        most_pins: int,
        positions: Positions,
        role_of: RoleOf,
        reminders: Reminders,
        domain: str,
        people: Callable[[Community], Awaitable[People]],
        everybody: Callable[[CommunityId], Awaitable[Sequence[Mapping[str, Any]]]],
        joined_in: Callable[[RoomId], Awaitable[Collection[UserId]]],
        chat_with: Callable[[UserId], Awaitable[RoomId]],
        look_again: Callable[[CommunityId], None],
        leave: Callable[[RoomId, str], Awaitable[None]],
        before_announcing: Callable[[CommunityId, RoomKeyName], Awaitable[None]],
        recall: Recall,
        secret: bytes,
        url: str,
        scheduling: Rules,
        post_office: PostOffice | None,
    ) -> None:
        """
        Args:
            positions: where events stand in the order in which they came.
            people: what the rules ask of a community's people.
            everybody: who is in a community, with their tags: see `app/roster`.
            joined_in: who is in a room.
            chat_with: the announcer's chat with somebody, made where there is none.
            leave: has the announcer leave a room, with a reason.
            before_announcing: sees who is out of a community before something is said in a room of it.
            secret: of which secrets are made that people ask for in chats.
            url: what stands before the addresses of pages; empty where nobody outside can reach them.
            role_of: the role in force of somebody; None for who is not in the community.
            post_office: None where the operator has set up no mail server.
            draft_hours: how long a draft waits for its author's word.
            domain: the homeserver's name.
        """
        self._index = index
        self._reconciler = reconciler
        self._before_announcing = before_announcing
        self._joined_in = joined_in
        self.audiences = Audiences(
            database=database,
            reconciler=reconciler,
            people=people,
            everybody=everybody,
            joined_in=joined_in,
            accounts=accounts,
        )
        self._recall = recall
        self.discussions = Discussions(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            posts=posts,
            content_of=self._content,
            room_of=self._discussion_of,
            before=before_announcing,
            announcer=accounts.announcer,
            via=domain,
            language_of=reconciler.language_of,
            clock=clock,
        )
        self.polls = Polls(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            content_of=recall.original,
            may_vote=self.may_vote,
            voting_changed=index.load_voting,
            zone_of=self.zone_of,
            language_of=reconciler.language_of,
            accounts=accounts,
            clock=clock,
            completed=self.discussions.completed,
        )
        self.ballots = Ballots(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            posts=posts,
            facts=facts,
            chat_with=chat_with,
            belongs=self._belongs,
            words_of=self.polls.words,
            ended=self.polls.ended,
            name_of=reconciler.name_of,
            zone_of=self.zone_of,
            language_of=reconciler.language_of,
            accounts=accounts,
            clock=clock,
        )
        self.events = Events(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            content_of=self._content,
            is_member=self._belongs,
            chat_of=index.chat_of,
            zone_of=self.zone_of,
            language_of=reconciler.language_of,
            domain=domain,
            accounts=accounts,
            clock=clock,
            completed=self.discussions.completed,
        )
        self.announcements = Announcements(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            accounts=accounts,
            clock=clock,
            language_of=reconciler.language_of,
            targets_of=self.audiences.targets_of,
            name_of=self._name_of,
            also_delivered=self._delivered,
        )
        self.direct_copies = DirectCopies(
            database=database,
            belongs=self._belongs,
            chat_with=chat_with,
            facts=facts,
            deliver=self.announcements.deliver,
            miss=self.announcements.missed,
            tell=self.announcements.tell,
            jobs=jobs,
            wake=wake,
            clock=clock,
        )
        self.admitting = Admitting(
            database=database,
            index=index,
            memory=reconciler.memory,
            declared=lambda: reconciler.declared,
            people=people,
            language_of=reconciler.language_of,
            look_again=look_again,
            leave=leave,
            messenger=messenger,
            jobs=jobs,
            wake=wake,
            accounts=accounts,
            clock=clock,
        )
        self.mailing = Mailing(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            post_office=post_office,
            name_of=reconciler.name_of,
            people=people,
            clock=clock,
            secret=secret,
            url=url,
        )
        self.digests = Digests(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            facts=facts,
            words_of=self.words_of,
            declared=self._community,
            name_of=reconciler.name_of,
            zone_of=self.zone_of,
            language_of=reconciler.language_of,
            clock=clock,
            unsubscribe_url=self.mailing.unsubscribe_url,
        )
        self.schedules = Schedules(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            declared=self._community,
            role_of=role_of,
            language_of=reconciler.language_of,
            clock=clock,
            rules=scheduling,
        )
        self.afterwards = Afterwards(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            posts=posts,
            content_of=self._content,
            announcer=accounts.announcer,
            clock=clock,
            still_belongs=self._belongs,
            language_of=reconciler.language_of,
            completed=self.discussions.completed,
        )
        self.pins = Pins(
            database=database,
            jobs=jobs,
            wake=wake,
            reader=reader,
            rooms=rooms,
            clock=clock,
            language_of=reconciler.language_of,
            most=most_pins,
        )
        self.reposts = Reposts(
            database=database,
            jobs=jobs,
            wake=wake,
            content_of=self._content,
            clock=clock,
            language_of=reconciler.language_of,
        )
        self.feeds = Feeds(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            recall=self._content,
            declared=self._community,
            name_of=reconciler.name_of,
            people=people,
            clock=clock,
            secret=secret,
            url=url,
        )
        self.calendars = Calendars(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            recall=self._content,
            declared=self._community,
            people=people,
            is_member=self._belongs,
            name_of=reconciler.name_of,
            clock=clock,
            secret=secret,
            url=url,
            domain=domain,
        )
        self.drafts = Drafts(
            database=database,
            index=index,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            clock=clock,
            check_right=self.audiences.check_right,
            targets_of=self.audiences.targets_of,
            expected=self.audiences.expected,
            name_of=reconciler.name_of,
            language_of=reconciler.language_of,
            lapse_ms=lambda: draft_hours() * 3_600_000,
            appoint=self.schedules.appoint,
            schedule=self._schedule,
        )
        self.reach = Reach(database=database, positions=positions, reader=reader, accounts=accounts, clock=clock)
        self.acknowledgements = Acknowledgements(
            database=database,
            jobs=jobs,
            wake=wake,
            messenger=messenger,
            facts=facts,
            chat_with=lambda _, user: chat_with(user),
            is_there=lambda community: self._community(community) is not None,
            name_of=reconciler.name_of,
            language_of=reconciler.language_of,
            accounts=accounts,
            clock=clock,
            reminders=reminders,
        )
        self.reach_desk = ReachDesk(
            reach=self.reach,
            acknowledgements=self.acknowledgements,
            announcements=self.announcements,
            right_of=self.audiences.right_of,
            name_of=reconciler.name_of,
            zone_of=self.answer_zone,
            messenger=messenger,
            database=database,
            jobs=jobs,
            wake=wake,
            clock=clock,
        )

    async def community_of_ticket(self, ticket: str) -> str | None:
        """The name of the community whose letters a ticket ends; None for one that ends none."""
        found = await self.mailing.subscriber(ticket)
        if found is None:
            return None
        return await self._reconciler.name_of(found.community)

    def zone_of(self, community: CommunityId) -> tzinfo:
        """The time zone in which a community lives."""
        return ZoneInfo(self.schedules.zone_of(community))

    def answer_zone(self, community: CommunityId, by: UserId | None) -> tzinfo:
        """People are answered in their community's time zone, and the operator in UTC, as on the whole command line."""
        return UTC if by is None else self.zone_of(community)

    async def _schedule(self, tx: Transaction, draft: Draft) -> dict[str, Any]:
        assert draft.appointment is not None
        one = await self.schedules.add_in(
            tx,
            source=draft.source,
            community=draft.community,
            author=draft.author,
            appointment=draft.appointment,
            parts=draft.parts,
            audience=draft.audience,
            kind=draft.kind,
            reply_room=draft.room_id,
        )
        return shown(one)

    async def _delivered(self, tx: Transaction, announcement: str, target: Target, event_id: EventId) -> None:
        await self.polls.delivered(tx, announcement, target, event_id)
        await self.events.delivered(tx, announcement, target, event_id)
        await self.discussions.delivered(tx, announcement, target)

    async def _content(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """What a message says, without the link to its thread; None for what was redacted."""
        content = await self._recall.content(room_id, event_id)
        return None if content is None else without_link(content)

    def _discussion_of(self, community: CommunityId) -> RoomId | None:
        """The discussion room of a community; None where it has none, or none any more."""
        declared = self._community(community)
        return None if declared is None or not declared.discusses else self._index.room_of(community, DISCUSSION)

    async def words_of(self, room_id: RoomId, event_id: EventId) -> str:
        """The first words of a message in an announcement room; empty for what was redacted."""
        content = await self._content(room_id, event_id)
        return "" if content is None else first_words([content])

    # --- jobs and events ----------------------------------------------------------------------------------------

    async def do(self, job_id: str, job: AnnouncementJob, complete: Complete) -> None:
        """Do a job about announcements: safe to repeat."""
        match job:
            case DeliverAnnouncement():
                await self._deliver(job_id, job)
            case Announce():
                await self._announce(job, complete)
            case ShowDraft() | ExpireDraft():
                await self.drafts.do(job_id, job)
            case ShutAnnouncerOut():
                await self.admitting.shut_out(job_id, job)
            case CloseCopies():
                await self.announcements.close_copies(job)
            case SendDigest():
                await self.digests.send(job, complete)
            case RunSchedule():
                await self.schedules.run(job, complete)
            case SendLetter():
                await self.mailing.send(job_id, job)
            case SendFigures():
                await self.reach_desk.send(job_id, job)
            case AskToAcknowledge() | RemindToAcknowledge() | RemindOne() | CloseAcknowledgement():
                await self.acknowledgements.do(job_id, job, complete)
            case TellAuthor() | EditCopy() | WithdrawCopy() | KeepPins() | PostAgain():
                await self._do_afterwards(job_id, job, complete)
            case _:
                await self._do_about_answers(job_id, job, complete)

    async def _do_about_answers(
        self,
        job_id: str,
        job: TendThread
        | PlaceOptions
        | ShowPoll
        | CountPoll
        | EndPoll
        | SendBallots
        | SendBallot
        | EndBallots
        | EndBallot
        | PrepareEvent
        | SeatPeople
        | ShowEvent
        | LookAfterEvent,
        complete: Complete,
    ) -> None:
        match job:
            case TendThread():
                await self.discussions.tend(job_id, job)
            case PlaceOptions():
                await self.polls.place(job_id, job)
            case ShowPoll():
                await self.polls.show(job_id, job, complete)
            case CountPoll():
                await self.polls.count(job, complete)
            case EndPoll():
                await self.polls.end(job_id, job)
            case SendBallots() | SendBallot() | EndBallots() | EndBallot():
                await self.ballots.do(job_id, job, complete)
            case PrepareEvent():
                await self.events.prepare(job_id, job)
            case SeatPeople():
                await self.events.seat(job, complete)
            case ShowEvent():
                await self.events.show(job_id, job)
            case LookAfterEvent():
                await self.events.look_after(job, complete)

    async def _do_afterwards(
        self,
        job_id: str,
        job: TellAuthor | EditCopy | WithdrawCopy | KeepPins | PostAgain,
        complete: Complete,
    ) -> None:
        match job:
            case TellAuthor():
                await self.afterwards.tell(job_id, job, complete)
            case EditCopy():
                if person_of(job.place) is None:
                    key = RoomKeyName(job.place) if job.place else ANNOUNCEMENTS
                    await self._before_announcing(job.community, key)
                await self.afterwards.edit_copy(job_id, job)
            case WithdrawCopy():
                await self.ballots.withdrawn(job.announcement)  # before the job is done: it comes again after a kill
                if not job.place:
                    await self.discussions.ended(job.announcement, job.community)
                await self.afterwards.withdraw_copy(job_id, job)
            case KeepPins():
                await self.pins.keep(job, complete)
            case PostAgain():
                await self.reposts.do(job, complete)

    async def _deliver(self, job_id: str, job: DeliverAnnouncement) -> None:
        if person_of(job.place) is not None:
            await self.direct_copies.do(job_id, job)
            return
        key = RoomKeyName(job.place) if job.place else ANNOUNCEMENTS
        await self._before_announcing(job.community, key)
        if job.place:
            await self.audiences.group(job.community, key)
        target = Target(job.community, job.room_id, job.place)
        others = [one.target for one in await self.announcements.in_rooms(job.announcement)]
        above = self._reconciler.kinship.above(job.community)
        loud = heard_in(target, others, above)
        finish = await self.discussions.begin(job.announcement, target) if not job.place else None
        await self.announcements.deliver(job_id, job, heard_in=None if loud is None else loud.room_id, finish=finish)

    async def _announce(self, job: Announce, complete: Complete) -> None:
        """Whether its author may is asked anew: what was prepared may have waited for long."""
        if job.author.startswith("@"):
            await self.audiences.check_right(job.community, UserId(job.author), Audience.of_words(job.audience))
        await self.announcements.announce(job, complete)

    async def given_up(self, job_id: str, job: AnnouncementJob, reason: str, park: Park) -> None:
        """Tell whoever has to know of a job that is given up."""
        match job:
            case DeliverAnnouncement():
                await self.announcements.failed(job, job_id, reason, park)
            case Announce():
                await self.announcements.not_announced(job, job_id, reason, park)
            case RunSchedule():
                await self.schedules.given_up(job, reason)
            case SendBallot():
                await self.ballots.given_up(job_id, job, park)
            case EditCopy() | WithdrawCopy():
                await self.afterwards.failed(job, job_id, reason)
            case KeepPins():
                await self.pins.failed(job, job_id, reason)
            case PostAgain():
                await self.reposts.failed(job, job_id, reason)

    async def dropped(self, job: Job) -> None:
        """Forget what a job was to do that was given up and shall not be tried again."""
        match job:
            case DeliverAnnouncement():
                await self.announcements.dropped(job)
                if not job.place:
                    await self.discussions.ended(job.announcement, job.community)
            case RunSchedule():
                await self.schedules.dropped(job)
            case EditCopy() | WithdrawCopy():
                await self.afterwards.dropped(job)

    async def posted(self, community: CommunityId, event: Posted, *, by_admin: bool) -> None:
        """Something was posted in a community's announcement room, by an admin with their own client or not; or
        somebody reacted in a group in which a poll is voted on so."""
        place = self._index.place_of(event.room_id)
        if place is not None and place.kind.is_group:
            await self.polls.reacted(community, event)
            return
        await self.reach.posted(event)
        await self.polls.reacted(community, event)
        await self.events.reacted(community, event)
        if by_admin:
            await self.announcements.noticed(community, event)
        if event.relation == "m.replace":
            await self.discussions.changed(event.room_id, event.to, event.event_id)

    async def reacted(self, event: Reacted) -> None:
        """Somebody reacted to a message in a chat or control room."""
        await self.drafts.reacted(event)
        await self.ballots.reacted(event)

    async def redacted(self, event: Redacted) -> None:
        """Something in a community's announcement room was redacted."""
        await self.reach.redacted(event)
        await self.polls.taken_back(event)
        await self.events.taken_back(event)
        await self.discussions.changed(event.room_id, event.redacts, event.event_id)

    async def vote_redacted(self, event: Redacted) -> None:
        """Something in a group was redacted in which a poll is voted on by reaction."""
        await self.polls.taken_back(event)

    async def redacted_in_chat(self, event: Redacted) -> None:
        """Something in a direct chat was redacted."""
        await self.ballots.taken_back(event)

    async def forget_before(self, before: int) -> None:
        """Forget who read, reacted, confirmed and had ballots before that time, in milliseconds since 1970."""
        await self.reach.forget_before(before)
        await self.acknowledgements.forget_before(before)
        await self.ballots.forget_before(before)

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody came into or left a room or a chat; before others forget what it was."""
        place = self._index.place_of(event.room_id)
        if place is None:
            await self.direct_copies.moved(event)
            await self.acknowledgements.moved(event)
            await self.ballots.moved(event)
            return
        await self.admitting.moved(event)
        await self.calendars.moved(event)
        if place.kind is RoomKind.ANNOUNCEMENTS:
            await self.ballots.entered(place.community, event)

    async def _belongs(self, community: CommunityId, user: UserId) -> bool:
        return await self._reconciler.role_of(community, user) is not None

    async def may_vote(self, community: CommunityId, place: str, user: UserId) -> bool:
        """Whether somebody is where a poll is asked: in the community, or in a group of it."""
        if not await self._belongs(community, user):
            return False
        if not place:
            return True
        room_id = self._index.room_of(community, RoomKeyName(place))
        return room_id is not None and user in await self._joined_in(room_id)

    async def _name_of(self, target: Target) -> str:
        """What a room is called into which an announcement goes."""
        if not target.place:
            return await self._reconciler.name_of(target.community)
        declared, key = self._community(target.community), RoomKeyName(target.place)
        group = None if declared is None else declared.group(key)
        known = await self._reconciler.memory.known(target.community)
        return group_name_of(group or Group(key), known)  # it may be declared no more

    def _community(self, community: CommunityId) -> Community | None:
        return self._reconciler.declared.get(community)
