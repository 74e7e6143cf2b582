"""Device lists: an answer that comes late is not taken for news, and a device that is not trusted is never obeyed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bridge.core.errors import CannotDecrypt
from bridge.core.ids import UserId
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import MEGOLM, encrypt_group, new_group
from bridge.e2ee.recipients import Trust
from bridge.store.database import Database
from tests.harness.key_world import ANNOUNCER, PICKLE_KEY, ROOM, Device, KeyWorld, StillClock, keys_upon, say
from tests.harness.wait import eventually

ANN = UserId("@ann:example.org")


class SlowFirst:
    """Answers the first question about somebody with what was true when it was asked, but late."""

    def __init__(self, world: KeyWorld, user: str) -> None:
        self._query = world.query_keys
        self._user = user
        self.asked = 0
        self.go_on = asyncio.Event()

    async def __call__(self, users: list[UserId]) -> dict[str, Any]:
        answer = await self._query(users)
        if self._user in users:
            self.asked += 1
            if self.asked == 1:
                await self.go_on.wait()
        return answer


async def test_a_late_answer_is_not_stored_over_a_newer_one(
    world: KeyWorld, keys: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(ANN, "A")
    await keys.sync_once()
    await say(keys, "before")
    lists = DeviceLists(database, world, StillClock(), me=ANNOUNCER)
    slow = SlowFirst(world, ANN)
    monkeypatch.setattr(world, "query_keys", slow)
    first = asyncio.create_task(lists.refresh([], anew=[ANN]))
    await eventually(lambda: slow.asked == 1, what="the first question")
    (phone,) = world.add(ANN, "P", join=False)
    await keys.sync_once()
    second = asyncio.create_task(lists.refresh([ANN]))
    await asyncio.wait({second}, timeout=0.5)  # it may overtake the first, if it can
    slow.go_on.set()
    await asyncio.gather(first, second)
    assert phone.reads(await say(keys, "after")) == "after"


async def test_a_change_during_the_first_reading_is_not_lost(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(ANN, "A", join=False)
    await keys.sync_once()
    slow = SlowFirst(world, ANN)
    monkeypatch.setattr(world, "query_keys", slow)
    world.join(ANN)
    sharing = asyncio.create_task(keys.prepare(ROOM))
    await eventually(lambda: slow.asked == 1, what="the first question")
    (phone,) = world.add(ANN, "P", join=False)
    await keys.sync_once()
    slow.go_on.set()
    await sharing
    assert phone.reads(await say(keys, "after")) == "after"


async def test_the_same_people_are_read_side_by_side_without_a_clash(postgres_url: str) -> None:
    database = Database(postgres_url)
    await database.start()
    try:
        world = KeyWorld()
        users = [UserId(f"@user{number}:example.org") for number in range(40)]
        for user in users:
            world.people[user]["A"] = Device(user, "A", one_time_keys=0)
        lists = DeviceLists(database, world, StillClock(), me=ANNOUNCER)
        others = DeviceLists(database, world, StillClock(), me=ANNOUNCER)
        for _ in range(5):
            await asyncio.gather(*(one.refresh([], anew=users) for one in (lists, lists, others)))
        assert len(await lists.of(users)) == len(users)
    finally:
        await database.stop()


async def test_a_device_that_was_never_trusted_is_not_obeyed_after_it_is_gone_either(
    world: KeyWorld, database: Database
) -> None:
    keys = keys_upon(world, database, StillClock(), trust=Trust.SIGNED)
    await keys.start()
    (evil,) = world.add(ANN, "EVIL")  # put into her list by somebody who cannot sign for her
    await keys.sync_once()
    group = new_group(PICKLE_KEY)
    ours = world.own
    one_time_key = world.own_one_time_keys.pop(next(iter(world.own_one_time_keys)))
    room_key = {
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": group.session_id,
        "session_key": group.session_key,
    }
    account = await own_account(keys, database)
    payload = {
        "type": "m.room_key",
        "content": room_key,
        "sender": ANN,
        "recipient": ANNOUNCER,
        "recipient_keys": {"ed25519": ours["keys"][f"ed25519:{ours['device_id']}"]},
        "keys": {"ed25519": evil.account.ed25519},
    }
    world.inbox.append(evil.seal(account, one_time_key["key"], payload))
    await keys.sync_once()
    text = {"type": "m.room.message", "room_id": ROOM, "content": {"body": "announce springfield …"}}
    ciphertext, _ = encrypt_group(group.pickle, PICKLE_KEY, json.dumps(text))
    content = {"algorithm": MEGOLM, "session_id": group.session_id, "ciphertext": ciphertext}
    event = {"type": "m.room.encrypted", "sender": ANN, "room_id": ROOM, "event_id": "$1", "content": content}
    with pytest.raises(CannotDecrypt, match="not trusted"):
        await keys.decrypt(event)
    del world.people[ANN]["EVIL"]
    world.changed.append(ANN)
    await keys.sync_once()
    for _ in range(2):
        with pytest.raises(CannotDecrypt):
            await keys.decrypt(event)


async def own_account(keys: Keys, database: Database) -> Any:
    async with database.transaction() as tx:
        return await keys._own.account(tx)
