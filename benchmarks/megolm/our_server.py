"""The homeserver and the room on it as our keys ask them: upon the wire, and for the rest as in the tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import orjson

from benchmarks.megolm.homeserver import ANNOUNCER, Wire
from bridge.core.ids import EventId, RoomId, UserId
from bridge.ports import Member
from bridge.store.database import inside_transaction
from tests.harness.key_world import KeyWorld


class OurServer(KeyWorld):
    """What our keys need of a homeserver, and of the room on it."""

    def __init__(self, wire: Wire, members: int, *, visibility: str, memory: Path) -> None:
        """
        Args:
            memory: where it remembers the device's count from process to process, as a homeserver does.
        """
        super().__init__()
        self.wire = wire
        self.state["m.room.history_visibility"] = {"history_visibility": visibility}
        self._memory = memory
        # The join of each is its own event, the same in every process.
        self._joined = [Member(ANNOUNCER, EventId("$announcer"))]
        self._joined += [Member(user, EventId(f"$join-of-{user}")) for user in wire.world.users[:members]]

    async def joined(self, room_id: RoomId) -> list[Member]:
        assert not inside_transaction()
        return list(self._joined)

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        return {one.user_id: one.event_id for one in self._joined if one.user_id in users}

    async def generation(self) -> int | None:
        return int(self._memory.read_text()) if self._memory.exists() else None

    async def set_generation(self, number: int) -> None:
        self._memory.write_text(str(number))

    async def query_keys(self, users: list[UserId]) -> dict[str, Any]:
        assert not inside_transaction()
        self.wire.note("keys/query", orjson.dumps({"device_keys": {user: [] for user in users}}))
        answer: dict[str, Any] = orjson.loads(self.wire.world.query([*users]))
        if ANNOUNCER in users and self.own:
            answer["device_keys"][ANNOUNCER] = {self.own["device_id"]: self.own}
        return answer

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        assert not inside_transaction()
        self.wire.note("keys/claim", orjson.dumps({"one_time_keys": wanted}))
        answer: dict[str, Any] = orjson.loads(self.wire.claim(wanted))
        return answer

    async def send_to_device(self, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        assert not inside_transaction()
        body = orjson.dumps({"messages": messages})
        self.wire.note("sendToDevice", body)
        if event_type == "m.room.encrypted":
            whole = all(isinstance(one, Mapping) for one in messages.values())
            # What is serialised already has to be parsed to see for whom it is.
            self.wire.deliver(messages if whole else orjson.loads(body)["messages"])
