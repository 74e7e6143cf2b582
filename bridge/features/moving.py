"""Groups that move from one community of a family to another, with their room and their people.

What is remembered of a group moves in one database transaction; the links, levels and join rule of its room follow by
the reconciler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Protocol

from bridge.core import groups as rules
from bridge.core import rank, texts
from bridge.core.access import Deed
from bridge.core.community import CONTROL, RESERVED_KEYS, SPACE, Community
from bridge.core.errors import Forbidden, NotFound, Refused
from bridge.core.groups import OwnGroup, Stage
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.messages import SendMessage, notice
from bridge.core.rank import People
from bridge.plan import changes, moving
from bridge.plan.family import Family, Relative
from bridge.plan.state import Accounts, Known, RoomState, digest_of
from bridge.ports import Clock, RoomReader
from bridge.store import communities as store
from bridge.store import deactivations, groups, links
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs


class Memory(Protocol):
    """What is remembered of communities."""

    look_again: Callable[[CommunityId], None]

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...

    async def move_room(
        self,
        source: CommunityId,
        target: CommunityId,
        key: RoomKeyName,
        change: Callable[[Known], Known],
        also: Callable[[Transaction], Awaitable[None]],
    ) -> None: ...


class Kinship(Protocol):
    """Which communities stand in which."""

    family: Family

    async def relative(self, community: Community) -> Relative: ...


class Groups(Protocol):
    """The groups of a community."""

    storing: asyncio.Lock
    limit: int

    async def theirs(self, community: Community, key: RoomKeyName) -> OwnGroup: ...

    async def taken(self, community: Community) -> Collection[str]: ...


class Moving:
    """Moves groups. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        kinship: Kinship,
        groups: Groups,
        declared: Callable[[], Mapping[CommunityId, Community]],
        read_groups: Callable[[], Awaitable[None]],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        people: Callable[[Community], Awaitable[People]],
        language_of: Callable[[CommunityId], Language],
        reader: RoomReader,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        """
        Args:
            declared: all communities that there are, those that people made among them.
            read_groups: has the communities put together anew, after something of their groups was stored.
            lock_of: held while a community's rooms are worked on.
        """
        self._database = database
        self._memory = memory
        self._kinship = kinship
        self._groups = groups
        self._declared = declared
        self._read_groups = read_groups
        self._lock_of = lock_of
        self._people = people
        self._language_of = language_of
        self._reader = reader
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock

    async def move(self, community: Community, by: UserId | None, key: RoomKeyName, to: CommunityId) -> bool:
        """Move a group that people made to another community of the family; whether it was not there already.

        Whoever asks governs both. Who is in the group is bidden into the other community and those above it, but for
        those whom one of these removed or banned.

        Raises:
            Refused: why not.
            MatrixError: the homeserver cannot be asked.
        """
        rank.check_groups(await self._people(community), by, Deed.MOVE_GROUPS)
        await self._check_target(community, by, to)
        first, second = sorted((community.id, to))
        async with AsyncExitStack() as held:
            for one in (first, second):  # always in the same order: two moves do not wait for each other
                await held.enter_async_context(self._lock_of(one))
            await held.enter_async_context(self._groups.storing)
            # as they are now: another move, or a change of the file, may have come first
            source, target = self._declared().get(community.id), self._declared().get(to)
            if source is None or target is None:
                raise _no_relative(community.id, to)
            if await self._is_there(source, target, key):
                return False
            group = await self._movable(source, target, key)
            room = await self._room(source, key)
            await self._store(source, target, group, room, by)
            await self._read_groups()
        self._wake()
        self._memory.look_again(community.id)
        self._memory.look_again(to)
        return True

    async def _check_target(self, community: Community, by: UserId | None, to: CommunityId) -> None:
        target = self._declared().get(to)
        # which other communities there are is nobody's business here
        if target is None or to == community.id or not moving.same_family(self._kinship.family, community, target):
            raise _no_relative(community.id, to)
        rank.check_groups(await self._people(target), by, Deed.MOVE_GROUPS)

    async def _is_there(self, source: Community, target: Community, key: RoomKeyName) -> bool:
        """Whether the same was asked before, and is done: the audit trail knows the room that came from there."""
        room_id = (await self._memory.known(target.id)).rooms.get(key)
        async with self._database.transaction() as tx:
            own = await groups.load_all(tx)
            moved = await store.is_recorded(tx, target.id, room_id or "", _MOVE, _detail(source.id, target.id, key))
        there = any(one.key == key for one in own.get(target.id, ()))
        return there and moved and key not in await self._groups.taken(source)

    async def _movable(self, source: Community, target: Community, key: RoomKeyName) -> OwnGroup:
        if key in RESERVED_KEYS:
            raise Refused(
                f"{key!r} is a part of the community itself, and no group", where=str(source.id), remedy="name a group"
            )
        declared = source.group(key)
        if declared is not None and not declared.own:
            raise Refused(
                f"communities.{source.id}.groups.{key} in the configuration declares that group",
                where=str(source.id),
                remedy="have it taken out there first, by whoever runs the service; then it can be moved",
            )
        group = await self._groups.theirs(source, key)
        if group.stage is Stage.LEAVING:
            raise Refused(f"the group {key!r} is being released", where=str(source.id), remedy="name another group")
        if SPACE not in (await self._memory.known(target.id)).rooms:
            raise Refused("has no space yet", where=str(target.id), remedy="try again when it is made")
        if key in await self._groups.taken(target):
            raise Refused(
                f"there is a room of the key {key!r} in {target.id} already",
                where=str(target.id),
                remedy="a key cannot be changed: release that group, or leave this one where it is",
            )
        rules.check_room_for_one_more(target, self._groups.limit)
        return group

    async def _room(self, source: Community, key: RoomKeyName) -> RoomState:
        room_id = (await self._memory.known(source.id)).rooms.get(key)
        if room_id is None:
            raise Refused(f"the room of {key!r} is not made yet", where=str(source.id), remedy="try again in a minute")
        try:
            return await self._reader.read(room_id, fresh=True)
        except (Forbidden, NotFound) as error:
            raise Refused(
                "the room cannot be read, so nobody knows who is in it",
                where=room_id,
                remedy="let a server admin make the steward join it again",
            ) from error

    async def _store(
        self, source: Community, target: Community, group: OwnGroup, room: RoomState, by: UserId | None
    ) -> None:
        line = [await self._kinship.relative(one) for one in (target, *self._kinship.family.above(target))]
        for one in line:
            if one.space is None and SPACE in one.known.rooms:
                raise Refused(
                    "the space cannot be read, so nobody knows who was removed from it",
                    where=str(one.community.id),
                    remedy="let a server admin make the steward join it again",
                )
        asked = moving.asked_in(room, line, self._accounts)
        here = asked.pop(target.id)
        for above in reversed(list(asked)):  # from the top: a kill in between leaves members above, and none below
            if asked[above]:
                await self._memory.update(above, partial(changes.bidden_into_space, users=asked[above]))
                self._memory.look_again(above)
        now, who = self._clock.now_ms(), by or texts.the_operator()
        rooms = [(await self._memory.known(one.id)).rooms.get(CONTROL) for one in (source, target)]
        say = [
            texts.group_moved_away(group.key, target.id, who, self._language_of(source.id)),
            texts.group_moved_here(group.key, source.id, who, self._language_of(target.id)),
        ]
        mark = digest_of([source.id, target.id, group.key, room.room_id, now])

        async def also(tx: Transaction) -> None:
            if target.id in await deactivations.load_all(tx):  # while the rooms were read
                raise _no_relative(source.id, target.id)
            await groups.drop(tx, source.id, group.key)
            await groups.put(tx, target.id, group)
            await links.without_group(tx, source.id, group.key, who, now)
            for one in (source, target):
                await store.record(tx, now, one.id, room.room_id, who, _MOVE, _detail(source.id, target.id, group.key))
            for control, text in zip(rooms, say, strict=True):
                if control is not None:
                    message = SendMessage(RoomId(control), notice(text))
                    await self._jobs.add(tx, f"moved-{mark}-{control}", control, message, now)

        bid = partial(changes.bidden_into_space, users=here)
        await self._memory.move_room(source.id, target.id, group.key, bid, also)


_MOVE = "group move"


def _detail(source: CommunityId, target: CommunityId, key: RoomKeyName) -> str:
    return f"{key}, from {source} to {target}"


def _no_relative(community: CommunityId, to: str) -> Refused:
    return Refused(
        f"{to!r} is no community above, below or beside {community}",
        where=str(community),
        remedy="name another community of the same family: `subcommunity list` shows those within one",
    )
