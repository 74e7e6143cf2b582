"""What makes a plan unsafe: all reasons at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.community import SPACE, Role
from bridge.core.ids import RoomKeyName
from bridge.plan.actions import AdoptProfile, AdoptRole, Ban, Cause, Kick, Plan
from bridge.plan.diff import Comparison
from bridge.plan.state import Accounts, RoomState


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many members a plan may remove without a human word: the larger of a share and a number."""

    share: float = 0.30
    at_least: int = 5

    def allowed(self, members: int) -> float:
        return max(self.share * members, float(self.at_least))


def reasons_against(
    comparison: Comparison, rooms: Mapping[RoomKeyName, RoomState], accounts: Accounts, thresholds: Thresholds
) -> list[str]:
    """Every reason for which this plan needs a human word; empty where it is safe."""
    return [
        *_removes_many(comparison.plan, rooms, accounts, thresholds),
        *_removes_the_last_owner(comparison, rooms, accounts),
        *_touches_foreign_rooms(comparison, rooms),
    ]


def _removes_many(
    plan: Plan, rooms: Mapping[RoomKeyName, RoomState], accounts: Accounts, thresholds: Thresholds
) -> list[str]:
    """Counts people of the space, invited ones too, or where that cannot be read, of all rooms that can.

    Who is out of the space already is removed no more: a removal that was cut off half-way does not become unsafe by
    the people whom it has removed.
    """
    counted = [rooms[SPACE]] if SPACE in rooms else list(rooms.values())
    present = {user for room in counted for user, here in room.members.items() if here.present}
    members = len(present - accounts.both)
    removed = present & {
        action.user for action in plan.actions if isinstance(action, Kick) and action.cause is Cause.DECLARED
    }
    allowed = thresholds.allowed(members)
    if len(removed) <= allowed:
        return []
    return [
        f"it removes {len(removed)} people of {members}; more than {allowed:g} "
        f"(the larger of {thresholds.share:.0%} and {thresholds.at_least}) need a human word"
    ]


def _removes_the_last_owner(
    comparison: Comparison, rooms: Mapping[RoomKeyName, RoomState], accounts: Accounts
) -> list[str]:
    space = rooms.get(SPACE)
    if space is None:
        return []
    if comparison.kin.has_owner:
        return []  # whoever owns the community above owns this one
    rightful = comparison.owners_before
    present = {
        user
        for user, here in space.members.items()
        if here.state == "join"
        and user not in accounts.both
        and user not in comparison.kin.outside
        and (user in rightful if rightful else space.level(user) >= Role.OWNER)
    }
    if not present:
        return []
    removed = {
        action.user for action in comparison.plan.actions if isinstance(action, Kick | Ban) and action.room == SPACE
    }
    left = {
        user
        for user, role in comparison.roles.items()
        if role is Role.OWNER and user not in removed and (here := space.members.get(user)) and here.state == "join"
    }
    if left:
        return []
    return [f"it takes away the last owner who is there ({', '.join(sorted(present))}), and no other owner has joined"]


def _touches_foreign_rooms(comparison: Comparison, rooms: Mapping[RoomKeyName, RoomState]) -> list[str]:
    plan = comparison.plan
    touched = {action.room for action in plan.actions if not isinstance(action, AdoptRole | AdoptProfile)}
    touched -= comparison.known.adopted
    return [
        f"it acts on {key} ({rooms[key].room_id}), a room that does not carry our mark"
        for key in sorted(rooms)
        if key in touched and rooms[key].marker != (plan.community, key)
    ]
