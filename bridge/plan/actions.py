"""The closed union of actions, in phases, and the plan that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from bridge.core.community import Role, RoomKind
from bridge.core.ids import RoomKeyName, UserId
from bridge.plan.state import digest_of


class Phase(IntEnum):
    """The order of work. What protects comes first, what adds comes last."""

    ADOPT = 0
    PROTECT = 1
    REMOVE = 2
    CREATE_SPACE = 3
    CREATE_ROOMS = 4
    LINK = 5
    PROFILE = 6
    ANNOUNCER = 7
    INVITE = 8


class Cause(StrEnum):
    """Why an action is in the plan."""

    DECLARED = "declared"
    """The declaration, or the policy, asks for something new."""
    DRIFT = "drift"
    """Somebody changed what was in force."""
    CASCADE = "cascade"
    """It follows from what people did in the space."""


@dataclass(frozen=True, slots=True)
class CreateRoom:
    """Create a room with its whole initial state.

    In join rules that were planned before the space existed the space's id is empty: whoever creates fills it in.
    """

    room: RoomKeyName
    room_kind: RoomKind
    version: str
    state: tuple[tuple[str, str, Mapping[str, Any]], ...]
    listed: bool
    parent: Mapping[str, Any] | None
    """Content of the link to the space, None for rooms that have none."""
    kind = "create"

    @property
    def phase(self) -> Phase:
        return Phase.CREATE_SPACE if self.room_kind is RoomKind.SPACE else Phase.CREATE_ROOMS

    @property
    def summary(self) -> str:
        return f"create the {_WORDS[self.room_kind]}"


@dataclass(frozen=True, slots=True)
class SetState:
    """Write one piece of state, whole."""

    room: RoomKeyName
    type: str
    state_key: str
    content: Mapping[str, Any]
    cause: Cause
    kind = "set"

    @property
    def phase(self) -> Phase:
        return Phase.PROFILE if self.type in PROFILE_TYPES else Phase.PROTECT

    @property
    def summary(self) -> str:
        if not self.content and self.cause is Cause.DRIFT and self.type in _FOREIGN:
            return f"take away {_FOREIGN[self.type]} {self.state_key}"
        verb = "put back" if self.cause is Cause.DRIFT else "set"
        return f"{verb if self.content else 'take away'} {_STATE_WORDS.get(self.type, self.type)}"


@dataclass(frozen=True, slots=True)
class Link:
    """Write the link between the space and a child room, in one direction; `of` is the other room's key.

    Of the space of another community, above or below, it is `<community>/space`.
    """

    room: RoomKeyName
    of: RoomKeyName
    type: str
    content: Mapping[str, Any]
    cause: Cause
    kind = "link"
    phase = Phase.LINK

    @property
    def summary(self) -> str:
        verb = "put back" if self.cause is Cause.DRIFT else "add"
        return f"{verb if self.content else 'take away'} the link to {self.of}"


@dataclass(frozen=True, slots=True)
class SetListed:
    """Show the room in the server's public directory, or take it out."""

    room: RoomKeyName
    listed: bool
    kind = "directory"
    phase = Phase.PROFILE

    @property
    def summary(self) -> str:
        return "list in the public directory" if self.listed else "take out of the public directory"


@dataclass(frozen=True, slots=True)
class Invite:
    """Invite somebody, by the account that this room's invites come from; or join them, if the homeserver lets us."""

    room: RoomKeyName
    user: UserId
    by_announcer: bool
    join: bool = False
    kind = "invite"

    @property
    def phase(self) -> Phase:
        return Phase.INVITE

    @property
    def summary(self) -> str:
        return f"join {self.user}, or invite them" if self.join else f"invite {self.user}"


@dataclass(frozen=True, slots=True)
class BringAnnouncer:
    """See that the announcer is in a room where it belongs: unbanned, invited, joined."""

    room: RoomKeyName
    banned: bool
    invited: bool
    cause: Cause
    kind = "join"
    phase = Phase.ANNOUNCER

    @property
    def summary(self) -> str:
        return "bring the announcer back" if self.cause is Cause.DRIFT else "let the announcer join"


@dataclass(frozen=True, slots=True)
class Kick:
    """Remove somebody from a room."""

    room: RoomKeyName
    user: UserId
    reason: str
    cause: Cause
    kind = "kick"
    phase = Phase.REMOVE

    @property
    def summary(self) -> str:
        return f"remove {self.user} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Ban:
    """Ban somebody from a room, because they are banned from the space."""

    room: RoomKeyName
    user: UserId
    reason: str
    kind = "ban"
    phase = Phase.REMOVE
    cause = Cause.CASCADE

    @property
    def summary(self) -> str:
        return f"ban {self.user} ({self.reason})"


@dataclass(frozen=True, slots=True)
class Unban:
    """Lift a ban that the service placed, because the ban from the space was lifted."""

    room: RoomKeyName
    user: UserId
    kind = "unban"
    phase = Phase.ANNOUNCER

    @property
    def summary(self) -> str:
        return f"lift the ban of {self.user}"


class MayPass(str):
    """A note on something that may be half of what somebody is doing: told where it still holds a moment later."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class AdoptRole:
    """Take over a role that an owner gave in the space with an ordinary client."""

    room: RoomKeyName
    user: UserId
    role: Role
    by: str
    kind = "adopt"
    phase = Phase.ADOPT

    @property
    def summary(self) -> str:
        return f"take over: {self.user} is now {self.role.word} (by {self.by})"


@dataclass(frozen=True, slots=True)
class AdoptProfile:
    """Take over a name, topic or picture that somebody entitled gave."""

    room: RoomKeyName
    type: str
    content: Mapping[str, Any]
    by: str
    kind = "adopt"
    phase = Phase.ADOPT

    @property
    def summary(self) -> str:
        return f"take over {_STATE_WORDS[self.type]} (by {self.by})"


Action = (
    CreateRoom | SetState | Link | SetListed | Invite | BringAnnouncer | Kick | Ban | Unban | AdoptRole | AdoptProfile
)  # fmt: skip

PROFILE_TYPES = ("m.room.name", "m.room.topic", "m.room.avatar")

_WORDS = {
    RoomKind.SPACE: "space",
    RoomKind.ANNOUNCEMENTS: "announcement room",
    RoomKind.CONTROL: "control room",
    RoomKind.GENERAL: "general chat",
    RoomKind.DISCUSSION: "discussion room",
    RoomKind.OPEN: "open group",
    RoomKind.REQUEST: "request group",
    RoomKind.HIDDEN: "hidden group",
}

_FOREIGN = {"m.space.child": "the link to", "m.space.parent": "the link to another space,"}
"""Links that nobody entitled placed; the state key says where to."""

_STATE_WORDS = {
    "m.room.name": "the name",
    "m.room.topic": "the description",
    "m.room.avatar": "the picture",
    "m.room.power_levels": "the power levels",
    "m.room.join_rules": "who may join",
    "m.room.history_visibility": "who may read the history",
    "m.room.guest_access": "guest access",
    "m.room.encryption": "encryption",
    "m.room.server_acl": "the server list",
    "m.room.tombstone": "the pointer to another room",
    "m.room.canonical_alias": "the address",
    "m.space.child": "the link to a room that is here no longer",
    "m.space.parent": "the link to a former parent",
}


@dataclass(frozen=True, slots=True)
class Blocked:
    """Something that should change and cannot: which room, why, and what helps."""

    room: RoomKeyName
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What must change in one community: ordered actions, what is blocked, and what people should know.

    `notes` are told once, change nothing, and are no part of the digest.
    """

    community: str
    actions: tuple[Action, ...]
    blocked: tuple[Blocked, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.actions

    @property
    def digest(self) -> str:
        """Names exactly these actions in this order; `apply` compares it with what was shown."""
        return digest_of([self.community, [_canonical(action) for action in self.actions]])

    def in_phase(self, phase: Phase) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.phase is phase)


def _canonical(action: Action) -> list[Any]:
    # the cause is left out: whether a change is a drift depends on memory, not on what will be done
    values = [getattr(action, name) for name in action.__dataclass_fields__ if name != "cause"]
    return [type(action).__name__, *(_plain(value) for value in values)]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value
