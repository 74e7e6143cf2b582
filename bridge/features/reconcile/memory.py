"""What is remembered of communities: in the database, and at hand while the process runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from bridge.core.community import ANNOUNCEMENTS, SPACE, Community, Role, RoomKind
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.plan import people
from bridge.plan.diff import Comparison
from bridge.plan.state import Known, RoomState, digest_of
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store.database import Database
from bridge.store.rooms import Place, RoomIndex


class Memory:
    """One process owns it, so what is at hand is what is stored."""

    def __init__(self, database: Database, index: RoomIndex, clock: Clock) -> None:
        self._database = database
        self._index = index
        self._clock = clock
        self._known: dict[CommunityId, Known] = {}
        self._locks: dict[CommunityId, asyncio.Lock] = {}

    def _lock(self, community: CommunityId) -> asyncio.Lock:
        """Rooms are worked on in parallel, and each remembers something: one change at a time."""
        return self._locks.setdefault(community, asyncio.Lock())

    async def known(self, community: CommunityId) -> Known:
        """Everything remembered of a community."""
        if community not in self._known:
            async with self._database.transaction() as tx:
                self._known[community] = await store.load_known(tx, community)
        return self._known[community]

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known:
        """Change what is remembered: stored first, then at hand."""
        async with self._lock(community):
            before = await self.known(community)
            after = change(before)
            if after != before:
                async with self._database.transaction() as tx:
                    await store.save_known(tx, community, before, after, self._clock.now_ms())
                self._known[community] = after
            return after

    def forget_at_hand(self, community: CommunityId) -> None:
        """Read it from the database next time."""
        self._known.pop(community, None)

    async def about_to_create(self, community: CommunityId, key: RoomKeyName, kind: RoomKind, alias: str) -> str:
        """Record the alias of a room before it is made; give the one that an earlier try recorded, if there is one."""
        async with self._database.transaction() as tx:
            record = await store.room_record(tx, community, key)
            if record is not None and record.room_id is None:
                return record.alias
            await store.plan_room(tx, community, key, kind, alias)
        return alias

    async def created(self, community: CommunityId, key: RoomKeyName, kind: RoomKind, room_id: RoomId) -> None:
        """Record a room that was made."""
        async with self._lock(community):
            before = await self.known(community)
            async with self._database.transaction() as tx:
                await store.record_room(tx, community, key, room_id, self._clock.now_ms())
            self._index.places[room_id] = Place(community, key, kind)
            self._known[community] = replace(before, rooms={**before.rooms, key: room_id})

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


def settled(community: Community, comparison: Comparison, failed_rooms: frozenset[str]) -> Callable[[Known], Known]:
    """What to remember after a plan was carried out, but for the rooms in which something failed."""
    digests = {
        (key, event_type, state_key): digest_of(content)
        for key, room in comparison.desired.items()
        if key not in failed_rooms
        for (event_type, state_key), content in room.state.items()
    }
    roles = {user: role for user, role in comparison.roles.items() if role >= Role.ADMIN}
    declared = {group.key: group.moderators for group in community.groups if group.moderators is not None}

    def change(known: Known) -> Known:
        moderators = {**known.moderators, **declared}
        return replace(known, settled={**known.settled, **digests}, roles=roles, moderators=moderators)

    return change


def present_as_invited(community: Community, rooms: dict[RoomKeyName, RoomState]) -> Callable[[Known], Known]:
    """Count those who are in a room already as invited to it: if they leave, they are not asked again."""
    named = community.named
    found = frozenset(
        (key, user)
        for key, room in rooms.items()
        for user, here in room.members.items()
        if here.present and (user in named or key in (SPACE, ANNOUNCEMENTS))
    )

    def change(known: Known) -> Known:
        return replace(known, invited=known.invited | found)

    return change


def names_remembered(community: Community, unfinished: frozenset[UserId]) -> Callable[[Known], Known]:
    """Remember whom the declaration names now; keep what was remembered of those whose removal did not finish."""
    now = people.places(community)

    def change(known: Known) -> Known:
        kept = {user: where for user, where in known.named.items() if user in unfinished}
        handed_over = _handed_over(community, known)
        return replace(known, named={**now, **handed_over, **kept})

    return change


def _handed_over(community: Community, known: Known) -> dict[UserId, frozenset[str]]:
    """Places of groups that are declared no longer stay remembered: the group may come back."""
    keys = {str(group.key) for group in community.groups}
    kept: dict[UserId, frozenset[str]] = {}
    for user, places in known.named.items():
        orphaned = frozenset(place for place in places if "/" in place and place.partition("/")[0] not in keys)
        if orphaned:
            kept[user] = orphaned | people.places(community).get(user, frozenset())
    return kept
