"""Communities that people make within others, move and rename. What is asked is stored; the rooms follow by the
reconciler."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bridge.core import rank, texts
from bridge.core import subcommunities as rules
from bridge.core.community import SPACE, Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.lines import one_line
from bridge.core.rank import People
from bridge.core.subcommunities import OwnCommunity
from bridge.plan.desired import name_of
from bridge.plan.family import Family
from bridge.plan.state import Known
from bridge.ports import Clock, RoomExecutor
from bridge.store import communities as store
from bridge.store import subcommunities
from bridge.store.database import Database

LONGEST_NAME = 120
_NAME = "m.room.name"


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """A community as it is listed: how deep it stands, and whether the configuration has it."""

    id: CommunityId
    name: str
    depth: int
    declared: bool


class Subcommunities:
    """Carries out what people with a role, or the operator, ask. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        declared: Callable[[], Mapping[CommunityId, Community]],
        read_again: Callable[[], Awaitable[None]],
        lock_of: Callable[[CommunityId], asyncio.Lock],
        people: Callable[[Community], Awaitable[People]],
        rooms: RoomExecutor,
        clock: Clock,
    ) -> None:
        """
        Args:
            declared: all communities that there are, those that people made among them.
            read_again: has them put together anew, after something of them was stored.
            lock_of: held while a community's rooms are worked on.
        """
        self._database = database
        self._memory = memory
        self._declared = declared
        self._read_again = read_again
        self._lock_of = lock_of
        self._people = people
        self._rooms = rooms
        self._clock = clock
        self._storing = asyncio.Lock()

    async def listed(self, community: Community) -> list[Listed]:
        """A community and those within it, each behind its parent."""
        family, own = Family(self._declared()), await self._own()
        found: list[Listed] = []

        async def take(one: Community, depth: int) -> None:
            known = await self._memory.known(one.id)
            found.append(Listed(one.id, name_of(one, known), depth, one.id not in own))
            for child in family.right_below(one.id):
                await take(child, depth + 1)

        await take(community, 0)
        return found

    async def create(
        self, parent: Community, by: UserId | None, name: str, key: str | None, source: str = ""
    ) -> CommunityId:
        """Make a community within another. The same source is the same community. The rooms follow.

        Raises:
            Refused: why not.
        """
        rank.check_subcommunities(await self._people(parent), by)
        title = _name(parent, name)
        async with self._storing:
            own = await self._own()
            if source and (before := next((one for one in own.values() if one.source == source), None)):
                return before.id
            rules.check_depth(len(Family(self._declared()).above(parent)) + 1, 0)
            async with self._database.transaction() as tx:
                taken = {*self._declared(), *own, *await store.communities_known(tx)}
            made = rules.new_id(title, key, taken)
            await self._memory.update(
                made, lambda known: replace(known, profile={**known.profile, (SPACE, _NAME): {"name": title}})
            )
            await self._store(OwnCommunity(made, parent.id, by or "", source), by, "subcommunity create")
        return made

    async def move(self, community: Community, by: UserId | None, parent: Community) -> None:
        """Have a community that people made stand within another. Its people and its rooms stay.

        Whoever asks governs the community, the one that it is taken from and the one that it is put into.

        Raises:
            Refused: why not.
        """
        before = self._declared().get(CommunityId(str(community.parent)))
        for one in (community, parent, *([] if before is None else [before])):
            rank.check_subcommunities(await self._people(one), by)
        async with self._storing:
            own = await self._own()
            rules.check_not_declared(community, own)
            family = Family(self._declared())
            depths = {community.id: 0}
            for one in family.below(community.id):
                depths[one.id] = depths[CommunityId(str(one.parent))] + 1
            if parent.id in depths:
                raise Refused(
                    f"{parent.id} is {community.id} itself, or stands within it",
                    where=str(community.id),
                    remedy="choose another parent",
                )
            rules.check_depth(len(family.above(parent)) + 1, max(depths.values()))
            await self._store(replace(own[community.id], parent=parent.id), by, "subcommunity move")

    async def rename(self, community: Community, by: UserId | None, name: str) -> None:
        """Give a community another name.

        The space is written before it is remembered, and no pass of the reconciler comes between: one that finds the
        old name would take it for a wish of whoever gave it.

        Raises:
            Refused: why not.
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        rank.check_subcommunities(await self._people(community), by)
        rules.check_not_declared(community, (), "name")
        content = {"name": _name(community, name)}
        async with self._lock_of(community.id):
            room_id = (await self._memory.known(community.id)).rooms.get(SPACE)
            if room_id is not None:
                await self._rooms.set_state(room_id, _NAME, "", content)
            await self._memory.update(
                community.id, lambda known: replace(known, profile={**known.profile, (SPACE, _NAME): content})
            )

    async def _own(self) -> dict[CommunityId, OwnCommunity]:
        async with self._database.transaction() as tx:
            return {one.id: one for one in await subcommunities.load_all(tx)}

    async def _store(self, one: OwnCommunity, by: UserId | None, deed: str) -> None:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await subcommunities.put(tx, one)
            await store.record(tx, now, one.id, SPACE, by or texts.the_operator(), deed, f"within {one.parent}")
        await self._read_again()


def _name(community: Community, name: str) -> str:
    title = one_line(name, LONGEST_NAME).strip()
    if not title:
        raise Refused("a community needs a name", where=str(community.id), remedy="write it behind the command")
    return title
