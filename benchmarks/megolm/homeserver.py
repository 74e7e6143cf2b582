"""A homeserver that only carries keys, inside the process, alike for both sides.

Answers are joined from prepared bytes and parsed with orjson; bodies are serialised as they would go over the wire
(ours with orjson, stock by mautrix' own HTTP layer with json), measured, and not opened. Of a few devices the messages
are kept, to be read afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import orjson

from benchmarks.megolm.world import World
from bridge.core.ids import RoomId, UserId

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
