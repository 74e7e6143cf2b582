"""Files that people sent us, as files of our own: fetched, opened, encrypted anew and uploaded; and what was sent with
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.core.files import MOST_FILES, Address
from bridge.core.ids import EventId, RoomId, UserId
from bridge.matrix.client import Client, path
from bridge.matrix.media import download, upload
from bridge.ports import RoomCrypto

MOST_BYTES = 100 * 1024 * 1024
FETCH_SECONDS = 300.0


class Files:
    """Fetches what the announcer can see, and uploads as the announcer."""

    def __init__(
        self,
        client: Client,
        announcer: UserId,
        crypto: RoomCrypto,
        decrypt: Callable[[bytes, Mapping[str, Any]], bytes],
    ) -> None:
        """
        Args:
            decrypt: opens an encrypted file by its `EncryptedFile`.
        """
        self._client = client
        self._announcer = announcer
        self._crypto = crypto
        self._decrypt = decrypt

    async def around(self, room_id: RoomId, event_id: EventId) -> tuple[list[dict[str, Any]], int]:
        """A message in a chat and what stands before and behind it, in their order, as it is on the wire
        (client-server API, `GET /rooms/{roomId}/context/{eventId}`); and the place of the message in it.

        Raises:
            MatrixError: there is none, or the homeserver does not answer.
        """
        answer = await self._client.request(
            "GET",
            path("v3", "rooms", room_id, "context", event_id),
            as_user=self._announcer,
            query={"limit": str(4 * MOST_FILES)},
        )
        before, after = answer.get("events_before"), answer.get("events_after")
        earlier = [{**event, "room_id": room_id} for event in reversed(before if isinstance(before, list) else [])]
        later = [{**event, "room_id": room_id} for event in (after if isinstance(after, list) else [])]
        here: Any = answer.get("event")
        return [*earlier, {**(here if isinstance(here, dict) else {}), "room_id": room_id}, *later], len(earlier)

    async def again(self, address: Address) -> tuple[dict[str, Any], int]:
        """The same file encrypted under a new key and uploaded: its `EncryptedFile` with its `url`, and its size.

        Raises:
            CannotDecrypt: it is not the file that its message speaks of.
            Refused: its message names no file.
            MatrixError: it is larger than 100 MiB, or the homeserver refuses it, or cannot be reached.
        """
        data = await download(self._client, address.url, MOST_BYTES, deadline=FETCH_SECONDS)
        opened = data if address.file is None else self._decrypt(data, address.file)
        sealed, info = await self._crypto.encrypt_file(opened)
        info["url"] = await upload(self._client, sealed, as_user=self._announcer)
        return info, len(opened)
