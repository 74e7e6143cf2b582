"""The features upon a real database and the fake homeserver, in a process that can die and start again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from bridge.app.arriving import let_in
from bridge.app.handouts import Handouts
from bridge.app.newsroom import Newsroom
from bridge.app.roster import Roster
from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import EN
from bridge.core.messages import (
    Announce,
    AnswerRequest,
    AskToJoin,
    ChangeMembership,
    CloseCopies,
    Deactivate,
    DeliverAnnouncement,
    EditCopy,
    ExpireDraft,
    ExpireRequest,
    Invited,
    Job,
    KeepPins,
    LetIn,
    MakeGroup,
    MembershipChanged,
    PostAgain,
    PostCard,
    Posted,
    Reacted,
    Redacted,
    RedactEvent,
    ReleaseGroup,
    RemindOfRequest,
    RunSchedule,
    SayWelcome,
    SendMembers,
    SendMessage,
    ShowDraft,
    ShowLink,
    ShutAnnouncerOut,
    StateChanged,
    TakeBackState,
    TellAuthor,
    TendThread,
    Welcome,
    WithdrawCopy,
)
from bridge.features.acknowledgements import Reminders
from bridge.features.adopting import Adopting
from bridge.features.afterwards import Afterwards
from bridge.features.announcements import Announcements
from bridge.features.arrivals import Arrivals
from bridge.features.belonging import Belongings
from bridge.features.chats import Chats
from bridge.features.control_room import ControlRooms
from bridge.features.deactivation import Deactivations
from bridge.features.direct_chats import DirectChats
from bridge.features.enforcement import Enforcement
from bridge.features.entering import Entering
from bridge.features.groups import Groups
from bridge.features.members import Members
from bridge.features.moving import Moving
from bridge.features.pins import Pins
from bridge.features.profile import Profile
from bridge.features.reconcile import Outcome, Reconciler, Recovery, Rules
from bridge.features.reconcile.watch import Watch
from bridge.features.reposts import Reposts
from bridge.features.requests import Patience, Requests
from bridge.features.schedules import Rules as ScheduleRules
from bridge.features.subcommunities import Subcommunities
from bridge.features.tags import Tags
from bridge.intake.interest import Interest
from bridge.intake.parse import parse
from bridge.matrix.client import path
from bridge.matrix.executor import Executor
from bridge.matrix.key_server import HomeserverRooms
from bridge.matrix.profiles import Profiles
from bridge.matrix.reader import AnnouncerEyes, Reader
from bridge.matrix.recall import Recall
from bridge.matrix.servers import OtherServers
from bridge.plan.desired import Setting
from bridge.plan.state import Accounts, Known, Membership, StateEvent
from bridge.store.inbox import Inbox
from bridge.store.jobs import Jobs, decode
from bridge.store.rooms import RoomIndex
from tests.fakes.faults import Faults, MortalDatabase
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeHomeserver, FakeRoom
from tests.fakes.messenger import FakeMessenger
from tests.fakes.posts import FakePosts

ACCOUNTS = Accounts(STEWARD, ANNOUNCER)


E = TypeVar("E")


def parsed(event: Mapping[str, Any], kind: type[E]) -> E:
    """What the pump would make of an event in an announcement room."""
    found = parse(event, interest=Interest.ANNOUNCEMENTS, accounts=(STEWARD, ANNOUNCER))
    assert isinstance(found, kind)
    return found


_NEWS = (
    DeliverAnnouncement | Announce | ShutAnnouncerOut | CloseCopies | ShowDraft | ExpireDraft | RunSchedule | TendThread
)


class FakeClock:
    """Stands still until it is pushed on."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def now_ms(self) -> int:
        return self.now


class Scene:
    """One process at a time upon one database and one homeserver."""

    def __init__(
        self,
        database_url: str,
        *,
        version: str = "12",
        rules: Rules | None = None,
        homeserver: FakeHomeserver | None = None,
    ) -> None:
        self.faults = Faults()
        self.homeserver = homeserver or FakeHomeserver(default_version=version)
        self.homeserver.faults = self.faults
        self.messenger = FakeMessenger(self.faults)
        self.posts = FakePosts(self.messenger, self.faults)
        self.clock = FakeClock()
        self.left: set[tuple[CommunityId, UserId]] = set()
        """Who is in a community no more, for announcements in direct chats."""
        self.rules = rules or Rules()
        self.version = version
        self.others: dict[type[Job], Callable[[str, Any], Awaitable[None]]] = {}
        """Who does jobs of features that a test makes for itself."""
        self._url = database_url
        self._read = 0
        self._txns = itertools.count(1)

    async def start(self) -> None:
        """Start a process: nothing is at hand but what is stored."""
        self.database = MortalDatabase(self._url, self.faults)
        await self.database.start()
        self.index = RoomIndex()
        async with self.database.transaction() as tx:
            await self.index.load(tx)
        self.jobs = Jobs(self.database)
        client = self.homeserver.client()
        self.reader = Reader(client)
        self.executor = Executor(client, self.reader, ACCOUNTS, unfinished_seconds=0)
        self.woken = 0
        self.reconciler = Reconciler(
            database=self.database,
            index=self.index,
            reader=self.reader,
            executor=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            setting=Setting(ACCOUNTS, self.version),
            rules=self.rules,
            clock=self.clock,
        )
        self.recovery = Recovery(
            memory=self.reconciler.memory,
            index=self.index,
            finder=self.reader,
            reader=self.reader,
            accounts=ACCOUNTS,
        )
        self.watch = Watch(self.reconciler, self.reader)
        self.reconciler.tell_whom(self.watch.look_again)
        self.announcements = Announcements(
            database=self.database,
            jobs=self.jobs,
            wake=self._wake,
            messenger=self.messenger,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        self.afterwards = Afterwards(
            database=self.database,
            jobs=self.jobs,
            wake=self._wake,
            messenger=self.messenger,
            posts=self.posts,
            content_of=self.posts.content,
            announcer=ANNOUNCER,
            clock=self.clock,
            still_belongs=self._still_belongs,
        )
        self.pins = Pins(
            database=self.database,
            jobs=self.jobs,
            wake=self._wake,
            reader=self.reader,
            rooms=self.executor,
            clock=self.clock,
        )
        self.reposts = Reposts(
            database=self.database,
            jobs=self.jobs,
            wake=self._wake,
            content_of=self.posts.content,
            clock=self.clock,
        )
        self.enforcement = Enforcement(
            database=self.database,
            index=self.index,
            jobs=self.jobs,
            wake=self._wake,
            history=self.reader,
            rooms=self.executor,
            accounts=ACCOUNTS,
            clock=self.clock,
            above=self.reconciler.kinship.above,
        )
        self.entering = Entering(
            database=self.database, jobs=self.jobs, wake=self._wake, clock=self.clock, secret=b"of the links"
        )
        self.members = Members(
            database=self.database,
            memory=self.reconciler.memory,
            kinship=self.reconciler.kinship,
            reader=self.reader,
            rooms=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        self.groups = Groups(
            database=self.database,
            memory=self.reconciler.memory,
            read_groups=self.reconciler.read_groups,
            lock_of=self.reconciler.lock_of,
            people=self.members.people,
            language_of=self.reconciler.language_of,
            reader=self.reader,
            rooms=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
            limit=100,
        )
        self.profile = Profile(
            database=self.database,
            memory=self.reconciler.memory,
            read_profile=self.reconciler.read_profile,
            current=self._declared,
            lock_of=self.reconciler.lock_of,
            people=self.members.people,
            rooms=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            clock=self.clock,
        )
        self.subcommunities = Subcommunities(
            database=self.database,
            memory=self.reconciler.memory,
            declared=lambda: self.reconciler.declared,
            read_again=self.reconciler.read_groups,
            lock_of=self.reconciler.lock_of,
            people=self.members.people,
            rooms=self.executor,
            clock=self.clock,
        )
        self.deactivations = Deactivations(
            database=self.database,
            memory=self.reconciler.memory,
            read_profile=self.reconciler.read_profile,
            within=self.reconciler.within,
            stood_in=self.reconciler.stood_in,
            lock_of=self.reconciler.lock_of,
            people=self.members.people,
            language_of=self.reconciler.language_of,
            reader=self.reader,
            rooms=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        await self.reconciler.read_groups()
        await self.reconciler.read_profile()
        self.tags = Tags(database=self.database, people=self.members.people, clock=self.clock)
        self.belongings = Belongings(
            database=self.database, index=self.index, declared=self._declared, accounts=ACCOUNTS
        )
        self.roster = Roster(reconciler=self.reconciler, tags=self.tags, belongings=self.belongings, accounts=ACCOUNTS)
        self.handouts = Handouts(
            entering=self.entering,
            role_of=self.reconciler.role_of,
            roster=self.roster,
            messenger=self.messenger,
            database=self.database,
            jobs=self.jobs,
            wake=self._wake,
            address_of=lambda token: f"https://join.example.org/join/{token}",
            zone_of=lambda _: UTC,
            clock=self.clock,
        )
        self.adopting = Adopting(
            database=self.database,
            index=self.index,
            memory=self.reconciler.memory,
            read_groups=self.reconciler.read_groups,
            lock_of=self.reconciler.lock_of,
            storing=self.groups.storing,
            look_as_if=self.reconciler.look_as_if,
            people=self.members.people,
            language_of=self.reconciler.language_of,
            reader=self.reader,
            hands=self.executor,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
            limit=lambda: self.groups.limit,
        )
        self.moving = Moving(
            database=self.database,
            memory=self.reconciler.memory,
            kinship=self.reconciler.kinship,
            groups=self.groups,
            declared=lambda: self.reconciler.declared,
            read_groups=self.reconciler.read_groups,
            lock_of=self.reconciler.lock_of,
            people=self.members.people,
            language_of=self.reconciler.language_of,
            reader=self.reader,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        self.requests = Requests(
            database=self.database,
            index=self.index,
            memory=self.reconciler.memory,
            declared=self._declared,
            role_of=self.reconciler.role_of,
            ages=Profiles(client, OtherServers(client, "example.org")),
            reader=self.reader,
            rooms=self.executor,
            messenger=self.messenger,
            jobs=self.jobs,
            wake=self._wake,
            look_again=self.watch.look_again,
            accounts=ACCOUNTS,
            clock=self.clock,
            patience=Patience(),
        )
        self.direct_chats = DirectChats(
            database=self.database,
            index=self.index,
            rooms=self.executor,
            look=AnnouncerEyes(client, ANNOUNCER),
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        self.arrivals = Arrivals(
            database=self.database,
            index=self.index,
            memory=self.reconciler.memory,
            declared=self._declared,
            chat_with=self.direct_chats.chat_with,
            facts=HomeserverRooms(client, ANNOUNCER),
            messenger=self.messenger,
            look_again=self.watch.look_again,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        facts = HomeserverRooms(client, ANNOUNCER)
        self.newsroom = Newsroom(
            database=self.database,
            index=self.index,
            jobs=self.jobs,
            wake=self._wake,
            messenger=self.messenger,
            accounts=ACCOUNTS,
            clock=self.clock,
            reconciler=self.reconciler,
            facts=facts,
            people=self.members.people,
            everybody=self.roster.everybody,
            joined_in=self._joined_in,
            chat_with=self.direct_chats.chat_with,
            look_again=self.watch.look_again,
            leave=self.executor.leave_as_announcer,
            before_announcing=self._see_who_is_out,
            recall=Recall(client, cast(Any, None), ANNOUNCER),
            posts=self.posts,
            reader=self.reader,
            rooms=self.executor,
            most_pins=5,
            draft_hours=lambda: 24,
            positions=Inbox(self.database).positions,
            role_of=self.reconciler.role_of,
            reminders=Reminders((24, 72), 168),
            scheduling=ScheduleRules(),
            domain="example.org",
            secret=b"of the newsroom",
            url="",
            post_office=None,
        )
        self.control_rooms = ControlRooms(
            database=self.database,
            index=self.index,
            declared=self._declared,
            name_of=self.reconciler.name_of,
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )
        self.chats = Chats(
            database=self.database,
            index=self.index,
            rooms=self.executor,
            look=AnnouncerEyes(client, ANNOUNCER),
            jobs=self.jobs,
            wake=self._wake,
            accounts=ACCOUNTS,
            clock=self.clock,
        )

    def _declared(self, community: CommunityId) -> Community | None:
        return self.reconciler.declared.get(community)

    async def _still_belongs(self, community: CommunityId, user: UserId) -> bool:
        return (community, user) not in self.left

    def _wake(self) -> None:
        self.woken += 1

    async def stop(self) -> None:
        """End the process, whatever still runs in it."""
        await self.watch.stop()
        await self.database.stop()

    async def die(self) -> None:
        """What is left of a killed process does nothing more."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        mine = [task for task in others if task.get_name() == "scene"]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
        self.faults.arm(None)
        for task in self.watch._tasks.values():
            if task.done() and not task.cancelled():
                task.exception()  # it was killed, and nobody wants to know why
        await self.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    # --- rooms ------------------------------------------------------------------------------------------------------

    async def apply(self, community: Community, **how: Any) -> Outcome:
        self.reconciler.declare([community])
        return await self.reconciler.apply(community, **how)

    async def reconcile(self, community: Community, **how: Any) -> Outcome:
        """A pass by itself."""
        self.reconciler.declare([community])
        return await self.reconciler.reconcile(community.id, **how)

    async def settle(self, community: Community) -> None:
        """Make everything, and let everybody who is invited come in."""
        for _ in range(3):
            outcome = await self.apply(community)
            assert outcome.ok, outcome
            await self.accept_all()
            await self.hear()
        assert (await self.reconciler.look(community)).plan.empty

    async def come_to_rest(self, community: Community) -> None:
        """Declare a community, do all that there is to do, and let everybody accept."""
        self.reconciler.declare([community])
        for _ in range(3):
            self.watch.all_of(community.id)
            await self.catch_up()
            await self.accept_all()
        await self.catch_up()

    async def known(self, community: CommunityId = CommunityId("school")) -> Known:
        return await self.reconciler.memory.known(community)

    def room(self, key: RoomKeyName | str) -> FakeRoom:
        """The room of that key, by its mark."""
        [room] = self.rooms_of(key)
        return room

    def rooms_of(self, key: RoomKeyName | str) -> list[FakeRoom]:
        mark = "org.matrix-communities.room"
        return [
            room
            for room in self.homeserver.rooms.values()
            if ((room.content("m.room.create") or {}).get(mark) or {}).get("key") == key
        ]

    @property
    def space(self) -> FakeRoom:
        return self.room(SPACE)

    @property
    def announcement_room(self) -> FakeRoom:
        return self.room(ANNOUNCEMENTS)

    @property
    def control_room(self) -> FakeRoom:
        return self.room(CONTROL)

    # --- people -----------------------------------------------------------------------------------------------------

    async def do(self, user: UserId, method: str, *parts: str, **body: Any) -> dict[str, Any]:
        """A request of somebody's own client."""
        return await self.homeserver.client(user).request(method, path("v3", *parts), body=body)

    async def move(self, by: UserId, room: FakeRoom, what: str, user: UserId) -> None:
        await self.do(by, "POST", "rooms", room.room_id, what, user_id=user)

    async def leave(self, user: UserId, room: FakeRoom) -> None:
        await self.do(user, "POST", "rooms", room.room_id, "leave")

    async def join(self, user: UserId, room: FakeRoom) -> None:
        await self.do(user, "POST", "join", room.room_id)

    async def write(self, by: UserId, room: FakeRoom, kind: str, content: Mapping[str, Any], key: str = "") -> EventId:
        parts = path("v3", "rooms", room.room_id, "state", kind, key)
        answer = await self.homeserver.client(by).request("PUT", parts, body=content)
        return EventId(answer["event_id"])

    async def post(self, by: UserId, room: FakeRoom, kind: str = "m.room.encrypted", **content: Any) -> EventId:
        parts = path("v3", "rooms", room.room_id, "send", kind, str(next(self._txns)))
        answer = await self.homeserver.client(by).request("PUT", parts, body=content)
        return EventId(answer["event_id"])

    async def accept_all(self) -> None:
        """Everybody who is invited joins."""
        for room in self.homeserver.rooms.values():
            for user in sorted(room.members("invite") - ACCOUNTS.both):
                await self.join(UserId(user), room)

    def levels(self, room: FakeRoom, **change: Any) -> dict[str, Any]:
        """The room's levels with a change."""
        return {**(room.content("m.room.power_levels") or {}), **change}

    def with_users(self, room: FakeRoom, **users: int) -> dict[str, Any]:
        levels = room.content("m.room.power_levels") or {}
        more = {f"@{name}:example.org": level for name, level in users.items()}
        return {**levels, "users": {**levels["users"], **more}}

    # --- doors ------------------------------------------------------------------------------------------------------

    async def hear(self, *, and_wait: bool = True) -> None:
        """Hand over what the homeserver pushes, as intake does, and let the passes that follow come to an end."""
        while self._read < len(self.homeserver.feed):
            event = self.homeserver.feed[self._read]
            self._read += 1
            await self._hear(event)
            if and_wait and self._read == len(self.homeserver.feed):
                await self.watch.idle()

    async def _hear(self, event: Mapping[str, Any]) -> None:
        room_id, event_id, sender = RoomId(event["room_id"]), EventId(event["event_id"]), UserId(event["sender"])
        sent_at, kind, key = event["origin_server_ts"], event["type"], event.get("state_key")
        place = self.index.place_of(room_id)
        if kind == "m.room.member":
            user, membership = UserId(event["state_key"]), str(event["content"]["membership"])
            known = place is not None or room_id in self.index.chats
            if known and not (user in ACCOUNTS.both and membership == "invite"):
                await self.newsroom.moved(parsed(event, MembershipChanged))
            if place is not None:
                if user not in ACCOUNTS.both:
                    await self.arrivals.moved(parsed(event, MembershipChanged))
                self.watch.moved(place.community, room_id, user, Membership(membership, sender, event_id))
                if user not in ACCOUNTS.both:
                    await self.requests.moved(parsed(event, MembershipChanged))
                    await self.belongings.moved(parsed(event, MembershipChanged))
                    await self.control_rooms.moved(parsed(event, MembershipChanged))
            elif user == ANNOUNCER and membership == "invite":
                encrypted = self.homeserver.room(room_id).content("m.room.encryption") is not None
                await self.chats.invited(Invited(event_id, room_id, sender, sent_at, user, encrypted))
            else:
                moved = MembershipChanged(event_id, room_id, sender, sent_at, user, membership)
                await self.chats.member_changed(moved)
                await self.arrivals.moved(moved)
        elif place is None:
            return
        elif key is not None:
            pushed = StateEvent(dict(event["content"]), sender, event_id)
            self.watch.touched(place.community, room_id, kind, key, pushed)
            await self.enforcement.state_changed(StateChanged(event_id, room_id, sender, sent_at, kind, key))
        elif kind == "m.room.redaction":
            self.watch.redacted(place.community, room_id, EventId(event["content"]["redacts"]))
            await self.enforcement.redacted(parsed(event, Redacted))
        elif sender not in ACCOUNTS.both:
            await self.enforcement.posted(parsed(event, Posted))

    async def do_jobs(self) -> None:
        """Work the jobs off, each once."""
        while heads := await self.jobs.heads(self.clock.now_ms(), 100):
            for stored in heads:
                job = decode(stored.kind, stored.body)
                match job:
                    case _ if type(job) in self.others:
                        await self.others[type(job)](stored.id, job)
                    case SendMessage():
                        await self.messenger.send(job.room_id, job.content, txn_id=stored.id)
                    case DeliverAnnouncement() if self._is_strange(job.room_id):
                        await self.announcements.deliver(stored.id, job)  # into a room that nobody knows
                    case _ if isinstance(job, _NEWS):
                        await self.newsroom.do(stored.id, job, partial(self.jobs.complete, job_id=stored.id))
                    case TellAuthor() | EditCopy() | WithdrawCopy() | KeepPins() | PostAgain():
                        await self._do_afterwards(stored.id, job)
                    case RedactEvent():
                        await self.executor.redact(job.room_id, job.event_id, job.reason, txn_id=stored.id)
                    case TakeBackState():
                        await self.enforcement.take_back(stored.id, job)
                    case LetIn():
                        await let_in(
                            job,
                            partial(self.jobs.complete, job_id=stored.id),
                            entering=self.entering,
                            arrivals=self.reconciler.arrivals,
                            look_again=self.watch.look_again,
                        )
                    case ChangeMembership():
                        await self.members.do(stored.id, job, EN)
                        self.watch.look_again(job.community)
                    case _:
                        await self._do_about_people(stored.id, job)
                await self.jobs.finish(stored.id)

    def _is_strange(self, room_id: RoomId | None) -> bool:
        """Whether a room is none of a community's, and no chat: tests deliver into such, too."""
        return room_id is not None and self.index.place_of(room_id) is None and room_id not in self.index.chats

    async def _do_afterwards(
        self, job_id: str, job: TellAuthor | EditCopy | WithdrawCopy | KeepPins | PostAgain
    ) -> None:
        complete = partial(self.jobs.complete, job_id=job_id)
        match job:
            case TellAuthor():
                await self.afterwards.tell(job_id, job, complete)
            case EditCopy():
                await self.afterwards.edit_copy(job_id, job)
            case WithdrawCopy():
                await self.afterwards.withdraw_copy(job_id, job)
            case KeepPins():
                await self.pins.keep(job, complete)
            case PostAgain():
                await self.reposts.do(job, complete)

    async def _do_about_people(self, job_id: str, job: Job) -> None:
        match job:
            case Welcome() | SayWelcome():
                await self.arrivals.do(job_id, job)
            case Deactivate() | ReleaseGroup() | MakeGroup():
                await self._do_about_groups(job_id, job)
            case ShowLink() | SendMembers():
                await self.handouts.do(job_id, job)
            case AskToJoin() | PostCard() | AnswerRequest() | RemindOfRequest() | ExpireRequest():
                await self.requests.do(job_id, job)

    async def _do_about_groups(self, job_id: str, job: Deactivate | ReleaseGroup | MakeGroup) -> None:
        if isinstance(job, Deactivate):
            await self.deactivations.do(job_id, job)
            return
        if isinstance(job, ReleaseGroup):
            await self.groups.release_now(job_id, job)
            return
        await self.groups.grant(job_id, self.reconciler.declared[job.community], job)
        self.watch.look_again(job.community)

    async def _joined_in(self, room_id: RoomId) -> set[UserId]:
        members = (await self.reader.read(room_id)).members
        return {user for user, here in members.items() if here.state == "join"}

    async def _see_who_is_out(self, community: CommunityId, key: RoomKeyName) -> None:
        await self.reconciler.before_announcing(community, key)

    async def react(self, by: UserId, card: EventId, key: str) -> None:
        """Somebody reacts to a message in the control room."""
        event_id = EventId(f"$reaction-{by}-{key}-{card}")
        await self.requests.reacted(Reacted(event_id, self.control_room.room_id, by, self.clock.now, card, key))

    async def catch_up(self) -> None:
        """Hear what the homeserver pushes, do the jobs, and look, until nothing is left of either."""
        for _ in range(10):
            await self.hear()
            await self.do_jobs()
            await self.watch.idle()
            if self._read == len(self.homeserver.feed):
                return
        raise AssertionError("it never comes to rest")

    async def told(self) -> list[str]:
        """What the owners and admins were told in the control room."""
        await self.do_jobs()
        return self.messenger.said(self.control_room.room_id)

    def heard_all(self) -> None:
        """Pass over whatever the homeserver has not pushed yet."""
        self._read = len(self.homeserver.feed)

    def forget_requests(self) -> None:
        self.homeserver.requests.clear()


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder}/scene.db"


def with_rules(rules: Rules, **change: Any) -> Rules:
    return replace(rules, **change)
