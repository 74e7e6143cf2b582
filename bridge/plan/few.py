"""A community as far as a few of its people are concerned, so that what one of them does costs no look at all others.

What a plan does about somebody without a say hangs on their own memberships, on what is remembered of themselves, and
on the people with a say: so the rest can be left out, and the plan is the same (a test holds it to that).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bridge.core.community import ANNOUNCEMENTS, CONTROL, DISCUSSION, GENERAL, SPACE, Community
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.power_levels import users_of
from bridge.plan import people
from bridge.plan.actions import Action, Ban, Cause, Invite, Kick, Unban
from bridge.plan.state import Accounts, Known, RoomState

Rooms = Mapping[RoomKeyName, RoomState]


def people_with_a_say(community: Community, known: Known, rooms: Rooms, accounts: Accounts) -> frozenset[UserId]:
    """Who has a role or a level somewhere, or is to have one: their comings and goings may concern everybody."""
    found = {accounts.steward, accounts.announcer, *known.roles, *(community.owners or ()), *(community.admins or ())}
    if community.fallback_owner is not None:
        found.add(community.fallback_owner)
    for moderators in (*known.moderators.values(), *(group.moderators or () for group in community.groups)):
        found.update(moderators)
    for room in rooms.values():
        found.update(UserId(name) for name in (*users_of(room.power_levels), *room.creators))
    return frozenset(found)


def narrowed(
    community: Community, known: Known, rooms: Rooms, users: frozenset[UserId]
) -> tuple[Community, Known, dict[RoomKeyName, RoomState]]:
    """Declaration, memory and rooms as if there were nobody but these people, who include all with a say."""
    groups = tuple(replace(group, members=_only(group.members, users)) for group in community.groups)
    keys = {SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, DISCUSSION, *known.rooms, *(group.key for group in groups)}
    places = [(key, user) for key in keys for user in users]
    return (
        replace(
            community, members=_only(community.members, users), removed=community.removed & users, groups=groups
        ),
        replace(
            known,
            named={user: known.named[user] for user in users if user in known.named},
            invited=frozenset(place for place in places if place in known.invited),
            bidden=frozenset(place for place in places if place in known.bidden),
            waiting=known.waiting & users,
        ),
        {
            key: replace(room, members={user: room.members[user] for user in users if user in room.members})
            for key, room in rooms.items()
        },
    )  # fmt: skip


def _only(declared: frozenset[UserId] | None, users: frozenset[UserId]) -> frozenset[UserId] | None:
    return None if declared is None else declared & users


def concerns_only(actions: tuple[Action, ...], users: frozenset[UserId]) -> bool:
    """Whether a plan does no more than to follow what these people did; what the declaration removes is more."""
    return all(
        isinstance(action, Kick | Ban | Unban | Invite)
        and action.user in users
        and not (isinstance(action, Kick) and action.cause is Cause.DECLARED)
        for action in actions
    )


def is_dropped(community: Community, known: Known) -> bool:
    """Whether the declaration names somebody no longer who is still remembered as named."""
    return bool(people.named_no_longer(community, known))
