"""Finding our rooms again where the database does not know them: it was lost, or is a new one.

Every room carries our mark in its creation content, which nobody can change. Without this a lost database would make
every room a second time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from bridge.core.community import ANNOUNCEMENTS, CONTROL, DISCUSSION, GENERAL, SPACE, Community, Role, RoomKind
from bridge.core.errors import Forbidden, NotFound
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.power_levels import users_of
from bridge.features.reconcile.memory import Memory
from bridge.plan.state import Accounts, Known, RoomState
from bridge.ports import RoomFinder, RoomReader
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

_KINDS = {
    SPACE: RoomKind.SPACE,
    ANNOUNCEMENTS: RoomKind.ANNOUNCEMENTS,
    CONTROL: RoomKind.CONTROL,
    GENERAL: RoomKind.GENERAL,
    DISCUSSION: RoomKind.DISCUSSION,
}


class Recovery:
    """Takes rooms of declared communities back into memory. Changes nothing in any room."""

    def __init__(
        self, *, memory: Memory, index: RoomIndex, finder: RoomFinder, reader: RoomReader, accounts: Accounts
    ) -> None:
        self._memory = memory
        self._index = index
        self._finder = finder
        self._reader = reader
        self._accounts = accounts

    async def run(self, communities: Iterable[Community]) -> dict[CommunityId, list[RoomKeyName]]:
        """Look for rooms of these communities that are ours and not remembered; gives what was found.

        Where all rooms of all communities are remembered, it asks nothing. Who was owner or admin is read back from the
        space's levels, and who was moderator from those of the group.
        """
        lacking = {one.id: one for one in communities if await self._lacks(one)}
        if not lacking:
            return {}
        found: dict[CommunityId, list[RoomKeyName]] = {}
        for room_id in sorted(set(await self._finder.joined()) - self._index.places.keys()):
            mark = await self._finder.mark(room_id)
            community = None if mark is None else lacking.get(CommunityId(mark[0]))
            if (
                mark is not None
                and community is not None
                and await self._take(community, RoomKeyName(mark[1]), room_id)
            ):
                found.setdefault(community.id, []).append(RoomKeyName(mark[1]))
        for name, keys in found.items():
            log.warning("%s: found again by their mark: %s", name, ", ".join(keys))
        return found

    async def _lacks(self, community: Community) -> bool:
        known = await self._memory.known(community.id)
        return any(key not in known.rooms for key in _keys(community))

    async def _take(self, community: Community, key: RoomKeyName, room_id: RoomId) -> bool:
        kind = _keys(community).get(key)
        if kind is None or key in (await self._memory.known(community.id)).rooms:
            return False
        if await self._memory.about_to_create(community.id, key, kind, "") != "":
            return False  # it is being made under an alias, by which it is found
        try:
            room = await self._reader.read(room_id)
        except (Forbidden, NotFound):
            return False
        if self._accounts.steward not in room.creators:
            return False  # anybody can write our mark into a room of their own
        await self._memory.created(community.id, key, kind, room_id)
        await self._memory.update(community.id, lambda known: self._roles(known, key, kind, room))
        return True

    def _roles(self, known: Known, key: RoomKeyName, kind: RoomKind, room: RoomState) -> Known:
        levels = {
            UserId(user): level
            for user, level in users_of(room.power_levels).items()
            if user not in self._accounts.both
        }
        if key == SPACE:
            roles = {user: Role.of_level(level) for user, level in levels.items() if level >= Role.ADMIN}
            return replace(known, roles={**roles, **known.roles})
        if kind.is_group:
            moderators = frozenset(user for user, level in levels.items() if Role.MODERATOR <= level < Role.ADMIN)
            return replace(known, moderators={**known.moderators, key: moderators})
        return known


def _keys(community: Community) -> dict[RoomKeyName, RoomKind]:
    optional = {GENERAL: community.general, DISCUSSION: community.discusses}
    kinds = {key: kind for key, kind in _KINDS.items() if optional.get(key, True)}
    return {**kinds, **{group.key: group.kind for group in community.groups}}
