"""The door for messages, without a network: the same transaction id is the same event."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from bridge.core.ids import EventId, RoomId
from bridge.ports import File, Sent
from bridge.store.database import inside_transaction
from tests.fakes.faults import Faults


class FakeMessenger:
    """Implements `ports.Messenger`. Dies and fails like the homeserver: its requests are named `SEND room txn`."""

    def __init__(self, faults: Faults | None = None, *, devices: int = 3) -> None:
        self._faults = faults or Faults()
        self._devices = devices
        self._numbers = itertools.count(1)
        self._events: dict[str, EventId] = {}
        self.posted: dict[EventId, tuple[RoomId, Mapping[str, Any]]] = {}
        """The same by event."""
        self.types: dict[EventId, str] = {}
        """Of what type each event is."""
        self.sent: list[tuple[RoomId, Mapping[str, Any]]] = []
        self.reactions: list[tuple[EventId, str]] = []
        self._reacted: set[str] = set()

    async def send(
        self, room_id: RoomId, content: Mapping[str, Any], *, txn_id: str, event_type: str = "m.room.message"
    ) -> Sent:
        name = f"SEND {room_id} {txn_id}"
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: {name}")
        self._faults.point(of_homeserver=True)
        self._faults.check(name)
        if txn_id not in self._events:
            self._events[txn_id] = EventId(f"$sent-{next(self._numbers)}")
            self.sent.append((room_id, content))
            self.posted[self._events[txn_id]] = (room_id, content)
            self.types[self._events[txn_id]] = event_type
        self._faults.point(of_homeserver=True)
        return Sent(self._events[txn_id], self._devices)

    async def send_file(self, room_id: RoomId, file: File, *, txn_id: str) -> Sent:
        content = {"msgtype": "m.file" if file.pixels is None else "m.image", "body": file.name, "data": file.data}
        return await self.send(room_id, content, txn_id=txn_id)

    async def react(self, room_id: RoomId, event_id: EventId, key: str, *, txn_id: str) -> None:
        name = f"REACT {room_id} {txn_id}"
        if inside_transaction():
            raise RuntimeError(f"a network call inside a database transaction: {name}")
        self._faults.point(of_homeserver=True)
        self._faults.check(name)
        if txn_id not in self._reacted:
            self._reacted.add(txn_id)
            self.reactions.append((event_id, key))

    def calls(self, room_id: RoomId) -> list[tuple[str, list[str]]]:
        """What was said so that somebody is notified: `m.text`, since notices are muted; with who is mentioned."""
        return [
            (str(content["body"]), list(content["m.mentions"].get("user_ids", [])))
            for room, content in self.sent
            if room == room_id and content["msgtype"] == "m.text"
        ]

    def said(self, room_id: RoomId | None = None) -> list[str]:
        """What was said, in order."""
        return [str(content["body"]) for room, content in self.sent if room_id in (None, room)]
