"""What people send to the announcer's device: keys that count, and everything that does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.errors import CannotDecrypt, Unreachable
from bridge.e2ee.inbound import envelope, probe_of
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import MEGOLM, OLM, Account, OutboundGroup, encrypt_group, new_group
from bridge.e2ee.olm_sessions import UNWEDGE_PAUSE_MS
from bridge.store import keys as store
from bridge.store.database import Database
from tests.harness.key_world import ANNOUNCER, PICKLE_KEY, ROOM, Device, KeyWorld, StillClock, keys_upon

ANN, BOB, MALLORY = "@ann:example.org", "@bob:example.org", "@mallory:example.org"


async def ours(database: Database) -> Account:
    async with database.transaction() as tx:
        row = await store.load_account(tx, ANNOUNCER)
    assert row is not None
    return Account.load(row.pickle, PICKLE_KEY, ANNOUNCER, row.device_id)


def room_key(group: OutboundGroup, **changes: Any) -> dict[str, Any]:
    content = {
        "algorithm": MEGOLM,
        "room_id": ROOM,
        "session_id": group.session_id,
        "session_key": group.session_key,
        **changes,
    }
    return {"type": "m.room_key", "content": content}


def payload(device: Device, to: Account, inner: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        **inner,
        "sender": device.user_id,
        "recipient": ANNOUNCER,
        "recipient_keys": {"ed25519": to.ed25519},
        "keys": {"ed25519": device.account.ed25519},
        **changes,
    }


class Speaker:
    """A device that says things to the announcer."""

    def __init__(self, world: KeyWorld, device: Device, to: Account) -> None:
        self.world, self.device, self.to = world, device, to

    def send(self, content: dict[str, Any]) -> None:
        name = next(iter(self.world.own_one_time_keys))
        self.world.inbox.append(self.device.seal(self.to, self.world.own_one_time_keys.pop(name)["key"], content))

    def give(self, group: OutboundGroup, **changes: Any) -> None:
        self.send(payload(self.device, self.to, room_key(group, **changes)))


def said(group: OutboundGroup, sender: str, event_id: str = "$event", body: str = "hello") -> dict[str, Any]:
    text = json.dumps({"type": "m.room.message", "content": {"body": body}, "room_id": ROOM})
    ciphertext, _ = encrypt_group(group.pickle, PICKLE_KEY, text)
    content = {"algorithm": MEGOLM, "session_id": group.session_id, "ciphertext": ciphertext}
    return {
        "type": "m.room.encrypted",
        "event_id": event_id,
        "room_id": ROOM,
        "sender": sender,
        "content": content,
    }


async def test_a_room_key_opens_its_senders_messages_and_nobody_elses(
    world: KeyWorld, keys: Keys, database: Database
) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group)
    assert not await keys.wait_for_key(ROOM, group.session_id, 0.01)
    await keys.sync_once()
    assert await keys.wait_for_key(ROOM, group.session_id, 0.01)
    assert (await keys.decrypt(said(group, ANN)))["content"] == {"body": "hello"}
    with pytest.raises(CannotDecrypt):
        await keys.decrypt(said(group, BOB, "$other"))


async def test_a_message_may_be_read_twice_but_not_repeated(world: KeyWorld, keys: Keys, database: Database) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group)
    await keys.sync_once()
    for _ in range(2):
        await keys.decrypt(said(group, ANN))
    with pytest.raises(CannotDecrypt, match="repeats"):
        await keys.decrypt(said(group, ANN, "$repeated"))


async def test_a_message_of_another_room_is_not_believed(world: KeyWorld, keys: Keys, database: Database) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group, room_id="!other:example.org")
    await keys.sync_once()
    with pytest.raises(CannotDecrypt, match="another room"):
        await keys.decrypt({**said(group, ANN), "room_id": "!other:example.org"})


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": BOB},
        {"recipient": BOB},
        {"recipient_keys": {"ed25519": "a" * 43}},
        {"recipient_keys": {}},
        {"keys": {}},
        {"keys": {"ed25519": ["a"]}},
        {"keys": None},
        {"type": 5},
        {"content": []},
        {"type": "m.forwarded_room_key"},
    ],
    ids=str,
)
async def test_an_olm_message_that_is_not_what_it_says_gives_no_key(
    world: KeyWorld, keys: Keys, database: Database, changes: dict[str, Any]
) -> None:
    (ann,), (bob,) = world.add(ANN, "A"), world.add(BOB, "B")
    to, group, good = await ours(database), new_group(PICKLE_KEY), new_group(PICKLE_KEY)
    Speaker(world, ann, to).send(payload(ann, to, room_key(group), **changes))
    Speaker(world, bob, to).give(good)
    await keys.sync_once()
    assert not await keys.wait_for_key(ROOM, group.session_id, 0)
    assert await keys.wait_for_key(ROOM, good.session_id, 0), "the others' keys come through"


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": "rot13"},
        {"room_id": "!with\0nothing:example.org"},
        {"room_id": "!" + "x" * 10_000},
        {"room_id": None},
        {"session_id": "a" * 43},
        {"session_key": "AgAA"},
        {"session_key": 5},
        {"session_key": "é"},
    ],
    ids=lambda changes: str(changes)[:30],
)
async def test_a_damaged_room_key_is_dropped(
    world: KeyWorld, keys: Keys, database: Database, changes: dict[str, Any]
) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group, **changes)
    await keys.sync_once()
    async with database.transaction() as tx:
        assert await tx.fetch_value("SELECT COUNT(*) FROM crypto_inbound") == 0


async def test_a_key_of_a_device_that_its_sender_does_not_have_opens_nothing(
    world: KeyWorld, keys: Keys, database: Database
) -> None:
    world.add(ANN, "A")
    stranger = Device(ANN, "NOT PUBLISHED")
    group = new_group(PICKLE_KEY)
    Speaker(world, stranger, await ours(database)).give(group)
    await keys.sync_once()
    with pytest.raises(CannotDecrypt, match="does not have"):
        await keys.decrypt(said(group, ANN))
    # once the device is published it counts: the list was only late
    world.people[ANN]["NOT PUBLISHED"] = stranger
    assert (await keys.decrypt(said(group, ANN)))["content"] == {"body": "hello"}


async def test_keys_come_in_while_device_lists_cannot_be_read(
    world: KeyWorld, keys: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group)

    async def away(users: list[Any]) -> dict[str, Any]:
        raise Unreachable("away")

    with monkeypatch.context() as patch:
        patch.setattr(world, "query_keys", away)
        await keys.sync_once()
        with pytest.raises(CannotDecrypt, match="cannot be read"):
            await keys.decrypt(said(group, ANN))
    assert (await keys.decrypt(said(group, ANN)))["content"] == {"body": "hello"}


async def test_whoever_repeats_anothers_key_takes_nothing_from_them(
    world: KeyWorld, keys: Keys, database: Database
) -> None:
    (ann,), (mallory,) = world.add(ANN, "A"), world.add(MALLORY, "M")
    to, group = await ours(database), new_group(PICKLE_KEY)
    Speaker(world, mallory, to).give(group)
    await keys.sync_once()
    await keys.decrypt(said(group, MALLORY, "$repeated before it came"))
    Speaker(world, ann, to).give(group)
    await keys.sync_once()
    assert (await keys.decrypt(said(group, ANN)))["sender"] == ANN


async def test_a_later_copy_of_a_key_does_not_move_ours_forward(
    world: KeyWorld, keys: Keys, database: Database
) -> None:
    (ann,) = world.add(ANN, "A")
    speaker, group = Speaker(world, ann, await ours(database)), new_group(PICKLE_KEY)
    speaker.give(group)
    _, later = encrypt_group(group.pickle, PICKLE_KEY, "{}")
    speaker.give(later)
    await keys.sync_once()
    assert (await keys.decrypt(said(group, ANN)))["content"] == {"body": "hello"}


async def test_a_session_that_broke_is_replaced_once_an_hour(
    world: KeyWorld, keys: Keys, database: Database, clock: StillClock
) -> None:
    (ann,) = world.add(ANN, "A")
    to = await ours(database)
    Speaker(world, ann, to).give(new_group(PICKLE_KEY))
    await keys.sync_once()
    broken = {"type": 1, "body": "AwogZm9v"}
    for _ in range(3):
        for _ in range(5):
            content = {
                "algorithm": OLM,
                "sender_key": ann.account.curve25519,
                "ciphertext": {to.curve25519: broken},
            }
            world.inbox.append({"type": "m.room.encrypted", "sender": ANN, "content": content})
        await keys.sync_once()
    assert [event["type"] for event in ann.received] == ["m.dummy"]
    clock.now += UNWEDGE_PAUSE_MS
    world.inbox.append({"type": "m.room.encrypted", "sender": ANN, "content": content})
    await keys.sync_once()
    assert [event["type"] for event in ann.received] == ["m.dummy", "m.dummy"]


async def test_what_a_sync_brings_is_stored_together_with_its_mark(
    world: KeyWorld, keys: Keys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,) = world.add(ANN, "A")
    group = new_group(PICKLE_KEY)
    Speaker(world, ann, await ours(database)).give(group)
    events = list(world.inbox)

    async def fail(*_: Any) -> None:
        raise Unreachable("killed while storing")

    async def marks() -> tuple[Any, Any]:
        async with database.transaction() as tx:
            return (
                await tx.fetch_value("SELECT next_batch FROM crypto_account"),
                await tx.fetch_value("SELECT COUNT(*) FROM crypto_olm_session"),
            )

    before = await marks()
    with monkeypatch.context() as patch:
        patch.setattr("bridge.store.keys.set_next_batch", fail)
        with pytest.raises(Unreachable):
            await keys.sync_once()
    assert await marks() == before
    world.inbox = events  # the homeserver gives them again
    await keys.sync_once()
    assert (await keys.decrypt(said(group, ANN)))["content"] == {"body": "hello"}


# --- anything at all --------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=50) | st.just("a" * 43),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
NASTY = st.one_of(
    JSON,
    st.fixed_dictionaries({"type": st.just("m.room.encrypted"), "sender": st.just(ANN) | JSON, "content": JSON}),
    st.fixed_dictionaries(
        {
            "type": st.just("m.room.encrypted"),
            "sender": st.sampled_from([ANN, "@" + "x" * 400, "@nul\0:example.org", "@nobody:example.org"]),
            "content": st.fixed_dictionaries(
                {
                    "algorithm": st.just(OLM) | JSON,
                    "sender_key": st.just("a" * 43) | JSON,
                    "ciphertext": st.fixed_dictionaries(
                        {
                            "OURS": st.fixed_dictionaries(
                                {
                                    "type": st.sampled_from([0, 1, 2, True, None]),
                                    "body": st.text(max_size=60)
                                    | st.text("abcdefghijklmnopqrstuvwxyzABCDEF0123456789+/=", max_size=300)
                                    | JSON,
                                }
                            )
                            | JSON
                        }
                    )
                    | JSON,
                }
            ),
        }
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NASTY, max_size=6), JSON, JSON)
async def test_nothing_that_comes_in_stops_the_sync(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], lists: Any, counts: Any
) -> None:
    world, clock = KeyWorld(), StillClock()
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/keys.db")
    await database.start()
    try:
        keys = keys_upon(world, database, clock)
        await keys.start()
        account = await ours(database)
        world.inbox = json.loads(json.dumps(events).replace('"OURS"', json.dumps(account.curve25519)))
        sync = world.sync

        async def odd(since: str | None, *, timeout_ms: int) -> dict[str, Any]:
            answer = await sync(since, timeout_ms=timeout_ms)
            return {**answer, "device_lists": lists, "device_one_time_keys_count": counts, "next_batch": "after"}

        world.sync = odd  # type: ignore[method-assign]
        await keys.sync_once()
        async with database.transaction() as tx:
            assert await tx.fetch_value("SELECT next_batch FROM crypto_account") == "after"
            assert await tx.fetch_value("SELECT COUNT(*) FROM crypto_inbound") == 0
    finally:
        await database.stop()


@given(JSON)
def test_reading_an_event_never_raises(event: Any) -> None:
    assert envelope(event, "a" * 43) is None
    assert probe_of(event, ANNOUNCER) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    event=st.dictionaries(st.sampled_from(["sender", "room_id", "event_id", "type"]), JSON),
    content=JSON | st.fixed_dictionaries({"algorithm": st.just(MEGOLM), "session_id": JSON, "ciphertext": JSON}),
)
async def test_an_event_that_cannot_be_read_says_so(keys: Keys, event: dict[str, Any], content: Any) -> None:
    with pytest.raises(CannotDecrypt):
        await keys.decrypt({**event, "content": content})
