"""How a community stands, as `status` shows it."""

from __future__ import annotations

from typing import Any

from bridge.core.community import CONTROL, SPACE, Role
from bridge.core.ids import RoomKeyName, UserId
from bridge.features.reconcile.look import Look
from bridge.plan.people import ABSENT
from bridge.plan.state import Accounts
from bridge.store.communities import CommunityRecord


def standing(look: Look, record: CommunityRecord, accounts: Accounts) -> dict[str, Any]:
    """The documented JSON of one community in `status`."""
    known = look.comparison.known
    drift = [f"{action.room}: {action.summary}" for action in look.plan.actions]
    drift += [f"{item.room}: blocked: {item.reason}" for item in look.plan.blocked]
    drift += look.comparison.ownerless
    drift += [_fought_over(key) for key in sorted(known.frozen)]
    return {
        "id": look.community.id,
        "parent": look.community.parent,
        "name": look.shown_name(SPACE),
        "space": known.rooms.get(SPACE),
        "rooms": [
            {
                "key": key,
                "kind": room.kind.value,
                "room_id": known.rooms.get(key),
                "encrypted": key in look.rooms and bool(look.rooms[key].content("m.room.encryption")),
            }
            for key, room in look.comparison.desired.items()
            if key != SPACE
        ],
        "members": members_by_role(look, accounts),
        "drift": drift,
        "held": record.held_digest,
        "last_reconcile": record.last_reconcile,
    }


def _fought_over(key: RoomKeyName) -> str:
    if key == CONTROL:  # owners are called to it, and nobody else is in it: its levels are put back, and nothing more
        return f"{key}: somebody fought over its settings; it is not locked"
    return f"{key}: locked after a fight"


def members_by_role(look: Look, accounts: Accounts) -> dict[str, int]:
    """How many people are in the space in each role; a moderator of any group counts as one."""
    counts = {role.word: 0 for role in sorted(Role, reverse=True)}
    space = look.rooms.get(SPACE)
    if space is None:
        return counts
    moderators = {user for users in look.comparison.known.moderators.values() for user in users}
    for user, here in space.members.items():
        if here.state != "join" or user in accounts.both:
            continue
        role = look.comparison.roles.get(user, Role.MODERATOR if user in moderators else Role.MEMBER)
        counts[role.word] += 1
    return counts


def people_of(look: Look, accounts: Accounts) -> list[dict[str, Any]]:
    """Everybody who is in the space or invited to it, as `person_in`; by role from the top, then by id."""
    space = look.rooms.get(SPACE)
    if space is None:
        return []
    found = [
        person_in(look, user) for user, here in space.members.items() if here.present and user not in accounts.both
    ]
    return sorted(found, key=lambda person: (-person["role"], person["user"]))


def person_in(look: Look, user: UserId) -> dict[str, Any]:
    """What somebody is in a community: `user`, `state` in the space, `role`, `groups` in which they are, and those that
    they moderate.
    """
    space = look.rooms.get(SPACE)
    moderates = sorted(key for key, users in look.comparison.known.moderators.items() if user in users)
    return {
        "user": user,
        "state": (ABSENT if space is None else space.members.get(user, ABSENT)).state,
        "role": look.comparison.roles.get(user, Role.MODERATOR if moderates else Role.MEMBER),
        "groups": [
            key
            for key, room in look.comparison.desired.items()
            if room.kind.is_group and key in look.rooms and look.rooms[key].members.get(user, ABSENT).state == "join"
        ],
        "moderates": moderates,
    }
