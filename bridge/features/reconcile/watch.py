"""When to look: at start, on what the homeserver pushes, and every so often. Level-triggered, so a lost mark costs
nothing but time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field

from bridge.core.errors import CommunitiesError, RateLimited
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.power_levels import users_of
from bridge.features.reconcile.reconciler import Reconciler
from bridge.plan.state import LISTED, Membership, StateEvent
from bridge.ports import RoomReader

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
LONGEST_OBEYED_SECONDS = 3600.0
"""For how long a homeserver that asks for it is left alone."""
PIECES_BEFORE_WHOLE = 3
"""Reading a room as a whole costs one request, whatever its size; but an answer that grows with its members."""
MEMBERS_A_PIECE = 20
"""How many members of a room are read in the time that one piece takes."""
MEMBER = "m.room.member"
LEVELS = "m.room.power_levels"
HELD_TYPES = frozenset(
    {
        LEVELS, "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access", "m.room.encryption",
        "m.room.server_acl", "m.space.parent",
    }
)  # fmt: skip
"""What people never decide: the policy alone says what it is."""


@dataclass(slots=True)
class _Marks:
    """What was touched in a community since the last look."""

    pieces: dict[tuple[RoomId, str, str], StateEvent] = field(default_factory=dict)
    """Pieces of state, with what was pushed last of each."""
    rooms: set[RoomId] = field(default_factory=set)
    everything: bool = False
    again: bool = False
    """Whether there is to be a pass though nothing has to be read anew."""
    waiting: list[asyncio.Future[bool]] = field(default_factory=list)
    """Told when the pass has ended, whether nothing is left that a later try may do."""

    @property
    def people(self) -> frozenset[UserId]:
        """Who came, went or was moved, where nothing else was touched; else nobody."""
        if self.rooms or self.everything or self.again or any(kind != MEMBER for _, kind, _ in self.pieces):
            return frozenset()
        return frozenset(UserId(user) for _, _, user in self.pieces)

    @property
    def touched(self) -> set[RoomId]:
        return self.rooms | {room_id for room_id, _, _ in self.pieces}

    def __bool__(self) -> bool:
        return bool(self.pieces or self.rooms or self.everything or self.again)


class Watch:
    """Turns marks into passes: one task a community, and marks that come meanwhile are taken together."""

    def __init__(self, reconciler: Reconciler, reader: RoomReader) -> None:
        self._reconciler = reconciler
        self._reader = reader
        self._marks: dict[CommunityId, _Marks] = {}
        self._tasks: dict[CommunityId, asyncio.Task[None]] = {}
        self._marked: dict[CommunityId, asyncio.Event] = {}
        self._stopping = False

    def touched(
        self, community: CommunityId, room_id: RoomId, event_type: str, state_key: str, pushed: StateEvent
    ) -> None:
        """A piece of state was changed, by whomever; the echo of our own change is passed over."""
        if not self._knows(room_id, event_type, state_key, pushed.event_id):
            self._mark(community).pieces[room_id, event_type, state_key] = pushed
            self._start(community)

    def moved(self, community: CommunityId, room_id: RoomId, user: UserId, membership: Membership) -> None:
        """Somebody's membership changed; the echo of our own invite, kick or ban is passed over."""
        have = self._reader.peek(room_id)
        here = None if have is None else have.members.get(user)
        ours = here is not None and not here.event_id and (here.state, here.sender) == (
            membership.state, membership.sender,
        )  # fmt: skip
        if ours or (here is not None and here.event_id == membership.event_id):
            return
        self._mark(community).pieces[room_id, MEMBER, user] = StateEvent({}, membership.sender, membership.event_id)
        self._start(community)

    def _knows(self, room_id: RoomId, event_type: str, state_key: str, event_id: EventId) -> bool:
        """Whether the own copy of a room has this very event already."""
        have = self._reader.peek(room_id)
        if have is None or not event_id:
            return False
        if event_type == MEMBER:
            here = have.members.get(UserId(state_key))
            return here is not None and here.event_id == event_id
        piece = have.state.get((event_type, state_key))
        return piece is not None and piece.event_id == event_id

    def redacted(self, community: CommunityId, room_id: RoomId, event_id: EventId) -> None:
        """An event was redacted. If it was live state, it has to be read again: no state event tells of it."""
        have = self._reader.peek(room_id)
        if have is None:
            self._mark(community).rooms.add(room_id)
        else:
            for (event_type, state_key), piece in have.state.items():
                if piece.event_id == event_id:
                    self._mark(community).pieces[room_id, event_type, state_key] = StateEvent({})
            if any(not piece.event_id for (kind, _), piece in have.state.items() if kind != LISTED):
                self._mark(community).rooms.add(room_id)
        self._start(community)

    def all_of(self, community: CommunityId) -> None:
        """Look at every room of a community anew."""
        self._mark(community).everything = True
        self._start(community)

    def look_again(self, community: CommunityId) -> None:
        """Somebody else read rooms anew: what is pushed about them is known then, and yet to be worked off."""
        self._mark(community).again = True
        self._start(community)

    def _mark(self, community: CommunityId) -> _Marks:
        return self._marks.setdefault(community, _Marks())

    def _start(self, community: CommunityId) -> None:
        if self._stopping or not self._marks.get(community):
            return
        if community not in self._reconciler.declared:
            marks = self._marks.pop(community)
            for room_id in marks.touched:  # nobody looks; whoever does later looks anew
                self._reader.forget(room_id)
            _tell(marks.waiting, done=False)
            return
        self._bell(community).set()
        task = self._tasks.get(community)
        if task is None or task.done():
            self._tasks[community] = asyncio.create_task(self._work_off(community), name=f"reconcile {community}")

    def _bell(self, community: CommunityId) -> asyncio.Event:
        return self._marked.setdefault(community, asyncio.Event())

    async def _work_off(self, community: CommunityId) -> None:
        """Pass after pass until nothing is marked. After a failure everything is looked at again in a while; what is
        touched meanwhile does not wait for that."""
        wait, asked = FIRST_RETRY_SECONDS, None
        while not self._stopping and community in self._reconciler.declared:
            self._bell(community).clear()
            marks = self._marks.pop(community, None)
            if marks:
                try:
                    asked = await self._pass(community, marks)
                finally:
                    _tell(marks.waiting, done=False)
                wait = FIRST_RETRY_SECONDS if asked is None else wait
            elif asked is None:
                return
            elif not await self._rings(community, max(wait, min(asked, LONGEST_OBEYED_SECONDS))):
                wait = min(LONGEST_RETRY_SECONDS, wait * 2)
                self._mark(community).everything = True
        _tell(self._mark(community).waiting, done=False)

    async def _pass(self, community: CommunityId, marks: _Marks) -> float | None:
        """Look, and carry out what follows; None if nothing is left that a later try may do, else how many seconds the
        homeserver wants to be left alone."""
        try:
            await self._refresh(marks)
            outcome = await self._reconciler.follow(community, marks.people) if marks.people else None
            if outcome is None:
                outcome = await self._reconciler.reconcile(community, fresh=marks.everything)
            _tell(marks.waiting, done=not any(failure.passes for failure in outcome.failures))
        except CommunitiesError as error:
            log.warning("%s: will look again: %s", community, error.what)
            return error.seconds if isinstance(error, RateLimited) else 0.0
        except Exception:  # a defect of ours: told with all that is known, and no reason to stop holding the rooms
            log.exception("%s: will look again", community)
            return 0.0
        return self._reconciler.seconds_until(outcome.failures)

    async def _rings(self, community: CommunityId, seconds: float) -> bool:
        """Wait so long; whether something was marked before that."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell(community).wait()
        except TimeoutError:
            return False
        return True

    async def _refresh(self, marks: _Marks) -> None:
        """Read again what was touched; a room in which much was touched is read as a whole."""
        touched = Counter(room_id for room_id, _, _ in marks.pieces)
        whole = marks.rooms | {room_id for room_id, count in touched.items() if self._is_much(room_id, count)}
        for room_id in whole:
            self._reader.forget(room_id)
        for (room_id, event_type, state_key), pushed in marks.pieces.items():
            if room_id in whole or self._knows(room_id, event_type, state_key, pushed.event_id):
                continue
            if self._may_be_believed(room_id, event_type, pushed):
                self._reader.wrote(room_id, event_type, state_key, pushed)
            else:
                await self._reader.refresh(room_id, event_type, state_key)

    def _is_much(self, room_id: RoomId, pieces: int) -> bool:
        """Whether it costs less to read a room as a whole than so many pieces of it."""
        have = self._reader.peek(room_id)
        size = 0 if have is None else len(have.members)
        return pieces > max(PIECES_BEFORE_WHOLE, size // MEMBERS_A_PIECE)

    def _may_be_believed(self, room_id: RoomId, event_type: str, pushed: StateEvent) -> bool:
        """Whether a pushed event may be taken for the state of now, which saves a request before a healing.

        An event may be long out of date. That does no harm where nothing but our own content is ever written in
        answer: written over itself it makes no new event. What may be taken over from people is read first.
        """
        have = self._reader.peek(room_id)
        if have is None or not pushed.event_id or event_type not in HELD_TYPES:
            return False
        return event_type != LEVELS or users_of(pushed.content) == users_of(have.power_levels)

    async def run(self) -> None:
        """Look at everything now and every so often, as the rules say, until cancelled."""
        try:
            while True:
                for community in list(self._reconciler.declared):
                    self.all_of(community)
                await asyncio.sleep(self._reconciler.rules.every_seconds)
        finally:
            await self.stop()

    async def idle(self) -> None:
        """Wait until nothing is marked and nobody works."""
        while tasks := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(tasks)

    async def settled(self, community: CommunityId) -> bool:
        """Look at a community again, then at those above and below it, and wait for the end of these passes.

        Returns:
            Whether nothing is left that a later try may do. What is left is tried again without anybody waiting for it.
        """
        done = [await self._passed(name) for name in self._reconciler.kinship.related(community)]
        return all(done)

    async def _passed(self, community: CommunityId) -> bool:
        """Look at a community again, and wait for the end of that pass."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._mark(community).waiting.append(answer)
        self.look_again(community)
        return False if self._stopping else await answer

    async def stop(self) -> None:
        """Let passes under way be cut off: whatever they did not do is found again at the next start."""
        self._stopping = True
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for marks in self._marks.values():
            _tell(marks.waiting, done=False)


def _tell(waiting: list[asyncio.Future[bool]], *, done: bool) -> None:
    for answer in waiting:
        if not answer.done():
            answer.set_result(done)
