"""How far announcements come: who is there, who was given the key, who has read, who reacted.

What is told is about a community's announcement room; of an announcement into one group alone, about the group: there
nobody's receipts and reactions are kept. Who may be told is decided by whoever asks this.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.core import announcements
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import Posted, Receipt, Redacted
from bridge.core.reach import Figures, reaction_key
from bridge.plan.state import Accounts, RoomState
from bridge.ports import Clock, RoomReader
from bridge.store import announcements as store
from bridge.store import reach
from bridge.store.announcements import Copy, Listed
from bridge.store.database import Database, Transaction

Positions = Callable[[Collection[EventId]], Awaitable[Mapping[EventId, int]]]
"""Where events stand in the order in which they came, of those that are known."""


class Reach:
    """Keeps receipts and reactions of announcement rooms, and tells how far an announcement came."""

    def __init__(
        self, *, database: Database, positions: Positions, reader: RoomReader, accounts: Accounts, clock: Clock
    ) -> None:
        self._database = database
        self._positions = positions
        self._reader = reader
        self._accounts = accounts
        self._clock = clock

    # --- what comes in ----------------------------------------------------------------------------------------------

    async def read(self, receipts: Sequence[Receipt]) -> None:
        """Note up to where people have read; whoever is known not to be in the room is left out.

        Raises:
            StoreError: the database is out of reach.
        """
        positions = await self._positions({one.event_id for one in receipts})
        rows: dict[tuple[RoomId, UserId], tuple[int, EventId | None]] = {}
        for one in receipts:
            if not self._may_read(one.room_id, one.user):
                continue
            position, pending = rows.get((one.room_id, one.user), (0, None))
            here = positions.get(one.event_id)
            if here is None:
                pending = one.event_id
            rows[one.room_id, one.user] = max(position, here or 0), pending
        async with self._database.transaction() as tx:
            await reach.save_receipts(tx, rows, self._clock.now_ms())

    def _may_read(self, room_id: RoomId, user: UserId) -> bool:
        """Another homeserver may name anybody: without this it could fill the table."""
        state = self._reader.peek(room_id)
        if state is None:
            return True
        here = state.members.get(user)
        return here is not None and here.state in ("join", "invite")  # the copy may be a moment old

    async def posted(self, event: Posted) -> None:
        """Something was posted in an announcement room: where it stands, or who reacts to what."""
        if event.type == "m.room.encrypted":
            position = (await self._positions([event.event_id])).get(event.event_id)
            if position is not None:
                async with self._database.transaction() as tx:
                    await reach.spoke(tx, event.room_id, event.event_id, position, event.sent_at)
        elif event.short_reaction and event.relation == "m.annotation" and event.sender not in self._accounts.both:
            async with self._database.transaction() as tx:
                await reach.reacted(
                    tx, event.event_id, event.room_id, event.to, event.sender, reaction_key(event.key), event.sent_at
                )

    async def redacted(self, event: Redacted) -> None:
        """A reaction was taken back: by whoever gave it, or by somebody who may redact what others wrote."""
        state = self._reader.peek(event.room_id)
        entitled = event.sender in self._accounts.both or (
            state is not None and state.level(event.sender) >= state.threshold("redact")
        )
        async with self._database.transaction() as tx:
            by = None if entitled else event.sender
            await reach.withdrawn(tx, event.redacts, event.room_id, event.sent_at, by=by)

    async def settle(self) -> None:
        """Find out where those events stand that receipts were waiting for."""
        async with self._database.transaction() as tx:
            waiting = await reach.pending(tx)
        if waiting and (known := await self._positions(waiting)):
            async with self._database.transaction() as tx:
                await reach.settle(tx, known)

    async def forget_before(self, before: int) -> None:
        """Forget who read and reacted before that time, in milliseconds since 1970."""
        await self.settle()
        async with self._database.transaction() as tx:
            await reach.forget_before(tx, before)

    # --- what is told -----------------------------------------------------------------------------------------------

    async def latest(
        self,
        community: CommunityId,
        most: int,
        *,
        names: bool = False,
        which: Callable[[announcements.Audience], bool] = lambda _: True,
    ) -> list[Figures]:
        """How far the last announcements of a community came, the newest first; those withdrawn are left out.

        Args:
            names: whether also who read and who reacted is told.
            which: whether an announcement to such an audience is told of.

        Raises:
            MatrixError: who is in the room cannot be read.
        """
        async with self._database.transaction() as tx:
            found = await store.listed_of(tx, community, most, None, which)
        kept = [one for one in found if one.announcement.withdrawn_at is None]
        return await self._figures(community, kept, names=names)

    async def of(self, community: CommunityId, announcement: str, *, names: bool = False) -> Figures | None:
        """How far one announcement came; None where the community has none of that id.

        Raises:
            MatrixError: who is in the room cannot be read.
        """
        async with self._database.transaction() as tx:
            number = await store.number(tx, community, announcement)
            found = await store.listed(tx, community, 1, before=number + 1)
        figures = await self._figures(community, [one for one in found if one.number == number], names=names)
        return figures[0] if figures else None

    async def _figures(self, community: CommunityId, listed: Sequence[Listed], *, names: bool) -> list[Figures]:
        await self.settle()
        async with self._database.transaction() as tx:
            copies = [await self._copy(tx, one.announcement.id, community) for one in listed]
            events = [one.event_id for one in copies if one is not None and one.event_id is not None]
            positions = await reach.positions(tx, events)
            given = await reach.reactions(tx, events)
            rooms = {one.target.room_id for one in copies if one is not None}
            receipts = {room: await reach.readers(tx, room) for room in rooms if room is not None}
        audiences = {
            room: Audience.of(await self._reader.read(room), up_to, self._accounts.both)
            for room, up_to in receipts.items()
        }
        reactions: dict[EventId, dict[str, set[UserId]]] = {}
        for reaction in given:
            if not reaction.withdrawn:
                reactions.setdefault(reaction.to, {}).setdefault(reaction.key, set()).add(reaction.user)
        figures = []
        for entry, copy in zip(listed, copies, strict=True):
            room = None if copy is None else copy.target.room_id
            audience = Audience() if room is None else audiences[room]
            figures.append(_one(entry, copy, audience, positions, reactions, names=names))
            await asyncio.sleep(0)  # other things have their turn: there may be hundreds, of a hundred thousand people
        return figures

    async def _copy(self, tx: Transaction, announcement: str, community: CommunityId) -> Copy | None:
        """The copy in the community's announcement room; of what went into one group alone, that in the group."""
        copies = [one for one in await store.in_rooms(tx, announcement) if one.target.community == community]
        main = next((one for one in copies if not one.target.place), None)
        return copies[0] if main is None and len(copies) == 1 else main


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is in a room now, and up to where they have read."""

    joined: frozenset[UserId] = frozenset()
    invited: int = 0
    up_to: Mapping[UserId, int] = field(default_factory=dict)
    """Of those who are in it."""
    in_order: Sequence[int] = ()
    """The same positions, the smallest first."""

    @classmethod
    def of(cls, state: RoomState, receipts: Sequence[tuple[UserId, int]], ours: Collection[str]) -> Audience:
        """The audience of a room, without our own accounts."""
        there = [(user, here.state) for user, here in state.members.items() if user not in ours]
        joined = frozenset(user for user, membership in there if membership == "join")
        up_to = {user: position for user, position in receipts if user in joined}
        return cls(joined, sum(what == "invite" for _, what in there), up_to, sorted(up_to.values()))

    def readers(self, position: int, certain: Collection[UserId]) -> set[UserId]:
        """Who has read what stands there; `certain` are known to have by something else."""
        return {user for user, up_to in self.up_to.items() if up_to >= position} | (self.joined & set(certain))

    def count(self, position: int, certain: Collection[UserId]) -> int:
        """How many `readers` gives, without looking at all of them."""
        more = sum(self.up_to.get(user, -1) < position for user in self.joined & set(certain))
        return len(self.in_order) - bisect_left(self.in_order, position) + more


def _one(
    listed: Listed,
    copy: Copy | None,
    audience: Audience,
    positions: Mapping[EventId, int],
    reactions: Mapping[EventId, Mapping[str, set[UserId]]],
    *,
    names: bool,
) -> Figures:
    about = listed.announcement
    at = about.at if copy is None or copy.sent_at is None else copy.sent_at
    head = (listed.number, at, about.author, about.human, audience.invited, len(audience.joined))
    position = None if copy is None or copy.event_id is None else positions.get(copy.event_id)
    delivered = None if copy is None or copy.people is None or copy.unreached is None else copy.people - copy.unreached
    people = None if copy is None else copy.people
    if copy is None or copy.event_id is None or copy.target.place or position is None:  # groups are not listened to
        return Figures(*head, people, delivered, None, None)
    given = {key: users & audience.joined for key, users in reactions.get(copy.event_id, {}).items()}
    given = {key: users for key, users in given.items() if users}
    reactors = {user for users in given.values() for user in users}
    certain = {*reactors, UserId(about.author)}  # who wrote it or reacts to it has seen it
    return Figures(
        *head,
        people,
        delivered,
        audience.count(position, certain),
        len(reactors),
        {key: len(users) for key, users in given.items()},
        tuple(sorted(audience.readers(position, certain))) if names else (),
        {key: tuple(sorted(users)) for key, users in given.items()} if names else {},
    )
