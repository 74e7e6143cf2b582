"""Why a room matters to us."""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from bridge.core.community import RoomKind
from bridge.core.ids import RoomId

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

    def is_voting(self, room_id: RoomId) -> bool:
        """Whether a poll of ours is open in that group, on which members vote by reaction."""
        ...


def is_id(value: object) -> bool:
    """Whether `value` can be an identifier of the homeserver's, and be kept in any database of ours."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_ID_LENGTH
        and "\0" not in value
        and (value.isascii() or _is_utf8(value))
    )


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
