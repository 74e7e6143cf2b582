"""A homeserver that only carries keys, inside the process, alike for both sides.

Answers are joined from prepared bytes and parsed with orjson; bodies are serialised as they would go over the wire
(ours with orjson, stock by mautrix' own HTTP layer with json), measured, and not opened. Of a few devices the messages
are kept, to be read afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson

from benchmarks.megolm.world import World
from bridge.core.ids import DeviceId, EventId, RoomId, UserId
from bridge.e2ee.machine import MEGOLM
from bridge.ports import Member
from bridge.store.database import inside_transaction

ANNOUNCER = UserId("@announcements:example.org")
ROOM = RoomId("!room:example.org")
SAMPLE = 20


class Wire:
    """What goes over it."""

    def __init__(self, world: World, *, one_time_keys: bool) -> None:
        """
        Args:
            one_time_keys: whether people's devices have any.
        """
        self.world = world
        self.requests: dict[str, int] = {}
        self.largest_body = 0
        self.sent: dict[int, list[dict[str, Any]]] = {number: [] for number in sample(world)}
        self.messages = bytearray(world.members * world.devices)
        """How many each device was sent."""
        self._one_time_keys = bytearray([one_time_keys]) * (world.members * world.devices)

    def note(self, kind: str, body: bytes | str) -> None:
        self.requests[kind] = self.requests.get(kind, 0) + 1
        size = len(body) if isinstance(body, bytes) or body.isascii() else len(body.encode())
        self.largest_body = max(self.largest_body, size)

    def forget(self) -> None:
        """Count anew."""
        self.requests.clear()
        self.largest_body = 0

    def claim(self, wanted: Mapping[str, Mapping[str, str]]) -> bytes:
        users = []
        for user, devices in wanted.items():
            found = [key for name in devices if (key := self._take_key(name)) is not None]
            if found:
                users.append(b'"%b":{%b}' % (user.encode(), b",".join(found)))
        return b'{"failures":{},"one_time_keys":{%b}}' % b",".join(users)

    def _take_key(self, device: str) -> bytes | None:
        number = self.world.number_of(device)
        if number is None or not self._one_time_keys[number]:
            return None
        self._one_time_keys[number] = 0
        return self.world.one_time_key(number)

    def deliver(self, messages: Mapping[str, Mapping[str, Any]]) -> None:
        for devices in messages.values():
            for name, content in devices.items():
                number = self.world.number_of(name)
                assert number is not None, name
                self.messages[number] += 1
                if number in self.sent:
                    self.sent[number].append(orjson.loads(orjson.dumps(content)))


def sample(world: World) -> list[int]:
    """Devices, spread evenly over the first 95 of 100 people: of those nobody leaves."""
    total = world.members * world.devices * 95 // 100
    return sorted({number * total // SAMPLE for number in range(SAMPLE)})


class OurServer:
    """Implements what our keys need of a homeserver, and of the room on it."""

    def __init__(self, wire: Wire, members: int, *, visibility: str, memory: Path) -> None:
        """
        Args:
            memory: where it remembers the device's count from process to process, as a homeserver does.
        """
        self.wire = wire
        self._memory = memory
        self._visibility = visibility
        self._own: dict[str, Any] = {}
        self._cross_signing: dict[str, Any] = {}
        self._own_keys = 0
        # The join of each is its own event, the same in every process.
        self._joined = [Member(ANNOUNCER, EventId("$announcer"))]
        self._joined += [Member(user, EventId(f"$join-of-{user}")) for user in wire.world.users[:members]]

    async def joined(self, room_id: RoomId) -> list[Member]:
        assert not inside_transaction()
        return list(self._joined)

    async def state_content(self, room_id: RoomId, event_type: str) -> Mapping[str, Any] | None:
        return {
            "m.room.encryption": {"algorithm": MEGOLM},
            "m.room.history_visibility": {"history_visibility": self._visibility},
        }.get(event_type)

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        return {one.user_id: one.event_id for one in self._joined if one.user_id in users}

    async def upload(self, data: bytes) -> str:
        raise AssertionError("nothing is uploaded here")

    def act_as(self, device_id: DeviceId) -> None:
        return

    async def register(self) -> None:
        return

    async def put_device(self, device_id: DeviceId, display_name: str) -> None:
        return

    async def devices(self) -> list[DeviceId]:
        return []

    async def delete_devices(self, device_ids: Sequence[DeviceId]) -> None:
        return

    async def generation(self) -> int | None:
        return int(self._memory.read_text()) if self._memory.exists() else None

    async def set_generation(self, number: int) -> None:
        self._memory.write_text(str(number))

    async def upload_keys(self, body: Mapping[str, Any]) -> dict[str, int]:
        self._own.update(body.get("device_keys", {}))
        self._own_keys += len(body.get("one_time_keys", {}))
        return {"signed_curve25519": self._own_keys}

    async def upload_cross_signing(self, body: Mapping[str, Any]) -> None:
        return

    async def upload_signatures(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    async def query_keys(self, users: list[UserId]) -> dict[str, Any]:
        assert not inside_transaction()
        self.wire.note("keys/query", orjson.dumps({"device_keys": {user: [] for user in users}}))
        answer: dict[str, Any] = orjson.loads(self.wire.world.query([*users]))
        if ANNOUNCER in users and self._own:
            answer["device_keys"][ANNOUNCER] = {self._own["device_id"]: self._own}
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

    async def sync(self, since: str | None, *, timeout_ms: int) -> dict[str, Any]:
        return {
            "next_batch": "s1",
            "to_device": {"events": []},
            "device_lists": {"changed": []},
            "device_one_time_keys_count": {"signed_curve25519": self._own_keys},
            "device_unused_fallback_key_types": ["signed_curve25519"],
        }


def stock_client(wire: Wire, device_id: str) -> Any:
    """mautrix' own client with its own HTTP layer, whose last step (the request itself) ends here."""
    from mautrix.api import HTTPAPI
    from mautrix.client import ClientAPI
    from mautrix.types import DeviceID, UserID

    class Http(HTTPAPI):
        async def request(self, method: Any, path: Any, content: Any = None, *args: Any, **kwargs: Any) -> Any:
            self.content = content
            return await super().request(method, path, content, *args, **kwargs)

        async def _send(self, method: Any, url: Any, content: Any, query_params: Any, headers: Any) -> Any:
            return orjson.loads(answer(str(url.path), content, self.content)), SimpleNamespace(status=200)

    class Client(ClientAPI):
        def add_event_handler(self, *args: Any, **kwargs: Any) -> None:
            return

    def answer(path: str, raw: str, content: Any) -> bytes:
        kind = next(kind for kind in ("keys/query", "keys/claim", "keys/upload", "sendToDevice") if kind in path)
        wire.note(kind, raw)
        match kind:
            case "keys/query":
                return wire.world.query(list(content["device_keys"]))
            case "keys/claim":
                return wire.claim(content["one_time_keys"])
            case "keys/upload":
                return b'{"one_time_key_counts":{"signed_curve25519":50}}'
        if "m.room.encrypted" in path:
            wire.deliver(content["messages"])
        return b"{}"

    session: Any = SimpleNamespace(closed=False)
    api = Http("http://127.0.0.1:1", "token", client_session=session)
    return Client(UserID(ANNOUNCER), DeviceID(device_id), api=api)
