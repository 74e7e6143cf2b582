"""The members of a room out of the homeserver's answer, which is 2 kB for each of them: only what is needed is made."""

from __future__ import annotations

import msgspec

from bridge.core.ids import EventId, UserId
from bridge.ports import Member


class _Content(msgspec.Struct):
    membership: str = ""


class _Event(msgspec.Struct):
    state_key: str
    event_id: str
    content: _Content
    origin_server_ts: object = 0


class _Answer(msgspec.Struct):
    chunk: list[msgspec.Raw] = []


_ANSWER = msgspec.json.Decoder(_Answer)
_EVENT = msgspec.json.Decoder(_Event)


def joined_members(raw: bytes) -> list[Member]:
    """Who is joined, of the answer of `GET /rooms/{roomId}/members` (client-server API); what is no such event is left
    out.

    Raises:
        ValueError: it is no such answer at all.
    """
    found = (member_of(bytes(event)) for event in _ANSWER.decode(raw).chunk)
    return [member for member in found if member is not None]


def member_of(raw: bytes) -> Member | None:
    """A joined member, of their membership event; None where it is another event, or malformed."""
    try:
        event = _EVENT.decode(raw)
    except msgspec.ValidationError:
        return None
    if event.content.membership != "join":
        return None
    at = event.origin_server_ts
    return Member(UserId(event.state_key), EventId(event.event_id), at if type(at) is int else 0)
