"""Matrix identifiers as types, and their parsers (Matrix specification, appendix 4: identifier grammar)."""

from __future__ import annotations

import re
from typing import NewType

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
EventId = NewType("EventId", str)
DeviceId = NewType("DeviceId", str)
CommunityId = NewType("CommunityId", str)
RoomKeyName = NewType("RoomKeyName", str)
"""Our own stable name of a room within its community: `space`, `announcements`, `class-1a`, …"""

_USER = re.compile(r"@(?P<local>[!-9;-~]*):(?P<domain>[A-Za-z0-9.\-\[\]:]+)\Z")
_STABLE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")
_ROOM_ID = re.compile(r"![!-~]{1,254}\Z")
MAX_USER_ID_BYTES = 255


def parse_user_id(text: object) -> UserId:
    """Give `text` back as a user id such as `@alice:example.org`.

    Historical localparts (any printable ASCII) are accepted, since members may have them.

    Raises:
        ValueError: not a user id, with a sentence that says why.
    """
    if not isinstance(text, str) or not _USER.match(text):
        raise ValueError(f"{text!r} is not a Matrix user id (it looks like @name:example.org)")
    if len(text.encode()) > MAX_USER_ID_BYTES:
        raise ValueError(f"{text[:20]!r}… is longer than {MAX_USER_ID_BYTES} bytes")
    return UserId(text)


def is_room_id(text: str) -> bool:
    """Whether a text can be a room's id: an admin of a space may put anything in the place of one."""
    return _ROOM_ID.match(text) is not None


def domain_of(user_id: str) -> str:
    """The server name of a user id; empty where there is none."""
    return user_id.partition(":")[2]


def localpart_of(user_id: str) -> str:
    """The part between the sigil and the first colon."""
    return user_id[1:].partition(":")[0]


def parse_stable_id(text: object) -> str:
    """Give back a stable id of a community or group: 1 to 40 of a-z, 0-9 and -, no - at either end.

    Raises:
        ValueError: with a sentence that says what is allowed.
    """
    if not isinstance(text, str) or not _STABLE.match(text):
        raise ValueError(f"{text!r} is not a stable id (1 to 40 characters of a-z, 0-9 and -, no - at the ends)")
    return text
