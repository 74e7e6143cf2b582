"""The room policy: community → desired rooms. The only place that knows a power level.

Every power-level content is written whole: an absent key has other defaults elsewhere, and an override at creation
replaces the homeserver's own `events`. In an encrypted room every message is `m.room.encrypted` on the wire, so posting
is restricted by `events_default`, and reactions, which are not encrypted, are opened by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.core.community import (
    ANNOUNCEMENTS,
    CONTROL,
    DISCUSSION,
    GENERAL,
    SPACE,
    Community,
    Group,
    Join,
    Posting,
    Role,
    RoomKind,
)
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, domain_of
from bridge.core.power_levels import LOCKED, creators_outrank
from bridge.plan.kin import ALONE, Kin
from bridge.plan.state import Accounts, Known, RoomState

ENCRYPTION: Mapping[str, Any] = {"algorithm": "m.megolm.v1.aes-sha2"}
OPEN_TO_ALL_SERVERS: Mapping[str, Any] = {"allow": ["*"], "deny": [], "allow_ip_literals": True}
LONGEST_TITLE = 120
"""How much of a community's name, in characters, is carried into the names of its rooms. People may write 5 kB."""

_LOCKED_STATE = (
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.encryption",
    "m.room.server_acl",
    "m.room.tombstone",
    "m.room.guest_access",
    "m.room.canonical_alias",
)
_PROFILE = ("m.room.name", "m.room.topic", "m.room.avatar")
_CALLS_AND_PLACES = (
    "m.call.member",
    "org.matrix.msc3401.call.member",
    "m.beacon_info",
    "org.matrix.msc3672.beacon_info",
)


@dataclass(frozen=True, slots=True)
class DesiredRoom:
    """What one room should be. Links are kept apart, since they need the ids of rooms that may not exist yet."""

    key: RoomKeyName
    kind: RoomKind
    version: str
    state: Mapping[tuple[str, str], Mapping[str, Any]]
    declared_profile: frozenset[str]
    """The profile event types that the declaration holds: people's changes to them are put back."""
    listed_in_space: bool
    public: bool = False
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """What the policy needs beside the community itself."""

    accounts: Accounts
    default_version: str

    @property
    def via(self) -> list[str]:
        return [domain_of(self.accounts.steward)]


def desired_rooms(
    community: Community,
    known: Known,
    roles: Mapping[UserId, Role],
    setting: Setting,
    existing: Mapping[RoomKeyName, RoomState],
    out: frozenset[UserId] = frozenset(),
    kin: Kin = ALONE,
) -> dict[RoomKeyName, DesiredRoom]:
    """All rooms that the community should have, in the order in which they are made: groups by key.

    Args:
        roles: who is owner or admin, as it is to be in force.
        existing: the rooms that exist already, by key; their version, creators and guests are what they are.
        out: who is out of the community, and so moderates nothing.
        kin: what the communities above and below ask of it.
    """
    kinds: dict[RoomKeyName, RoomKind] = {
        SPACE: RoomKind.SPACE,
        ANNOUNCEMENTS: RoomKind.ANNOUNCEMENTS,
        CONTROL: RoomKind.CONTROL,
    }
    if community.general:
        kinds[GENERAL] = RoomKind.GENERAL
    if community.discusses:
        kinds[DISCUSSION] = RoomKind.DISCUSSION
    kinds.update({group.key: group.kind for group in sorted(community.groups, key=lambda group: group.key)})
    return {
        key: _room(community, known, roles, setting, key, kind, existing.get(key), out, kin)
        for key, kind in kinds.items()
    }  # fmt: skip


def _room(
    community: Community,
    known: Known,
    roles: Mapping[UserId, Role],
    setting: Setting,
    key: RoomKeyName,
    kind: RoomKind,
    actual: RoomState | None,
    out: frozenset[UserId],
    kin: Kin,
) -> DesiredRoom:
    group = community.group(key)
    version = community.room_version or setting.default_version if actual is None else actual.version
    profile, declared = _profile_of(community, known, key, group)
    state: dict[tuple[str, str], Mapping[str, Any]] = {
        ("m.room.power_levels", ""): power_levels(
            kind,
            version,
            setting.accounts,
            roles,
            moderators=moderators_of(known, key, group) - out,
            members_may_invite=(group or community).members_may_invite,
            moderators_only=group is not None and group.posting is Posting.MODERATORS,
            announcer=admits_announcer(known, group),
            archived=group is not None and group.archived,
            frozen=key in known.frozen,
            creators=None if actual is None else actual.creators,
        ),
        ("m.room.history_visibility", ""): {"history_visibility": history_visibility(kind, group)},
        ("m.room.guest_access", ""): {"guest_access": "forbidden"},
        ("m.room.join_rules", ""): join_rules(kind, community.join, known.rooms.get(SPACE), kin.control_rooms),
    }
    if actual is not None and key in known.adopted:
        levels = state["m.room.power_levels", ""]
        state["m.room.power_levels", ""] = within_reach(levels, actual, setting.accounts.steward)
    if kind is not RoomKind.SPACE:
        state["m.room.encryption", ""] = ENCRYPTION
    state.update({(event_type, ""): content for event_type, content in profile.items()})
    return DesiredRoom(
        key=key,
        kind=kind,
        version=version,
        state=state,
        declared_profile=declared,
        listed_in_space=kind.is_listed,
        public=kind is RoomKind.SPACE and community.listed,
        archived=group is not None and group.archived,
    )


def admits_announcer(known: Known, group: Group | None) -> bool:
    """Whether a group lets the announcer in: by declaration, or where that key is absent by its people's word.

    In an archived group nothing is announced, so the announcer has no business there.
    """
    if group is None or group.archived:
        return False
    return group.key in known.admitting if group.announcements is None else group.announcements


def has_announcer(community: Community, known: Known, key: RoomKeyName) -> bool:
    """Whether the announcer belongs in a room of a community."""
    if key == DISCUSSION and community.discusses:
        return True
    return key in (ANNOUNCEMENTS, CONTROL) or admits_announcer(known, community.group(key))


def moderators_of(known: Known, key: RoomKeyName, group: Group | None) -> frozenset[UserId]:
    """The moderators of a group: the declared ones, or where that key is absent those that it has."""
    if group is not None and group.moderators is not None:
        return group.moderators
    return known.moderators.get(key, frozenset())


def moderated_by(user: UserId, community: Community, known: Known) -> frozenset[RoomKeyName]:
    """The groups that somebody moderates."""
    return frozenset(group.key for group in community.groups if user in moderators_of(known, group.key, group))


def join_rules(
    kind: RoomKind, join: Join, space: RoomId | None, control_rooms: tuple[RoomId, ...] = ()
) -> Mapping[str, Any]:
    """Who may join. Open groups, the general chat and the discussion room are open to the members of the space
    (restricted).

    The space of a sub-community is open to whoever is in the control room of a community above: its owners and admins
    (restricted, MSC3083; with knocking knock_restricted, MSC3787, both in room versions from 10 on).
    """
    if kind is RoomKind.SPACE and control_rooms:
        return {
            "join_rule": "knock_restricted" if join is Join.REQUEST else "restricted",
            "allow": [{"type": "m.room_membership", "room_id": room_id} for room_id in sorted(control_rooms)],
        }
    if kind is RoomKind.SPACE:
        return {"join_rule": "knock" if join is Join.REQUEST else "invite"}
    if kind is RoomKind.REQUEST:
        return {"join_rule": "knock"}
    if kind in (RoomKind.OPEN, RoomKind.GENERAL, RoomKind.DISCUSSION):
        allow = [{"type": "m.room_membership", "room_id": space or ""}]
        return {"join_rule": "restricted", "allow": allow}
    return {"join_rule": "invite"}


def history_visibility(kind: RoomKind, group: Group | None) -> str:
    """From when on members can read. A room that was adopted may keep showing less than the policy lets it show."""
    if kind is RoomKind.HIDDEN:
        return "joined"
    return (None if group is None else group.history_visibility) or "shared"


def within_reach(levels: Mapping[str, Any], actual: RoomState, steward: UserId) -> dict[str, Any]:
    """The policy's levels for a room that others made, where the steward may stand lower than LOCKED.

    In version 11 nobody can be given more than whoever gives it has, mostly 100. The steward keeps what it has, down to
    an admin's level; everybody else stays below it, in their order. What the room asks for above that, as for a
    tombstone in version 12, stays as it is: nobody but its creators has it.
    """
    reach = max(actual.level(steward), Role.ADMIN.level)
    top = min(reach, LOCKED)
    have = actual.power_levels

    def capped(name: str, level: int, before: Any) -> int:
        if name != steward and _above(before, reach):
            return int(before)
        return top if level >= LOCKED else min(level, top - 1)

    content: dict[str, Any] = {}
    for name, value in levels.items():
        before = have.get(name)
        if isinstance(value, Mapping):
            known = before if isinstance(before, Mapping) and name != "users" else {}
            content[name] = {one: capped(one, level, known.get(one)) for one, level in value.items()}
            content[name] |= {one: level for one, level in known.items() if one not in value and _above(level, reach)}
        else:
            content[name] = capped(name, value, before)
    return content


def _above(level: Any, top: int) -> bool:
    return isinstance(level, int) and level > top


def child_link(room: DesiredRoom, setting: Setting) -> Mapping[str, Any]:
    """Content of the `m.space.child` that lists a room: announcements, general, the discussion room, groups by
    key, archived ones."""
    if room.kind is RoomKind.ANNOUNCEMENTS:
        return {"via": setting.via, "suggested": True, "order": "a"}
    if room.kind is RoomKind.GENERAL:
        return {"via": setting.via, "suggested": True, "order": "b"}
    if room.kind is RoomKind.DISCUSSION:
        return {"via": setting.via, "suggested": True, "order": "c"}
    return {"via": setting.via, "suggested": False, "order": f"{'z' if room.archived else 'm'}{room.key}"}


def subcommunity_link(community: CommunityId, setting: Setting) -> Mapping[str, Any]:
    """Content of the `m.space.child` that lists the space of a sub-community: behind groups in use."""
    return {"via": setting.via, "suggested": False, "order": f"s{community}"}


def parent_link(setting: Setting) -> Mapping[str, Any]:
    """Content of the `m.space.parent` in a child room."""
    return {"via": setting.via, "canonical": True}


def _profile_of(
    community: Community, known: Known, key: RoomKeyName, group: Group | None
) -> tuple[dict[str, Mapping[str, Any]], frozenset[str]]:
    community_name = clipped(name_of(community, known))
    name: str | None
    topic: str | None
    avatar: str | None
    if key == SPACE or group is not None:
        owner: Community | Group = community if group is None else group
        name, topic, avatar = owner.name, owner.description, owner.avatar
        default_name = community_name if group is None else str(key)
        default_topic = None
    else:
        name, topic, avatar = None, None, None
        default_name, default_topic = _DEFAULTS[key][0].format(community_name), _DEFAULTS[key][1].format(community_name)
    values = {
        "m.room.name": ("name", name, default_name),
        "m.room.topic": ("topic", topic, default_topic),
        "m.room.avatar": ("url", avatar, None),
    }
    profile: dict[str, Mapping[str, Any]] = {}
    for event_type, (field, declared, default) in values.items():
        if declared is not None:
            profile[event_type] = {field: declared}
        elif (adopted := known.profile.get((key, event_type))) is not None:
            if adopted.get(field) or event_type == "m.room.topic":
                profile[event_type] = adopted
        elif default is not None:
            profile[event_type] = {field: default}
    return profile, frozenset(kind for kind, (_, declared, _) in values.items() if declared is not None)


def _text(content: Mapping[str, Any] | None, field: str) -> str | None:
    value = (content or {}).get(field)
    return value if isinstance(value, str) else None


def name_of(community: Community, known: Known) -> str:
    """What people call a community: as the file or they themselves name it, and else its id."""
    return community.name or _text(known.profile.get((SPACE, "m.room.name")), "name") or str(community.id)


def group_name_of(group: Group, known: Known) -> str:
    """What people call a group: as the file or they themselves name it, and else its key."""
    return group.name or _text(known.profile.get((group.key, "m.room.name")), "name") or str(group.key)


def clipped(name: str) -> str:
    """A community's name, short enough and on one line, to be part of another name."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1].rstrip() + "…"


_DEFAULTS = {
    ANNOUNCEMENTS: ("{} – Announcements", "News for everybody in {}. Only admins post here."),
    CONTROL: (
        "{} – Control room",
        "For the owners and admins of {}: reports, questions and decisions. Write !help for what I can do.",
    ),
    GENERAL: ("{} – General", "A chat for everybody in {}."),
    DISCUSSION: (
        "{} – Discussion",
        "Talk here about what is announced in {}: each announcement has a thread. The announcer is in this room to "
        "begin the threads, so the service could read what is written here.",
    ),
}


def power_levels(
    kind: RoomKind,
    version: str,
    accounts: Accounts,
    roles: Mapping[UserId, Role],
    *,
    moderators: frozenset[UserId] = frozenset(),
    members_may_invite: bool = False,
    moderators_only: bool = False,
    announcer: bool = False,
    archived: bool = False,
    frozen: bool = False,
    creators: frozenset[str] | None = None,
) -> dict[str, Any]:
    """The whole `m.room.power_levels` content of a room of this kind (client-server API, m.room.power_levels).

    In versions before 12 the steward is listed at LOCKED, which it must have from creation on; from version 12 on a
    creator may not be listed, and outranks everybody.

    Args:
        announcer: whether a group lets the announcer in: it then may post there, and no more.
        creators: who made the room; None means the steward, who makes all rooms that are not there yet.
    """
    users: dict[str, int] = {str(user): role.level for user, role in roles.items() if role >= Role.ADMIN}
    if kind.is_group:
        for user in moderators:
            users.setdefault(user, Role.MODERATOR.level)
    for account in accounts.both:
        users.pop(account, None)
    users[accounts.steward] = LOCKED
    if kind.has_announcer:
        users[accounts.announcer] = Role.ADMIN.level
    content = _THRESHOLDS[kind](members_may_invite, moderators_only)
    if announcer and content["events_default"] > content["users_default"]:
        users[accounts.announcer] = content["events_default"]
    if creators_outrank(version):
        for creator in {accounts.steward} if creators is None else creators:
            users.pop(creator, None)
    if archived:
        content = _only_admins_write(content)
    if frozen and kind is RoomKind.SPACE:
        content["events"]["m.room.power_levels"] = LOCKED
    elif frozen and kind is not RoomKind.CONTROL:  # there only owners and admins can talk, and are called to
        content["events_default"] = LOCKED
    return {"users": dict(sorted(users.items())), **content}


def _thresholds(
    *,
    events_default: int,
    profile: int,
    pinned: int,
    extra: Mapping[str, int],
    redact: int,
    invite: int,
    kick: int,
    room_notification: int,
    power_levels: int = LOCKED,
) -> dict[str, Any]:
    events = dict.fromkeys(_LOCKED_STATE, LOCKED)
    events.update(dict.fromkeys(_PROFILE, profile))
    events.update({"m.room.pinned_events": pinned, "m.room.power_levels": power_levels, **extra})
    return {
        "users_default": 0,
        "events_default": events_default,
        "state_default": LOCKED,
        "events": dict(sorted(events.items())),
        "redact": redact,
        "invite": invite,
        "kick": kick,
        "ban": kick,
        "historical": 100,
        "notifications": {"room": room_notification},
    }


def _space(members_may_invite: bool, _moderators_only: bool) -> dict[str, Any]:
    return _thresholds(
        events_default=LOCKED,
        profile=100,
        pinned=100,
        extra={"m.space.child": 100, "m.room.redaction": LOCKED},
        redact=LOCKED,
        invite=0 if members_may_invite else 100,
        kick=100,
        room_notification=100,
        power_levels=Role.OWNER.level,
    )


def _announcements(_members_may_invite: bool, _moderators_only: bool) -> dict[str, Any]:
    return _thresholds(
        events_default=100,
        profile=100,
        pinned=100,
        extra={"m.reaction": 0, "m.room.redaction": 0, **dict.fromkeys(_CALLS_AND_PLACES, 100)},
        redact=100,
        invite=100,
        kick=100,
        room_notification=100,
    )


def _control(_members_may_invite: bool, _moderators_only: bool) -> dict[str, Any]:
    return _thresholds(
        events_default=0,
        profile=LOCKED,
        pinned=100,
        extra={"m.reaction": 0, "m.room.redaction": 0, **dict.fromkeys(_CALLS_AND_PLACES, 0)},
        redact=100,
        invite=LOCKED,
        kick=100,
        room_notification=0,
    )


def _group(members_may_invite: bool, moderators_only: bool) -> dict[str, Any]:
    return _thresholds(
        events_default=50 if moderators_only else 0,
        profile=50,
        pinned=50,
        extra={"m.reaction": 0, "m.room.redaction": 0, **dict.fromkeys(_CALLS_AND_PLACES, 0)},
        redact=50,
        invite=0 if members_may_invite else 50,
        kick=50,
        room_notification=50,
    )


def _closed_group(_members_may_invite: bool, moderators_only: bool) -> dict[str, Any]:
    return _group(False, moderators_only)


def _only_admins_write(content: Mapping[str, Any]) -> dict[str, Any]:
    """The levels of an archived group: it can be read, and who has written something may take it back."""
    admin = Role.ADMIN.level
    closed = dict.fromkeys(("m.reaction", "m.room.pinned_events", *_PROFILE, *_CALLS_AND_PLACES), admin)
    events = dict(sorted({**content["events"], **closed}.items()))
    return {**content, "events_default": admin, "invite": admin, "events": events}


_THRESHOLDS = {
    RoomKind.SPACE: _space,
    RoomKind.ANNOUNCEMENTS: _announcements,
    RoomKind.CONTROL: _control,
    RoomKind.GENERAL: _group,
    RoomKind.DISCUSSION: _group,
    RoomKind.OPEN: _group,
    RoomKind.REQUEST: _closed_group,
    RoomKind.HIDDEN: _closed_group,
}
