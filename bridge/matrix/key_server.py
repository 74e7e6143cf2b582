"""The end-to-end endpoints of the client-server API as the announcer's device, and what key delivery asks of rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from bridge.core.errors import BadRequest, Forbidden, NotFound
from bridge.core.ids import DeviceId, EventId, RoomId, UserId, localpart_of
from bridge.matrix.client import Client, path
from bridge.matrix.media import upload
from bridge.matrix.members import joined_members, member_of
from bridge.ports import Member

GENERATION = "org.matrix-communities.generation"
"""Account data of the announcer: how often its device was started."""

SYNC_MARGIN_SECONDS = 30.0
"""How much longer than the homeserver's own wait a `/sync` may take."""

FEW_MEMBERS = 20
"""For so many people one request each costs less than reading all members of a large room."""

NO_ROOMS = orjson.dumps({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}}).decode()


class HomeserverKeys:
    """Implements `KeyServer` upon a homeserver."""

    def __init__(self, client: Client, announcer: UserId) -> None:
        self._client = client
        self._announcer = announcer
        self._device: DeviceId | None = None

    def act_as(self, device_id: DeviceId) -> None:
        """Use this device from now on."""
        self._device = device_id

    @property
    def device_id(self) -> DeviceId | None:
        """The announcer's device; None before it was chosen."""
        return self._device

    async def register(self) -> None:
        """Make the announcer's account (application service API, `m.login.application_service`), without a device.

        Raises:
            MatrixError: the homeserver refuses, for instance because the name is not in the registration's namespace.
        """
        try:
            await self._client.request(
                "POST",
                path("v3", "register"),
                body={
                    "type": "m.login.application_service",
                    "username": localpart_of(self._announcer),
                    "inhibit_login": True,
                },
            )
        except BadRequest as error:
            if error.errcode != "M_USER_IN_USE":
                raise

    async def put_device(self, device_id: DeviceId, display_name: str) -> None:
        """Make the device (MSC4190), or rename it."""
        await self._client.request(
            "PUT", path("v3", "devices", device_id), as_user=self._announcer, body={"display_name": display_name}
        )

    async def devices(self) -> list[DeviceId]:
        answer = await self._client.request("GET", path("v3", "devices"), as_user=self._announcer)
        devices = answer.get("devices")
        if not isinstance(devices, list):
            return []
        return [DeviceId(str(one["device_id"])) for one in devices if isinstance(one, dict) and "device_id" in one]

    async def delete_devices(self, device_ids: Sequence[DeviceId]) -> None:
        """Delete devices of the announcer (MSC4190: no interactive authentication)."""
        for device_id in device_ids:
            try:
                await self._client.request("DELETE", path("v3", "devices", device_id), as_user=self._announcer)
            except NotFound:
                continue

    async def generation(self) -> int | None:
        """The number of the device's last start; None where none was ever counted."""
        try:
            answer = await self._client.request("GET", self._generation_path, as_user=self._announcer)
        except NotFound:
            return None
        number = answer.get("number")
        return number if isinstance(number, int) else None

    async def set_generation(self, number: int) -> None:
        await self._client.request("PUT", self._generation_path, as_user=self._announcer, body={"number": number})

    @property
    def _generation_path(self) -> str:
        return path("v3", "user", self._announcer, "account_data", GENERATION)

    async def upload_keys(self, body: Mapping[str, Any]) -> dict[str, int]:
        """`/keys/upload`; gives how many one-time keys of each kind the homeserver has now."""
        answer = await self._ask("POST", path("v3", "keys", "upload"), body)
        counts = answer.get("one_time_key_counts")
        if not isinstance(counts, dict):
            return {}
        return {str(kind): count for kind, count in counts.items() if isinstance(count, int)}

    async def upload_cross_signing(self, body: Mapping[str, Any]) -> None:
        """`/keys/device_signing/upload`; an application service needs no interactive authentication (MSC4190)."""
        await self._ask("POST", path("v3", "keys", "device_signing", "upload"), body)

    async def upload_signatures(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", path("v3", "keys", "signatures", "upload"), body)

    async def query_keys(self, users: list[UserId]) -> dict[str, Any]:
        body: dict[str, dict[str, list[str]]] = {"device_keys": {user: [] for user in users}}
        return await self._ask("POST", path("v3", "keys", "query"), body)

    async def claim_keys(self, wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        return await self._ask("POST", path("v3", "keys", "claim"), {"one_time_keys": wanted})

    async def send_to_device(self, event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        await self._ask("PUT", path("v3", "sendToDevice", event_type, txn_id), {"messages": messages})

    async def upload(self, data: bytes) -> str:
        """Put a file into the media repository ; gives its `mxc://` address."""
        return await upload(self._client, data, as_user=self._announcer)

    async def sync(self, since: str | None, *, timeout_ms: int) -> dict[str, Any]:
        """`/sync` without room events: to-device messages, device lists and key counts alone; never retried here."""
        query = {"filter": NO_ROOMS, "timeout": str(timeout_ms), "set_presence": "offline"}
        if since is not None:
            query["since"] = since
        return await self._client.request(
            "GET",
            path("v3", "sync"),
            as_user=self._announcer,
            device_id=self._device,
            query=query,
            deadline=timeout_ms / 1000 + SYNC_MARGIN_SECONDS,
            long_poll=True,
            retries=0,
        )

    async def _ask(self, method: str, url_path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.request(method, url_path, as_user=self._announcer, device_id=self._device, body=body)


class HomeserverRooms:
    """Implements `RoomFacts` upon a homeserver, seen with the announcer's eyes."""

    def __init__(self, client: Client, announcer: UserId) -> None:
        self._client = client
        self._announcer = announcer

    async def joined(self, room_id: RoomId) -> list[Member]:
        """The joined members at this moment, each with the membership event that made them one.

        Raises:
            Forbidden: the announcer is not in the room.
        """
        found = await self._client.read(
            "GET",
            path("v3", "rooms", room_id, "members"),
            joined_members,
            as_user=self._announcer,
            query={"membership": "join"},
        )
        if not any(member.user_id == self._announcer for member in found):
            # Somebody who left may still ask, and is told of the past.
            raise Forbidden("the announcer is not in the room", status=403, where=room_id)
        return found

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        """Those of `users` who are joined at this moment, with the membership event that made them so."""
        if len(users) > FEW_MEMBERS:
            every = await self.joined(room_id)
            return {member.user_id: member.event_id for member in every if member.user_id in users}
        found = await asyncio.gather(*(self._membership(room_id, user) for user in users))
        return {member.user_id: member.event_id for member in found if member is not None}

    async def _membership(self, room_id: RoomId, user: UserId) -> Member | None:
        try:
            return await self._client.read(
                "GET",
                path("v3", "rooms", room_id, "state", "m.room.member", user),
                member_of,
                as_user=self._announcer,
                query={"format": "event"},
            )
        except NotFound:
            return None

    async def state_content(self, room_id: RoomId, event_type: str) -> Mapping[str, Any] | None:
        """The content of a piece of state with an empty state key; None where there is none."""
        try:
            return await self._client.request(
                "GET", path("v3", "rooms", room_id, "state", event_type), as_user=self._announcer
            )
        except NotFound:
            return None
