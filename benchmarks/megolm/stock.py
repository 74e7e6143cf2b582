"""The peer: `mautrix.crypto.OlmMachine` with its own store, as it comes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mautrix.crypto import OlmMachine, PgCryptoStore
from mautrix.types import DeviceID, EncryptionAlgorithm, EventType, RoomEncryptionStateEventContent, RoomID, UserID
from mautrix.util.async_db import Database

from benchmarks.megolm.homeserver import ROOM, Wire, stock_client
from benchmarks.megolm.meter import Cost, Meter
from benchmarks.megolm.reader import TEXT
from benchmarks.megolm.world import PICKLE_KEY, World

DEVICE = "STOCKSTOCK"


class _State:
    """What a client knows of its rooms; costs nothing."""

    async def is_encrypted(self, room_id: str) -> bool:
        return True

    async def get_encryption_info(self, room_id: str) -> RoomEncryptionStateEventContent:
        return RoomEncryptionStateEventContent(algorithm=EncryptionAlgorithm.MEGOLM_V1)

    async def find_shared_rooms(self, user_id: str) -> list[str]:
        return []


async def run(case: str, world: World, url: str, folder: Path) -> tuple[Cost, Wire, dict[str, object] | None]:
    """One case upon the database that the one before it has left; the message that everybody has to read."""
    wire = Wire(world, one_time_keys=case == "cold")
    arguments: dict[str, Any] = {"min_size": 1}
    if url.startswith("postgres"):
        arguments["max_size"] = 8
    database = Database.create(url, upgrade_table=PgCryptoStore.upgrade_table, db_args=arguments)
    await database.start()
    try:
        store = PgCryptoStore("benchmark", PICKLE_KEY, database)
        state: Any = _State()
        room, device = RoomID(ROOM), DeviceID(DEVICE)
        machine = OlmMachine(stock_client(wire, DEVICE), store, state)
        await store.get_device_id()
        await machine.load()
        await store.put_device_id(device)
        await machine.share_keys(0)
        await asyncio.sleep(0)
        wire.forget()
        if case == "lists":
            meter = Meter()
            found = await machine._fetch_keys([UserID(user) for user in world.users], include_untracked=True)
            cost = meter.stop()
            assert len(found) == world.members
            return cost, wire, None
        users: list[Any] = list(world.users)
        if case == "warm":
            await store.remove_outbound_group_session(room)  # what it does when somebody leaves
            del users[-1]
        meter = Meter()
        await machine.share_group_session(room, users)
        cost = meter.stop()
        content = {"msgtype": "m.text", "body": TEXT}
        message = await machine.encrypt_megolm_event(room, EventType.ROOM_MESSAGE, content)
        return cost, wire, message.serialize()
    finally:
        await database.stop()
