"""What a command, an accepted request or a link changes in what is remembered of a community. The rooms follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from bridge.core.community import SPACE, Role
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan.state import Known


def bidden(known: Known, user: UserId, keys: Collection[RoomKeyName]) -> Known:
    """Somebody is to be invited to the community, and to these groups once they have joined it.

    That they declined an earlier invite, let it lie, or were in and left, is no obstacle.
    """
    wanted = {(SPACE, user), *((key, user) for key in keys)}
    return replace(known, bidden=known.bidden | wanted, invited=known.invited - wanted)


def bidden_into_space(known: Known, users: Collection[UserId]) -> Known:
    """Several people are to be invited to the community."""
    wanted = {(SPACE, user) for user in users}
    return replace(known, bidden=known.bidden | wanted, invited=known.invited - wanted)


def removed(known: Known, user: UserId) -> Known:
    """Somebody is removed or banned: they moderate nothing, and are not on the way in any more."""
    return replace(
        known,
        bidden=frozenset(bid for bid in known.bidden if bid[1] != user),
        shut_out=known.shut_out - {user},
        moderators={key: users - {user} for key, users in known.moderators.items()},
    )


def asked_to_agree(known: Known, user: UserId) -> Known:
    """Somebody arrived, and is asked to agree to the rules."""
    return replace(known, waiting=known.waiting | {user})


def agreed(known: Known, user: UserId) -> Known:
    """Somebody has agreed to the rules."""
    return replace(known, waiting=known.waiting - {user})


def with_roles(known: Known, roles: Mapping[UserId, Role]) -> Known:
    """People are given roles; a mere member has none."""
    now = {**known.roles, **roles}
    return replace(known, roles={user: role for user, role in now.items() if role >= Role.ADMIN})


def with_moderator(known: Known, key: RoomKeyName, user: UserId) -> Known:
    """Somebody moderates a group from now on, and is to be in it."""
    now = known.moderators.get(key, frozenset()) | {user}
    return replace(known, moderators={**known.moderators, key: now}, bidden=known.bidden | {(key, user)})


def without_moderator(known: Known, key: RoomKeyName, user: UserId) -> Known:
    """Somebody moderates a group no longer; whether they are in it is another matter."""
    now = known.moderators.get(key, frozenset()) - {user}
    return replace(known, moderators={**known.moderators, key: now})


def admitting(known: Known, key: RoomKeyName) -> Known:
    """A group lets the announcer in, to post announcements there."""
    return replace(known, admitting=known.admitting | {key})


def not_admitting(known: Known, key: RoomKeyName) -> Known:
    """A group lets the announcer in no longer."""
    return replace(known, admitting=known.admitting - {key})
