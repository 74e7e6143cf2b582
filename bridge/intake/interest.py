"""What is worth keeping, decided on raw dictionaries before anything is parsed.

The steward sits in every group and is therefore sent every encrypted message of every group. Nobody here can read them
and nobody here needs them, so they have to go cheaply, and before they touch the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, Protocol

from bridge.core.community import RoomKind
from bridge.core.ids import RoomId, UserId

MAX_ID_LENGTH = 255
"""Matrix specification, appendix 4: no identifier is longer."""


class Interest(Enum):
    """Why a room matters to us."""

    GROUP = auto()
    ANNOUNCEMENTS = auto()
    CONTROL = auto()
    SPACE = auto()
    CHAT = auto()

    @property
    def is_read(self) -> bool:
        """Whether people talk to the announcer there: its messages are decrypted."""
        return self in (Interest.CONTROL, Interest.CHAT)

    @classmethod
    def of_kind(cls, kind: RoomKind) -> Interest:
        """The interest in a community's room of that kind."""
        if kind.is_group:
            return cls.GROUP
        return {
            RoomKind.SPACE: cls.SPACE,
            RoomKind.ANNOUNCEMENTS: cls.ANNOUNCEMENTS,
            RoomKind.CONTROL: cls.CONTROL,
        }[kind]


class Rooms(Protocol):
    """Which rooms we know. Asked for every single event: answered from memory."""

    def interest(self, room_id: RoomId) -> Interest | None:
        """Why `room_id` matters, or None for a room that is not ours."""
        ...


class Sieve:
    """Keeps the events that somebody needs.

    =================  ============================================================================
    room               kept
    =================  ============================================================================
    group, space       state and redactions
    announcements      everything
    control, chat      state, redactions, `m.room.message` and `m.room.encrypted`
    not ours           `m.room.member` of one of our two accounts
    =================  ============================================================================

    Timeline events that our accounts sent are dropped everywhere. Their state events are kept: a drift that is made
    with our own token has to be seen like any other.
    """

    def __init__(self, rooms: Rooms, accounts: Iterable[UserId]) -> None:
        self._rooms = rooms
        self._accounts = tuple(accounts)

    def sift(self, events: Iterable[Any]) -> tuple[list[dict[str, Any]], int]:
        """Give the wanted events, in their order, and how many of all were malformed."""
        interest_of = self._rooms.interest
        group, space = Interest.GROUP, Interest.SPACE
        wanted = []
        malformed = 0
        for event in events:
            if type(event) is not dict:
                malformed += 1
                continue
            room_id = event.get("room_id")
            if type(room_id) is not str:
                malformed += 1
                continue
            interest = interest_of(room_id)  # type: ignore[arg-type]
            if "state_key" not in event:
                if interest is None:
                    continue
                if (interest is group or interest is space) and event.get("type") != "m.room.redaction":
                    continue
                if not self._timeline_wanted(interest, event):
                    continue
            elif interest is None and not self._ours_in_foreign_room(event):
                continue
            if is_id(event.get("event_id")) and is_id(room_id):
                wanted.append(event)
            else:
                malformed += 1
        return wanted, malformed

    def _timeline_wanted(self, interest: Interest, event: dict[str, Any]) -> bool:
        if event.get("sender") in self._accounts:
            return False
        if interest.is_read:
            return event.get("type") in ("m.room.encrypted", "m.room.message", "m.room.redaction")
        return True

    def _ours_in_foreign_room(self, event: dict[str, Any]) -> bool:
        return event.get("type") == "m.room.member" and event.get("state_key") in self._accounts


def is_id(value: object) -> bool:
    """Whether `value` can be an identifier of the homeserver's, and be kept in any database of ours."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH and "\0" not in value and _is_utf8(value)


def _is_utf8(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
