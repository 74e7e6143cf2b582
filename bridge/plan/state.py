"""The one shape that desired and actual share: a room as its state and its members."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.core.community import Role
from bridge.core.ids import EventId, RoomId, RoomKeyName, UserId
from bridge.core.power_levels import creators_outrank, level_of, needed_for, threshold

StateKey = tuple[str, str]
"""Event type and state key."""

MARKER = "org.matrix-communities.room"
"""The key in a room's creation content that says that the room is ours: `{"community": …, "key": …}`."""

LISTED = "org.matrix-communities.listed"
"""Not a Matrix event: stands for the room's visibility in the public directory, content `{"listed": bool}`."""


@dataclass(frozen=True, slots=True)
class StateEvent:
    """One piece of a room's state. Desired state has no sender and no event id."""

    content: Mapping[str, Any]
    sender: str = ""
    event_id: EventId = EventId("")
    redacted: bool = False
    """Whether the event was redacted (`unsigned.redacted_because`): then its content is no wish of its sender."""


@dataclass(frozen=True, slots=True)
class Membership:
    """Somebody's membership in a room: `join`, `invite`, `leave`, `ban` or `knock`, and who set it."""

    state: str
    sender: str = ""
    event_id: EventId = EventId("")

    @property
    def present(self) -> bool:
        return self.state in ("join", "invite")


@dataclass(frozen=True, slots=True)
class RoomState:
    """A room: its state without memberships, and its memberships."""

    room_id: RoomId
    version: str
    creators: frozenset[str]
    state: Mapping[StateKey, StateEvent] = field(default_factory=dict)
    members: Mapping[UserId, Membership] = field(default_factory=dict)

    def content(self, event_type: str, state_key: str = "") -> Mapping[str, Any] | None:
        """The content of a piece of state, None where there is none."""
        event = self.state.get((event_type, state_key))
        return None if event is None else event.content

    @property
    def power_levels(self) -> Mapping[str, Any]:
        return self.content("m.room.power_levels") or {}

    @property
    def marker(self) -> tuple[str, str] | None:
        """Community and key of our marker in the creation content, None where the room does not carry one."""
        mark = (self.content("m.room.create") or {}).get(MARKER)
        if isinstance(mark, Mapping) and isinstance(mark.get("community"), str) and isinstance(mark.get("key"), str):
            return mark["community"], mark["key"]
        return None

    def level(self, user: str) -> int:
        """The effective power level of `user`."""
        levels = self.content("m.room.power_levels")
        return level_of(levels, user, creators=self.creators, room_version=self.version)

    def needed(self, event_type: str) -> int:
        """The level that writing state of this type asks for."""
        return needed_for(self.content("m.room.power_levels"), event_type, state=True)

    def threshold(self, key: str) -> int:
        """The level that `invite`, `kick`, `ban`, … asks for."""
        return threshold(self.content("m.room.power_levels"), key)

    @property
    def outranked_by_creators(self) -> bool:
        """Whether creators stand above every level here."""
        return creators_outrank(self.version)

    def with_state(self, event_type: str, state_key: str, event: StateEvent) -> RoomState:
        return replace(self, state={**self.state, (event_type, state_key): event})

    def with_member(self, user: UserId, membership: Membership) -> RoomState:
        return replace(self, members={**self.members, user: membership})


@dataclass(frozen=True, slots=True)
class Accounts:
    """The service's two accounts."""

    steward: UserId
    announcer: UserId

    @property
    def both(self) -> frozenset[str]:
        return frozenset({self.steward, self.announcer})


@dataclass(frozen=True, slots=True)
class Known:
    """What the service remembers of a community between two looks at it."""

    rooms: Mapping[RoomKeyName, RoomId] = field(default_factory=dict)
    roles: Mapping[UserId, Role] = field(default_factory=dict)
    """Owners and admins as they were last in force."""
    moderators: Mapping[RoomKeyName, frozenset[UserId]] = field(default_factory=dict)
    profile: Mapping[tuple[RoomKeyName, str], Mapping[str, Any]] = field(default_factory=dict)
    """Names, topics and pictures that people gave, by room and event type."""
    named: Mapping[UserId, frozenset[str]] = field(default_factory=dict)
    """Whom the declaration has named, and where: `owners`, `admins`, `members`, `chess/members`, `chess/moderators`."""
    invited: frozenset[tuple[RoomKeyName, UserId]] = frozenset()
    settled: Mapping[tuple[RoomKeyName, str, str], str] = field(default_factory=dict)
    """Digest of what was last wanted and in force: by room, event type (or `link`), state key (or the other room)."""
    frozen: frozenset[RoomKeyName] = frozenset()
    """Rooms whose levels are locked after a fight."""
    yielded: frozenset[tuple[RoomKeyName, str]] = frozenset()
    """Names and pictures that are healed no more after a fight, by room and event type."""
    bidden: frozenset[tuple[RoomKeyName, UserId]] = frozenset()
    """Whom a link, a command or an accepted request brings into a room, until they were invited or are out."""
    waiting: frozenset[UserId] = frozenset()
    """Who was asked to agree to the rules, and has not: general and groups open for them after that, where a community
    wants it so."""
    shut_out: frozenset[UserId] = frozenset()
    """Whom the service banned from the space because they are banned from a community above."""
    admitting: frozenset[RoomKeyName] = frozenset()
    """Groups whose moderators, or admins, let the announcer in, to post announcements there."""
    adopted: frozenset[RoomKeyName] = frozenset()
    """Rooms that others made and somebody entitled brought in: they carry no mark of ours, and the steward did not make
    them."""


def digest_of(value: Any) -> str:
    """A short stable digest of a JSON value of ours. Contents of rooms may be nested too deeply for it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def same(actual: Any, desired: Any) -> bool:
    """Whether two contents are the same JSON; `1`, `1.0` and `True` are not. Goes no deeper than `desired` does."""
    if isinstance(desired, Mapping):
        return (
            isinstance(actual, Mapping)
            and actual.keys() == desired.keys()
            and all(same(actual[key], value) for key, value in desired.items())
        )
    if isinstance(desired, list | tuple):
        return (
            isinstance(actual, list | tuple)
            and len(actual) == len(desired)
            and all(same(one, other) for one, other in zip(actual, desired, strict=True))
        )
    return type(actual) is type(desired) and bool(actual == desired)
