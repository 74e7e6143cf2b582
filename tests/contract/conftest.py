"""Two worlds, the fake and a real homeserver, behind the same requests: so that the fake cannot lie."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.errors import BadRequest
from bridge.core.ids import RoomId, UserId
from bridge.matrix.client import Client, path
from bridge.matrix.executor import Executor
from bridge.matrix.reader import Reader
from bridge.plan.state import Accounts
from tests.fakes.homeserver import ANNOUNCER, DOMAIN, STEWARD, FakeHomeserver
from tests.harness.announcer import write_registration


class Ground(Protocol):
    """Where a world's requests go."""

    async def service(self) -> Client: ...

    async def person(self, name: str) -> tuple[UserId, Client]: ...

    async def let_us(self, allowed: bool) -> None:
        """Make both of our accounts admins of the homeserver, or no longer."""
        ...


class FakeGround:
    def __init__(self) -> None:
        self._homeserver = FakeHomeserver()

    async def service(self) -> Client:
        return self._homeserver.client()

    async def person(self, name: str) -> tuple[UserId, Client]:
        user = UserId(f"@{name}:{DOMAIN}")
        return user, self._homeserver.client(user)

    async def let_us(self, allowed: bool) -> None:
        self._homeserver.admins = {STEWARD, ANNOUNCER} if allowed else set()


class SynapseGround:
    def __init__(self, homeserver: PrivateSynapse, as_token: str) -> None:
        self._homeserver = homeserver
        self._as_token = as_token
        self._clients: list[Client] = []

    async def service(self) -> Client:
        return await self._client(self._as_token)

    async def person(self, name: str) -> tuple[UserId, Client]:
        account = await self._homeserver.register(name)
        return UserId(account.user_id), await self._client(account.access_token)

    async def let_us(self, allowed: bool) -> None:
        root = await self._homeserver.register(f"root-{secrets.token_hex(4)}", admin=True)
        client = await self._client(root.access_token)
        for user in (STEWARD, ANNOUNCER):
            await client.request("PUT", f"/_synapse/admin/v1/users/{user}/admin", body={"admin": allowed})

    async def _client(self, token: str) -> Client:
        client = Client(self._homeserver.url, token, retries=0)
        await client.start()
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.stop()


class Person:
    """Somebody with a client of their own."""

    def __init__(self, user_id: UserId, client: Client) -> None:
        self.user_id = user_id
        self.client = client

    async def join(self, room_id: RoomId) -> None:
        await self.client.request("POST", path("v3", "join", room_id), body={})

    async def knock(self, room_id: RoomId) -> None:
        await self.client.request("POST", path("v3", "knock", room_id), body={})

    async def leave(self, room_id: RoomId) -> None:
        await self.client.request("POST", path("v3", "rooms", room_id, "leave"), body={})

    async def move(self, room_id: RoomId, user: UserId, what: str) -> None:
        await self.client.request("POST", path("v3", "rooms", room_id, what), body={"user_id": user})

    async def write(self, room_id: RoomId, event_type: str, content: Mapping[str, Any], key: str = "") -> str:
        parts = path("v3", "rooms", room_id, "state", event_type, key)
        return str((await self.client.request("PUT", parts, body=content))["event_id"])

    async def send(self, room_id: RoomId, text: str, *, event_type: str = "m.room.message", txn_id: str = "") -> str:
        parts = path("v3", "rooms", room_id, "send", event_type, txn_id or secrets.token_hex(8))
        answer = await self.client.request("PUT", parts, body={"msgtype": "m.text", "body": text})
        return str(answer["event_id"])

    async def redact(self, room_id: RoomId, event_id: str) -> None:
        parts = path("v3", "rooms", room_id, "redact", event_id, secrets.token_hex(8))
        await self.client.request("PUT", parts, body={})

    async def state(self, room_id: RoomId) -> list[dict[str, Any]]:
        answer = await self.client.request("GET", path("v3", "rooms", room_id, "state"))
        return list(answer["value"])


class World:
    """The steward's hands and eyes upon a ground, and people."""

    def __init__(self, ground: Ground, client: Client, names: itertools.count[int]) -> None:
        self._ground = ground
        self._names = names
        self.client = client
        self.reader = Reader(client)
        self.executor = Executor(client, self.reader, Accounts(STEWARD, ANNOUNCER), unfinished_seconds=0)

    async def person(self, name: str = "alice") -> Person:
        user_id, client = await self._ground.person(f"{name}{next(self._names)}")
        return Person(user_id, client)

    async def let_us(self, allowed: bool) -> None:
        """Make both of our accounts admins of the homeserver, or no longer."""
        await self._ground.let_us(allowed)

    async def room(self, version: str = "12", **body: Any) -> RoomId:
        """A room of the steward with levels as the policy writes them."""
        users: dict[str, int] = {ANNOUNCER: 100}
        if version != "12":
            users[STEWARD] = 200
        levels = {
            "users": users,
            "users_default": 0,
            "events_default": 0,
            "state_default": 200,
            "events": {"m.room.name": 50, "m.room.power_levels": 200, "m.room.redaction": 0},
            "ban": 50,
            "kick": 50,
            "redact": 50,
            "invite": 50,
        }
        answer = await self.client.request(
            "POST",
            path("v3", "createRoom"),
            body={
                "room_version": version,
                "preset": "private_chat",
                "power_level_content_override": levels,
                **body,
            },
        )
        return RoomId(answer["room_id"])

    async def levels(self, room_id: RoomId) -> dict[str, Any]:
        return await self.client.request("GET", path("v3", "rooms", room_id, "state", "m.room.power_levels", ""))

    async def membership(self, room_id: RoomId, user: UserId) -> str:
        room = await self.reader.read(room_id, fresh=True)
        here = room.members.get(user)
        return "" if here is None else here.state

    async def give(self, room_id: RoomId, user: UserId, level: int) -> None:
        levels = await self.levels(room_id)
        content = {**levels, "users": {**levels["users"], user: level}}
        await self.executor.set_state(room_id, "m.room.power_levels", "", content)


@pytest.fixture(scope="session")
async def contract_synapse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[PrivateSynapse, str]]:
    """A real homeserver that knows the service and both of its accounts."""
    folder = tmp_path_factory.mktemp("contract")
    as_token = secrets.token_hex(16)
    homeserver = PrivateSynapse(folder / "synapse", extra={"room_list_publication_rules": [{"action": "allow"}]})
    homeserver.add_registration(write_registration(folder, as_token))
    async with homeserver:
        client = Client(homeserver.url, as_token)
        await client.start()
        for localpart in ("communities", "announcements"):
            body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
            try:
                await client.request("POST", path("v3", "register"), body=body)
            except BadRequest as error:
                if error.errcode != "M_USER_IN_USE":
                    raise
        await client.stop()
        yield homeserver, as_token


_NAMES = itertools.count(1)


@pytest.fixture(params=["fake", "synapse"])
def real(request: pytest.FixtureRequest) -> tuple[PrivateSynapse, str] | None:
    """The real homeserver, None for the fake."""
    if request.param == "fake":
        return None
    found: tuple[PrivateSynapse, str] = request.getfixturevalue("contract_synapse")
    return found


@pytest.fixture
async def world(real: tuple[PrivateSynapse, str] | None) -> AsyncIterator[World]:
    """The fake, then a real homeserver."""
    if real is None:
        fake = FakeGround()
        yield World(fake, await fake.service(), _NAMES)
        return
    synapse = SynapseGround(*real)
    yield World(synapse, await synapse.service(), _NAMES)
    await synapse.close()
