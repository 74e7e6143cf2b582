"""Room keys outwards: what goes wrong on the way, and people who do not play fair."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from bridge.core.errors import BadRequest, CannotEncrypt, Unreachable
from bridge.core.ids import RoomId, UserId
from bridge.e2ee.devices import FAILURE_PAUSE_MS, MAX_DEVICES_PER_USER
from bridge.e2ee.giving import IN_FLIGHT
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import Account
from bridge.e2ee.recipients import Trust
from bridge.store import shares
from bridge.store.database import Database
from tests.harness.key_world import ROOM, Device, KeyWorld, StillClock, keys_upon, say
from tests.harness.wait import eventually

ANN, BOB, MALLORY = "@ann:example.org", "@bob:example.org", "@mallory:example.org"


async def test_everybody_reads_and_warm_sends_ask_nobody(world: KeyWorld, keys: Keys) -> None:
    devices = [*world.add(ANN, "A", "B"), *world.add(BOB, "C")]
    first, held = await keys.encrypt(ROOM, "m.room.message", {"body": "one"})
    assert held == 3
    assert {device.reads(first) for device in devices} == {"one"}
    before = len(world.queries), len(world.claims), len(world.sent)
    second = await say(keys, "two")
    assert {device.reads(second) for device in devices} == {"two"}
    assert (len(world.queries), len(world.claims), len(world.sent)) == before


async def test_a_device_without_keys_blocks_nobody_is_told_once_and_tried_again(world: KeyWorld, keys: Keys) -> None:
    (ann,) = world.add(ANN, "A")
    (bob,) = world.add(BOB, "B", one_time_keys=0)
    first = await say(keys, "one")
    await say(keys, "two")
    assert ann.reads(first) == "one"
    assert [event["content"]["code"] for event in bob.received] == ["m.no_olm"]
    bob.account.make_one_time_keys(1)
    bob.one_time_keys = bob.account.keys_to_publish()["one_time_keys"]
    assert bob.reads(await say(keys, "three")) == "three"
    assert bob.reads(first) is None, "the key that it gets begins where it came in"


async def test_a_one_time_key_that_the_device_did_not_sign_is_not_used(world: KeyWorld, keys: Keys) -> None:
    (ann,), (mallory,) = world.add(ANN, "A"), world.add(MALLORY, "M", join=False)
    ann.one_time_keys = dict(mallory.one_time_keys)
    content, held = await keys.encrypt(ROOM, "m.room.message", {"body": "one"})
    assert held == 0
    assert mallory.reads(content) is None


async def test_whoever_publishes_anothers_key_does_not_cut_them_off(world: KeyWorld, keys: Keys) -> None:
    (ann,), (mallory,) = world.add(ANN, "A"), world.add(MALLORY, "M")
    stolen = {**mallory.keys, "keys": {**mallory.keys["keys"], "curve25519:M": ann.account.curve25519}}
    mallory.keys = mallory.account.signed({key: value for key, value in stolen.items() if key != "signatures"})
    for text in ("one", "two", "three"):
        assert ann.reads(await say(keys, text)) == text
        world.state["m.room.history_visibility"] = {"history_visibility": "joined" if text == "one" else "shared"}
    assert len([event for event in ann.received if event["type"] == "m.room_key"]) == 3


async def test_a_device_that_changes_its_signing_key_is_not_believed(world: KeyWorld, keys: Keys) -> None:
    (ann,) = world.add(ANN, "A")
    await say(keys, "one")
    (impostor,) = world.add(ANN, "A")
    await keys.sync_once()
    assert impostor.reads(await say(keys, "two")) is None
    assert not impostor.received
    assert ann.user_id == impostor.user_id


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {"user_id": MALLORY},
        {"user_id": MALLORY, "device_id": "X", "keys": []},
        {"user_id": MALLORY, "device_id": "X", "keys": {"curve25519:X": 5, "ed25519:X": {}}},
        {"user_id": MALLORY, "device_id": "X", "keys": {"curve25519:X": "a" * 43, "ed25519:X": "b" * 43}},
    ],
)
async def test_nonsense_among_the_devices_is_passed_over(world: KeyWorld, keys: Keys, entry: object) -> None:
    (ann,), (mallory,) = world.add(ANN, "A"), world.add(MALLORY, "M")
    world.extra_keys[MALLORY] = {
        "X": entry,
        "L" * 10_000: Device(MALLORY, "L" * 10_000).keys,
        "of another user": Device(ANN, "of another user").keys,
        "under another name": Device(MALLORY, "its name").keys,
        "with\0nothing": Device(MALLORY, "with\0nothing").keys,
        "": Device(MALLORY, "").keys,
        "changed after signing": {**Device(MALLORY, "changed after signing").keys, "algorithms": []},
    }
    content, held = await keys.encrypt(ROOM, "m.room.message", {"body": "one"})
    assert held == 2
    assert (ann.reads(content), mallory.reads(content)) == ("one", "one")


async def test_thousands_of_devices_of_one_user_are_cut_short(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.e2ee.devices.MAX_DEVICES_PER_USER", 5)
    (ann,) = world.add(ANN, "A")
    (mallory,) = world.add(MALLORY, "Z")
    await say(keys, "one")
    world.add(MALLORY, *(f"A{number}" for number in range(10)))
    await keys.sync_once()
    content, held = await keys.encrypt(ROOM, "m.room.message", {"body": "two"})
    assert held == 1 + 5
    assert mallory.reads(content) == ann.reads(content) == "two", "what is known is not pushed out by what is new"
    assert MAX_DEVICES_PER_USER > 100


async def test_a_user_whose_devices_cannot_be_read_is_left_alone_for_a_while(
    world: KeyWorld, keys: Keys, clock: StillClock
) -> None:
    (ann,), (bob,) = world.add(ANN, "A"), world.add(BOB, "B")
    world.unreadable_users = {BOB}
    assert ann.reads(await say(keys, "one")) == "one"
    asked = len(world.queries)
    await say(keys, "two")
    assert len(world.queries) == asked
    world.unreadable_users = set()
    clock.now += FAILURE_PAUSE_MS + 1
    assert bob.reads(await say(keys, "three")) == "three"


async def test_a_refused_claim_blocks_nobody(world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    (ann,) = world.add(ANN, "A")
    await say(keys, "one")
    (bob,) = world.add(BOB, "B")

    async def refuse(wanted: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
        raise BadRequest("no")

    with monkeypatch.context() as patch:
        patch.setattr(world, "claim_keys", refuse)
        assert ann.reads(await say(keys, "two")) == "two"
    assert bob.reads(await say(keys, "three")) == "three"


class Refusing:
    """A homeserver that takes no request that is for one person, whatever kind of request it is."""

    def __init__(self, world: KeyWorld, monkeypatch: pytest.MonkeyPatch, user: str) -> None:
        self.user = user
        self.refusals = 0
        self.requests = 0
        for name in ("send_to_device", "claim_keys", "query_keys"):
            monkeypatch.setattr(world, name, self._refusing(getattr(world, name)))

    def _refusing(self, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*args: Any) -> Any:
            self.requests += 1
            if self.user in args[-1]:
                self.refusals += 1
                raise BadRequest("too large", status=413)
            return await inner(*args)

        return ask


async def test_a_person_for_whom_every_request_is_refused_is_nobody_elses_loss(
    world: KeyWorld, keys: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.e2ee.recipients.CHUNK_DEVICES", 30)
    users = [f"@user{number:02d}:example.org" for number in range(50)]
    devices = [device for user in users for device in world.add(user, "A")]
    with monkeypatch.context() as patch:
        refusing = Refusing(world, patch, users[13])
        content, held = await keys.encrypt(ROOM, "m.room.message", {"body": "one"})
        assert held == 49, "their devices are not known at all"
    assert [device.user_id for device in devices if device.reads(content) is None] == [users[13]]
    await keys.sync_once()
    world.changed.append(users[13])
    await keys.sync_once()
    assert await say(keys, "two")
    world.state["m.room.history_visibility"] = {"history_visibility": "joined"}
    with monkeypatch.context() as patch:
        refusing = Refusing(world, patch, users[13])
        content, held = await keys.encrypt(ROOM, "m.room.message", {"body": "three"})
        assert held == 49
        assert [device.user_id for device in devices if device.reads(content) is None] == [users[13]]
        assert refusing.refusals <= 6
        refusing.requests = 0
        content = await say(keys, "four")
        assert refusing.requests == 2, "one for that device, one that shows that it is that device"
        async with database.transaction() as tx:
            assert (await shares.reach(tx, ROOM, ours=[])).without == {"refused": 1}
    assert {len(device.received) for device in devices if device.user_id != users[13]} == {2}, "nobody is sent it twice"
    assert devices[13].reads(await say(keys, "five")) == "five", "it is tried again with each message"
    assert devices[13].reads(content) is None, "the key that it gets begins where it came in"


async def test_what_was_refused_may_have_arrived(
    world: KeyWorld, keys: Keys, database: Database, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,), (bob,) = world.add(ANN, "A"), world.add(BOB, "B")
    send = world.send_to_device

    async def take_and_refuse(event_type: str, txn_id: str, messages: Mapping[str, Any]) -> None:
        await send(event_type, txn_id, messages)
        if BOB in messages:
            raise BadRequest("Internal server error", status=500)

    with monkeypatch.context() as patch:
        patch.setattr(world, "send_to_device", take_and_refuse)
        first = await say(keys, "one")
    assert ann.reads(first) == bob.reads(first) == "one"
    world.leave(BOB)
    second = await say(keys_upon(world, database, clock), "two")
    assert ann.reads(second) == "two"
    assert bob.reads(second) is None


async def test_where_the_homeserver_takes_no_keys_at_all_nothing_is_said(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = [device for number in range(10) for device in world.add(f"@user{number}:example.org", "A")]
    requests = 0

    async def refuse(*_: Any) -> None:
        nonlocal requests
        requests += 1
        raise BadRequest("out of order", status=500)

    with monkeypatch.context() as patch:
        patch.setattr(world, "send_to_device", refuse)
        with pytest.raises(BadRequest):
            await say(keys, "one")
    assert requests == 2
    content = await say(keys, "one")
    assert {device.reads(content) for device in devices} == {"one"}


async def test_a_delivery_that_is_killed_between_the_parts_of_a_refused_request_goes_on(
    world: KeyWorld, keys: Keys, database: Database, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [f"@user{number:02d}:example.org" for number in range(16)]
    devices = [device for user in users for device in world.add(user, "A")]
    await keys.prepare(ROOM)
    world.state["m.room.history_visibility"] = {"history_visibility": "joined"}
    refusing = Refusing(world, monkeypatch, users[7])
    send = world.send_to_device

    async def die_when_it_was_found(*args: Any) -> None:
        if refusing.refusals == 3:
            raise Unreachable("killed")
        await send(*args)

    with monkeypatch.context() as patch:
        patch.setattr(world, "send_to_device", die_when_it_was_found)
        with pytest.raises(Unreachable):
            await say(keys, "one")
    content = await say(keys_upon(world, database, clock), "one")
    assert [device.user_id for device in devices if device.reads(content) is None] == [users[7]]


async def test_who_is_told_that_they_get_no_key_is_told_in_parts_too(
    world: KeyWorld, database: Database, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = keys_upon(world, database, clock, trust=Trust.SIGNED)
    await keys.start()
    users = [f"@user{number:02d}:example.org" for number in range(16)]
    devices = [device for user in users for device in world.add(user, "A")]
    refuse = Refusing(world, monkeypatch, "nobody")
    await keys.prepare(ROOM)
    world.state["m.room.history_visibility"] = {"history_visibility": "joined"}
    refuse.user = users[3]
    for text in ("one", "two"):
        await say(keys, text)
    assert [len(device.received) for device in devices] == [1 if device is devices[3] else 2 for device in devices]


async def test_a_killed_delivery_goes_on_where_it_stood(
    world: KeyWorld, keys: Keys, database: Database, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.e2ee.recipients.CHUNK_DEVICES", 4)
    devices = [device for number in range(10) for device in world.add(f"@user{number}:example.org", "A")]
    send = world.send_to_device
    requests = 0

    async def die_under_the_second(*args: Any) -> None:
        nonlocal requests
        requests += 1
        await send(*args)
        if requests == 2:
            raise Unreachable("killed after it arrived")

    monkeypatch.setattr(world, "send_to_device", die_under_the_second)
    with pytest.raises(Unreachable):
        await say(keys, "one")
    before = set(world.sent)
    again = keys_upon(world, database, clock)
    content, held = await again.encrypt(ROOM, "m.room.message", {"body": "one"})
    assert held == 10
    assert len(before) == len(world.sent) == 3, "what was under way came to its end, what was not answered is repeated"
    for device in devices:
        assert device.reads(content) == "one"
        assert len(device.received) == 1


async def test_who_comes_in_during_a_share_gets_the_key_too(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(ANN, "A")
    (bob,) = world.add(BOB, "B", join=False)
    send = world.send_to_device

    async def send_and_let_in(*args: Any) -> None:
        await send(*args)
        world.join(BOB)

    monkeypatch.setattr(world, "send_to_device", send_and_let_in)
    assert bob.reads(await say(keys, "one")) == "one"


async def test_a_room_that_is_never_still_is_given_up_for_now(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add(ANN, "A")
    (bob,) = world.add(BOB, "B")
    send = world.send_to_device

    async def send_and_move(*args: Any) -> None:
        await send(*args)
        world.leave(BOB)
        world.join(BOB)

    monkeypatch.setattr(world, "send_to_device", send_and_move)
    with pytest.raises(CannotEncrypt):
        await say(keys, "one")
    assert len(world.sent) < 10
    monkeypatch.undo()
    assert bob.reads(await say(keys, "two")) == "two"


async def test_the_ratchet_is_stored_before_the_ciphertext_leaves(
    world: KeyWorld, keys: Keys, database: Database, clock: StillClock
) -> None:
    (ann,) = world.add(ANN, "A")
    texts = {}
    for number in range(5):
        again = keys_upon(world, database, clock)  # a restart after each message
        content = await say(again, str(number))
        texts[content["ciphertext"]] = ann.reads(content)
    assert list(texts.values()) == ["0", "1", "2", "3", "4"]
    assert len(ann.received) == 1


async def test_a_relation_stands_outside_too(world: KeyWorld, keys: Keys) -> None:
    world.add(ANN, "A")
    relation = {"rel_type": "m.replace", "event_id": "$event"}
    content, _ = await keys.encrypt(ROOM, "m.room.message", {"body": "one", "m.relates_to": relation})
    assert content["m.relates_to"] == relation


async def test_another_device_of_the_announcer_gets_nothing(world: KeyWorld, keys: Keys) -> None:
    (ours,) = world.add("@announcements:example.org", "X", join=False)
    (ann,) = world.add(ANN, "A")
    content = await say(keys, "one")
    assert ann.reads(content) == "one"
    assert ours.reads(content) is None
    assert isinstance(ours.account, Account)
    assert not ours.received
    assert UserId(ANN) in world.queries[-1]


async def test_a_small_room_does_not_wait_behind_a_large_one(
    world: KeyWorld, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.e2ee.recipients.CHUNK_DEVICES", 4)
    devices = [device for number in range(20) for device in world.add(f"@user{number}:example.org", "A")]
    send, may_go_on, requests = world.send_to_device, asyncio.Event(), 0

    async def the_first_ones_hang(*args: Any) -> None:
        nonlocal requests
        requests += 1
        if requests <= IN_FLIGHT:
            await may_go_on.wait()
        await send(*args)

    monkeypatch.setattr(world, "send_to_device", the_first_ones_hang)
    large = asyncio.create_task(say(keys, "into the large room"))
    await eventually(lambda: requests == IN_FLIGHT, what="the large room to be under way")
    progress = keys.progress(ROOM)
    assert progress is not None
    assert (progress.done, progress.total) == (0, 20)
    small = RoomId("!small:example.org")
    content, held = await asyncio.wait_for(keys.encrypt(small, "m.room.message", {"body": "into the small one"}), 20)
    assert held == 20
    assert {device.reads(content) for device in devices} == {"into the small one"}
    assert not large.done()
    may_go_on.set()
    content = await large
    assert {device.reads(content) for device in devices} == {"into the large room"}
    assert keys.progress(ROOM) is None


async def test_a_one_time_key_that_is_handed_out_again_blocks_nobody(
    world: KeyWorld, keys: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,), (bob,) = world.add(ANN, "A"), world.add(BOB, "B")
    name, key = next(iter(ann.one_time_keys.items()))
    again = {name: key}
    monkeypatch.setattr(ann, "claim", lambda: again)
    first = await say(keys, "one")
    assert ann.reads(first) == bob.reads(first) == "one"
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM crypto_olm_session")
    world.state["m.room.history_visibility"] = {"history_visibility": "joined"}
    assert bob.reads(await say(keys, "two")) == "two"


async def test_a_device_that_is_not_trusted_is_told_so_once_for_each_session(
    world: KeyWorld, database: Database, clock: StillClock
) -> None:
    keys = keys_upon(world, database, clock, trust=Trust.SIGNED)
    await keys.start()
    (ann,) = world.add(ANN, "A")
    for text in ("one", "two"):
        content = await say(keys, text)
        assert ann.reads(content) is None
    assert [event["type"] for event in ann.received] == ["m.room_key.withheld"]
    told = ann.received[0]["content"]
    assert (told["code"], told["room_id"], told["session_id"]) == ("m.unverified", ROOM, content["session_id"])
