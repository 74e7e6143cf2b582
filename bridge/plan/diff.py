"""Desired against actual: the ordered, minimal actions, and what is blocked and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.core.community import SPACE, Community, Role, RoomKind
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.power_levels import needed_for, users_of
from bridge.plan import adoption, people
from bridge.plan.actions import (
    PROFILE_TYPES,
    Action,
    AdoptProfile,
    AdoptRole,
    Blocked,
    Cause,
    CreateRoom,
    Link,
    Plan,
    SetListed,
    SetState,
)
from bridge.plan.desired import (
    OPEN_TO_ALL_SERVERS,
    DesiredRoom,
    Setting,
    child_link,
    desired_rooms,
    moderators_of,
    parent_link,
)
from bridge.plan.state import LISTED, Known, RoomState, StateEvent, digest_of

GONE = (
    "the steward cannot read this room: it was deleted, or the steward was removed from it. "
    "Let a server admin make the steward join again, or forget the room with `matrix-communities apply --force`"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plan, and what it was made from: for whoever carries it out."""

    plan: Plan
    desired: Mapping[RoomKeyName, DesiredRoom]
    roles: Mapping[UserId, Role]
    """Owners and admins after the plan."""
    known: Known
    """What is known after the plan's adoptions."""


def compare(
    community: Community,
    known: Known,
    rooms: Mapping[RoomKeyName, RoomState],
    setting: Setting,
) -> Comparison:
    """Plan what one community needs.

    Args:
        rooms: the actual state of every room of the community that could be read, by key.

    What is in `known.rooms` and not in `rooms` cannot be read: it is blocked, and nothing about it is guessed.
    """
    accounts = setting.accounts
    census = people.take_census(community, known, rooms, accounts)
    roles = people.roles_in_force(community, known, census)
    space = rooms.get(SPACE)
    adopted: list[Action] = []
    if space is not None:
        new_roles = adoption.adopted_roles(community, space, roles, census, accounts)
        adopted += new_roles
        known = _with_roles(known, roles, new_roles)
        roles = people.roles_in_force(community, known, census)
    versions = {key: room.version for key, room in rooms.items()}
    desired = desired_rooms(community, known, roles, setting, versions)
    new_profiles = _adopted_profiles(community, known, desired, rooms, roles, setting)
    if new_profiles:
        adopted += new_profiles
        known = _with_profiles(known, new_profiles)
        desired = desired_rooms(community, known, roles, setting, versions)
    actions = list(adopted)
    blocked: list[Blocked] = []
    notes: list[str] = [*census.notes]
    for key, room in desired.items():
        found, obstacles = _room(known, room, rooms.get(key), setting)
        actions += found
        blocked += obstacles
    actions += _links(known, desired, rooms, setting)
    moves, told = people.membership_actions(community, known, desired, rooms, roles, census, accounts)
    actions += [move for move in moves if _reachable(move.room, known, rooms)]
    notes += told
    notes += _strays(known, rooms, desired)
    ordered = sorted(actions, key=lambda action: action.phase)
    return Comparison(
        Plan(str(community.id), tuple(ordered), tuple(blocked), tuple(notes)), desired, roles, known
    )  # fmt: skip


def _reachable(key: RoomKeyName, known: Known, rooms: Mapping[RoomKeyName, RoomState]) -> bool:
    return key in rooms or key not in known.rooms


def _with_roles(known: Known, roles: Mapping[UserId, Role], adopted: list[AdoptRole]) -> Known:
    now = {**known.roles, **roles, **{adoption.user: adoption.role for adoption in adopted}}
    return replace(known, roles={user: role for user, role in now.items() if role >= Role.ADMIN})


def _with_profiles(known: Known, adopted: list[AdoptProfile]) -> Known:
    return replace(known, profile={**known.profile, **{(item.room, item.type): item.content for item in adopted}})


def _adopted_profiles(
    community: Community,
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    rooms: Mapping[RoomKeyName, RoomState],
    roles: Mapping[UserId, Role],
    setting: Setting,
) -> list[AdoptProfile]:
    found: list[AdoptProfile] = []
    for key, room in desired.items():
        actual = rooms.get(key)
        if actual is not None:
            moderators = moderators_of(known, key, community.group(key)) if room.kind.is_group else frozenset()
            levels = adoption.levels_by_role(roles, moderators, key, setting.accounts)
            found += adoption.adopted_profile(actual, room, known, levels, setting.accounts)
    return found


def _room(
    known: Known, room: DesiredRoom, actual: RoomState | None, setting: Setting
) -> tuple[list[Action], list[Blocked]]:
    if actual is None:
        if room.key in known.rooms:
            return [], [Blocked(room.key, GONE)]
        state = tuple((kind, key, content) for (kind, key), content in sorted(room.state.items()))
        parent = None if room.kind in (RoomKind.SPACE, RoomKind.CONTROL) else parent_link(setting)
        return [CreateRoom(room.key, room.kind, room.version, state, room.public, parent)], []
    wanted = _state_changes(known, room, actual)
    actions: list[Action] = []
    blocked: list[Blocked] = []
    for change in wanted:
        obstacle = _obstacle(change, actual, setting)
        if obstacle is None:
            actions.append(change)
        else:
            blocked.append(obstacle)
    listed = actual.content(LISTED)
    if listed is not None and bool(listed.get("listed")) != room.public:
        actions.append(SetListed(room.key, room.public))
    return actions, blocked


def _state_changes(known: Known, room: DesiredRoom, actual: RoomState) -> list[SetState]:
    changes = []
    for (event_type, state_key), content in sorted(room.state.items()):
        have = actual.state.get((event_type, state_key))
        if event_type in PROFILE_TYPES:
            if (room.key, event_type) in known.yielded or adoption.same_profile(event_type, have, content):
                continue
        elif have is not None and same(have.content, content):
            continue
        cause = _cause(known, room.key, event_type, state_key, content)
        changes.append(SetState(room.key, event_type, state_key, content, cause))
    changes += _unentitled_profile(known, room, actual)
    servers = actual.state.get(("m.room.server_acl", ""))
    if servers is not None and not same(servers.content, OPEN_TO_ALL_SERVERS):
        changes.append(SetState(room.key, "m.room.server_acl", "", OPEN_TO_ALL_SERVERS, Cause.DRIFT))
    return changes


def _unentitled_profile(known: Known, room: DesiredRoom, actual: RoomState) -> list[SetState]:
    """Topics and pictures that nobody entitled gave: emptied again."""
    return [
        SetState(room.key, event_type, "", {}, Cause.DRIFT)
        for event_type in PROFILE_TYPES
        if (event_type, "") not in room.state
        and (room.key, event_type) not in known.yielded
        and (have := actual.state.get((event_type, ""))) is not None
        and adoption.profile_content(event_type, have.content) is not None
    ]


def same(actual: Mapping[str, Any], desired: Mapping[str, Any]) -> bool:
    """Whether two contents are the same JSON; `1` and `True` are not."""
    return digest_of(actual) == digest_of(desired)


def _cause(known: Known, key: RoomKeyName, event_type: str, state_key: str, content: Mapping[str, Any]) -> Cause:
    settled = known.settled.get((key, event_type, state_key))
    return Cause.DRIFT if settled == digest_of(content) else Cause.DECLARED


def _obstacle(change: SetState, actual: RoomState, setting: Setting) -> Blocked | None:
    """Why the steward has no power for a change, by the authorisation rules."""
    steward = setting.accounts.steward
    own = actual.level(steward)
    membership = actual.members.get(steward)
    if membership is None or membership.state != "join":
        return Blocked(change.room, f"the steward {steward} is not in the room: invite it, or let a server admin do so")
    need = needed_for(actual.power_levels, change.type, state=True)
    if own < need:
        return Blocked(
            change.room,
            f"{change.summary}: the steward has level {own}, the room asks for {need}; "
            f"somebody with more power has to raise {steward}",
        )
    if change.type == "m.room.power_levels":
        wanted = users_of(change.content)
        for user, level in users_of(actual.power_levels).items():
            if user != steward and level >= own and wanted.get(user) != level:
                return Blocked(
                    change.room,
                    f"{change.summary}: {user} has level {level}, as much as the steward: they must step down",
                )
    return None


def _links(
    known: Known, desired: Mapping[RoomKeyName, DesiredRoom], rooms: Mapping[RoomKeyName, RoomState], setting: Setting
) -> list[Action]:
    actions: list[Action] = []
    space = rooms.get(SPACE)
    for key, room in desired.items():
        if key == SPACE or not _reachable(key, known, rooms):
            continue
        room_id = known.rooms.get(key)
        if _reachable(SPACE, known, rooms):
            link = child_link(room, setting)
            have = None if space is None or room_id is None else space.state.get(("m.space.child", room_id))
            if room.listed_in_space and not _linked(have, link):
                actions.append(Link(SPACE, key, "m.space.child", link, _link_cause(known, SPACE, key, link)))
            if not room.listed_in_space and have is not None and have.content.get("via"):
                actions.append(Link(SPACE, key, "m.space.child", {}, _link_cause(known, SPACE, key, {})))
        actual = rooms.get(key)
        space_id = known.rooms.get(SPACE)
        if actual is not None and room.kind is not RoomKind.CONTROL and space_id is not None:
            parent = parent_link(setting)
            if not _linked(actual.state.get(("m.space.parent", space_id)), parent):
                actions.append(Link(key, SPACE, "m.space.parent", parent, _link_cause(known, key, SPACE, parent)))
    return actions


def _linked(have: StateEvent | None, link: Mapping[str, Any]) -> bool:
    return have is not None and same(have.content, link)


def _link_cause(known: Known, room: RoomKeyName, of: RoomKeyName, content: Mapping[str, Any]) -> Cause:
    settled = known.settled.get((room, "link", of))
    return Cause.DRIFT if settled == digest_of(content) else Cause.DECLARED


def _strays(
    known: Known, rooms: Mapping[RoomKeyName, RoomState], desired: Mapping[RoomKeyName, DesiredRoom]
) -> list[str]:
    notes = []
    space = rooms.get(SPACE)
    if space is not None:
        notes = [
            f"{sender} added {room_id} to the space by hand. It is no room of this community, and is left alone"
            for room_id, sender in adoption.stray_children(space, known)
        ]
    gone = sorted(set(known.rooms) - set(desired))
    notes += [f"{key} is in the configuration no longer. Its room is left as it is" for key in gone]
    return notes
