"""What is remembered of communities: in the database, and at hand while the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from bridge.core.community import ANNOUNCEMENTS, DISCUSSION, GENERAL, SPACE, Community, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.features.reconcile.look import Look
from bridge.plan import changes, people
from bridge.plan.actions import Action, Ban, Cause, Kick
from bridge.plan.state import Known, RoomState, digest_of
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store.database import Database, Transaction
from bridge.store.rooms import Place, RoomIndex


class Memory:
    """One process owns it, so what is at hand is what is stored."""

    def __init__(self, database: Database, index: RoomIndex, clock: Clock) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._known: dict[CommunityId, Known] = {}
        self._locks: dict[CommunityId, asyncio.Lock] = {}
        self.lacking_above: Callable[[CommunityId, UserId], Awaitable[Sequence[CommunityId]]] | None = None
        """The communities above one of which somebody is no member yet; None where communities stand alone."""
        self.look_again: Callable[[CommunityId], None] = lambda _: None
        """Has a community looked at again."""

    def _lock(self, community: CommunityId) -> asyncio.Lock:
        """Rooms are worked on in parallel, and each remembers something: one change at a time."""
        return self._locks.setdefault(community, asyncio.Lock())

    async def known(self, community: CommunityId) -> Known:
        """Everything remembered of a community."""
        if community in self._known:
            return self._known[community]
        async with self._lock(community):
            return await self._load(community)

    def at_hand(self, community: CommunityId) -> Known:
        """What is remembered of a community, as far as it was read in this process; nothing where it was not."""
        return self._known.get(community, Known())

    async def _load(self, community: CommunityId) -> Known:
        """With the lock held, so that what was read is not older than what is at hand."""
        if community not in self._known:
            async with self._database.transaction() as tx:
                found = await store.load_known(tx, community)
            self._known[community] = found
        return self._known[community]

    @contextmanager
    def _storing(self, community: CommunityId) -> Iterator[None]:
        """Read it anew where it is not certain what was stored: a commit may succeed and its answer be lost."""
        try:
            yield
        except BaseException:
            self._known.pop(community, None)
            raise

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known:
        """Change what is remembered: stored first, then at hand."""
        async with self._lock(community):
            before = await self._load(community)
            after = change(before)
            if after != before:
                with self._storing(community):
                    async with self._database.transaction() as tx:
                        await store.save_known(tx, community, before, after, self._clock.now_ms())
                self._known[community] = after
            return after

    async def bid(self, community: CommunityId, user: UserId, keys: Collection[RoomKeyName] = ()) -> None:
        """Have somebody invited to the community, and to these groups once they have joined it.

        An earlier invite that they declined or let lie, or a time when they were in and left, is no obstacle: somebody
        who may bid people in has just asked for them. Members of a community are members of those above it, so they are
        bidden into these first: a kill in between leaves them a member above and nothing below, and the caller's next
        try does the rest.

        Raises:
            MatrixError: the homeserver cannot be asked who is in a community above.
        """
        for above in () if self.lacking_above is None else await self.lacking_above(community, user):
            await self.update(above, lambda known: changes.bidden(known, user, ()))
            self.look_again(above)
        await self.update(community, lambda known: changes.bidden(known, user, keys))

    async def reload(self, community: CommunityId) -> None:
        """Read it from the database anew, after something else was stored there."""
        async with self._lock(community):
            self._known.pop(community, None)
            await self._load(community)

    async def about_to_create(self, community: CommunityId, key: RoomKeyName, kind: RoomKind, alias: str) -> str:
        """Record the alias of a room before it is made; give the one that an earlier try recorded, if there is one.

        Raises:
            Refused: there is such a room already.
        """
        async with self._database.transaction() as tx:
            record = await store.room_record(tx, community, key)
            if record is None or (record.room_id is None and not record.alias):
                await store.plan_room(tx, community, key, kind, alias)
                return alias
        if record.room_id is not None:
            await self.reload(community)
            raise Refused(f"{key} was made already", where=record.room_id, remedy="look again")
        return record.alias

    async def created(self, community: CommunityId, key: RoomKeyName, kind: RoomKind, room_id: RoomId) -> None:
        """Record a room that was made."""
        async with self._lock(community):
            before = await self._load(community)
            self._index.places[room_id] = Place(community, key, kind)
            with self._storing(community):
                async with self._database.transaction() as tx:
                    await store.record_room(tx, community, key, room_id, self._clock.now_ms())
            self._known[community] = replace(before, rooms={**before.rooms, key: room_id})

    async def adopt_room(
        self,
        community: CommunityId,
        key: RoomKeyName,
        kind: RoomKind,
        room_id: RoomId,
        change: Callable[[Known], Known],
        also: Callable[[Transaction], Awaitable[None]],
    ) -> None:
        """Record a room that others made as the one of that key, with what is remembered of it, all at once.

        Args:
            change: what is remembered with it; roles and names may have changed since it was planned.
            also: what else is stored in the same database transaction.
        """
        async with self._lock(community):
            before = await self._load(community)
            settled = {place: digest for place, digest in before.settled.items() if place[0] != key}
            fresh = replace(
                before,
                rooms={**before.rooms, key: room_id},
                adopted=before.adopted | {key},
                settled=settled,
                frozen=before.frozen - {key},
                yielded=frozenset(one for one in before.yielded if one[0] != key),
            )
            after = change(fresh)
            with self._storing(community):
                async with self._database.transaction() as tx:
                    now = self._clock.now_ms()
                    await store.adopt_room(tx, community, key, kind, room_id, now)
                    await store.save_known(tx, community, before, after, now)
                    await also(tx)
            self._known[community] = after
            if (old := before.rooms.get(key)) is not None and old != room_id:
                self._index.places.pop(old, None)
            self._index.places[room_id] = Place(community, key, kind)

    async def move_room(
        self,
        source: CommunityId,
        target: CommunityId,
        key: RoomKeyName,
        change: Callable[[Known], Known],
        also: Callable[[Transaction], Awaitable[None]],
    ) -> None:
        """Move a room of one community, with what is remembered of it, to another, all at once.

        Args:
            change: what else changes in what is remembered of the other one.
            also: what else is stored in the same database transaction.
        """
        first, second = sorted((source, target))
        async with self._lock(first), self._lock(second):
            with self._storing(source), self._storing(target):
                async with self._database.transaction() as tx:
                    await store.move_room(tx, source, target, key)
                    moved = await store.load_known(tx, target)
                    after = change(moved)
                    await store.save_known(tx, target, moved, after, self._clock.now_ms())
                    left = await store.load_known(tx, source)
                    await also(tx)
            self._known |= {source: left, target: after}
            room_id = after.rooms.get(key)
            if room_id is not None and (place := self._index.places.get(room_id)) is not None:
                self._index.places[room_id] = replace(place, community=target)

    async def forget_rooms(self, community: CommunityId, lost: Mapping[RoomKeyName, RoomId]) -> None:
        """Forget rooms that are gone, and everything remembered of them, so that they can be made anew."""
        async with self._database.transaction() as tx:
            for key in lost:
                await store.forget_room(tx, community, key)
        for room_id in lost.values():
            self._index.places.pop(room_id, None)
        await self.reload(community)

    async def alias_dropped(self, community: CommunityId, key: RoomKeyName) -> None:
        """Record that the alias under which a room was made is gone."""
        async with self._database.transaction() as tx:
            await store.alias_dropped(tx, community, key)

    async def leftover_aliases(self, community: CommunityId) -> dict[RoomKeyName, str]:
        """Aliases of rooms that were made and recorded, which nobody came to drop."""
        async with self._database.transaction() as tx:
            return await store.leftover_aliases(tx, community)

    async def kinds_follow(self, community: Community) -> None:
        """Follow a group whose declared kind changed: what we listen for in a room depends on it."""
        known = await self.known(community.id)
        for group in community.groups:
            room_id = known.rooms.get(group.key)
            place = None if room_id is None else self._index.places.get(room_id)
            if room_id is not None and place is not None and place.kind is not group.kind:
                async with self._database.transaction() as tx:
                    await store.set_kind(tx, community.id, group.key, group.kind)
                self._index.places[room_id] = Place(community.id, group.key, group.kind)


def settled(look: Look, failed: Sequence[Action]) -> Callable[[Known], Known]:
    """What to remember after a plan was carried out, but for the actions that failed.

    Roles, names and pictures were taken over before anything was written; they may have changed since.
    """
    community, after = look.community, look.comparison.known
    failed_rooms = {action.room for action in failed}
    failed_removals = {action.user for action in failed if isinstance(action, Kick | Ban)}
    unfinished = _still_there(look)
    digests = {
        (key, event_type, state_key): digest_of(content)
        for key, room in look.comparison.desired.items()
        if key not in failed_rooms
        for (event_type, state_key), content in room.state.items()
    }
    forgotten = (look.known.invited - after.invited) | {
        entry for entry in look.known.invited if entry[1] in _removed_by_declaration(look) - failed_removals
    }
    present = _present(look)
    before = look.known
    answered = before.bidden - after.bidden
    returning = {bid for bid in after.bidden - before.bidden if bid[0] != SPACE}
    placed = dict(after.settled.items() - look.known.settled.items())

    def change(known: Known) -> Known:
        return replace(
            known,
            moderators=followed(known.moderators, before.moderators, after.moderators),
            settled={**known.settled, **placed, **digests},
            invited=(known.invited | present) - forgotten,
            bidden=(known.bidden - answered) | returning,
            named=_named(community, known, unfinished),
        )

    return change


def settled_of_few(look: Look) -> Callable[[Known], Known]:
    """What to remember after a plan about a few people alone was carried out: nothing of anybody else."""
    before, after = look.known, look.comparison.known
    forgotten = before.invited - after.invited
    present = _present(look) - forgotten
    answered = before.bidden - after.bidden
    returning = {bid for bid in after.bidden - before.bidden if bid[0] != SPACE}

    def change(known: Known) -> Known:
        if forgotten & known.invited or not present <= known.invited:
            known = replace(known, invited=(known.invited | present) - forgotten)
        if answered & known.bidden or not returning <= known.bidden:
            known = replace(known, bidden=(known.bidden - answered) | returning)
        return known

    return change


K = TypeVar("K")
V = TypeVar("V")


def followed(now: Mapping[K, V], before: Mapping[K, V], after: Mapping[K, V]) -> dict[K, V]:
    """What is remembered now, with what a plan changed of what it was made from: others may have changed something."""
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    return {key: value for key, value in now.items() if key in after or key not in before} | changed


def _still_there(look: Look) -> frozenset[UserId]:
    """Who is named no longer, and was still in a room when we looked, or perhaps in one that could not be read.

    Their removal may fail, be blocked or be cut off: they are remembered until a look finds them nowhere.
    """
    community, rooms = look.community, look.rooms
    found = set()
    for user, left in people.named_no_longer(community, look.known).items():
        elsewhere = user in community.named or user in look.comparison.kin.named
        keys = {RoomKeyName(place.partition("/")[0]) for place in left} if elsewhere else set(look.known.rooms)
        if any(key not in rooms or _is_here(rooms[key], user) for key in keys & look.known.rooms.keys()):
            found.add(user)
    return frozenset(found)


def _is_here(room: RoomState, user: UserId) -> bool:
    return room.members.get(user, people.ABSENT).state in ("join", "invite", "knock")


def _removed_by_declaration(look: Look) -> frozenset[UserId]:
    """Whom the declaration removed: they may be named, and so invited, again later."""
    return frozenset(
        action.user
        for action in look.plan.actions
        if isinstance(action, Kick) and action.cause is Cause.DECLARED and action.room == SPACE
    )


def _present(look: Look) -> frozenset[tuple[RoomKeyName, UserId]]:
    """Who is in a room already counts as invited to it: if they leave, they are not asked again."""
    named = look.community.named | look.comparison.kin.named
    return frozenset(
        (key, user)
        for key, room in look.rooms.items()
        for user, here in room.members.items()
        if here.present and (user in named or key in (SPACE, ANNOUNCEMENTS, GENERAL, DISCUSSION))
    )


def _named(community: Community, known: Known, unfinished: frozenset[UserId]) -> dict[UserId, frozenset[str]]:
    """Whom the declaration names now; of those whose removal did not finish, what was remembered.

    Places in groups that are declared no longer stay remembered: the group may come back.
    """
    now = people.places(community)
    keys = {str(group.key) for group in community.groups}
    remembered = dict(now)
    for user, before in known.named.items():
        orphaned = frozenset(place for place in before if "/" in place and place.partition("/")[0] not in keys)
        if user in unfinished:
            remembered[user] = before | now.get(user, frozenset())
        elif orphaned:
            remembered[user] = orphaned | now.get(user, frozenset())
    return remembered
