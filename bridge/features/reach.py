"""How far announcements come: who is there, who was given the key, who has read, who reacted.

What is told is about a community's announcement room. Who may be told is decided by whoever asks this.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

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

    async def latest(self, community: CommunityId, most: int) -> list[Figures]:
        """How far the last announcements of a community came, the newest first.

        Raises:
            MatrixError: who is in the room cannot be read.
        """
        async with self._database.transaction() as tx:
            found = await store.listed(tx, community, most)
        return await self._figures(community, [one for one in found if one.announcement.withdrawn_at is None])

    async def of(self, community: CommunityId, announcement: str) -> Figures | None:
        """How far one announcement came; None where the community has none of that id.

        Raises:
            MatrixError: who is in the room cannot be read.
        """
        async with self._database.transaction() as tx:
            number = await store.number(tx, community, announcement)
            found = await store.listed(tx, community, 1, before=number + 1)
        figures = await self._figures(community, [one for one in found if one.number == number])
        return figures[0] if figures else None

    async def _figures(self, community: CommunityId, listed: Sequence[Listed]) -> list[Figures]:
        await self.settle()
        async with self._database.transaction() as tx:
            copies = [await self._copy(tx, one.announcement.id, community) for one in listed]
            events = [one.event_id for one in copies if one is not None and one.event_id is not None]
            positions = await reach.positions(tx, events)
            given = await reach.reactions(tx, events)
            rooms = {one.target.room_id for one in copies if one is not None}
            receipts = {room: await reach.readers(tx, room) for room in rooms if room is not None}
        states = {room: await self._reader.read(room) for room in receipts}
        reactions: dict[EventId, dict[str, list[UserId]]] = {}
        for reaction in given:
            people = reactions.setdefault(reaction.to, {}).setdefault(reaction.key, [])
            if not reaction.withdrawn and reaction.user not in people:
                people.append(reaction.user)
        return [
            self._one(entry, copy, states, receipts, positions, reactions)
            for entry, copy in zip(listed, copies, strict=True)
        ]

    async def _copy(self, tx: Transaction, announcement: str, community: CommunityId) -> Copy | None:
        """The copy in the community's announcement room."""
        for copy in await store.copies_of(tx, announcement):
            if copy.target.community == community and not copy.target.place:
                return copy
        return None

    def _one(
        self,
        listed: Listed,
        copy: Copy | None,
        states: Mapping[RoomId, RoomState],
        receipts: Mapping[RoomId, Sequence[tuple[UserId, int]]],
        positions: Mapping[EventId, int],
        reactions: Mapping[EventId, Mapping[str, list[UserId]]],
    ) -> Figures:
        about = listed.announcement
        room = None if copy is None else copy.target.room_id
        state = None if room is None else states.get(room)
        joined = self._people(state, "join")
        at = about.at if copy is None or copy.sent_at is None else copy.sent_at
        head = (listed.number, at, about.author, about.human, len(self._people(state, "invite")), len(joined))
        if copy is None or copy.event_id is None or room is None:
            return Figures(*head, None, None, None, None)
        position = positions.get(copy.event_id)
        known = {}
        for key, people in reactions.get(copy.event_id, {}).items():
            if there := tuple(sorted(user for user in people if user in joined)):
                known[key] = there
        reactors = {user for people in known.values() for user in people}
        readers: set[UserId] = set()
        if position is not None:
            readers = {user for user, up_to in receipts[room] if up_to >= position and user in joined}
            readers |= reactors | ({UserId(about.author)} & joined)  # who wrote or reacts has seen it
        delivered = None if copy.people is None or copy.unreached is None else copy.people - copy.unreached
        return Figures(
            *head,
            copy.people,
            delivered,
            None if position is None else len(readers),
            None if position is None else len(reactors),
            {key: len(people) for key, people in known.items()},
            tuple(sorted(readers)),
            known,
        )

    def _people(self, state: RoomState | None, membership: str) -> set[UserId]:
        if state is None:
            return set()
        return {
            user for user, here in state.members.items() if here.state == membership and user not in self._accounts.both
        }
