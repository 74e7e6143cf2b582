"""The house: every part, made once from the configuration, and put together."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from bridge.app.dispatch import Dispatch
from bridge.app.handouts import Handouts
from bridge.app.newsroom import Newsroom
from bridge.app.past import Past
from bridge.app.roster import Roster
from bridge.app.rules import link_secret_of, patience_of, post_office_of, reminders_of, rules_of, scheduling_of
from bridge.app.shared_looks import SharedLooks
from bridge.config import Config
from bridge.config.sections import Account
from bridge.core.community import Community
from bridge.core.errors import BadRequest, CommunitiesError, Forbidden
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.messages import Job, Verifying
from bridge.e2ee import attachments
from bridge.e2ee.keys import Keys
from bridge.e2ee.recipients import Trust
from bridge.e2ee.window import Window
from bridge.features.adopting import Adopting
from bridge.features.arrivals import Arrivals
from bridge.features.belonging import Belongings
from bridge.features.chats import Chats
from bridge.features.control_room import ControlRooms
from bridge.features.conversations import Conversations
from bridge.features.deactivation import Deactivations
from bridge.features.direct_chats import DirectChats
from bridge.features.enforcement import Enforcement
from bridge.features.entering import Entering
from bridge.features.erasure import Erasure
from bridge.features.groups import Groups
from bridge.features.members import Members
from bridge.features.moving import Moving
from bridge.features.profile import Profile
from bridge.features.readiness import Readiness
from bridge.features.reconcile import Reconciler, Recovery
from bridge.features.reconcile.watch import Watch
from bridge.features.requests import Requests
from bridge.features.subcommunities import Subcommunities
from bridge.features.tags import Tags
from bridge.intake.interest import Interest
from bridge.matrix.client import Client, path
from bridge.matrix.executor import Executor
from bridge.matrix.files import Files
from bridge.matrix.key_server import HomeserverKeys, HomeserverRooms
from bridge.matrix.pictures import Pictures
from bridge.matrix.posts import Posts
from bridge.matrix.profiles import Profiles
from bridge.matrix.reader import AnnouncerEyes, Reader
from bridge.matrix.recall import Recall
from bridge.matrix.sender import Sender
from bridge.matrix.servers import OtherServers
from bridge.plan.desired import Setting
from bridge.plan.state import Accounts
from bridge.store import sendings
from bridge.store.database import Database, Transaction
from bridge.store.inbox import Inbox
from bridge.store.jobs import Jobs
from bridge.store.ownership import Ownership
from bridge.store.rooms import RoomIndex
from bridge.worker import Complete, Park, Worker

log = logging.getLogger(__name__)

FALLBACK_ROOM_VERSION = "11"
MOST_LOOKS = 6
"""How often a command that works alone looks at a community at most; what is left then, the service does."""


class SystemClock:
    """Implements `ports.Clock`."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)


class InterestIndex:
    """What intake asks of the rooms that we know."""

    def __init__(self, index: RoomIndex) -> None:
        self._index = index

    def interest(self, room_id: RoomId) -> Interest | None:
        place = self._index.places.get(room_id)
        if place is not None:
            return Interest.of_kind(place.kind)
        return Interest.CHAT if room_id in self._index.chats else None

    def is_voting(self, room_id: RoomId) -> bool:
        return room_id in self._index.voting


class House:
    """All parts of the service, wired. `open` makes it usable; what runs by itself is started by `Service`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self.wait_ping: Callable[[str, float], Awaitable[bool]] | None = None
        """Waits for a ping of the homeserver; there while something listens."""
        self.touched: dict[CommunityId, None] = {}
        """What is to be looked at again where a command works alone."""
        self.look_again: Callable[[CommunityId], None] = lambda community: self.touched.update({community: None})
        """Has a community looked at again."""
        self.settled: Callable[[CommunityId], Awaitable[bool]] = self._look_once
        """Has a community looked at, and waits until what it needs is done, as far as it can be now; gives whether
        nothing is left that a later try may do. There is no deadline."""
        self.rescan: Callable[[], None] = lambda: None
        """Has the inbox worked off from the start; the next run does where a command works alone."""
        self.accounts = Accounts(config.steward, config.announcer)
        self.database = Database(config.database.url.reveal())
        self.ownership = Ownership(self.database)
        self.client = Client(config.homeserver.url, config.registration.as_token.reveal())
        self.index = RoomIndex()
        self.reader = Reader(self.client)
        self.servers = OtherServers(self.client, config.homeserver.domain)
        self.profiles = Profiles(self.client, self.servers)
        self.executor = Executor(self.client, self.reader, self.accounts, servers=self.servers)
        self.jobs = Jobs(self.database)
        self.inbox = Inbox(self.database)
        self.worker = Worker(jobs=self.jobs, handler=self._do, clock=self.clock, on_parked=self._given_up)
        self.setting = Setting(self.accounts, FALLBACK_ROOM_VERSION)
        self.reconciler = Reconciler(
            database=self.database,
            index=self.index,
            reader=self.reader,
            executor=self.executor,
            jobs=self.jobs,
            wake=self.worker.wake,
            setting=self.setting,
            rules=rules_of(config),
            clock=self.clock,
        )
        self.recovery = Recovery(
            memory=self.reconciler.memory,
            index=self.index,
            finder=self.reader,
            reader=self.reader,
            accounts=self.accounts,
        )
        self.watch = Watch(self.reconciler, self.reader)
        self.key_server = HomeserverKeys(self.client, config.announcer)
        facts = HomeserverRooms(self.client, config.announcer)
        self.readiness = Readiness(
            self.database,
            self.index,
            self.jobs,
            self.worker.wake,
            self.clock,
            self.reconciler.lets_announcer_in,
        )
        self.keys = Keys(
            self.database,
            self.key_server,
            facts,
            self.clock,
            user_id=config.announcer,
            identity_seed=config.encryption.identity_secret.reveal().encode(),
            pickle_key=config.encryption.pickle_key.reveal(),
            trust=Trust[config.encryption.trust.name],
            may_hold=self._may_hold_keys,
            on_devices_changed=self._devices_changed,
            window_of=self._window_of,
        )
        self.sender = Sender(
            self.client,
            self.keys,
            facts,
            self.database,
            self.clock,
            announcer=config.announcer,
            device_id=lambda: self.key_server.device_id,
            must_encrypt=lambda room_id: room_id in self.index.places,
        )
        self.keys.verifications.speak = self._speak
        self.direct_chats = DirectChats(
            database=self.database,
            index=self.index,
            rooms=self.executor,
            look=AnnouncerEyes(self.client, config.announcer),
            accounts=self.accounts,
            clock=self.clock,
        )
        self.enforcement = Enforcement(
            database=self.database,
            index=self.index,
            jobs=self.jobs,
            wake=self.worker.wake,
            history=self.reader,
            rooms=self.executor,
            accounts=self.accounts,
            clock=self.clock,
            language_of=self.reconciler.language_of,
            above=self.reconciler.kinship.above,
        )
        self.entering = Entering(
            database=self.database,
            jobs=self.jobs,
            wake=self.worker.wake,
            clock=self.clock,
            secret=link_secret_of(config),
        )
        self.chats = Chats(
            database=self.database,
            index=self.index,
            rooms=self.executor,
            look=AnnouncerEyes(self.client, config.announcer),
            jobs=self.jobs,
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
            language_for=self.reconciler.language_for,
        )
        self.members = Members(
            database=self.database,
            memory=self.reconciler.memory,
            kinship=self.reconciler.kinship,
            reader=self.reader,
            rooms=self.executor,
            jobs=self.jobs,
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
        )
        self.tags = Tags(database=self.database, people=self.members.people, clock=self.clock)
        self.belongings = Belongings(
            database=self.database, index=self.index, declared=self._declared, accounts=self.accounts
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
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
            limit=config.limits.groups_per_community,
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
            wake=self.worker.wake,
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
            wake=self.worker.wake,
            accounts=self.accounts,
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
            wake=self.worker.wake,
            accounts=self.accounts,
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
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
        )
        self.requests = Requests(
            database=self.database,
            index=self.index,
            memory=self.reconciler.memory,
            declared=self._declared,
            role_of=self.reconciler.role_of,
            ages=self.profiles,
            reader=self.reader,
            rooms=self.executor,
            messenger=self.sender,
            jobs=self.jobs,
            wake=self.worker.wake,
            look_again=self._again,
            accounts=self.accounts,
            clock=self.clock,
            patience=patience_of(config),
        )
        self.arrivals = Arrivals(
            database=self.database,
            index=self.index,
            memory=self.reconciler.memory,
            declared=self._declared,
            chat_with=self.direct_chats.chat_with,
            facts=facts,
            messenger=self.sender,
            look_again=self._again,
            jobs=self.jobs,
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
        )
        self.files = Files(self.client, config.announcer, self.keys, attachments.decrypt)
        self.control_rooms = ControlRooms(
            database=self.database,
            index=self.index,
            declared=self._declared,
            name_of=self.reconciler.name_of,
            jobs=self.jobs,
            wake=self.worker.wake,
            accounts=self.accounts,
            clock=self.clock,
        )
        self.pictures = Pictures(self.client, config.announcer, attachments.decrypt)
        self.conversations = Conversations(self.database, self.clock)
        self.roster = Roster(
            reconciler=self.reconciler, tags=self.tags, belongings=self.belongings, accounts=self.accounts
        )
        self.looks = SharedLooks(self._see_who_is_out)
        self.newsroom = Newsroom(
            database=self.database,
            index=self.index,
            jobs=self.jobs,
            wake=self.worker.wake,
            messenger=self.sender,
            accounts=self.accounts,
            clock=self.clock,
            reconciler=self.reconciler,
            facts=facts,
            people=self.members.people,
            everybody=self.roster.everybody,
            joined_in=self._joined_in,
            chat_with=self.direct_chats.chat_with,
            look_again=self._again,
            leave=self.executor.leave_as_announcer,
            before_announcing=self.looks.look,
            recall=Recall(self.client, self.keys, config.announcer),
            secret=link_secret_of(config),
            url=config.join.url if config.join.enabled else "",
            posts=Posts(self.client, config.announcer),
            reader=self.reader,
            rooms=self.executor,
            most_pins=config.limits.pins_per_room,
            draft_hours=lambda: self.draft_hours,
            positions=self.inbox.positions,
            role_of=self.reconciler.role_of,
            reminders=reminders_of(config),
            scheduling=scheduling_of(config),
            domain=config.homeserver.domain,
            post_office=post_office_of(config, self.clock),
        )
        self.handouts = Handouts(
            entering=self.entering,
            role_of=self.reconciler.role_of,
            roster=self.roster,
            messenger=self.sender,
            database=self.database,
            jobs=self.jobs,
            wake=self.worker.wake,
            address_of=self.address_of,
            zone_of=self.newsroom.zone_of,
            clock=self.clock,
        )
        self.past = Past(
            database=self.database,
            index=self.index,
            jobs=self.jobs,
            wake=self.worker.wake,
            keys=self.keys,
            readiness=self.readiness,
            declared=self._declared,
            shown=lambda: self.history,
            forget_before=self.newsroom.forget_before,
            accounts=self.accounts,
            clock=self.clock,
        )
        self.dispatch = Dispatch(
            sender=self.sender,
            newsroom=self.newsroom,
            executor=self.executor,
            enforcement=self.enforcement,
            keys=self.keys,
            database=self.database,
            entering=self.entering,
            members=self.members,
            arrivals=self.arrivals,
            deactivations=self.deactivations,
            groups=self.groups,
            handouts=self.handouts,
            requests=self.requests,
            readiness=self.readiness,
            past=self.past,
            reconciler=self.reconciler,
            look_again=self._again,
        )
        self.erasure = Erasure(
            database=self.database,
            index=self.index,
            lock_of=self.reconciler.lock_of,
            still=self.keys.still,
            reload=self.reconciler.memory.reload,
            read_groups=self.reconciler.read_groups,
            forget=self.enforcement.forget,
        )
        self.draft_hours = config.announcements.draft_hours
        """How long a draft waits for its author's word; may change while the service runs."""
        self.history = config.history
        """How much of the past newcomers are given; may change while the service runs."""
        self.reconciler.declare(config.communities)

    def follow_kin(self) -> None:
        """From now on communities above and below one are looked at when it changes; not before everything is known
        that a look needs."""
        self.reconciler.tell_whom(self._again)

    def _declared(self, community: CommunityId) -> Community | None:
        return self.reconciler.declared.get(community)

    def address_of(self, token: str) -> str:
        """The address under which people open the link of that secret."""
        return f"{self.config.join.url}/join/{token}"

    def _again(self, community: CommunityId) -> None:
        self.look_again(community)

    # what is made before those who do it

    async def _do(self, job_id: str, job: Job, complete: Complete) -> None:
        await self.dispatch.do(job_id, job, complete)

    async def _given_up(self, job_id: str, job: Job | None, reason: str, park: Park) -> None:
        await self.dispatch.given_up(job_id, job, reason, park)

    async def _devices_changed(self, tx: Transaction, users: Collection[UserId]) -> None:
        await self.past.devices_changed(tx, users)

    def _window_of(self, room_id: RoomId) -> Window | None:
        return self.past.window_of(room_id)

    async def _look_once(self, community: CommunityId) -> bool:
        """Where a command works alone: nothing looks by itself, neither at it nor at those above and below it."""
        self.touched[community] = None
        rounds, done = 0, True
        while self.touched and rounds < MOST_LOOKS * len(self.reconciler.declared):
            name = next(iter(self.touched))
            del self.touched[name]
            rounds += 1
            if name in self.reconciler.declared:
                outcome = await self.reconciler.reconcile(name)
                done = done and not any(failure.passes for failure in outcome.failures)
        return done and not self.touched

    def _may_hold_keys(self, room_id: RoomId) -> bool:
        """What is said in groups is none of our business, also where they let the announcer in: it keeps keys of
        announcement rooms, control rooms and its own chats alone."""
        place = self.index.places.get(room_id)
        return place is None or place.kind.has_announcer

    async def _speak(self, room_id: RoomId, event_type: str, content: Mapping[str, Any], encrypted: bool) -> None:
        txn_id = secrets.token_urlsafe(16)
        await self.sender.send_verification(room_id, event_type, content, encrypted=encrypted, txn_id=txn_id)

    async def verifying(self, event: Verifying) -> None:
        """A step of a verification; only in a chat of two is it clear who shows what to whom."""
        if self.index.chats.get(event.room_id) == event.sender:
            await self.keys.verifications.take_in_room(event)

    async def own(self) -> None:
        """Take the database: it is ours alone from here on.

        Raises:
            StoreError: it cannot be used, or another process has it.
        """
        await self.ownership.take()
        await self.database.start()
        async with self.database.transaction() as tx:
            await self.index.load(tx)
        await self.reconciler.read_groups()
        await self.reconciler.read_profile()
        await self.client.start()

    async def knock(self) -> None:
        """See that the homeserver is there at all, and say so soon where it is not: somebody waits for the answer."""
        await self.client.request("GET", "/_matrix/client/versions", retries=1, deadline=10)

    async def meet_homeserver(self) -> None:
        """Learn what the homeserver can, and find rooms of ours again that the database does not know. Changes nothing.

        Raises:
            MatrixError: it refuses us, or cannot be reached.
        """
        answer = await self.client.request("GET", path("v3", "capabilities"))
        versions = (answer.get("capabilities") or {}).get("m.room_versions") or {}
        version = str(versions.get("default", FALLBACK_ROOM_VERSION))
        self.setting = Setting(self.accounts, version)
        self.reconciler.setting = self.setting
        await self._find_rooms_again()

    async def _find_rooms_again(self) -> None:
        try:
            await self.recovery.run(self.reconciler.declared.values())
        except (Forbidden, BadRequest) as error:
            log.info("no rooms to find again: %s", error.what)  # before the first run there is no steward to ask

    async def make_accounts(self) -> None:
        """See that both accounts exist, and are called what the configuration says."""
        accounts = self.config.accounts
        for user, wanted in ((self.config.steward, accounts.steward), (self.config.announcer, accounts.announcer)):
            await self._register(wanted.localpart)
            await self._set_profile(user, wanted)

    async def _register(self, localpart: str) -> None:
        body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        try:
            await self.client.request("POST", path("v3", "register"), body=body)
        except CommunitiesError as error:
            if getattr(error, "errcode", "") != "M_USER_IN_USE":
                raise

    async def _set_profile(self, user: UserId, wanted: Account) -> None:
        have = await self.client.request("GET", path("v3", "profile", user))
        for name, value in (("displayname", wanted.displayname), ("avatar_url", wanted.avatar)):
            if value is not None and have.get(name) != value:
                await self.client.request("PUT", path("v3", "profile", user, name), as_user=user, body={name: value})

    async def close(self) -> None:
        """Let go of everything."""
        await self.looks.stop()
        await self.servers.stop()
        await self.client.stop()
        await self.database.stop()
        await self.ownership.release()

    async def _joined_in(self, room_id: RoomId) -> set[UserId]:
        members = (await self.reader.read(room_id)).members
        return {user for user, here in members.items() if here.state == "join"}

    async def _see_who_is_out(self, community: CommunityId, key: RoomKeyName) -> None:
        to_do = True
        try:
            to_do = await self.reconciler.before_announcing(community, key)
        finally:
            if to_do:
                self.look_again(community)

    async def forget_what_was_sent(self) -> None:
        """Forget how messages are known again whose jobs are done."""
        async with self.database.transaction() as tx:
            await sendings.sweep(tx)
