"""The announcer and the steward on a private homeserver, without the rest of the service: for tests of the keys."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.ids import RoomId, UserId
from bridge.e2ee.keys import Keys
from bridge.e2ee.recipients import Trust
from bridge.matrix.client import Client, path
from bridge.matrix.key_server import HomeserverKeys, HomeserverRooms
from bridge.matrix.sender import Sender
from bridge.store.database import Database

ANNOUNCER = UserId("@announcements:example.org")
STEWARD = UserId("@communities:example.org")
MEGOLM = "m.megolm.v1.aes-sha2"
AS_TOKEN = "the-as-token"


class WallClock:
    """The time of the machine, which a test may push on."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return int(time() * 1000) + self.ahead_ms


def write_registration(folder: Path, as_token: str) -> Path:
    """A registration for a service that is never called."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "registration.yaml"
    # JSON is YAML
    place.write_text(
        json.dumps(
            {
                "id": "communities",
                "url": None,
                "as_token": as_token,
                "hs_token": secrets.token_hex(16),
                "sender_localpart": "communities",
                "rate_limited": False,
                "namespaces": {
                    "users": [
                        {"exclusive": True, "regex": "@communities:example\\.org"},
                        {"exclusive": True, "regex": "@announcements:example\\.org"},
                    ],
                    "aliases": [{"exclusive": True, "regex": "#_communities_.*:example\\.org"}],
                    "rooms": [],
                },
                "io.element.msc4190": True,
            }
        )
    )
    return place


@dataclass
class Stage:
    """A homeserver that knows the service, and the announcer's keys upon a database."""

    homeserver: PrivateSynapse
    as_token: str
    database_url: str
    pickle_key: str = "a pickle key"
    replace_identity: bool = False
    trust: Trust = Trust.ALL
    seed: bytes = b"the same for all stages on one homeserver"
    clock: WallClock = field(default_factory=WallClock)

    loop: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect to the homeserver alone: the steward needs no more."""
        self.client = Client(self.homeserver.url, self.as_token)
        await self.client.start()

    async def open(self) -> None:
        """Connect to homeserver and database; the keys are made, not started."""
        await self.connect()
        self.database = Database(self.database_url)
        await self.database.start()
        self.server = HomeserverKeys(self.client, ANNOUNCER)
        self.facts = HomeserverRooms(self.client, ANNOUNCER)
        self.keys = Keys(
            self.database,
            self.server,
            self.facts,
            self.clock,
            user_id=ANNOUNCER,
            identity_seed=self.seed,
            pickle_key=self.pickle_key,
            replace_identity=self.replace_identity,
            trust=self.trust,
        )
        self.sender = Sender(
            self.client,
            self.keys,
            self.facts,
            self.database,
            self.clock,
            announcer=ANNOUNCER,
            device_id=lambda: self.server.device_id,
            must_encrypt=lambda _: True,
        )

    async def start(self) -> None:
        """Open, start the keys, and sync in the background."""
        await self.open()
        await self.keys.start()
        self.loop = asyncio.create_task(self.keys.run())

    async def close(self) -> None:
        await self.keys.stop()
        if self.loop is not None:
            await asyncio.wait({self.loop})
            self.loop = None
        await self.database.stop()
        await self.client.stop()

    async def create_room(
        self, *, version: str = "12", visibility: str = "shared", encryption: Mapping[str, Any] | None = None
    ) -> RoomId:
        """A room of the steward, encrypted, with the announcer in it, into which everybody may send."""
        answer = await self.client.request(
            "POST",
            path("v3", "createRoom"),
            body={
                "room_version": version,
                "preset": "private_chat",
                "invite": [ANNOUNCER],
                "initial_state": [
                    {"type": "m.room.encryption", "content": encryption or {"algorithm": MEGOLM}},
                    {"type": "m.room.history_visibility", "content": {"history_visibility": visibility}},
                ],
            },
        )
        room_id = RoomId(answer["room_id"])
        await self.client.request("POST", path("v3", "join", room_id), as_user=ANNOUNCER, body={})
        return room_id

    async def change(self, room_id: RoomId, what: str, user_id: str) -> None:
        """Invite, kick, ban or unban somebody as the steward."""
        await self.client.request("POST", path("v3", "rooms", room_id, what), body={"user_id": user_id})

    async def set_state(self, room_id: RoomId, event_type: str, content: Mapping[str, Any]) -> None:
        await self.client.request("PUT", path("v3", "rooms", room_id, "state", event_type, ""), body=content)

    async def say(self, room_id: RoomId, text: str, *, txn_id: str | None = None) -> tuple[str, int]:
        """Announce something; the event, and how many devices held its key."""
        content = {"msgtype": "m.text", "body": text}
        sent = await self.sender.send(room_id, content, txn_id=txn_id or secrets.token_hex(8))
        return sent.event_id, sent.devices

    async def raw(self, room_id: RoomId, event_id: str) -> dict[str, Any]:
        """An event as it stands on the homeserver."""
        return await self.client.request("GET", path("v3", "rooms", room_id, "event", event_id), as_user=ANNOUNCER)
