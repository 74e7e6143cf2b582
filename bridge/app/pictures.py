"""Pictures that groups and communities are given: sent along with a command, answered by it, or a file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core.errors import Refused
from bridge.core.ids import EventId, RoomId
from bridge.core.messages import Picture
from bridge.intake.parse import picture_of


async def given_picture(house: House, what: Mapping[str, Any]) -> str:
    """Upload the picture that a command is about; gives its `mxc://` address. Whether they may is judged before.

    Args:
        what: `picture`, what was sent along; or `reply_to`, the message that is answered in `room`; or `data`, a file
            in base64.

    Raises:
        Refused: there is none, it is too large, or no picture of a kind that every client shows.
        CannotDecrypt: it is not the file that its message speaks of.
        MatrixError: the homeserver refuses, or cannot be reached.
    """
    picture, data = what.get("picture"), what.get("data")
    if picture is None and what.get("reply_to"):
        picture = await _answered(house, RoomId(str(what.get("room"))), EventId(str(what["reply_to"])))
    if isinstance(picture, Picture):
        opened = await house.pictures.fetch(picture)
    elif isinstance(data, str) and data:
        opened = _decoded(data)
    else:
        raise Refused(
            "no picture came with it", remedy="write it under a picture, or as an answer to a message with one"
        )
    return await house.pictures.upload(opened)


async def _answered(house: House, room_id: RoomId, event_id: EventId) -> Picture | None:
    """The picture of a message in a chat with the announcer, or in a control room."""
    event = await house.pictures.message(room_id, event_id)
    if event.get("type") == "m.room.encrypted":
        event = await house.keys.decrypt({**event, "room_id": room_id})
    content = event.get("content")
    return picture_of(content) if isinstance(content, Mapping) else None


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("the file was garbled on its way", remedy="try again") from error
