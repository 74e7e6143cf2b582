"""Communities within communities: what one look at a community asks of those above and below it, and who has to be
looked at after it. Level-triggered as everything here: what others see of a community is compared with what they saw
last, so nothing has to be handed on, and a kill loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from bridge.core.community import SPACE, Community, Role, RoomKind
from bridge.core.errors import Forbidden, NotFound
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.rank import named_in
from bridge.features.reconcile.memory import Memory
from bridge.plan import changes
from bridge.plan.family import Family, Relative, Sight, kin_of, present_in, sight
from bridge.plan.kin import ALONE, Kin
from bridge.plan.people import ABSENT
from bridge.plan.state import Accounts, RoomState, digest_of
from bridge.ports import RoomReader
from bridge.store.rooms import RoomIndex

_PARENT = (SPACE, "parent", "")
"""Where it is remembered within which community one stood when its people were brought along."""


class Kinship:
    """Part of the reconciler; it shares its memory."""

    def __init__(self, *, memory: Memory, reader: RoomReader, index: RoomIndex, accounts: Accounts) -> None:
        self._memory = memory
        self._reader = reader
        self._index = index
        self._accounts = accounts
        self._declared: Mapping[CommunityId, Community] = {}
        self.family = Family({})
        """As it is declared."""
        self._seen: dict[CommunityId, Sight] = {}
        """What others saw of a community when it was looked at last."""
        self.look_again: Callable[[CommunityId], None] = lambda _: None
        """Has a community looked at again, whose relations changed."""

    def declare(self, declared: Mapping[CommunityId, Community]) -> None:
        """Follow other declarations. Where somebody has another parent, all who are concerned are looked at again."""
        before, self._declared = self._declared, declared
        self.family = Family(declared)
        for name in before.keys() | declared.keys():
            old, new = before.get(name), declared.get(name)
            parents = {None if one is None else one.parent for one in (old, new)}
            if before and len(parents) == 2:
                self._seen.pop(name, None)
                for other in sorted(filter(None, (*parents, name))):
                    if other in declared:
                        self.look_again(CommunityId(other))

    async def kin_of(
        self,
        community: Community,
        declared: Mapping[CommunityId, Community] | None = None,
        space: RoomState | None = None,
    ) -> Kin:
        """What its relations ask of a community. Costs requests only for spaces of which there is no copy.

        Args:
            declared: declarations that are not in force yet, to plan by; None for those that are.
            space: its own space, if it can be read: for links with spaces that are declared no longer.
        """
        family = self.family if declared is None else Family(declared)
        known = self._declared if declared is None else declared
        unclaimed = self._unclaimed(space, known)
        relatives = [*family.above(community), *family.right_below(community.id)]
        if not relatives:
            return Kin(unclaimed=unclaimed) if unclaimed else ALONE
        found = {one.id: await self.relative(one) for one in relatives}
        return kin_of(community, family, found, self._accounts, unclaimed)

    def _unclaimed(self, space: RoomState | None, declared: Mapping[CommunityId, Community]) -> frozenset[RoomId]:
        """Which of the spaces that a space lists belong to a community that is declared no longer."""
        found = set()
        for event_type, state_key in () if space is None else space.state:
            place = self._index.places.get(RoomId(state_key)) if event_type == "m.space.child" else None
            if place is not None and place.kind is RoomKind.SPACE and place.community not in declared:
                found.add(RoomId(state_key))
        return frozenset(found)

    async def relative(self, community: Community) -> Relative:
        """A community as others see it.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        known = await self._memory.known(community.id)
        room_id = known.rooms.get(SPACE)
        try:
            space = None if room_id is None else await self._reader.read(room_id)
        except (Forbidden, NotFound):
            space = None
        return Relative(community, known, space)

    def above(self, community: CommunityId) -> list[CommunityId]:
        """The communities above one, the nearest first."""
        declared = self._declared.get(community)
        return [] if declared is None else [one.id for one in self.family.above(declared)]

    def related(self, community: CommunityId) -> list[CommunityId]:
        """A community with those above and below it."""
        return [community, *self.above(community), *(one.id for one in self.family.below(community))]

    async def rulers(self, community: CommunityId) -> Mapping[UserId, Role]:
        """Owners and admins of the communities above one, who have joined where they are so.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        declared = self._declared.get(community)
        return {} if declared is None else (await self.kin_of(declared)).commanding

    async def barred(self, community: CommunityId) -> Mapping[UserId, CommunityId]:
        """Who is kept out by a community above one, and by which: banned, or removed by its declaration.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        found: dict[UserId, CommunityId] = {}
        for name in self.above(community):
            one = await self.relative(self._declared[name])
            members = {} if one.space is None else one.space.members
            banned = {user for user, here in members.items() if here.state == "ban"}
            found |= dict.fromkeys(banned | one.community.removed, name)
        return found

    def named_below(self, community: CommunityId) -> Mapping[UserId, str]:
        """Whom the declaration names in a community below one, and by which key: such as `class-1a.members`."""
        return {user: f"{one.id}.{named_in(one, user)}" for one in self.family.below(community) for user in one.named}

    async def looked_at(self, community: CommunityId) -> None:
        """After a pass: where others see something new of a community, they are looked at, too."""
        declared = self._declared.get(community)
        if declared is None or not (declared.parent or self.family.right_below(community)):
            return
        now = sight(await self.relative(declared), await self.kin_of(declared), self._accounts)
        before = self._seen.get(community)
        self._seen[community] = now
        if declared.parent in self._declared and (before is None or before.from_above != now.from_above):
            self.look_again(CommunityId(str(declared.parent)))
        if before is None or before.from_below != now.from_below:
            for child in self.family.right_below(community):
                self.look_again(child.id)

    async def follow_move(self, community: Community) -> None:
        """See that a community keeps its people where it stands within another one than before: they are bidden into
        the communities above, though they may have left one of them some time. Who is banned there stays banned.

        Done once for each move, and before anybody is removed for being outside.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        mark = digest_of(community.parent or "")
        if (await self._memory.known(community.id)).settled.get(_PARENT) == mark:
            return
        if community.parent is not None and community.id in self._declared:
            for user in sorted(present_in(await self.relative(community), self._accounts)):
                for above in await self.lacking_above(community.id, user):
                    await self._memory.update(above, partial(changes.bidden, user=user, keys=()))
                    self.look_again(above)
        await self._memory.update(community.id, lambda known: replace(known, settled={**known.settled, _PARENT: mark}))

    def forget_spaces_above(self, communities: Iterable[CommunityId]) -> None:
        """Have the spaces of communities read anew when they are asked for."""
        for community in communities:
            room_id = self._index.room_of(community, SPACE)
            if room_id is not None:
                self._reader.forget(room_id)

    async def lacking_above(self, community: CommunityId, user: UserId) -> list[CommunityId]:
        """The communities above one in which somebody is neither a member nor invited, from the top."""
        lacking = []
        for name in reversed(self.above(community)):
            one = await self.relative(self._declared[name])
            if one.space is None or not one.space.members.get(user, ABSENT).present:
                lacking.append(name)
        return lacking
