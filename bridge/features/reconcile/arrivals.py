"""Letting one person in at once, without waiting for a pass over the whole community.

In a pass people are invited by the order of their names, and after everything else. Whoever stands in a queue is
invited by the order in which they came, by the jobs that call this; the rest (announcements, general, the groups) the
passes do when the person has joined.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from bridge.core.community import SPACE, Community, Role
from bridge.core.errors import MatrixError, RateLimited, Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, domain_of
from bridge.features.reconcile.memory import Memory
from bridge.plan import changes
from bridge.plan.people import ABSENT
from bridge.plan.state import Accounts, Known, RoomState
from bridge.ports import RoomExecutor, RoomReader

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of somebody."""

    welcome: bool
    """False for who is banned or removed, and for whom the homeserver will not invite."""
    refusal: str = ""
    """Why the homeserver will not."""
    look_again: bool = False
    """Whether a pass has something to do for them."""


class Arrivals:
    """Part of the reconciler; it shares its memory."""

    def __init__(
        self,
        *,
        memory: Memory,
        reader: RoomReader,
        executor: RoomExecutor,
        accounts: Accounts,
        declared: Callable[[CommunityId], Community | None],
        above: Callable[[CommunityId], Sequence[CommunityId]] = lambda _: (),
    ) -> None:
        """
        Args:
            above: the communities above one, whose bans hold there, too.
        """
        self._memory = memory
        self._reader = reader
        self._executor = executor
        self._accounts = accounts
        self._declared = declared
        self._above = above

    async def space(self, community: CommunityId) -> RoomState:
        """The space as it is, from the own copy where that is current.

        Raises:
            Refused: the community is not declared, or has no space yet.
            MatrixError: it cannot be read.
        """
        return await self._reader.read(await self._space_id(community))

    async def _space_id(self, community: CommunityId) -> RoomId:
        known = await self._memory.known(community)
        if self._declared(community) is None or SPACE not in known.rooms:
            raise Refused(
                "is not declared, or has no rooms yet", where=str(community), remedy="declare it, and run `apply`"
            )
        return known.rooms[SPACE]

    async def is_barred(self, community: CommunityId, user: UserId) -> bool:
        """Whether somebody stays out, whoever would bid them in: banned, removed by the declaration, or one of us.

        What keeps somebody out of a community above keeps them out of this one.
        """
        for above in self._above(community):
            known = await self._memory.known(above)
            if SPACE in known.rooms and await self._is_barred(above, user):
                return True
        return await self._is_barred(community, user)

    async def _is_barred(self, community: CommunityId, user: UserId) -> bool:
        space, declared = await self.space(community), self._declared(community)
        if user in self._accounts.both or (declared is not None and user in declared.removed):
            return True
        here = space.members.get(user, ABSENT)
        return here.state == "ban" or (here.state == "" and await self._was_banned(community, user))

    async def _was_banned(self, community: CommunityId, user: UserId) -> bool:
        """Whether a ban of ours stands in another room: then the space was made anew since."""
        known = await self._memory.known(community)
        rooms = (self._reader.peek(room_id) for room_id in known.rooms.values())
        places = (ABSENT if room is None else room.members.get(user, ABSENT) for room in rooms)
        return any(here.state == "ban" and here.sender in self._accounts.both for here in places)

    async def outside_of(
        self, community: CommunityId, user: UserId, groups: Collection[RoomKeyName]
    ) -> frozenset[RoomKeyName]:
        """Those of these groups that somebody is not joined in; the space counts as `space`."""
        known = await self._memory.known(community)
        outside = set()
        for key in (SPACE, *await self._still_there(community, groups)):
            room_id = known.rooms.get(key)
            room = None if room_id is None else await self._reader.read(room_id)
            if room is None or room.members.get(user, ABSENT).state != "join":
                outside.add(key)
        return frozenset(outside)

    async def _still_there(self, community: CommunityId, groups: Collection[RoomKeyName]) -> list[RoomKeyName]:
        """Those of these groups that the community still has: a link may be older than the declaration."""
        known, declared = await self._memory.known(community), self._declared(community)
        return [
            key for key in groups if key in known.rooms or (declared is not None and declared.group(key) is not None)
        ]

    async def let_in(self, community: CommunityId, user: UserId, groups: Collection[RoomKeyName]) -> Arrival:
        """Bid somebody in, and invite them to the space now. The request is made once: its caller has patience.

        Raises:
            RateLimited: the homeserver wants to be left alone; the same again later.
            Unreachable: our own homeserver does not answer; the same again later.
            Refused: there is nothing to let them into.
        """
        space = await self.space(community)
        if await self.is_barred(community, user):
            return Arrival(welcome=False)
        await self._memory.bid(community, user, await self._still_there(community, groups))
        if space.members.get(user, ABSENT).present:
            return Arrival(welcome=True, look_again=True)
        try:
            await self._executor.invite(space.room_id, user, by_announcer=False, retries=0)
        except RateLimited:
            raise
        except MatrixError as error:
            log.warning("%s: %s cannot be invited now: %s", community, user, error.what)
            if domain_of(user) != domain_of(self._accounts.steward):
                return Arrival(welcome=True, look_again=True)  # their homeserver is away; others need not wait for it
            if error.retry_helps:
                raise
            return Arrival(welcome=False, refusal=error.what)
        await self._memory.update(community, lambda known: replace(known, invited=known.invited | {(SPACE, user)}))
        return Arrival(welcome=True)

    async def grant(
        self, community: CommunityId, user: UserId, role: Role, groups: Collection[RoomKeyName] = ()
    ) -> None:
        """Give somebody a role, at least: an admin of the community, or a moderator of these groups. A pass follows."""
        await self._memory.update(community, lambda known: _with_role(known, user, role, groups))


def _with_role(known: Known, user: UserId, role: Role, groups: Collection[RoomKeyName]) -> Known:
    if role >= Role.ADMIN:
        return changes.with_roles(known, {user: max(role, known.roles.get(user, Role.MEMBER))})
    for key in groups:
        known = changes.with_moderator(known, key, user)
    return known
