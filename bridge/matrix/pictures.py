"""Pictures that people send us: fetched, opened, looked at, and put where everybody in a room sees them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.core.errors import Refused
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Picture
from bridge.matrix.client import Client, path
from bridge.matrix.media import download, upload

MOST_BYTES = 5 * 1024 * 1024


class Pictures:
    """Fetches what the announcer can see, and uploads as the steward, whose rooms they are for."""

    def __init__(self, client: Client, announcer: UserId, decrypt: Callable[[bytes, Mapping[str, Any]], bytes]) -> None:
        """
        Args:
            decrypt: opens an encrypted file by its `EncryptedFile`.
        """
        self._client = client
        self._announcer = announcer
        self._decrypt = decrypt

    async def message(self, room_id: RoomId, event_id: EventId) -> dict[str, Any]:
        """A message in a chat, as it stands on the wire (client-server API, `GET /rooms/{roomId}/event/{eventId}`).

        Raises:
            MatrixError: there is none, or the homeserver does not answer.
        """
        return await self._client.request(
            "GET", path("v3", "rooms", room_id, "event", event_id), as_user=self._announcer
        )

    async def fetch(self, picture: Picture) -> bytes:
        """The picture's file, opened (client-server API, `GET /_matrix/client/v1/media/download/…`).

        Raises:
            Refused: it is no picture of a kind that every client shows.
            CannotDecrypt: it is not the file that its message speaks of.
            MatrixError: it is larger than 5 MiB, or cannot be fetched.
        """
        data = await download(self._client, picture.url, MOST_BYTES)
        opened = data if picture.file is None else self._decrypt(data, picture.file)
        kind_of(opened)
        return opened

    async def upload(self, data: bytes) -> str:
        """Put a picture into the media repository; gives its `mxc://` address.

        Raises:
            Refused: it is too large, or no picture.
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        if len(data) > MOST_BYTES:
            raise Refused(f"the picture is larger than {MOST_BYTES // 1024 // 1024} MiB", remedy="take a smaller one")
        return await upload(self._client, data, media_type=kind_of(data))


def kind_of(data: bytes) -> str:
    """The media type of a picture, by how it begins. SVG is none of them: it may carry scripts.

    Raises:
        Refused: it is none of the kinds that every client shows.
    """
    for kind, begins in _BEGINNINGS.items():
        if data.startswith(begins):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise Refused("that is no picture that every app can show", remedy="send a PNG, JPEG, GIF or WebP file")


_BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
}
