"""A community as it is declared: validated on construction, immutable afterwards."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace
from enum import IntEnum, StrEnum

from bridge.core.announcement_templates import Template
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.languages import EN, Language

SPACE = RoomKeyName("space")
ANNOUNCEMENTS = RoomKeyName("announcements")
CONTROL = RoomKeyName("control")
GENERAL = RoomKeyName("general")
DISCUSSION = RoomKeyName("discussion")
RESERVED_KEYS = frozenset({SPACE, ANNOUNCEMENTS, CONTROL, GENERAL, DISCUSSION})


class Role(IntEnum):
    """What somebody is in a community, ordered by power. The levels are those that rooms carry."""

    MEMBER = 0
    MODERATOR = 50
    ADMIN = 100
    OWNER = 150

    @property
    def level(self) -> int:
        return int(self)

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of_level(cls, level: int) -> Role:
        """Read a role back from a level in the space: 150 and more owner, 100 and more admin, else member."""
        if level >= cls.OWNER:
            return cls.OWNER
        if level >= cls.ADMIN:
            return cls.ADMIN
        return cls.MEMBER


class RoomKind(StrEnum):
    """The eight kinds of room that the policy knows."""

    SPACE = "space"
    ANNOUNCEMENTS = "announcements"
    CONTROL = "control"
    GENERAL = "general"
    DISCUSSION = "discussion"
    OPEN = "open"
    REQUEST = "request"
    HIDDEN = "hidden"

    @property
    def is_group(self) -> bool:
        """Whether it is a room of the people: the service keeps no keys of what they say there. The announcer is in it
        only where the group lets announcements in, and in the discussion room."""
        return self in (RoomKind.GENERAL, RoomKind.DISCUSSION, RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN)

    @property
    def is_listed(self) -> bool:
        """Whether the space lists such a room, so that members find it."""
        return self not in (RoomKind.SPACE, RoomKind.CONTROL, RoomKind.HIDDEN)

    @property
    def has_announcer(self) -> bool:
        """Whether the announcer is in every room of that kind, and keeps what it is told there."""
        return self in (RoomKind.ANNOUNCEMENTS, RoomKind.CONTROL)


class Join(StrEnum):
    """How people enter a community's space."""

    INVITE = "invite"
    REQUEST = "request"


class Posting(StrEnum):
    """Who may post in a group."""

    MEMBERS = "members"
    MODERATORS = "moderators"


class GroupsBy(StrEnum):
    """Who may make groups in a community by command."""

    ADMINS = "admins"
    SUGGEST = "suggest"
    MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Group:
    """A group, declared or made by people. `None` means that the key is absent: it then belongs to the people."""

    key: RoomKeyName
    kind: RoomKind = RoomKind.OPEN
    name: str | None = None
    description: str | None = None
    avatar: str | None = None
    posting: Posting = Posting.MEMBERS
    members_may_invite: bool = False
    moderators: frozenset[UserId] | None = None
    members: frozenset[UserId] | None = None
    announcements: bool | None = None
    """Whether the announcer is let in to post announcements here; None leaves that to the group's moderators."""
    archived: bool = False
    """Whether nobody but admins posts any more, or comes in."""
    own: bool = False
    """Whether people made it by command: then no declaration holds anything of it."""
    history_visibility: str | None = None
    """What an adopted room shows of its past where that is less than the policy's (`joined`, `invited`); None is as the
    policy has it."""

    def __post_init__(self) -> None:
        if self.kind not in (RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN):
            raise ValueError(f"a group is open, request or hidden, not {self.kind}")
        if self.key in RESERVED_KEYS and not (self.own and self.key == DISCUSSION):  # some were made before
            raise ValueError(f"{self.key!r} is a reserved name")

    @property
    def named(self) -> frozenset[UserId]:
        """Everybody whom this group names."""
        return (self.moderators or frozenset()) | (self.members or frozenset())


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that is declared: whom it names, and the group whose members carry it."""

    name: str
    users: frozenset[UserId] = frozenset()
    group: RoomKeyName | None = None


@dataclass(frozen=True, slots=True)
class Community:
    """A declared community. `None` means that the key is absent: it then belongs to the people."""

    id: CommunityId
    name: str | None = None
    description: str | None = None
    avatar: str | None = None
    owners: frozenset[UserId] | None = None
    admins: frozenset[UserId] | None = None
    members: frozenset[UserId] | None = None
    removed: frozenset[UserId] = frozenset()
    join: Join = Join.INVITE
    members_may_invite: bool = False
    listed: bool = False
    general: bool = True
    discussion: bool = False
    """Whether there is a room in which members talk about what is announced; `discusses` says whether it can be."""
    history: bool = True
    """Whether newcomers are given past announcements."""
    history_while_away: bool = False
    reach_names: bool = False
    """Whether admins see by name who has read an announcement and who reacted; else they see how many."""
    """Whether somebody who comes back is given what was announced while they were outside, too."""
    show_member_count: bool = False
    """Whether whoever has an invite link is told how many members there are."""
    max_members: int = 0
    """How many members invite links let in; 0 is any number."""
    language: Language = EN
    """In which the service talks to its people."""
    timezone: str = ""
    """The IANA name of the time zone in which times are meant; empty is the service's."""
    room_version: str | None = None
    fallback_owner: UserId | None = None
    """Who becomes an owner when all owners are out of the community, as they are when their accounts are gone."""
    welcome: str | None = None
    """What whoever joins is told in a direct chat; nobody is told anything without it, or rules."""
    rules: str | None = None
    rules_required: bool = False
    """Whether general and the groups open for newcomers only after they have agreed to the rules."""
    groups_by: GroupsBy = GroupsBy.ADMINS
    """Who may make groups by command."""
    auto_join: bool = False
    """Whether people of our own server are joined to rooms, where they would be invited, if the homeserver lets us."""
    tags: tuple[Tag, ...] = ()
    """Tags that are declared; nothing of them changes by command."""
    preview: bool = True
    """Whether an announcement written in a chat is shown to its author first, and goes out when they agree."""
    announcement_templates: tuple[Template, ...] = ()
    """Texts with fields, for announcements that come again."""
    groups: tuple[Group, ...] = field(default=())
    stated: frozenset[str] = frozenset()
    """Which keys the file states; of keys with a default, the value alone does not tell."""
    set_by_people: frozenset[str] = frozenset()
    """The keys whose values people set by command: see `core/profile`."""
    parent: CommunityId | None = None
    """The community that this one is a part of: its admins govern here, and members here are members there."""

    def __post_init__(self) -> None:
        keys = [group.key for group in self.groups]
        if len(keys) != len(set(keys)):
            raise ValueError("two groups have the same key")
        named = self.named
        if both := sorted(self.removed & named):
            raise ValueError(f"{both[0]} is both named and removed")
        if self.fallback_owner in self.removed:
            raise ValueError(f"{self.fallback_owner} is both the fallback owner and removed")
        if self.parent == self.id:
            raise ValueError(f"{self.id} is its own parent")

    @property
    def named(self) -> frozenset[UserId]:
        """Everybody whom the declaration names in any way; all of them are members."""
        people = (self.owners or frozenset()) | (self.admins or frozenset()) | (self.members or frozenset())
        for group in self.groups:
            people |= group.named
        return people

    def declares(self, key: str) -> bool:
        """Whether the declaration says what is in the field of that name: then nobody else does."""
        if key in self.set_by_people:
            return False
        return key in self.stated or getattr(self, key) != _DEFAULTS[key]

    @property
    def as_declared(self) -> Community:
        """The same without what people set."""
        if not self.set_by_people:
            return self
        return replace(self, **{key: _DEFAULTS[key] for key in self.set_by_people}, set_by_people=frozenset())

    @property
    def discusses(self) -> bool:
        """Whether announcements have threads in a discussion room: not where people made a group of that key before."""
        return self.discussion and self.group(DISCUSSION) is None

    def group(self, key: RoomKeyName) -> Group | None:
        """The declared group of that key, or None."""
        return next((group for group in self.groups if group.key == key), None)

    def tag(self, name: str) -> Tag | None:
        """The declared tag of that name, or None."""
        return next((tag for tag in self.tags if tag.name == name), None)

    def declared_role(self, user: UserId) -> Role | None:
        """The role that the declaration gives to `user` in the space; None where it says nothing of them."""
        if user in (self.owners or ()):
            return Role.OWNER
        if user in (self.admins or ()):
            return Role.ADMIN
        return Role.MEMBER if user in self.named else None


_DEFAULTS = {entry.name: entry.default for entry in fields(Community) if entry.default is not MISSING}
