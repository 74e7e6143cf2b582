"""Devices and a homeserver that only carries keys, in memory: for what a real homeserver would not let happen."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from bridge.core.ids import DeviceId, EventId, RoomId, UserId
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import MEGOLM, OLM, Account, OlmFailure, OlmSession, decrypt_group, import_room_key
from bridge.e2ee.recipients import Trust
from bridge.e2ee.window import Window
from bridge.ports import Member
from bridge.store.database import Database, inside_transaction

ANNOUNCER = UserId("@announcements:example.org")
ROOM = RoomId("!room:example.org")
PICKLE_KEY = "a pickle key"


class Device:
    """Somebody's device, on the same cryptography as ours."""

    def __init__(self, user_id: str, device_id: str, *, one_time_keys: int = 20) -> None:
        self.user_id = UserId(user_id)
        self.device_id = device_id
        self.account = Account.create(user_id, device_id)
        self.keys: dict[str, Any] = self.account.device_keys()
        self.account.make_one_time_keys(one_time_keys)
        self.one_time_keys: dict[str, Any] = self.account.keys_to_publish().get("one_time_keys", {})
        self.account.mark_published()
        self.sessions: list[OlmSession] = []
        self.room_keys: dict[str, bytes] = {}
        self.received: list[dict[str, Any]] = []
        self.unreadable = 0

    def claim(self) -> dict[str, Any]:
        if not self.one_time_keys:
            return {}
        name = next(iter(self.one_time_keys))
        return {name: self.one_time_keys.pop(name)}

    def take(self, event_type: str, content: Mapping[str, Any]) -> None:
        """Receive a to-device message, as a client does."""
        if event_type != "m.room.encrypted":
            self.received.append({"type": event_type, "content": dict(content)})
            return
        sealed = content["ciphertext"].get(self.account.curve25519)
        text = self._open(content["sender_key"], sealed) if sealed else None
        payload = json.loads(text) if text else {}
        if payload.get("recipient") != self.user_id or payload["recipient_keys"]["ed25519"] != self.account.ed25519:
            self.unreadable += 1
            return
        self.received.append(payload)
        if payload["type"] == "m.room_key":
            key = import_room_key(payload["content"]["session_key"], PICKLE_KEY)
            self.room_keys.setdefault(key.session_id, key.pickle)

    def _open(self, sender_key: str, sealed: Mapping[str, Any]) -> str | None:
        for session in self.sessions:
            try:
                return session.decrypt(sealed["type"], sealed["body"])
            except OlmFailure:
                continue
        try:
            session, text = self.account.open_inbound(sender_key, sealed["body"])
        except OlmFailure:
            return None
        self.sessions.append(session)
        return text

    def reads(self, content: Mapping[str, Any]) -> str | None:
        """The text of a Megolm message, None where this device has no key for it."""
        key = self.room_keys.get(content["session_id"])
        if key is None:
            return None
        try:
            return str(json.loads(decrypt_group(key, PICKLE_KEY, content["ciphertext"])[0])["content"]["body"])
        except OlmFailure:
            return None

    def seal(self, to: Account, one_time_key: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        """A to-device event for the announcer, with whatever payload."""
        session = self.account.open_outbound(to.curve25519, one_time_key)
        self.sessions.append(session)
        return self.seal_on(session, to, payload)

    def seal_on(self, session: OlmSession, to: Account, payload: Mapping[str, Any]) -> dict[str, Any]:
        message = session.encrypt(json.dumps(payload))
        content = {"algorithm": OLM, "sender_key": self.account.curve25519, "ciphertext": {to.curve25519: message}}
        return {"type": "m.room.encrypted", "sender": self.user_id, "content": content}


class KeyWorld:
    """Implements what the keys need of a homeserver, and of a room on it."""

    def __init__(self) -> None:
        self.members: dict[str, int] = {ANNOUNCER: 0}
        self.people: dict[str, dict[str, Device]] = defaultdict(dict)
        self.extra_keys: dict[str, dict[str, Any]] = {}
        """Entries of `/keys/query` that no device stands behind."""
        self.unreadable_users: set[str] = set()
        self.state: dict[str, Mapping[str, Any]] = {
            "m.room.encryption": {"algorithm": MEGOLM},
            "m.room.history_visibility": {"history_visibility": "shared"},
        }
        self.own: dict[str, Any] = {}
        self.own_device: DeviceId | None = None
        self.own_one_time_keys: dict[str, Any] = {}
        self.inbox: list[Any] = []
        self.changed: list[str] = []
        self.queries: list[list[str]] = []
        self.claims: list[Mapping[str, Mapping[str, str]]] = []
        self.sent: dict[str, Mapping[str, Mapping[str, Any]]] = {}
        self.files: list[bytes] = []
        self.came_at: dict[str, int] = {}
        self.number = 0
        self.counted: int | None = None

    # people

    def add(self, user: str, *devices: str, join: bool = True, one_time_keys: int = 20) -> list[Device]:
        made = [Device(user, name, one_time_keys=one_time_keys) for name in devices]
        self.people[user].update({device.device_id: device for device in made})
        self.changed.append(user)
        if join:
            self.join(user)
        return made

    def join(self, user: str) -> None:
        self.number += 1
        self.members.setdefault(user, self.number)

    def leave(self, user: str) -> None:
        self.members.pop(user, None)

    # the room

    async def joined(self, room_id: RoomId) -> list[Member]:
        assert not inside_transaction()
        return [
            Member(UserId(user), EventId(f"${number}"), self.came_at.get(user, 0))
            for user, number in self.members.items()
        ]

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        assert not inside_transaction()
        return {user: EventId(f"${self.members[user]}") for user in users if user in self.members}

    async def state_content(self, room_id: RoomId, event_type: str) -> Mapping[str, Any] | None:
        return self.state.get(event_type)

    # the homeserver

    def act_as(self, device_id: DeviceId) -> None:
        self.own_device = device_id

    async def register(self) -> None:
        return

    async def put_device(self, device_id: DeviceId, display_name: str) -> None:
        return

    async def devices(self) -> list[DeviceId]:
        return []

    async def delete_devices(self, device_ids: Sequence[DeviceId]) -> None:
        return

    async def generation(self) -> int | None:
        return self.counted

    async def set_generation(self, number: int) -> None:
        self.counted = number

    async def upload_keys(self, body: Mapping[str, Any]) -> dict[str, int]:
        assert not inside_transaction()
        self.own.update(body.get("device_keys", {}))
        self.own_one_time_keys.update(body.get("one_time_keys", {}))
        return {"signed_curve25519": len(self.own_one_time_keys)}

    async def upload_cross_signing(self, body: Mapping[str, Any]) -> None:
        return

    async def upload_signatures(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    async def query_keys(self, users: list[UserId]) -> dict[str, Any]:
        assert not inside_transaction()
        self.queries.append(list(users))
        found: dict[str, dict[str, Any]] = {}
        for user in users:
            if user not in self.unreadable_users:
                devices = {device.device_id: device.keys for device in self.people[user].values()}
                found[user] = {**devices, **self.extra_keys.get(user, {})}
        if ANNOUNCER in users and self.own:
            found[ANNOUNCER] = {self.own["device_id"]: self.own}
        return {"device_keys": found}

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        assert not inside_transaction()
        self.claims.append(wanted)
        found: dict[str, dict[str, Any]] = {}
        for user, devices in wanted.items():
            for name in devices:
                if (device := self.people[user].get(name)) and (key := device.claim()):
                    found.setdefault(user, {})[name] = key
        return {"one_time_keys": found}

    async def send_to_device(self, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        assert not inside_transaction()
        if txn_id in self.sent:
            return
        messages = self.sent[txn_id] = orjson.loads(orjson.dumps(messages))
        for user, devices in messages.items():
            for name, content in devices.items():
                if device := self.people[user].get(name):
                    device.take(event_type, content)

    async def upload(self, data: bytes) -> str:
        assert not inside_transaction()
        self.files.append(data)
        return f"mxc://example.org/{len(self.files)}"

    async def sync(self, since: str | None, *, timeout_ms: int) -> dict[str, Any]:
        assert not inside_transaction()
        events, self.inbox = self.inbox, []
        changed, self.changed = self.changed, []
        return {
            "next_batch": f"s{len(self.queries)}-{self.number}-{len(events)}",
            "to_device": {"events": events},
            "device_lists": {"changed": changed},
            "device_one_time_keys_count": {"signed_curve25519": len(self.own_one_time_keys)},
            "device_unused_fallback_key_types": ["signed_curve25519"],
        }


class StillClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.now


def keys_upon(
    world: KeyWorld, database: Database, clock: StillClock, *, window: Window | None = None, trust: Trust = Trust.ALL
) -> Keys:
    return Keys(
        database,
        world,
        world,
        clock,
        user_id=ANNOUNCER,
        identity_seed=b"a secret of the configuration",
        pickle_key=PICKLE_KEY,
        trust=trust,
        window_of=lambda _: window,
    )


async def say(keys: Keys, text: str) -> dict[str, Any]:
    """What stands on the wire when the announcer says something."""
    content, _ = await keys.encrypt(ROOM, "m.room.message", {"msgtype": "m.text", "body": text})
    return content
