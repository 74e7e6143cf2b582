"""A group that moves to another community of the family: whom that community, and those above it, ask in. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.community import Community
from bridge.core.ids import CommunityId, UserId
from bridge.plan.family import Family, Relative
from bridge.plan.people import ABSENT
from bridge.plan.state import Accounts, RoomState
from bridge.plan.takeover import removed_by_people


def same_family(family: Family, one: Community, other: Community) -> bool:
    """Whether two communities stand within the same outermost one, or one of them is it."""
    tops = {(family.above(each) or [each])[-1].id for each in (one, other)}
    return len(tops) == 1


def asked_in(group: RoomState, line: Sequence[Relative], accounts: Accounts) -> dict[CommunityId, frozenset[UserId]]:
    """Who is in a group and is asked into the community that it moves to, and into those above that one: as far as they
    are not there already. Nobody is asked whom one of them has removed or banned.

    Args:
        line: the community, and those above it. One that has no space yet asks everybody.
    """
    here = {user for user, one in group.members.items() if one.present} - accounts.both
    barred = {user for user in here for relative in line if _is_barred(relative, user, accounts)}
    found: dict[CommunityId, frozenset[UserId]] = {}
    for relative in line:
        there = {} if relative.space is None else relative.space.members
        lacking = {user for user in here - barred if not there.get(user, ABSENT).present}
        found[relative.community.id] = frozenset(UserId(user) for user in lacking)
    return found


def _is_barred(relative: Relative, user: UserId, accounts: Accounts) -> bool:
    if user in relative.community.removed:
        return True
    there = ABSENT if relative.space is None else relative.space.members.get(user, ABSENT)
    return there.state == "ban" or removed_by_people(user, there, accounts)
