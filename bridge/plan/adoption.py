"""What people changed with ordinary clients, and were entitled to: taken over, unless the declaration holds that key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.core.community import SPACE, Community, Role
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.power_levels import needed_for, users_of
from bridge.plan.actions import PROFILE_TYPES, AdoptProfile, AdoptRole
from bridge.plan.desired import DesiredRoom
from bridge.plan.people import Census
from bridge.plan.state import Accounts, Known, RoomState, StateEvent

_FIELDS = {"m.room.name": "name", "m.room.topic": "topic", "m.room.avatar": "url"}


def adopted_roles(
    community: Community,
    space: RoomState,
    roles: Mapping[UserId, Role],
    census: Census,
    accounts: Accounts,
) -> list[AdoptRole]:
    """Roles that an owner gave or took in the space, by comparing its levels with the roles in force.

    Nothing is adopted from anybody but an owner, nothing for a role whose key is declared, nothing for people who are
    out, and nothing that would leave the community without an owner.
    """
    event = space.state.get(("m.room.power_levels", ""))
    if event is None or roles.get(UserId(event.sender)) is not Role.OWNER:
        return []
    found = [
        AdoptRole(SPACE, user, after, event.sender)
        for user, before, after in _changed(space, roles, accounts)
        if not census.is_out(user) and not _declared(community, before, after)
    ]
    owners = {user for user, role in roles.items() if role is Role.OWNER}
    for adoption in found:
        (owners.add if adoption.role is Role.OWNER else owners.discard)(adoption.user)
    return found if owners else [adoption for adoption in found if roles.get(adoption.user) is not Role.OWNER]


def _changed(space: RoomState, roles: Mapping[UserId, Role], accounts: Accounts) -> Iterator[tuple[UserId, Role, Role]]:
    levels = users_of(space.power_levels)
    for name in sorted(set(levels) | set(roles)):
        user = UserId(name)
        if user in accounts.both:
            continue
        before = roles.get(user, Role.MEMBER)
        after = Role.of_level(levels.get(user, 0))
        if before is not after:
            yield user, before, after


def _declared(community: Community, before: Role, after: Role) -> bool:
    touched = {before, after}
    return (Role.OWNER in touched and community.owners is not None) or (
        Role.ADMIN in touched and community.admins is not None
    )


def adopted_profile(
    room: RoomState, desired: DesiredRoom, known: Known, entitled_levels: Mapping[str, int], accounts: Accounts
) -> list[AdoptProfile]:
    """Names, topics and pictures that somebody entitled gave to a room.

    Args:
        entitled_levels: level of each person by the roles in force. A level that somebody got in while a threshold
            was open does not count.
    """
    thresholds = desired.state["m.room.power_levels", ""]
    found = []
    for event_type in PROFILE_TYPES:
        event = room.state.get((event_type, ""))
        if event is None or event_type in desired.declared_profile or event.sender in accounts.both:
            continue
        if (desired.key, event_type) in known.yielded:
            continue
        content = profile_content(event_type, event.content)
        if content is None or content == desired.state.get((event_type, "")):
            continue
        if entitled_levels.get(event.sender, 0) >= needed_for(thresholds, event_type, state=True):
            found.append(AdoptProfile(desired.key, event_type, content, event.sender))
    return found


def profile_content(event_type: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The meaningful part of a name, topic or picture, None where it says nothing (redacted, empty name, nonsense)."""
    field = _FIELDS[event_type]
    value = content.get(field)
    if not isinstance(value, str) or (not value.strip() and event_type != "m.room.topic"):
        return None
    return {field: value}


def same_profile(event_type: str, actual: StateEvent | None, desired: Mapping[str, Any]) -> bool:
    """Whether a room's name, topic or picture says what is desired; other fields of the content do not matter."""
    return actual is not None and profile_content(event_type, actual.content) == desired


def stray_children(space: RoomState, known: Known) -> list[tuple[str, str]]:
    """Rooms that somebody added to the space by hand: room id and who added it."""
    ours = set(known.rooms.values())
    return sorted(
        (state_key, event.sender)
        for (event_type, state_key), event in space.state.items()
        if event_type == "m.space.child" and event.content.get("via") and state_key not in ours
    )


def levels_by_role(
    roles: Mapping[UserId, Role], moderators: frozenset[UserId], room: RoomKeyName, accounts: Accounts
) -> dict[str, int]:
    """Everybody's level in a room by the roles in force."""
    levels: dict[str, int] = {str(user): Role.MODERATOR.level for user in moderators}
    levels.update({str(user): role.level for user, role in roles.items()})
    levels.update(dict.fromkeys(accounts.both, 200))
    return levels
