"""What people say in rooms with the announcer: opened, with the key that its sender gave us and with no other.

Follows the specification's `m.megolm.v1.aes-sha2`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from bridge.core.errors import CannotDecrypt, MatrixError
from bridge.core.ids import UserId
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.machine import MEGOLM, OlmFailure, decrypt_group, is_key
from bridge.e2ee.recipients import Trust, admits
from bridge.store import keys as store
from bridge.store.database import Database

MAX_CIPHERTEXT = 100_000


class Decryption:
    """Opens events of rooms."""

    def __init__(self, database: Database, own: OwnDevice, devices: DeviceLists, *, trust: Trust) -> None:
        self._database = database
        self._own = own
        self._devices = devices
        self._trust = trust

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with its decrypted `type` and `content` (`m.megolm.v1.aes-sha2`).

        Only a key that the event's own sender gave us opens it, from a device in the sender's list that is trusted.

        Raises:
            CannotDecrypt: no key (yet), or a forged, replayed or malformed event.
        """
        sender, room_id, event_id, session_id, ciphertext = _megolm(event)
        async with self._database.transaction() as tx:
            key = await store.inbound(tx, room_id, session_id, sender)
        if key is None:
            raise CannotDecrypt("its key has not come", where=event_id)
        await self._verify_owner(key)
        try:
            text, index = await asyncio.to_thread(decrypt_group, key.pickle, self._own.pickle_key, ciphertext)
        except OlmFailure as error:
            raise CannotDecrypt(f"it does not decrypt ({error})", where=event_id) from error
        async with self._database.transaction() as tx:
            first = await store.note_message(tx, room_id, session_id, sender, index, event_id)
        if first != event_id:
            raise CannotDecrypt("it repeats an earlier message", where=event_id)
        return {**event, **_payload(text, room_id, event_id, event["content"])}

    async def _verify_owner(self, key: store.InboundRow) -> None:
        """See that the key came from a device of its owner that we trust, at least when it first opens something."""
        owner = UserId(key.owner)
        device = await self._devices.find(owner, key.curve25519, key.ed25519)
        if device is None and key.verified:
            return  # it was the owner's, and trusted, when it was looked at first, and is gone since
        if device is None or not self._trusts(device):
            try:
                await self._devices.refresh([owner], anew=[owner])
            except MatrixError as error:
                raise CannotDecrypt(f"its sender's devices cannot be read ({error.what})", where=key.room_id) from error
            device = await self._devices.find(owner, key.curve25519, key.ed25519)
        if device is None:
            raise CannotDecrypt("its key came from a device that its sender does not have", where=key.room_id)
        if not self._trusts(device):
            raise CannotDecrypt(f"its sender's device {device.device_id} is not trusted", where=key.room_id)
        if not key.verified:
            async with self._database.transaction() as tx:
                await store.mark_inbound_verified(tx, key.room_id, key.session_id, key.owner)

    def _trusts(self, device: store.DeviceRow) -> bool:
        return admits(self._trust, cross_signed=device.cross_signed, verified=device.verified)


def _megolm(event: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Sender, room, event id, session and ciphertext of a Megolm event."""
    content = event.get("content")
    if not isinstance(content, Mapping) or content.get("algorithm") != MEGOLM:
        raise CannotDecrypt("it is not encrypted with Megolm", where=str(event.get("event_id", "")))
    values = (event.get("sender"), event.get("room_id"), event.get("event_id"))
    session_id, ciphertext = content.get("session_id"), content.get("ciphertext")
    if (
        not all(isinstance(value, str) and "\x00" not in value for value in values)
        or not isinstance(session_id, str)
        or not is_key(session_id)
        or not isinstance(ciphertext, str)
        or not 0 < len(ciphertext) <= MAX_CIPHERTEXT
    ):
        raise CannotDecrypt("it is malformed", where=str(event.get("event_id", "")))
    sender, room_id, event_id = (str(value) for value in values)
    return sender, room_id, event_id, session_id, ciphertext


def _payload(text: str, room_id: str, event_id: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CannotDecrypt("its plaintext is not JSON", where=event_id) from error
    if not isinstance(payload, dict) or payload.get("room_id") != room_id:
        raise CannotDecrypt("it was made for another room", where=event_id)
    event_type, content = payload.get("type"), payload.get("content")
    if not isinstance(event_type, str) or not isinstance(content, dict):
        raise CannotDecrypt("its plaintext is malformed", where=event_id)
    if "m.relates_to" in wire:
        content = {"m.relates_to": wire["m.relates_to"], **content}
    return {"type": event_type, "content": content}
