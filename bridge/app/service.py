"""The running service: start and stop order, reload, and who is told what."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web

from bridge.app.checks import steward_devices
from bridge.app.entrance import HouseEntrance
from bridge.app.guard import Guard
from bridge.app.house import House, InterestIndex
from bridge.app.listening import SHUTDOWN_SECONDS, listening, transactions_of
from bridge.app.operations import Operations
from bridge.commands.door import ChatDoor
from bridge.config import Config, load
from bridge.core.community import RoomKind
from bridge.core.errors import ConfigError, MatrixError, StoreError
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.messages import Invited, MembershipChanged, Posted, Reacted, Redacted, Said, StateChanged, Unreadable
from bridge.intake.pump import Pump
from bridge.intake.router import Router
from bridge.intake.transactions import MAX_BODY_BYTES
from bridge.matrix.client import path
from bridge.plan.state import Membership, StateEvent
from bridge.web.control import ControlDoor
from bridge.web.feed import CALENDAR, Feed
from bridge.web.join.page import JoinPage, Look
from bridge.web.metrics import Metrics
from bridge.web.unsubscribe import Unsubscribing

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
OWNERSHIP_CHECK_SECONDS = 5.0
READINESS_SECONDS = 60.0
SETTLED_SECONDS = 600.0
HISTORY_SECONDS = 24 * 3600.0


class Service:
    """Everything that runs by itself."""

    def __init__(self, config: Config) -> None:
        self.house = House(config)
        self.guard = Guard(self.house.keys, partial(steward_devices, self.house))
        self.operations = Operations(self.house, self.guard)
        self.inbox = self.house.inbox
        interests = InterestIndex(self.house.index)
        self.transactions = transactions_of(self.house, self.inbox, self._wake_pump, self._rescan)
        self.house.wait_ping = self.transactions.wait_ping
        self.house.look_again = self.house.watch.look_again
        self.house.settled = self.house.watch.settled
        self.pump = Pump(
            inbox=self.inbox,
            rooms=interests,
            steward=config.steward,
            announcer=config.announcer,
            route=self._router().route,
            clock=self.house.clock,
            decryptor=self.house.keys,
            on_parked=self._parked,
        )
        self.house.rescan = self.pump.rescan
        self._door = ChatDoor(self.operations, self.house.chats.say, self.house.clock)
        self._stop = asyncio.Event()
        self._refused = asyncio.Event()
        self._failure: BaseException | None = None

    def _wake_pump(self) -> None:
        self.pump.wake()

    def _rescan(self) -> None:
        """A transaction could not be stored: the homeserver now waits longer and longer, until it is pinged."""
        self.pump.rescan()
        self._refused.set()

    # --- start, run, stop ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until told to stop (SIGTERM, SIGINT).

        Raises:
            CommunitiesError: it cannot start, or lost its database to another process.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        await self.house.own()
        try:
            async with self._listening(), self._background() as start:
                if await self._homeserver_is_met():
                    await self._everything_starts(start)
                    self._warn_of_undeclared()
                    log.info("running: %d communities", len(self.house.reconciler.declared))
                await self._stop.wait()
                log.info("stopping")
        finally:
            await self._everything_stops()
        if self._failure is not None:
            raise self._failure

    async def _everything_starts(self, start: Any) -> None:
        self.house.follow_kin()
        await self.house.worker.start()
        await self.pump.start()
        start(self.house.keys.run(), "keys")
        start(self.house.watch.run(), "watch")
        start(self._keep_ownership(), "ownership")
        start(self._keep_keys_ready(), "readiness")
        start(self.guard.run(), "guard")
        start(self._keep_homeserver_awake(), "ping")
        start(self._look_after_history(), "history")
        self.operations.ready = True

    async def _everything_stops(self) -> None:
        await self.house.watch.stop()
        await asyncio.gather(self.pump.stop(SHUTDOWN_SECONDS), self.house.worker.stop(SHUTDOWN_SECONDS))
        await self.house.keys.stop()
        await self.house.close()

    @asynccontextmanager
    async def _background(self) -> AsyncIterator[Any]:
        """Tasks that run until the end; if one of them fails, so does the service."""
        tasks: set[asyncio.Task[Any]] = set()

        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("%s failed: %s", task.get_name(), error)
                self._failure = self._failure or error
                self._stop.set()

        def start(work: Coroutine[Any, Any, Any], name: str) -> None:
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(ended)
            tasks.add(task)

        try:
            yield start
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """The endpoint of the homeserver's transactions, the local door, and the join page."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        self.transactions.add_routes(app)
        secret = self.house.config.control.secret.reveal()
        ControlDoor(secret, self.operations).add_routes(app)
        Metrics(secret, self.operations.gauges).add_routes(app)
        join = self.house.config.join
        if join.enabled:
            look = Look(join.url, join.account_url, join.account_text, join.element_url, join.trusted_proxies)
            entrance = HouseEntrance(self.house, ready=lambda: self.operations.ready)
            JoinPage(entrance, look).add_routes(app)
            newsroom = self.house.newsroom
            Unsubscribing(newsroom.community_of_ticket, newsroom.mailing.unsubscribe, join.trusted_proxies).add_routes(
                app
            )
            Feed(newsroom.feeds.document, join.trusted_proxies).add_routes(app)
            Feed(newsroom.calendars.document, join.trusted_proxies, kind=CALENDAR).add_routes(app)
        async with listening(self.house, app):
            yield

    async def _homeserver_is_met(self) -> bool:
        """Wait for the homeserver as long as it takes; whether it came before we were told to stop."""
        meeting = asyncio.create_task(self._meet_homeserver(), name="meeting")
        stopping = asyncio.create_task(self._stop.wait(), name="stopping")
        try:
            await asyncio.wait({meeting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if meeting.done():
                meeting.result()
            return meeting.done()
        finally:
            meeting.cancel()
            stopping.cancel()
            await asyncio.gather(meeting, stopping, return_exceptions=True)

    async def _meet_homeserver(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                # Not retried where nobody would see it: the log shall say at once what is waited for.
                await self.house.client.request("GET", "/_matrix/client/versions", retries=0, deadline=10)
                await self.house.make_accounts()
                await self.house.meet_homeserver()
                await self.house.keys.start()
                return
            except MatrixError as error:
                if not error.retry_helps:
                    raise
                log.warning("the homeserver is not there yet (%s); again in %.0f s", error.what, wait)
            await asyncio.sleep(wait)
            wait = min(LONGEST_RETRY_SECONDS, wait * 2)

    async def _keep_homeserver_awake(self) -> None:
        """Ping at start, and whenever the database is back after it had refused a transaction."""
        await self._wake_homeserver()
        while True:
            await self._refused.wait()
            self._refused.clear()
            while True:
                await asyncio.sleep(FIRST_RETRY_SECONDS)
                try:
                    await self.inbox.waiting()
                    break
                except StoreError:
                    continue
            await self._wake_homeserver()

    async def _look_after_history(self) -> None:
        wait = SETTLED_SECONDS  # until then the homeserver has told us what it kept for us
        while True:
            await asyncio.sleep(wait)
            await self.house.past.look_after()
            await self._forget_what_was_sent()
            wait = HISTORY_SECONDS

    async def _forget_what_was_sent(self) -> None:
        try:
            await self.house.forget_what_was_sent()
        except StoreError as error:
            log.info("what was sent cannot be forgotten now: %s", error.what)

    async def _wake_homeserver(self) -> None:
        """Ask for a ping: after an outage the homeserver then sends what it has kept at once, not after its backoff."""
        registration = self.house.config.registration.id
        try:
            await self.house.client.request("POST", path("v1", "appservice", registration, "ping"), body={})
        except MatrixError as error:
            log.warning(
                "the homeserver cannot reach us at %s: %s. `matrix-communities check` says more",
                self.house.config.listen.url,
                error.what,
            )

    async def _keep_ownership(self) -> None:
        while True:
            await asyncio.sleep(OWNERSHIP_CHECK_SECONDS)
            try:
                await self.house.ownership.keep()
            except StoreError as error:
                if "another" in error.what:
                    raise
                log.warning("%s", error.what)

    async def _keep_keys_ready(self) -> None:
        """From time to time: what changed while nobody listened, and sessions that have grown old."""
        while True:
            await asyncio.sleep(READINESS_SECONDS)
            try:
                await self._look_after_keys()
            except StoreError as error:
                log.warning("which keys have to go out cannot be told now: %s", error.what)

    async def _look_after_keys(self) -> None:
        for room_id in filter(self.house.readiness.concerns, list(self.house.index.places)):
            state = self.house.reader.peek(room_id)
            if state is not None:
                members = state.members.items()
                joined = [(user, here.event_id) for user, here in members if here.state == "join"]
                await self.house.readiness.look(room_id, joined)

    def reload(self) -> None:
        """Read the configuration again; a broken one is refused, and the old one kept."""
        try:
            config = load(self.house.config.path)
        except ConfigError as error:
            log.error("the configuration was not taken over, the old one stays:\n%s", error)
            return
        self.operations.take_over(config)
        self._warn_of_undeclared()
        if self.operations.ready:  # before that the homeserver was not met, and everything is looked at then anyway
            for community in self.house.reconciler.declared:
                self.house.watch.all_of(community)
        log.info("the configuration was read again: %d communities", len(config.communities))

    def _warn_of_undeclared(self) -> None:
        for name in self.operations.not_declared(self.house.reconciler.declared):
            log.warning("%s is declared no longer; its rooms are left as they are", name)
        for one in self.house.reconciler.ended_but_declared():
            log.warning("%s was deactivated, so nothing is done about it; it is still declared", one.community)

    # --- events -------------------------------------------------------------------------------------------------

    def _router(self) -> Router:
        return Router(
            invited=self._invited,
            membership_changed=self._membership_changed,
            state_changed=self._state_changed,
            redacted=self._redacted,
            posted=self._posted,
            said=self._said,
            unreadable=self._unreadable,
            verifying=self.house.verifying,
            reacted=self._reacted,
        )

    async def _membership_changed(self, event: MembershipChanged) -> None:
        place = self.house.index.place_of(event.room_id)
        await self.house.newsroom.moved(event)  # before a chat is closed, and before anybody looks at the room
        if place is None:
            await self.house.chats.member_changed(event)
            await self.house.arrivals.moved(event)
        else:
            if place.kind is RoomKind.ANNOUNCEMENTS:
                await self.house.past.member_moved(event)
            await self.house.arrivals.moved(event)  # before anybody looks: rooms may have to wait for an agreement
            here = Membership(event.membership, event.sender, event.event_id)
            self.house.watch.moved(place.community, event.room_id, event.user, here)
            await self.house.belongings.moved(event)
            await self.house.readiness.membership_changed(event)
            await self.house.requests.moved(event)
            await self.house.control_rooms.moved(event)

    async def _invited(self, event: Invited) -> None:
        place = self.house.index.place_of(event.room_id)
        if place is None:
            await self.house.chats.invited(event)
            if event.user == self.house.accounts.steward:  # to the room, maybe, that a group moved to
                for community in self.house.reconciler.left_behind:
                    self.house.watch.look_again(community)
        else:
            here = Membership("invite", event.sender, event.event_id)
            self.house.watch.moved(place.community, event.room_id, event.user, here)

    async def _state_changed(self, event: StateChanged) -> None:
        place = self.house.index.place_of(event.room_id)
        if place is not None:
            pushed = StateEvent(event.content, event.sender, event.event_id)
            self.house.watch.touched(place.community, event.room_id, event.type, event.state_key, pushed)
            await self.house.enforcement.state_changed(event)

    async def _redacted(self, event: Redacted) -> None:
        place = self.house.index.place_of(event.room_id)
        if place is not None:
            self.house.watch.redacted(place.community, event.room_id, event.redacts)
            await self.house.enforcement.redacted(event)
            if place.kind is RoomKind.ANNOUNCEMENTS:
                await self.house.newsroom.redacted(event)
            elif event.room_id in self.house.index.voting:
                await self.house.newsroom.vote_redacted(event)
        elif event.room_id in self.house.index.chats:
            await self.house.newsroom.redacted_in_chat(event)

    async def _posted(self, event: Posted) -> None:
        await self.house.past.posted(event)
        place = self.house.index.place_of(event.room_id)
        by_admin = await self.house.enforcement.posted(event)
        if place is not None:
            await self.house.newsroom.posted(place.community, event, by_admin=by_admin)

    def _control_of(self, room_id: RoomId) -> CommunityId | None:
        place = self.house.index.place_of(room_id)
        return place.community if place is not None and place.kind is RoomKind.CONTROL else None

    async def _reacted(self, event: Reacted) -> None:
        await self.house.newsroom.reacted(event)
        if self._control_of(event.room_id) is None:
            await self.house.arrivals.reacted(event)
        else:
            await self.house.requests.reacted(event)

    async def _said(self, event: Said) -> None:
        await self._door.said(event, control_of=self._control_of(event.room_id))

    async def _unreadable(self, event: Unreadable) -> None:
        await self._door.unreadable(event, control_of=self._control_of(event.room_id))

    async def _parked(self, event_id: EventId, room_id: RoomId, reason: str) -> None:
        log.error("event %s in %s was given up: %s", event_id, room_id, reason)


@asynccontextmanager
async def alone(config: Config) -> AsyncIterator[House]:
    """A house without anything running, for a command that works where no service does.

    Raises:
        StoreError: another process has the database.
        MatrixError: the homeserver cannot be reached, or refuses us.
    """
    house = House(config)
    await house.own()
    try:
        await house.knock()
        await house.meet_homeserver()
        house.follow_kin()
        yield house
    finally:
        await house.close()
