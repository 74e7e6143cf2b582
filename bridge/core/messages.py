"""Two closed unions: Event (what happened on Matrix) and Job (what is to be done)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.core.ids import CommunityId, EventId, RoomId, UserId


@dataclass(frozen=True, slots=True)
class Invited:
    """One of our two accounts was invited to a room."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    user: UserId
    encrypted: bool
    """Whether the invite says that the room is encrypted (`invite_room_state`)."""


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """Somebody's membership changed in a room that we know."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    user: UserId
    membership: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """Another piece of state of a room that we know changed."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    state_key: str
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Redacted:
    """Somebody redacted an event in a room that we know. If it was live state, no state event tells of it."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    redacts: EventId
    wordy: bool = False
    """Whether its reason is long enough to be a text of its own."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A timeline event in an announcement room, as it stands on the wire (not decrypted)."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    short_reaction: bool
    """Whether it is a reaction with a short key, and nothing else."""


@dataclass(frozen=True, slots=True)
class Said:
    """A message in a chat with the announcer, or in a control room; decrypted where it was encrypted."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    text: str
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message in a chat or control room whose key did not come in time."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int


@dataclass(frozen=True, slots=True)
class Verifying:
    """A step of a verification by emoji in a chat with the announcer or in a control room; clients send them in the
    clear or encrypted."""

    event_id: EventId
    room_id: RoomId
    sender: UserId
    sent_at: int
    type: str
    content: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    encrypted: bool = False


Event = Invited | MembershipChanged | StateChanged | Redacted | Posted | Said | Unreadable | Verifying


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that nobody needs, or that is malformed; `why` is for the log."""

    why: str


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Send a message as the announcer. The job's id is the transaction id."""

    room_id: RoomId
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeliverAnnouncement:
    """Send an announcement into one community's announcement room."""

    announcement: str
    community: CommunityId
    room_id: RoomId


@dataclass(frozen=True, slots=True)
class RedactEvent:
    """Redact an event as the steward."""

    room_id: RoomId
    event_id: EventId
    reason: str


Job = SendMessage | DeliverAnnouncement | RedactEvent
