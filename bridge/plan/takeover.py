"""What a room that others made must have to become a group, what it brings along, and what stays as it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bridge.core.community import SPACE, Community, Posting, Role, RoomKind
from bridge.core.ids import RoomId, RoomKeyName, UserId
from bridge.plan import adoption
from bridge.plan.actions import PROFILE_TYPES
from bridge.plan.people import ABSENT
from bridge.plan.state import Accounts, Known, Membership, RoomState

_MANAGED = (
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.encryption",
)
_KINDS = {
    "public": RoomKind.OPEN,
    "restricted": RoomKind.OPEN,
    "knock": RoomKind.REQUEST,
    "knock_restricted": RoomKind.REQUEST,
}


def kind_of(room: RoomState) -> RoomKind:
    """The kind whose way in is nearest to the room's: nobody finds a private room who could not before."""
    return _KINDS.get(str((room.content("m.room.join_rules") or {}).get("join_rule")), RoomKind.HIDDEN)


def is_public(room: RoomState) -> bool:
    """Whether anybody can join."""
    return (room.content("m.room.join_rules") or {}).get("join_rule") == "public"


def posting_of(room: RoomState) -> Posting:
    """Who may post, as far as the policy can say it."""
    return Posting.MEMBERS if room.threshold("events_default") <= 0 else Posting.MODERATORS


def kept_history(room: RoomState) -> str:
    """The history visibility that stays since it shows less than the policy's; empty where there is none to keep."""
    shown = (room.content("m.room.history_visibility") or {}).get("history_visibility")
    return shown if shown in ("joined", "invited") else ""


def is_encrypted(room: RoomState) -> bool:
    """Whether messages are encrypted, by whatever algorithm. It cannot be undone."""
    return bool(room.content("m.room.encryption"))


def unfit(room: RoomState) -> tuple[str, str] | None:
    """Why a room cannot be a group at all, and what helps; None where it can."""
    if (room.content("m.room.create") or {}).get("type") == "m.space":
        return "it is a space, and a group is a room in which people talk", "adopt its rooms one by one"
    replaced = (room.content("m.room.tombstone") or {}).get("replacement_room")
    if replaced:
        return f"it was replaced by {replaced}", "adopt that one"
    return None


def lacking(room: RoomState, accounts: Accounts) -> tuple[str, str] | None:
    """What power the steward lacks to hold the room as a group, and what helps; None where it has enough.

    An admin's level (100) is enough, if nothing that has to be set asks for more: see `desired.within_reach`.
    """
    steward = accounts.steward
    own = room.level(steward)
    thresholds = [room.threshold(key) for key in ("invite", "kick", "ban", "redact")]
    need = max(Role.ADMIN.level, *(room.needed(kind) for kind in _MANAGED), *thresholds)
    if own >= need:
        return None
    return (
        f"{steward} has level {own} in it, and needs {need}",
        f"somebody with more power gives it level {need} in the room's settings (roles and permissions)",
    )


def withheld(room: RoomState, user: UserId, space: RoomId | None) -> tuple[str, str] | None:
    """Why somebody may not give the room away, and what helps; None where they may: they can change its levels, or it
    names the space as its own already.
    """
    names_us = space is not None and bool((room.content("m.space.parent", space) or {}).get("via"))
    here = room.members.get(user, ABSENT)
    if names_us or (here.state == "join" and room.level(user) >= room.needed("m.room.power_levels")):
        return None
    return (
        "only somebody who is in charge of the room can give it to a community",
        "become an admin of that room, or let one of its admins ask who is an admin here, too",
    )


def taken_in(
    community: Community,
    known: Known,
    key: RoomKeyName,
    room: RoomState,
    rooms: Mapping[RoomKeyName, RoomState],
    accounts: Accounts,
) -> Known:
    """What is remembered once a room is a group: its name, topic and picture, who moderates it, and whom to invite.

    Its members are bidden into the community, but for those whom people removed from it.
    """
    profile = {(key, kind): content for kind in PROFILE_TYPES if (content := _said(room, kind)) is not None}
    here = {user: one for user, one in room.members.items() if one.present and user not in accounts.both}
    moderators = {
        user for user, one in here.items() if one.state == "join" and room.level(user) >= Role.MODERATOR.level
    }
    known = replace(
        known,
        rooms={**known.rooms, key: room.room_id},
        adopted=known.adopted | {key},
        profile={**{place: said for place, said in known.profile.items() if place[0] != key}, **profile},
        moderators={**known.moderators, key: frozenset(moderators)},
        bidden=frozenset(bid for bid in known.bidden if bid[0] != key),
    )
    there = {} if SPACE not in rooms else rooms[SPACE].members
    asked = frozenset(
        (SPACE, user)
        for user in here
        if user not in community.removed and _may_be_asked(user, there.get(user, ABSENT), accounts)
    )
    return replace(known, bidden=known.bidden | asked, invited=known.invited - asked)


def _said(room: RoomState, event_type: str) -> Mapping[str, str] | None:
    event = room.state.get((event_type, ""))
    if event is None or not adoption.says_something(event_type, event.content):
        return None
    return adoption.profile_content(event_type, event.content)


def _may_be_asked(user: UserId, there: Membership, accounts: Accounts) -> bool:
    """Whether somebody is asked into the community: who is in it is not, nor whom people removed from it or banned."""
    return there.state in ("", "knock", "leave") and not removed_by_people(user, there, accounts)


def removed_by_people(user: UserId, there: Membership, accounts: Accounts) -> bool:
    """Whether somebody was removed by another person: they did not leave, and the service did not remove them."""
    return there.state == "leave" and there.sender != user and there.sender not in accounts.both
