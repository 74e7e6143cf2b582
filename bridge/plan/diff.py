"""Desired against actual: the ordered, minimal actions, and what is blocked and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community, Role, RoomKind
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan import adoption, authority, people
from bridge.plan.actions import (
    PROFILE_TYPES,
    Action,
    AdoptProfile,
    Ban,
    Blocked,
    Cause,
    CreateRoom,
    Kick,
    Link,
    Plan,
    SetListed,
    SetState,
)
from bridge.plan.adoption import RefusedRole
from bridge.plan.changes import with_roles
from bridge.plan.desired import (
    OPEN_TO_ALL_SERVERS,
    DesiredRoom,
    Setting,
    child_link,
    desired_rooms,
    moderators_of,
    parent_link,
    subcommunity_link,
)
from bridge.plan.kin import ALONE, Kin, space_of
from bridge.plan.state import LISTED, Accounts, Known, RoomState, StateEvent, digest_of, same
from bridge.plan.upgrades import Upgrade, upgrades

GONE = (
    "the steward cannot read this room: it was deleted, or the steward was removed from it. "
    "Let a server admin make the steward join again, or give the room up with `matrix-communities apply --recreate`"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plan, and what it was made from: for whoever carries it out."""

    plan: Plan
    desired: Mapping[RoomKeyName, DesiredRoom]
    roles: Mapping[UserId, Role]
    """Owners and admins after the plan, with those of the communities above."""
    known: Known
    """What is known after the plan's adoptions: roles, moderators, names, topics and pictures that will be in force.

    Of `invited`, entries of people who are out of the community are left out: whoever comes back is invited anew.
    `named` has whom the declaration names now, and whom it named before and whose removal this plan does not finish.
    """
    owners_before: frozenset[UserId] = frozenset()
    """Who was an owner by memory, before this plan."""
    removals: tuple[Kick | Ban, ...] = ()
    """Who has to go from which room, whether the steward has the power for it or not."""
    ownerless: tuple[str, ...] = ()
    """What is said where no owner is in the community any more."""
    kin: Kin = ALONE
    """What the communities above and below asked of it."""
    refused_roles: tuple[RefusedRole, ...] = ()
    """Roles that an owner gave in the space, and that the declaration has otherwise."""
    upgrades: tuple[Upgrade, ...] = ()
    """Groups that somebody entitled moved to another room: to be followed, if the steward can."""
    out: frozenset[UserId] = frozenset()
    """Who is out of the community."""


def compare(
    community: Community,
    known: Known,
    rooms: Mapping[RoomKeyName, RoomState],
    setting: Setting,
    kin: Kin = ALONE,
) -> Comparison:
    """Plan what one community needs.

    Args:
        rooms: the actual state of every room of the community that could be read, by key.
        kin: what the communities above and below ask of it.

    What is in `known.rooms` and not in `rooms` cannot be read: it is blocked, and nothing about it is guessed.
    """
    accounts = setting.accounts
    before = frozenset(user for user, role in known.roles.items() if role is Role.OWNER)
    census = people.take_census(community, known, rooms, accounts, kin)
    if (fallback := people.fallback_owner(community, known, census)) is not None:
        known = replace(known, bidden=known.bidden | {(SPACE, fallback)})
        census = people.take_census(community, known, rooms, accounts, kin)
    own = people.roles_in_force(community, known, census, accounts, kin)
    roles = people.governing(own, kin, census)
    space = rooms.get(SPACE)
    adopted: list[Action] = []
    refused: list[RefusedRole] = []
    if space is not None:
        refused = adoption.refused_roles(community, space, roles, census, known, accounts)
        new_roles = adoption.adopted_roles(community, space, roles, census, known, accounts, kin)
        adopted += new_roles
        known = with_roles(known, {**own, **{one.user: one.role for one in new_roles}})
        known = replace(known, settled={**known.settled, **adoption.judged(space)})
        own = people.roles_in_force(community, known, census, accounts, kin)
        roles = people.governing(own, kin, census)
    known = replace(known, roles=own)
    desired = desired_rooms(community, known, roles, setting, rooms, census.out, kin)
    new_profiles = _adopted_profiles(community, known, desired, rooms, roles, census, accounts)
    if new_profiles:
        adopted += new_profiles
        known = _with_profiles(known, new_profiles)
        desired = desired_rooms(community, known, roles, setting, rooms, census.out, kin)
    actions = list(adopted)
    blocked = [Blocked(key, GONE) for key in desired if not _reachable(key, known, rooms)]
    notes: list[str] = [*census.notes]
    moves_on = tuple(upgrades(community, known, desired, rooms, roles, census.out))
    leads_on = frozenset(one.key for one in moves_on)
    for key, room in desired.items():
        if _reachable(key, known, rooms):
            actions += _room(known, room, rooms.get(key), setting, kin, leads_on=key in leads_on)
    actions += _links(known, desired, rooms, setting)
    actions += _links_of_spaces(known, rooms, kin, setting)
    levels = adoption.levels_by_role(roles, frozenset())
    actions += _unentitled_links(known, desired, rooms, levels, accounts, kin)
    moves, told = people.membership_actions(community, known, desired, rooms, roles, census, accounts, kin)
    actions += [move for move in moves if _reachable(move.room, known, rooms)]
    notes += told
    notes += _strays(known, rooms, desired, levels, accounts, kin)
    ownerless = people.without_owner(census, roles)
    notes += ownerless
    notes += [
        f"{one.by} moved {one.key} to {one.new}, which is followed as soon as the steward can" for one in moves_on
    ]
    ordered, obstacles = authority.sift(
        sorted(actions, key=lambda action: action.phase), rooms, accounts, known.adopted
    )
    blocked += [*obstacles, *authority.beyond_limits(rooms, accounts)]
    plan = Plan(str(community.id), tuple(ordered), tuple(blocked), tuple(notes))
    remembered = replace(
        _remembered(community, known, desired, census, roles),
        bidden=people.still_bidden(known, rooms, census) | people.back_after_agreeing(community, rooms, moves),
    )
    if space is not None and _reachable(SPACE, known, rooms):
        placed = adoption.entitled_links(space, desired[SPACE], known, levels, accounts, kin)
        remembered = replace(remembered, settled={**remembered.settled, **placed})
    named = people.names_to_remember(community, known, rooms, census, plan.actions)
    removals = tuple(move for move in moves if isinstance(move, Kick | Ban))
    return Comparison(
        plan,
        desired,
        roles,
        replace(remembered, named=named),
        before,
        removals,
        tuple(ownerless),
        kin,
        tuple(refused),
        moves_on,
        census.out,
    )


def _remembered(
    community: Community,
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    census: people.Census,
    roles: Mapping[UserId, Role],
) -> Known:
    """What is in force by the declaration stays so if its key is taken out: it belongs to the people from then on."""
    profile = dict(known.profile)
    for key, room in desired.items():
        profile.update({(key, event_type): room.state[event_type, ""] for event_type in room.declared_profile})
    moderators = {group.key: group.moderators for group in community.groups if group.moderators is not None}
    out = census.out
    invited = frozenset(
        (key, user)
        for key, user in known.invited
        if (key == SPACE or user not in out) and (key != CONTROL or user in roles)
    )
    return replace(known, profile=profile, moderators={**known.moderators, **moderators}, invited=invited)


def _reachable(key: RoomKeyName, known: Known, rooms: Mapping[RoomKeyName, RoomState]) -> bool:
    return key in rooms or key not in known.rooms


def _with_profiles(known: Known, adopted: list[AdoptProfile]) -> Known:
    return replace(known, profile={**known.profile, **{(item.room, item.type): item.content for item in adopted}})


def _adopted_profiles(
    community: Community,
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    rooms: Mapping[RoomKeyName, RoomState],
    roles: Mapping[UserId, Role],
    census: people.Census,
    accounts: Accounts,
) -> list[AdoptProfile]:
    found: list[AdoptProfile] = []
    for key, room in desired.items():
        actual = rooms.get(key)
        if actual is not None:
            moderators = moderators_of(known, key, community.group(key)) if room.kind.is_group else frozenset()
            levels = adoption.levels_by_role(roles, moderators - census.out)
            found += adoption.adopted_profile(actual, room, known, levels, accounts)
    return found


def _room(
    known: Known, room: DesiredRoom, actual: RoomState | None, setting: Setting, kin: Kin, *, leads_on: bool
) -> list[Action]:
    """
    Args:
        leads_on: whether its tombstone stands rightly.
    """
    if actual is None:
        state = tuple((kind, key, content) for (kind, key), content in sorted(room.state.items()))
        parent = None if room.kind in (RoomKind.SPACE, RoomKind.CONTROL) else parent_link(setting)
        return [CreateRoom(room.key, room.kind, room.version, state, room.public, parent)]
    actions: list[Action] = [*_state_changes(known, room, actual, setting.accounts, kin, leads_on=leads_on)]
    listed = actual.content(LISTED)
    if listed is not None and (listed.get("listed") is True) != room.public:
        actions.append(SetListed(room.key, room.public))
    return actions


def _state_changes(
    known: Known, room: DesiredRoom, actual: RoomState, accounts: Accounts, kin: Kin, *, leads_on: bool
) -> list[SetState]:
    changes = []
    for (event_type, state_key), content in sorted(room.state.items(), key=_levels_first):
        if event_type == "m.room.join_rules" and room.key != SPACE and "allow" in content and SPACE not in known.rooms:
            continue  # the space has to be made first
        have = actual.state.get((event_type, state_key))
        if event_type in PROFILE_TYPES:
            if (room.key, event_type) in known.yielded or adoption.same_profile(event_type, have, content):
                continue
        elif have is not None and same(have.content, content):
            continue
        cause = _cause(known, room.key, event_type, state_key, content)
        changes.append(SetState(room.key, event_type, state_key, content, cause))
    changes += _unentitled_profile(known, room, actual)
    changes += _dead_links(known, room, actual, accounts, kin)
    servers = actual.state.get(("m.room.server_acl", ""))
    if servers is not None and not same(servers.content, OPEN_TO_ALL_SERVERS):
        changes.append(SetState(room.key, "m.room.server_acl", "", OPEN_TO_ALL_SERVERS, Cause.DRIFT))
    # nobody may write these; joining the announcement room by an address would bypass the invite that brings the keys
    unwanted = [] if leads_on else ["m.room.tombstone"]
    unwanted += ["m.room.canonical_alias"] if room.key == ANNOUNCEMENTS else []
    changes += [SetState(room.key, kind, "", {}, Cause.DRIFT) for kind in unwanted if actual.content(kind)]
    return changes


def _levels_first(item: tuple[tuple[str, str], Any]) -> tuple[bool, tuple[str, str]]:
    """What protects most is written first: while a threshold is open, every request counts."""
    return item[0][0] != "m.room.power_levels", item[0]


def _dead_links(known: Known, room: DesiredRoom, actual: RoomState, accounts: Accounts, kin: Kin) -> list[SetState]:
    """Links of ours to what is not of the community any more: a room that was lost and made anew, a sub-community or a
    group that was moved elsewhere, a parent that the space or a group was moved away from."""
    space_id = kin.parent_space if room.key == SPACE else known.rooms.get(SPACE)
    if room.key != SPACE and (space_id is None or room.key not in known.adopted):
        return []  # only rooms that came from elsewhere had another parent of ours
    children = [
        SetState(SPACE, "m.space.child", room_id, {}, Cause.DECLARED)
        for room_id, sender in (adoption.stray_children(actual, known, kin) if room.key == SPACE else ())
        if sender in accounts.both
    ]
    parents = [
        SetState(room.key, "m.space.parent", state_key, {}, Cause.DECLARED)
        for (event_type, state_key), event in sorted(actual.state.items(), key=lambda item: item[0])
        if event_type == "m.space.parent" and event.content and event.sender in accounts.both
        and state_key != space_id
    ]  # fmt: skip
    return children + parents


def _unentitled_profile(known: Known, room: DesiredRoom, actual: RoomState) -> list[SetState]:
    """Topics and pictures that nobody entitled gave: emptied again."""
    return [
        SetState(room.key, event_type, "", {}, Cause.DRIFT)
        for event_type in PROFILE_TYPES
        if (event_type, "") not in room.state
        and (room.key, event_type) not in known.yielded
        and (have := actual.state.get((event_type, ""))) is not None
        and adoption.says_something(event_type, have.content)
    ]


def _cause(known: Known, key: RoomKeyName, event_type: str, state_key: str, content: Mapping[str, Any]) -> Cause:
    settled = known.settled.get((key, event_type, state_key))
    return Cause.DRIFT if settled == digest_of(content) else Cause.DECLARED


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
        if actual is not None and room.kind is not RoomKind.CONTROL:
            parent = parent_link(setting)
            there = None if space_id is None else actual.state.get(("m.space.parent", space_id))
            if not _linked(there, parent):
                cause = Cause.DRIFT if _both_settled(known, key) else Cause.DECLARED
                actions.append(Link(key, SPACE, "m.space.parent", parent, cause))
    return actions


def _links_of_spaces(known: Known, rooms: Mapping[RoomKeyName, RoomState], kin: Kin, setting: Setting) -> list[Action]:
    """The links between a space and those of its parent and of its sub-communities. Each side writes its own.

    What is not made yet is linked by a later look: whoever makes it has this one looked at.
    """
    if not _reachable(SPACE, known, rooms):
        return []
    space = rooms.get(SPACE)
    wanted = [
        (child, room_id, "m.space.child", subcommunity_link(child, setting)) for child, room_id in kin.children.items()
    ]
    if kin.parent is not None and kin.parent_space is not None:
        wanted.append((kin.parent, kin.parent_space, "m.space.parent", parent_link(setting)))
    return [
        Link(SPACE, space_of(other), event_type, link, _link_cause(known, SPACE, space_of(other), link))
        for other, room_id, event_type, link in wanted
        if not _linked(None if space is None else space.state.get((event_type, room_id)), link)
    ]


def _both_settled(known: Known, key: RoomKeyName) -> bool:
    """Whether a room and the space were in force once. A room is made with its link to the space."""
    return all((room, "m.room.power_levels", "") in known.settled for room in (SPACE, key))


def _linked(have: StateEvent | None, link: Mapping[str, Any]) -> bool:
    return have is not None and same(have.content, link)


def _link_cause(known: Known, room: RoomKeyName, of: RoomKeyName, content: Mapping[str, Any]) -> Cause:
    settled = known.settled.get((room, "link", of))
    return Cause.DRIFT if settled == digest_of(content) else Cause.DECLARED


def _unentitled_links(
    known: Known,
    desired: Mapping[RoomKeyName, DesiredRoom],
    rooms: Mapping[RoomKeyName, RoomState],
    levels: Mapping[str, int],
    accounts: Accounts,
    kin: Kin,
) -> list[SetState]:
    return [
        SetState(key, event_type, state_key, {}, Cause.DRIFT)
        for key, room in desired.items()
        if key in rooms
        for event_type, state_key in adoption.unentitled_links(rooms[key], room, known, levels, accounts, kin)
    ]


def _strays(
    known: Known,
    rooms: Mapping[RoomKeyName, RoomState],
    desired: Mapping[RoomKeyName, DesiredRoom],
    levels: Mapping[str, int],
    accounts: Accounts,
    kin: Kin,
) -> list[str]:
    notes = []
    space = rooms.get(SPACE)
    if space is not None:
        taken_away = adoption.unentitled_links(space, desired[SPACE], known, levels, accounts, kin)
        notes = [
            f"{sender} added {room_id} to the space by hand. It is no room of this community, and is left alone. "
            f"To make it a group, invite {accounts.steward} to it, make that an admin there (level 100), and write "
            f"`group adopt {room_id}` to the announcer"
            for room_id, sender in adoption.stray_children(space, known, kin)
            if sender not in accounts.both and ("m.space.child", room_id) not in taken_away
        ]
    gone = sorted(set(known.rooms) - set(desired))
    notes += [f"{key} is in the configuration no longer. Its room is left as it is" for key in gone]
    return notes
