"""Devices that open what they were sent, and read a message with it: so that the figures are of something real."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.megolm.world import PICKLE_KEY, World
from bridge.e2ee.machine import PRE_KEY, Account, OlmSession, decrypt_group, import_room_key

TEXT = "School is closed."


class Unread(Exception):
    """A device did not get what it was meant to."""


class Reader:
    """A device as its owner sees it."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._sessions: list[OlmSession] = []
        self._room_keys: dict[str, bytes] = {}

    def take(self, content: Mapping[str, Any]) -> None:
        sealed = content["ciphertext"][self._account.curve25519]
        payload = json.loads(self._open(content["sender_key"], sealed["type"], sealed["body"]))
        if payload["recipient"] != self._account.user_id or payload["type"] != "m.room_key":
            raise Unread(f"{self._account.user_id} was sent something else")
        key = import_room_key(payload["content"]["session_key"], PICKLE_KEY)
        self._room_keys[key.session_id] = key.pickle

    def _open(self, sender_key: str, kind: int, body: str) -> str:
        for session in self._sessions:
            if kind != PRE_KEY or session.matches(sender_key, body):
                return session.decrypt(kind, body)
        session, text = self._account.open_inbound(sender_key, body)
        self._sessions.append(session)
        return text

    def read(self, content: Mapping[str, Any]) -> str:
        text, _ = decrypt_group(self._room_keys[content["session_id"]], PICKLE_KEY, content["ciphertext"])
        return str(json.loads(text)["content"]["body"])


def must_read(world: World, sent: Mapping[int, Sequence[Mapping[str, Any]]], message: Mapping[str, Any]) -> int:
    """Have each device open all that it was ever sent, and read the message; how many devices they were.

    Raises:
        Unread: one of them cannot.
    """
    for number, contents in sent.items():
        reader = Reader(world.account(number))
        for content in contents:
            reader.take(content)
        if reader.read(message) != TEXT:
            raise Unread(f"device {number} reads something else")
    return len(sent)
