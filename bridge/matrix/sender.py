"""The one door for messages: encrypted where the room is, and never plaintext into a room that has to be encrypted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from bridge.core.errors import BadRequest, CannotEncrypt, MatrixError, Refused
from bridge.core.ids import DeviceId, EventId, RoomId, UserId
from bridge.matrix import own_posts
from bridge.matrix.client import Client, path
from bridge.matrix.media import upload
from bridge.ports import Clock, File, RoomCrypto, RoomFacts, Sent
from bridge.store import sendings
from bridge.store.database import Database
from bridge.store.sendings import Sending

MAX_PLAINTEXT_BYTES = 47_000
"""What fits an encrypted event: 49,000 did not."""

REMEMBERED_MS = 12 * 60 * 60 * 1000
"""For how long the homeserver is trusted to know a transaction id again. Synapse forgets it after 24 hours."""

MESSAGE = "m.room.message"
ENCRYPTED = "m.room.encrypted"
REACTION = "m.reaction"


class Sender:
    """Implements `Messenger` upon a homeserver, as the announcer."""

    def __init__(
        self,
        client: Client,
        crypto: RoomCrypto,
        facts: RoomFacts,
        database: Database,
        clock: Clock,
        *,
        announcer: UserId,
        device_id: Callable[[], DeviceId | None],
        must_encrypt: Callable[[RoomId], bool],
    ) -> None:
        """
        Args:
            device_id: the announcer's device at this moment: with it a transaction id holds over a restart of Synapse.
            must_encrypt: whether a room is one of ours, and so encrypted whatever its state says at this moment.
        """
        self._client = client
        self._crypto = crypto
        self._facts = facts
        self._database = database
        self._clock = clock
        self._announcer = announcer
        self._device_id = device_id
        self._must_encrypt = must_encrypt

    async def send(
        self, room_id: RoomId, content: Mapping[str, Any], *, txn_id: str, event_type: str = MESSAGE
    ) -> Sent:
        """Send a message as the announcer; the same `txn_id` again gives the same event, however late.

        A homeserver knows a transaction id again for some time, and for the device that used it. Beyond that the room
        is looked at before anything is sent once more.

        Raises:
            CannotEncrypt: the room has to be encrypted and is not, or keys cannot follow its members.
            Refused: the message is too long.
            MatrixError: the homeserver refuses, or cannot be asked.
        """
        size = len(orjson.dumps(content))
        if size > MAX_PLAINTEXT_BYTES:
            raise Refused(
                f"the message is {size:,} bytes long; {MAX_PLAINTEXT_BYTES:,} fit into one",
                where=room_id,
                remedy="shorten it, or send it in parts",
            )
        encrypted = await self._is_encrypted(room_id)
        arrived = await self._arrived(room_id, txn_id)
        if arrived is not None:
            return arrived
        if not encrypted:
            await self._note(room_id, txn_id, content, 0)
            return Sent(await self._put(room_id, event_type, content, txn_id), 0)
        wire, devices = await self._crypto.encrypt(room_id, event_type, content)
        await self._note(room_id, txn_id, wire, devices)
        return Sent(await self._put(room_id, ENCRYPTED, wire, txn_id), devices)

    async def _arrived(self, room_id: RoomId, txn_id: str) -> Sent | None:
        """What an earlier try left in the room, where the homeserver may not know it again by itself."""
        async with self._database.transaction() as tx:
            earlier = await sendings.find(tx, room_id, txn_id)
        if earlier is None or not self._may_be_forgotten(earlier):
            return None
        event_id = await own_posts.find(
            self._client,
            room_id,
            announcer=self._announcer,
            device_id=self._device_id(),
            txn_id=txn_id,
            seals=earlier.seals,
            since_ms=earlier.begun_at,
        )
        return None if event_id is None else Sent(event_id, earlier.devices)

    def _may_be_forgotten(self, earlier: Sending) -> bool:
        age = self._clock.now_ms() - earlier.begun_at
        return not 0 <= age < REMEMBERED_MS or earlier.device_id != (self._device_id() or "")

    async def _note(self, room_id: RoomId, txn_id: str, content: Mapping[str, Any], devices: int) -> None:
        async with self._database.transaction() as tx:
            await sendings.note(
                tx,
                room_id,
                txn_id,
                device_id=self._device_id() or DeviceId(""),
                seal=own_posts.seal_of(content),
                devices=devices,
                now=self._clock.now_ms(),
            )

    async def send_file(self, room_id: RoomId, file: File, *, txn_id: str) -> Sent:
        """Send a file as the announcer, encrypted (client-server API, "Sending encrypted attachments"); the same
        `txn_id` again gives the same event. What was uploaded for an event that is there already lies there unused.

        Raises:
            CannotEncrypt: the room is not encrypted, or keys cannot follow its members.
            MatrixError: the homeserver refuses (the file may be too large for it), or cannot be asked.
        """
        if not await self._is_encrypted(room_id):
            raise CannotEncrypt(
                "files are sent encrypted, and the room is not", where=room_id, remedy="ask in an encrypted chat"
            )
        data, info = await self._crypto.encrypt_file(file.data)
        info["url"] = await upload(self._client, data, as_user=self._announcer)
        return await self.send(room_id, _content(file, info), txn_id=txn_id)

    async def react(self, room_id: RoomId, event_id: EventId, key: str, *, txn_id: str) -> None:
        """React to a message with an emoji (client-server API, `m.annotation`). It goes in the clear, as all do.

        Raises:
            MatrixError: the homeserver refuses, or cannot be asked.
        """
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        try:
            await self._put(room_id, REACTION, {"m.relates_to": relation}, txn_id)
        except BadRequest as error:
            if error.errcode != "M_DUPLICATE_ANNOTATION":
                raise

    async def send_verification(
        self, room_id: RoomId, event_type: str, content: Mapping[str, Any], *, encrypted: bool, txn_id: str
    ) -> EventId:
        """Send a step of a verification (`m.key.verification.*`) into a chat, in the way in which the other side does.

        It may go in the clear: it has no secret, and a client that we do not trust yet could not read it otherwise.

        Raises:
            CannotEncrypt: keys cannot follow the room's members.
            Refused: something else would go out in the clear, or into a room that is no chat.
            MatrixError: the homeserver refuses, or cannot be asked.
        """
        if not encrypted:
            if not event_type.startswith("m.key.verification.") or self._must_encrypt(room_id):
                raise Refused("only steps of verifications may be sent in the clear, into chats", where=room_id)
            return await self._put(room_id, event_type, content, txn_id)
        wire, _ = await self._crypto.encrypt(room_id, event_type, content)
        return await self._put(room_id, ENCRYPTED, wire, txn_id)

    async def _is_encrypted(self, room_id: RoomId) -> bool:
        """Whether the room is encrypted. One whose settings are garbled is: clients never turn encryption off."""
        if await self._facts.state_content(room_id, "m.room.encryption") is not None:
            return True
        if self._must_encrypt(room_id):
            raise CannotEncrypt(
                "the room has lost its encryption: nothing is sent into it in the clear",
                where=room_id,
                remedy="apply the plan, which writes the encryption back",
            )
        return False

    async def _put(self, room_id: RoomId, event_type: str, content: Mapping[str, Any], txn_id: str) -> EventId:
        answer = await self._client.request(
            "PUT",
            path("v3", "rooms", room_id, "send", event_type, txn_id),
            as_user=self._announcer,
            device_id=self._device_id(),
            body=content,
            # What was sealed is tried once: whoever tries again asks again who is in the room.
            retries=0 if event_type == ENCRYPTED else None,
        )
        event_id = answer.get("event_id")
        if not isinstance(event_id, str):
            raise MatrixError("the homeserver took a message without naming its event", where=room_id)
        return EventId(event_id)


def _content(file: File, info: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file's message (client-server API, `m.file` and `m.image`)."""
    about: dict[str, Any] = {"mimetype": file.media_type, "size": len(file.data)}
    if file.pixels is not None:
        about["w"], about["h"] = file.pixels
    return {
        "msgtype": "m.file" if file.pixels is None else "m.image",
        "body": file.name,
        "filename": file.name,
        "file": info,
        "info": about,
        "m.mentions": {},
    }
