"""Groups that somebody entitled moved to another room (client-server API, section "Room upgrades"). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from bridge.core.community import Community, Role
from bridge.core.ids import RoomId, RoomKeyName, UserId, domain_of, is_room_id
from bridge.plan.adoption import levels_by_role
from bridge.plan.desired import DesiredRoom, moderators_of
from bridge.plan.state import Accounts, Known, RoomState

_TOMBSTONE = "m.room.tombstone"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A group's room names another one in its place."""

    key: RoomKeyName
    old: RoomId
    new: RoomId
    by: UserId


def upgrades(
    community: Community,
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    rooms: Mapping[RoomKeyName, RoomState],
    roles: Mapping[UserId, Role],
    out: frozenset[UserId],
) -> Iterator[Upgrade]:
    """Groups that a moderator of theirs, an admin or an owner moved. Any other tombstone is a drift; so is each in the
    space, in announcements and in the control room, which people cannot make as they have to be.
    """
    for key, room in desired.items():
        actual = rooms.get(key)
        event = None if actual is None or not room.kind.is_group else actual.state.get((_TOMBSTONE, ""))
        if actual is None or event is None:
            continue
        new = event.content.get("replacement_room")
        if not isinstance(new, str) or not is_room_id(new) or new in known.rooms.values():
            continue
        levels = levels_by_role(roles, moderators_of(known, key, community.group(key)) - out)
        if levels.get(event.sender, 0) >= Role.MODERATOR.level:
            yield Upgrade(key, actual.room_id, RoomId(new), UserId(event.sender))


def may_be_theirs(upgrade: Upgrade) -> bool:
    """Whether somebody can have made the new room. Before version 12 its id says on which server that was; nobody shall
    have the steward join any room that they name."""
    domain = domain_of(upgrade.new)
    return not domain or domain == domain_of(upgrade.by)


def replaces(room: RoomState, upgrade: Upgrade) -> bool:
    """Whether a room was made to replace the other, and by whoever says so: else it could be anybody's."""
    create = room.content("m.room.create") or {}
    before = create.get("predecessor")
    named = before.get("room_id") if isinstance(before, Mapping) else None
    return named == upgrade.old and upgrade.by in room.creators and create.get("type") != "m.space"


def moved(known: Known, upgrade: Upgrade, old: RoomState, out: frozenset[UserId], accounts: Accounts) -> Known:
    """What is remembered once the new room is the group: roles and names stay, and whoever was in the old one is bidden
    into it."""
    here = {user for user, one in old.members.items() if one.state == "join" and user not in accounts.both}
    bids = frozenset((upgrade.key, user) for user in here - out)
    return replace(
        known,
        rooms={**known.rooms, upgrade.key: upgrade.new},
        bidden=known.bidden | bids,
        invited=frozenset(entry for entry in known.invited if entry[0] != upgrade.key),
    )
