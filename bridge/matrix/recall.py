"""What was said in an encrypted room, read back from the homeserver and opened, with its latest edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.errors import NotFound
from bridge.core.ids import EventId, RoomId, UserId
from bridge.matrix.client import Client, path
from bridge.ports import RoomCrypto


class Recall:
    """Reads as the announcer, and opens with the keys that it holds."""

    def __init__(self, client: Client, crypto: RoomCrypto, announcer: UserId) -> None:
        self._client = client
        self._crypto = crypto
        self._announcer = announcer

    async def content(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """The content of a message as clients show it: the newest edit by its sender, else the message itself.

        Follows the client-server API, `GET /rooms/{roomId}/event/{eventId}` and "Event replacements" (the homeserver
        sends the newest replacement along). None for what was redacted or is not there.

        Raises:
            CannotDecrypt: no key of ours opens it.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        event = await self._event(room_id, event_id)
        if event is None:
            return None
        original = await self._opened(room_id, event)
        edit = _object(_object(_object(event.get("unsigned")).get("m.relations")).get("m.replace"))
        if original is None or not edit or edit.get("sender") != event.get("sender"):
            return original
        newer = await self._opened(room_id, edit)
        changed = None if newer is None else newer.get("m.new_content")
        return changed if isinstance(changed, Mapping) else original

    async def original(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """As `content`, the message as it was sent first, whatever was edited into it since.

        Raises:
            CannotDecrypt: no key of ours opens it.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        event = await self._event(room_id, event_id)
        return None if event is None else await self._opened(room_id, event)

    async def _event(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        try:
            found: Mapping[str, Any] = await self._client.request(
                "GET", path("v3", "rooms", room_id, "event", event_id), as_user=self._announcer
            )
        except NotFound:
            return None
        return found

    async def _opened(self, room_id: RoomId, event: Mapping[str, Any]) -> Mapping[str, Any] | None:
        content = event.get("content")
        if not isinstance(content, Mapping) or not content:
            return None
        if event.get("type") != "m.room.encrypted":
            return content
        clear = (await self._crypto.decrypt({**event, "room_id": room_id})).get("content")
        return clear if isinstance(clear, Mapping) else None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
