"""One table: which role may do what."""

from __future__ import annotations

from enum import StrEnum

from bridge.core.community import Role


class Deed(StrEnum):
    """Something that a person may ask of the service."""

    HELP = "help"
    STATUS = "status"
    ANNOUNCE = "announce"
    ANNOUNCE_IN_GROUPS = "announce in groups"
    ADMIT_ANNOUNCER = "group announcements"
    SEE_REACH = "stats"
    APPLY_HELD_PLAN = "apply"
    THAW = "thaw"
    MAKE_LINKS = "link"
    INVITE = "invite"
    REMOVE = "remove"
    BAN = "ban"
    DECIDE = "approve"
    ASK = "ask"
    MODERATORS = "moderator"
    APPOINT = "promote"
    TRANSFER = "transfer"
    SEE_MEMBERS = "members"
    TAG = "tag"
    MAKE_GROUPS = "group create"
    CHANGE_GROUPS = "group"
    RELEASE_GROUPS = "group release"
    SET_UP = "set"
    DEACTIVATE = "deactivate"
    SUBCOMMUNITIES = "subcommunity"
    ADOPT_GROUPS = "group adopt"
    MOVE_GROUPS = "group move"
    DIGEST = "digest"
    POLL = "poll"
    VOTE = "vote"
    OUTSIDE = "feed"
    CALENDAR = "calendar"


NEEDED: dict[Deed, Role] = {
    Deed.HELP: Role.MEMBER,
    Deed.STATUS: Role.ADMIN,
    Deed.ANNOUNCE: Role.ADMIN,
    Deed.ANNOUNCE_IN_GROUPS: Role.MODERATOR,  # into groups that they moderate: see core/rank
    Deed.ADMIT_ANNOUNCER: Role.MODERATOR,  # of that group: see core/rank
    Deed.SEE_REACH: Role.MODERATOR,  # of what they may announce themselves: see core/rank
    Deed.APPLY_HELD_PLAN: Role.OWNER,
    Deed.THAW: Role.OWNER,
    Deed.MAKE_LINKS: Role.ADMIN,
    Deed.INVITE: Role.ADMIN,
    Deed.REMOVE: Role.ADMIN,
    Deed.BAN: Role.ADMIN,
    Deed.DECIDE: Role.ADMIN,
    Deed.ASK: Role.MEMBER,
    Deed.MODERATORS: Role.ADMIN,
    Deed.APPOINT: Role.OWNER,
    Deed.TRANSFER: Role.OWNER,
    Deed.SEE_MEMBERS: Role.ADMIN,
    Deed.TAG: Role.ADMIN,
    Deed.MAKE_GROUPS: Role.MEMBER,  # where `groups_by` says so; else admins: see core/rank
    Deed.CHANGE_GROUPS: Role.ADMIN,
    Deed.RELEASE_GROUPS: Role.OWNER,
    Deed.SET_UP: Role.ADMIN,
    Deed.DEACTIVATE: Role.OWNER,
    Deed.SUBCOMMUNITIES: Role.ADMIN,
    Deed.ADOPT_GROUPS: Role.ADMIN,
    Deed.MOVE_GROUPS: Role.ADMIN,
    Deed.DIGEST: Role.MEMBER,
    Deed.POLL: Role.ADMIN,
    Deed.VOTE: Role.MEMBER,
    Deed.OUTSIDE: Role.OWNER,
    Deed.CALENDAR: Role.MEMBER,
}


def may(role: Role | None, deed: Deed) -> bool:
    """Whether somebody of `role` (None: not of the community) may do `deed`."""
    return role is not None and role >= NEEDED[deed]
