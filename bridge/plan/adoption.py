"""What people changed with ordinary clients, and were entitled to: taken over, unless that key is declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.core.community import SPACE, Community, Role
from bridge.core.ids import RoomId, RoomKeyName, UserId, is_room_id, parse_user_id
from bridge.core.power_levels import needed_for, users_of
from bridge.plan.actions import PROFILE_TYPES, AdoptProfile, AdoptRole
from bridge.plan.desired import DesiredRoom
from bridge.plan.kin import ALONE, Kin
from bridge.plan.people import Census
from bridge.plan.state import Accounts, Known, RoomState, StateEvent, digest_of

JUDGED = (SPACE, "roles", "")
"""Where it is remembered which change of the space's levels was judged last."""
_FIELDS = {"m.room.name": "name", "m.room.topic": "topic", "m.room.avatar": "url"}
_EMPTY: dict[str, dict[str, Any]] = {"m.room.name": {}, "m.room.topic": {"topic": ""}, "m.room.avatar": {}}


def adopted_roles(
    community: Community,
    space: RoomState,
    roles: Mapping[UserId, Role],
    census: Census,
    known: Known,
    accounts: Accounts,
    kin: Kin = ALONE,
) -> list[AdoptRole]:
    """Roles that an owner gave or took in the space, by comparing its levels with the roles in force.

    Nothing is adopted from anybody but an owner, nothing for a role whose key is declared, nothing for people who are
    out, nothing that takes from somebody what they are by a community above, and nothing that would leave the
    community without an owner. Each key is judged for itself: where `admins` is
    declared and `owners` is not, an owner may make a declared admin an owner, and what remains of them is an admin.
    One change of levels is judged once: while it stands there, roles may change by command.
    """
    event = space.state.get(("m.room.power_levels", ""))
    if event is None or event.redacted or roles.get(UserId(event.sender)) is not Role.OWNER:
        return []
    if event.event_id and known.settled.get(JUDGED) == digest_of(event.event_id):
        return []
    levels = users_of(event.content)
    found = []
    for user in sorted({*filter(_is_user, levels), *roles} - accounts.both):
        before = roles.get(UserId(user), Role.MEMBER)
        after = _allowed(community, UserId(user), before, Role.of_level(levels.get(user, 0)))
        after = max(after, kin.roles.get(UserId(user), Role.MEMBER))
        if before is not after and not census.is_out(UserId(user)):
            found.append(AdoptRole(SPACE, UserId(user), after, event.sender))
    owners = {user for user, role in roles.items() if role is Role.OWNER}
    for adoption in found:
        (owners.add if adoption.role is Role.OWNER else owners.discard)(adoption.user)
    return found if owners else [adoption for adoption in found if roles.get(adoption.user) is not Role.OWNER]


@dataclass(frozen=True, slots=True)
class RefusedRole:
    """A role that an owner gave in the space, and that is put back, since the declaration decides it."""

    user: UserId
    wanted: Role
    by: str
    key: str
    """`owners` or `admins`."""
    event_id: str


def refused_roles(
    community: Community,
    space: RoomState,
    roles: Mapping[UserId, Role],
    census: Census,
    known: Known,
    accounts: Accounts,
) -> list[RefusedRole]:
    """What `adopted_roles` does not take over since the declaration says otherwise: for whoever did it to be told."""
    event = space.state.get(("m.room.power_levels", ""))
    if event is None or event.redacted or roles.get(UserId(event.sender)) is not Role.OWNER:
        return []
    if event.event_id and known.settled.get(JUDGED) == digest_of(event.event_id):
        return []
    levels = users_of(event.content)
    found = []
    for name in sorted({*filter(_is_user, levels), *roles} - accounts.both):
        user = UserId(name)
        before, wanted = roles.get(user, Role.MEMBER), Role.of_level(levels.get(user, 0))
        if wanted is before or _allowed(community, user, before, wanted) is wanted or census.is_out(user):
            continue
        key = "owners" if community.owners is not None and Role.OWNER in (before, wanted) else "admins"
        found.append(RefusedRole(user, wanted, event.sender, key, event.event_id))
    return found


def judged(space: RoomState) -> dict[tuple[RoomKeyName, str, str], str]:
    """The change of the space's levels that roles were taken over from, to be remembered."""
    event = space.state.get(("m.room.power_levels", ""))
    return {} if event is None or not event.event_id else {JUDGED: digest_of(event.event_id)}


def _is_user(name: str) -> bool:
    try:
        parse_user_id(name)
    except ValueError:
        return False
    return True


def _allowed(community: Community, user: UserId, before: Role, wanted: Role) -> Role:
    """The role that an owner's wish comes to, where one or both keys are declared."""
    if community.owners is not None:
        if before is Role.OWNER or wanted is Role.OWNER:
            return before
    elif wanted is Role.OWNER:
        return Role.OWNER
    if community.admins is not None:
        return Role.ADMIN if user in community.admins else Role.MEMBER
    return wanted


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
        content = None if event.redacted else profile_content(event_type, event.content)
        if content is None or content == desired.state.get((event_type, ""), _EMPTY[event_type]):
            continue
        if entitled_levels.get(event.sender, 0) >= needed_for(thresholds, event_type, state=True):
            found.append(AdoptProfile(desired.key, event_type, content, event.sender))
    return found


def profile_content(event_type: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """The meaningful part of a name, topic or picture; None for a name that is empty, and for nonsense.

    A topic or picture that is not there, or is empty, is one that was taken away.
    """
    field = _FIELDS[event_type]
    value = content.get(field)
    if field == "name":
        return {field: value} if isinstance(value, str) and value.strip() else None
    if value is None or value == "":
        return _EMPTY[event_type]
    return {field: value} if isinstance(value, str) else None


def same_profile(event_type: str, actual: StateEvent | None, desired: Mapping[str, Any]) -> bool:
    """Whether a room's name, topic or picture says what is desired; other fields of the content do not matter."""
    field = _FIELDS[event_type]
    have = None if actual is None else actual.content.get(field)
    want = desired.get(field)
    return have == want if isinstance(have, str) else have is None and want == ""


def says_something(event_type: str, content: Mapping[str, Any]) -> bool:
    """Whether a room's name, topic or picture is anything but empty."""
    return bool(content.get(_FIELDS[event_type]))


def stray_children(space: RoomState, known: Known, kin: Kin = ALONE) -> list[tuple[str, str]]:
    """Rooms in the space that are not of the community: room id, and who added it."""
    ours = {*known.rooms.values(), *kin.children.values(), *kin.unclaimed}
    return sorted(
        (state_key, event.sender)
        for (event_type, state_key), event in space.state.items()
        if event_type == "m.space.child" and is_room_id(state_key) and state_key not in ours
        and isinstance(event.content.get("via"), list) and event.content["via"]
    )  # fmt: skip


def unentitled_links(
    room: RoomState,
    desired: DesiredRoom,
    known: Known,
    entitled_levels: Mapping[str, int],
    accounts: Accounts,
    kin: Kin = ALONE,
) -> list[tuple[str, str]]:
    """Links to rooms that are not of the community, by somebody who might not place them: event type and state key.

    They got in while a threshold was open. Who was entitled once stays so for the links that they placed then.
    """
    thresholds = desired.state["m.room.power_levels", ""]
    ours: dict[str, set[RoomId | None]] = {
        "m.space.child": {*known.rooms.values(), *kin.children.values()},
        "m.space.parent": {kin.parent_space if desired.key == SPACE else known.rooms.get(SPACE)},
    }
    return sorted(
        (event_type, state_key)
        for (event_type, state_key), event in room.state.items()
        if event_type in ours and state_key not in ours[event_type]
        and event.content and event.sender not in accounts.both
        and entitled_levels.get(event.sender, 0) < needed_for(thresholds, event_type, state=True)
        and known.settled.get((desired.key, event_type, state_key)) != digest_of(event.event_id)
    )  # fmt: skip


def entitled_links(
    room: RoomState,
    desired: DesiredRoom,
    known: Known,
    entitled_levels: Mapping[str, int],
    accounts: Accounts,
    kin: Kin = ALONE,
) -> dict[tuple[RoomKeyName, str, str], str]:
    """Links to other rooms that stay, to be remembered: their placing counts by the roles of that time."""
    taken_away = unentitled_links(room, desired, known, entitled_levels, accounts, kin)
    ours = {*known.rooms.values(), *kin.children.values()}
    return {
        (desired.key, event_type, state_key): digest_of(event.event_id)
        for (event_type, state_key), event in room.state.items()
        if event_type == "m.space.child" and state_key not in ours
        and event.content and event.sender not in accounts.both and (event_type, state_key) not in taken_away
    }  # fmt: skip


def levels_by_role(roles: Mapping[UserId, Role], moderators: frozenset[UserId]) -> dict[str, int]:
    """Everybody's level in a room by the roles in force; who is not there has 0."""
    levels: dict[str, int] = {str(user): Role.MODERATOR.level for user in moderators}
    levels.update({str(user): role.level for user, role in roles.items()})
    return levels
