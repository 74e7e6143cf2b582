"""Past keys outwards: killed and resumed, people who leave in between, and who is away when."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from bridge.app.past import Past
from bridge.core.errors import BadRequest, Forbidden, Unreachable
from bridge.core.ids import EventId, RoomId
from bridge.core.messages import Posted
from bridge.e2ee.delivery import UNUSED_PAUSE_MS
from bridge.e2ee.gifts import FIRST_REST_MS
from bridge.e2ee.giving import IN_FLIGHT
from bridge.e2ee.history import BUNDLE_ACCEPTED_MS, BUNDLE_PAUSE_MS
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import OlmFailure, decrypt_group, encrypt_group, import_room_key, new_group
from bridge.e2ee.recipients import Trust
from bridge.e2ee.window import DAY_MS, Window
from bridge.intake.parse import message_index
from bridge.store import history
from bridge.store.database import Database, Transaction
from bridge.store.history import MoveRow, SpokenRow
from tests.harness.key_world import ANNOUNCER, PICKLE_KEY, ROOM, Device, KeyWorld, StillClock, keys_upon, say

ANN, BOB, OFFICE = "@ann:example.org", "@bob:example.org", "@office:example.org"
WINDOW = Window(announcements=10, days=30)


class Scene:
    """The announcer in a room, and everything that the homeserver would push of it."""

    def __init__(self, world: KeyWorld, database: Database, clock: StillClock) -> None:
        self.world, self.database, self.clock = world, database, clock
        self.window = WINDOW
        self.number = 0
        self.missed = 0
        """How often it was told that something has to be given to somebody after all."""

    async def restart(self) -> Keys:
        """A new process upon the same database."""
        self.keys = keys_upon(self.world, self.database, self.clock, window=self.window)
        await self.keys.start()
        return self.keys

    async def say(self, text: str) -> dict[str, Any]:
        self.clock.now += 1000
        content = await say(self.keys, text)
        await self.heard(ANNOUNCER, content)
        return content

    async def heard(self, sender: str, content: Mapping[str, Any]) -> None:
        self.number += 1
        index = message_index(content["ciphertext"])
        assert index is not None
        row = SpokenRow(f"$said{self.number}", content["session_id"], sender, index, self.clock.now)
        async with self.database.transaction() as tx:
            self.missed += await self.keys.history.spoke(tx, ROOM, row)

    async def comes(self, user: str, at: int | None = None) -> None:
        """Args: at: when their own homeserver says that they did."""
        self.clock.now += 1000
        self.world.join(user)
        await self._moved(user, "join", f"${self.world.members[user]}", at)

    async def leaves(self, user: str, at: int | None = None) -> None:
        self.clock.now += 1000
        self.number += 1
        self.world.leave(user)
        await self._moved(user, "leave", f"$left{self.number}", at)

    async def _moved(self, user: str, membership: str, event_id: str, at: int | None = None) -> None:
        row = MoveRow(user, event_id, membership, ANNOUNCER, self.clock.now if at is None else at)
        async with self.database.transaction() as tx:
            await self.keys.history.moved(tx, ROOM, row)

    async def catch_up(self) -> int | None:
        self.clock.now += BUNDLE_PAUSE_MS
        return await self.keys.catch_up(ROOM)

    async def person_says(self, device: Device, texts: list[str], **room_key: Any) -> list[dict[str, Any]]:
        """Somebody posts under a session of theirs, whose key they give to the announcer."""
        group = new_group(PICKLE_KEY)
        content = {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": ROOM,
            "session_id": group.session_id,
            "session_key": group.session_key,
            **({"shared_history": True} | room_key),
        }
        account = self.world.own
        async with self.database.transaction() as tx:
            own = await self.keys._own.account(tx)
        one_time = next(iter(self.world.own_one_time_keys))
        sealed = device.seal(
            own,
            self.world.own_one_time_keys.pop(one_time)["key"],
            {
                "type": "m.room_key",
                "content": content,
                "sender": device.user_id,
                "recipient": account["user_id"],
                "recipient_keys": {"ed25519": own.ed25519},
                "keys": {"ed25519": device.account.ed25519},
            },
        )
        self.world.inbox.append(sealed)
        await self.keys.sync_once()
        said = []
        pickle = group.pickle
        for text in texts:
            self.clock.now += 1000
            plain = json.dumps({"type": "m.room.message", "room_id": ROOM, "content": {"body": text}})
            ciphertext, group = encrypt_group(pickle, PICKLE_KEY, plain)
            pickle = group.pickle
            wire = {"session_id": group.session_id, "ciphertext": ciphertext}
            await self.heard(device.user_id, wire)
            said.append(wire)
        return said

    def bundle(self, device: Device) -> dict[str, Any]:
        """The bundle of keys that a device was given, opened; fails where there is not exactly one."""
        (event,) = [event for event in device.received if event["type"] == "m.room_key_bundle"]
        assert event["sender_device_keys"] == self.world.own
        file = event["content"]["file"]
        assert event["content"]["room_id"] == ROOM
        assert (file["v"], file["key"]["alg"]) == ("v2", "A256CTR")
        data = self.world.files[int(file["url"].rpartition("/")[2]) - 1]
        assert base64.b64decode(file["hashes"]["sha256"] + "=") == hashlib.sha256(data).digest()
        key, start = base64.urlsafe_b64decode(file["key"]["k"] + "="), base64.b64decode(file["iv"] + "==")
        decryptor = Cipher(AES(key), CTR(start)).decryptor()
        found: dict[str, Any] = json.loads(decryptor.update(data) + decryptor.finalize())
        assert found.keys() == {"room_keys", "withheld"}
        return found


@pytest.fixture
async def scene(database: Database) -> Scene:
    scene = Scene(KeyWorld(), database, StillClock())
    await scene.restart()
    scene.world.add(BOB, "B", join=False)
    await scene.comes(BOB)
    return scene


def reads(device: Device, content: Mapping[str, Any]) -> str | None:
    """As `Device.reads`, with every key of the session that it was given: a client keeps the one that begins first."""
    for event in device.received:
        if event["type"] == "m.room_key" and event["content"]["session_id"] == content["session_id"]:
            key = import_room_key(event["content"]["session_key"], PICKLE_KEY)
            try:
                return str(
                    json.loads(decrypt_group(key.pickle, PICKLE_KEY, content["ciphertext"])[0])["content"]["body"]
                )
            except OlmFailure:
                continue
    return None


def keys_received(device: Device) -> list[str]:
    return [event["content"]["session_id"] for event in device.received if event["type"] == "m.room_key"]


async def three_sessions(scene: Scene) -> list[dict[str, Any]]:
    """Three announcements, each under a session of its own."""
    said = []
    for number in range(3):
        said.append(await scene.say(f"number {number}"))
        await scene.leaves(BOB)
        await scene.comes(BOB)
    assert len({content["session_id"] for content in said}) == 3
    await scene.catch_up()
    return said


async def catch_up_killed(scene: Scene, monkeypatch: pytest.MonkeyPatch, fatal: int, *, arrives: bool) -> int:
    """Catch up in a process that dies with a request, and begin another one; gives how many requests were made.

    Args:
        fatal: the number of that request, beyond all where none is to die.
        arrives: whether the homeserver gets it all the same.
    """
    requests = 0
    send = scene.world.send_to_device

    async def die(*args: Any) -> None:
        nonlocal requests
        requests += 1
        if requests == fatal:
            if arrives:
                await send(*args)
            raise Unreachable("killed")
        await send(*args)

    with monkeypatch.context() as patch:
        patch.setattr(scene.world, "send_to_device", die)
        try:
            await scene.catch_up()
        except Unreachable:
            assert requests >= fatal
    await scene.restart()
    return requests


async def test_a_newcomer_reads_what_was_said_before_and_whoever_was_there_gets_nothing_twice(scene: Scene) -> None:
    (bob,) = scene.world.people[BOB].values()
    said = [await scene.say("one"), await scene.say("two")]
    assert await scene.catch_up() is None
    assert len(bob.received) == 1
    ann, phone = scene.world.add(ANN, "A", "P", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert [[device.reads(content) for content in said] for device in (ann, phone)] == [["one", "two"]] * 2
    await scene.catch_up()
    said.append(await scene.say("three"))
    await scene.catch_up()
    assert [device.reads(said[2]) for device in (ann, phone, bob)] == ["three"] * 3
    assert [len(keys_received(device)) for device in (ann, phone, bob)] == [1, 1, 1], (
        "the present session counts as shared"
    )


async def test_who_was_given_the_present_session_and_leaves_ends_it(scene: Scene) -> None:
    await scene.say("one")
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert keys_received(ann)
    await scene.leaves(ANN)
    assert ann.reads(await scene.say("two")) is None


async def test_a_new_device_of_a_member_reads_it_too(scene: Scene) -> None:
    said = await three_sessions(scene)
    (phone,) = scene.world.add(BOB, "P", join=False)
    await scene.keys.sync_once()
    await scene.catch_up()
    assert [phone.reads(content) for content in said] == ["number 0", "number 1", "number 2"]


async def test_what_was_said_while_somebody_was_away_is_given_where_that_is_wanted(scene: Scene) -> None:
    first = await scene.say("first")
    scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    await scene.leaves(ANN)
    meanwhile = await scene.say("meanwhile")
    await scene.comes(ANN)
    (ann,) = scene.world.add(ANN, "B", join=False)
    await scene.keys.sync_once()
    await scene.catch_up()
    assert (ann.reads(first), ann.reads(meanwhile)) == ("first", None)
    await scene.leaves(ANN)
    await scene.comes(ANN)
    scene.window = Window(10, 30, while_away=True)
    await scene.restart()
    await scene.catch_up()
    assert (ann.reads(first), ann.reads(meanwhile)) == ("first", "meanwhile")


async def test_no_homeserver_dates_an_absence_away(scene: Scene) -> None:
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    first = await scene.say("first")
    left = scene.clock.now
    for early, late in ((left + 1, left + 2), (0, 1), (left + DAY_MS, left), (left, left + DAY_MS)):
        await scene.leaves(ANN, early)
        secret = await scene.say("secret")
        await scene.comes(ANN, late)
        await scene.catch_up()
        assert (ann.reads(first), ann.reads(secret)) == ("first", None)


async def test_an_absence_that_is_dated_back_is_forgotten_no_earlier(scene: Scene) -> None:
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    joined = scene.clock.now
    scene.clock.now += 40 * DAY_MS
    await scene.leaves(ANN, joined + 1)
    secret = await scene.say("secret")
    await scene.catch_up()
    await scene.restart()
    scene.clock.now += DAY_MS
    await scene.catch_up()
    await scene.comes(ANN)
    await scene.catch_up()
    assert ann.reads(secret) is None


async def test_an_event_that_is_told_again_changes_nothing(scene: Scene) -> None:
    scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.leaves(ANN)
    await scene.comes(ANN)
    async with scene.database.transaction() as tx:
        before = await history.moves_of(tx, ROOM, [ANN]), await history.present(tx, ROOM)
    scene.clock.now += 1000
    for row in before[0][ANN]:
        async with scene.database.transaction() as tx:
            await scene.keys.history.moved(tx, ROOM, row)
    async with scene.database.transaction() as tx:
        assert (await history.moves_of(tx, ROOM, [ANN]), await history.present(tx, ROOM)) == before


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_killed_delivery_goes_on_where_it_stood(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    monkeypatch.setattr("bridge.e2ee.history.CHUNK_DEVICES", 2)
    said = await three_sessions(scene)
    devices = scene.world.add(ANN, *"ABCDE", join=False)
    await scene.comes(ANN)
    total = 0
    for fatal in (1, 3, 2, 99):
        total += await catch_up_killed(scene, monkeypatch, fatal, arrives=arrives)
    assert total == 3 * 3 + 3, "nothing but what was killed is sent again"
    for device in devices:
        assert [device.reads(content) for content in said] == ["number 0", "number 1", "number 2"]
        assert sorted(keys_received(device)) == sorted(content["session_id"] for content in said)


async def test_who_leaves_in_between_gets_nothing_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await three_sessions(scene)
    (ann,) = scene.world.add(ANN, "A", join=False)
    (lisa,) = scene.world.add("@lisa:example.org", "L", join=False)
    await scene.comes(ANN)
    await scene.comes("@lisa:example.org")
    send = scene.world.send_to_device

    async def send_and_leave(*args: Any) -> None:
        await send(*args)
        scene.world.leave(ANN)

    monkeypatch.setattr(scene.world, "send_to_device", send_and_leave)
    await scene.catch_up()
    assert len(keys_received(ann)) <= IN_FLIGHT < 3, "what was under way already"
    assert len(keys_received(lisa)) == 3


async def test_no_more_is_given_than_the_window_shows(scene: Scene) -> None:
    old = await scene.say("old")
    scene.clock.now += 30 * DAY_MS
    said = [await scene.say(str(number)) for number in range(12)]
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert ann.reads(old) is None
    assert [ann.reads(content) for content in said] == [None, None, *map(str, range(2, 12))]


async def test_what_lies_before_the_window_stays_closed_though_much_is_forgotten(scene: Scene) -> None:
    old = await scene.say("old")
    scene.clock.now += DAY_MS
    new = await scene.say("new")
    assert old["session_id"] == new["session_id"]
    scene.clock.now += 29 * DAY_MS + DAY_MS // 2
    for user in (ANN, OFFICE):
        (device,) = scene.world.add(user, "A", join=False)
        await scene.comes(user)
        await scene.catch_up()
        await scene.restart()
        assert (device.reads(old), device.reads(new)) == (None, "new")


@pytest.mark.parametrize("window", [Window(0, 30), None])
async def test_nothing_is_given_where_nobody_wants_it(scene: Scene, window: Window | None) -> None:
    said = await scene.say("one")
    scene.keys = keys_upon(scene.world, scene.database, scene.clock, window=window)
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert ann.reads(said) is None
    assert not ann.received


async def test_nothing_is_given_where_history_is_not_visible(scene: Scene) -> None:
    said = await scene.say("one")
    scene.world.state["m.room.history_visibility"] = {"history_visibility": "joined"}
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert ann.reads(said) is None


async def test_who_could_not_be_given_the_key_of_a_message_is_given_it_once_that_is_possible(scene: Scene) -> None:
    past = await three_sessions(scene)
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    keys = len(keys_received(ann))
    (phone,) = scene.world.add(ANN, "P", join=False, one_time_keys=0)
    await scene.keys.sync_once()
    await scene.keys._devices.refresh([phone.user_id])
    async with scene.database.transaction() as tx:
        await history.serve_all(tx, ROOM, signed=False, verified=False)
    one = await scene.say("one")
    two = await scene.say("two")
    assert scene.missed == 1, "at the first; then it is known"
    await scene.catch_up()
    phone.account.make_one_time_keys(5)
    phone.one_time_keys = phone.account.keys_to_publish()["one_time_keys"]
    three = await scene.say("three")
    await scene.catch_up()
    assert [reads(phone, content) for content in (one, two, three)] == ["one", "two", "three"]
    assert [reads(phone, content) for content in past] == [None] * 3, "of what it was served nothing is given again"
    assert len(keys_received(ann)) == keys + 1


@pytest.mark.parametrize("nothing_said_before", [True, False])
async def test_a_device_that_is_signed_later_reads_what_was_said_until_then(
    database: Database, nothing_said_before: bool
) -> None:
    scene = Scene(KeyWorld(), database, StillClock())
    scene.keys = keys_upon(scene.world, database, scene.clock, window=WINDOW, trust=Trust.SIGNED)
    await scene.keys.start()
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.keys.sync_once()
    if not nothing_said_before:
        await scene.say("zero")
    await scene.catch_up()
    one = await scene.say("one")
    await scene.catch_up()
    assert reads(ann, one) is None
    async with database.transaction() as tx:
        await tx.execute("UPDATE crypto_device SET cross_signed = 1")
    two = await scene.say("two")
    await scene.catch_up()
    assert (reads(ann, one), reads(ann, two)) == ("one", "two")


async def test_who_joins_while_an_announcement_is_under_way_reads_it(scene: Scene) -> None:
    await scene.say("zero")
    await scene.leaves(BOB)
    await scene.comes(BOB)
    await scene.catch_up()
    (ann,) = scene.world.add(ANN, "A", join=False)
    one = await say(scene.keys, "one")
    await scene.comes(ANN)
    await scene.catch_up()
    await scene.keys.prepare(ROOM)
    scene.clock.now += 1000
    await scene.heard(ANNOUNCER, one)
    assert scene.missed == 1
    await scene.catch_up()
    assert reads(ann, one) == "one"
    assert len(keys_received(ann)) == 3, "the one of before, the present one in the ordinary way, and from its start"
    await scene.say("two")
    assert scene.missed == 1


@pytest.mark.parametrize("sessions_since", [1, 2])
async def test_who_joins_while_an_announcement_is_under_way_reads_it_even_if_its_session_ends_unheard_of(
    scene: Scene, sessions_since: int
) -> None:
    (bob,) = scene.world.people[BOB].values()
    leavers = [f"@leaver{number}:example.org" for number in range(1 + sessions_since)]
    for user in leavers:
        scene.world.add(user, "L", join=False)
        await scene.comes(user)
    zero = await scene.say("zero")
    await scene.leaves(leavers.pop())
    await scene.catch_up()
    one = await say(scene.keys, "one")
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    for user in leavers:
        await scene.leaves(user)
        await scene.keys.prepare(ROOM)
        scene.clock.now += UNUSED_PAUSE_MS
    before = len(keys_received(bob))
    await scene.heard(ANNOUNCER, one)
    await scene.catch_up()
    assert (reads(ann, zero), reads(ann, one)) == ("zero", "one")
    if sessions_since == 1:
        assert len(keys_received(bob)) == before, "who had the key is not given it again"
    missed = scene.missed
    two = await scene.say("two")
    assert scene.missed == missed
    assert {reads(device, two) for device in (ann, bob)} == {"two"}


async def test_whoever_misses_something_is_seen_to(scene: Scene) -> None:
    wanted: list[RoomId] = []

    async def want(tx: Transaction, room_id: RoomId) -> None:
        wanted.append(room_id)

    past = SimpleNamespace(
        _database=scene.database,
        _keys=scene.keys,
        _wake=lambda: wanted.append(RoomId("woken")),
        wanted=want,
    )

    async def posted(number: int) -> None:
        content = await say(scene.keys, "one")
        event = Posted(
            EventId(f"${number}"), ROOM, ANNOUNCER, scene.clock.now, "m.room.encrypted", False,
            content["session_id"], message_index(content["ciphertext"]) or 0,
        )  # fmt: skip
        await Past.posted(cast(Past, past), event)

    await scene.catch_up()
    await posted(1)
    assert not wanted, "all hold it"
    scene.world.add(ANN, "A", join=False, one_time_keys=0)
    await scene.comes(ANN)
    async with scene.database.transaction() as tx:
        await tx.execute("INSERT INTO crypto_served VALUES ($1, $2, 'A', 'c', 'e')", ROOM, ANN)
    await posted(2)
    assert wanted == [ROOM, "woken"]


async def test_what_is_said_while_the_past_is_given_is_given_too(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.say("zero")
    await scene.leaves(BOB)
    await scene.comes(BOB)
    (ann,) = scene.world.add(ANN, "A", join=False)
    one = await say(scene.keys, "one")
    await scene.comes(ANN)
    await scene.keys.prepare(ROOM)
    send = scene.world.send_to_device

    async def hear_meanwhile(*args: Any) -> None:
        await send(*args)
        monkeypatch.undo()
        await scene.heard(ANNOUNCER, one)

    monkeypatch.setattr(scene.world, "send_to_device", hear_meanwhile)
    assert await scene.catch_up() == scene.clock.now, "it is not over"
    assert await scene.catch_up() is None
    assert reads(ann, one) == "one"


async def test_what_people_said_comes_in_a_bundle_once(scene: Scene) -> None:
    (office,) = scene.world.add(OFFICE, "O", join=False)
    await scene.comes(OFFICE)
    first = await scene.person_says(office, ["one", "two"])
    await scene.person_says(office, ["not for others"], shared_history=False)
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    at = await scene.keys.catch_up(ROOM)
    assert at is not None
    assert not ann.received, "only some seconds after the join"
    await scene.catch_up()
    await scene.catch_up()
    (key,) = scene.bundle(ann)["room_keys"]
    assert key["session_id"] == first[0]["session_id"]
    assert key["sender_key"] == office.account.curve25519
    assert key["sender_claimed_keys"] == {"ed25519": office.account.ed25519}
    assert key["room_id"] == ROOM


async def test_a_bundle_whose_sending_was_killed_comes_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (office,) = scene.world.add(OFFICE, "O", join=False)
    await scene.comes(OFFICE)
    await scene.person_says(office, ["one"])
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    send = scene.world.send_to_device

    async def die(*args: Any) -> None:
        await send(*args)
        raise Unreachable("killed after it arrived")

    monkeypatch.setattr(scene.world, "send_to_device", die)
    with pytest.raises(Unreachable):
        await scene.catch_up()
    monkeypatch.undo()
    await scene.restart()
    await scene.catch_up()
    assert len(scene.bundle(ann)["room_keys"]) == 1


def is_given_a_bundle(device: Device) -> bool:
    return any(event["type"] == "m.room_key_bundle" for event in device.received)


async def crowd(scene: Scene, *, devices: int, name: str) -> list[Device]:
    """Somebody with many devices of long names comes, to whom something may be given."""
    user = "@" + "a" * 200 + ":example.org"
    found = scene.world.add(user, *(f"{number:03}{name}" for number in range(devices)), join=False, one_time_keys=1)
    await scene.comes(user)
    return found


@pytest.mark.parametrize("name", ["D" * 240, "\x01" * 240])
async def test_no_request_is_larger_than_a_homeserver_takes_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (bob,) = scene.world.people[BOB].values()
    await scene.say("one")
    await scene.person_says(bob, ["hello"])
    devices = await crowd(scene, devices=450, name=name)
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    send = scene.world.send_to_device
    sizes = []

    async def weigh(event_type: str, txn_id: str, messages: Mapping[str, Any]) -> None:
        sizes.append(len(orjson.dumps({"messages": messages})))
        await send(event_type, txn_id, messages)

    monkeypatch.setattr(scene.world, "send_to_device", weigh)
    await scene.catch_up()
    assert max(sizes) < 900_000
    assert all(is_given_a_bundle(device) and keys_received(device) for device in (*devices, ann))
    requests = len(sizes)
    await scene.catch_up()
    assert len(sizes) == requests


async def test_a_request_that_is_refused_holds_up_nobody_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.e2ee.history.CHUNK_DEVICES_OF_BUNDLE", 5)
    monkeypatch.setattr("bridge.e2ee.history.CHUNK_DEVICES", 5)
    (bob,) = scene.world.people[BOB].values()
    await scene.say("one")
    await scene.person_says(bob, ["hello"])
    devices = await crowd(scene, devices=10, name="D")
    (ann,) = scene.world.add("@z:example.org", "A", join=False)
    await scene.comes("@z:example.org")
    send = scene.world.send_to_device
    tried: list[str] = []

    async def refuse(event_type: str, txn_id: str, messages: Mapping[str, Any]) -> None:
        tried.append(txn_id)
        if any("000D" in of_user for of_user in messages.values()):
            raise BadRequest("too large", status=413)
        await send(event_type, txn_id, messages)

    monkeypatch.setattr(scene.world, "send_to_device", refuse)
    await scene.catch_up()
    assert not devices[0].received
    for device in (*devices[1:], ann):
        assert is_given_a_bundle(device)
        assert keys_received(device)
    before = len(tried)
    await scene.catch_up()
    assert len(tried) == before, "it is not tried again"
    async with scene.database.transaction() as tx:
        assert not await tx.fetch("SELECT 1 FROM crypto_given")
        rows = await tx.fetch("SELECT device_id, state FROM crypto_share WHERE user_id = $1", devices[0].user_id)
    states = {row["device_id"]: row["state"] for row in rows}
    assert states == {device.device_id: "held" if device.received else "refused" for device in devices}
    for event in (event for device in (*devices[1:], ann) for event in device.received):
        assert event["type"] in ("m.room_key", "m.room_key_bundle")
    assert all(len(device.received) == 2 for device in (*devices[1:], ann)), "nobody is sent anything twice"
    monkeypatch.undo()
    said = await scene.say("two")
    assert devices[0].reads(said) == "two", "the next message brings it to whom it was refused"


async def test_a_device_that_is_refused_is_not_tried_with_each_session(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await three_sessions(scene)
    devices = await crowd(scene, devices=64, name="D")
    send = scene.world.send_to_device
    refusals = 0

    async def refuse(event_type: str, txn_id: str, messages: Mapping[str, Any]) -> None:
        nonlocal refusals
        if any("007D" in of_user for of_user in messages.values()):
            refusals += 1
            raise BadRequest("too large", status=413)
        await send(event_type, txn_id, messages)

    monkeypatch.setattr(scene.world, "send_to_device", refuse)
    await scene.catch_up()
    assert refusals <= IN_FLIGHT * 7
    for device in devices:
        expected = 0 if device.device_id == "007D" else 3
        assert len([content for content in said if reads(device, content) is not None]) == expected


async def test_several_requests_go_at_once_and_not_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.e2ee.history.CHUNK_DEVICES", 2)
    said = await three_sessions(scene)
    await scene.keys.prepare(ROOM)  # the present session is given by one request after the other
    devices = await crowd(scene, devices=6, name="D")
    send = scene.world.send_to_device
    under_way = most = 0
    both = asyncio.Event()

    async def wait(*args: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == IN_FLIGHT:
            both.set()
        async with asyncio.timeout(10):
            await both.wait()
        await send(*args)
        under_way -= 1

    monkeypatch.setattr(scene.world, "send_to_device", wait)
    await scene.catch_up()
    assert most == IN_FLIGHT
    for device in devices:
        assert [device.reads(content) for content in said] == ["number 0", "number 1", "number 2"]
        assert len(keys_received(device)) == 3
    assert sum(len(of_user) for one in scene.world.claims for of_user in one.values()) == len(devices) + 1, (
        "one one-time key each, and Bob's"
    )


async def test_a_device_without_one_time_keys_is_asked_for_them_seldom_and_gets_everything_once_it_has_some(
    scene: Scene,
) -> None:
    said = await three_sessions(scene)
    (ann,) = scene.world.add(ANN, "A", join=False, one_time_keys=0)
    await scene.comes(ANN)
    asked = len(scene.world.claims)
    at = await scene.catch_up()
    assert at == scene.clock.now + FIRST_REST_MS, "it is come back to by itself"
    for _ in range(5):
        assert await scene.catch_up() == at
    assert len(scene.world.claims) == asked + 1
    scene.clock.now = at
    later = await scene.catch_up()
    assert later is not None
    assert later - scene.clock.now == 2 * FIRST_REST_MS
    assert len(scene.world.claims) == asked + 2
    ann.account.make_one_time_keys(1)
    ann.one_time_keys = ann.account.keys_to_publish()["one_time_keys"]
    scene.clock.now = later
    assert await scene.catch_up() is None
    assert [ann.reads(content) for content in said] == ["number 0", "number 1", "number 2"]


async def test_a_bundle_that_the_homeserver_does_not_store_holds_up_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bob,) = scene.world.people[BOB].values()
    await scene.person_says(bob, ["hello"])
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    tried = 0

    async def refuse(data: bytes) -> str:
        nonlocal tried
        tried += 1
        raise BadRequest("too large", status=413)

    monkeypatch.setattr(scene.world, "upload", refuse)
    await scene.catch_up()
    await scene.catch_up()
    assert tried == 1
    assert not is_given_a_bundle(ann)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_bundle_for_many_devices_of_somebody_goes_on_where_it_was_killed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    monkeypatch.setattr("bridge.e2ee.history.CHUNK_DEVICES_OF_BUNDLE", 2)
    (bob,) = scene.world.people[BOB].values()
    await scene.person_says(bob, ["hello"])
    devices = await crowd(scene, devices=5, name="D")
    total = 0
    for fatal in (2, 1, 99):
        total += await catch_up_killed(scene, monkeypatch, fatal, arrives=arrives)
    assert total == 3 + 2, "nothing but what was killed is sent again"
    for device in devices:
        assert len(scene.bundle(device)["room_keys"]) == 1


async def test_who_leaves_before_the_bundle_gets_none(scene: Scene) -> None:
    (office,) = scene.world.add(OFFICE, "O", join=False)
    await scene.comes(OFFICE)
    await scene.person_says(office, ["one"])
    await scene.catch_up()
    files = len(scene.world.files)
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    scene.world.leave(ANN)  # and nobody has told us yet
    await scene.catch_up()
    assert not ann.received
    assert len(scene.world.files) == files


async def test_a_bundle_that_no_client_would_take_any_more_is_not_sent(scene: Scene) -> None:
    (office,) = scene.world.add(OFFICE, "O", join=False)
    await scene.comes(OFFICE)
    await scene.person_says(office, ["one"])
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    scene.clock.now += BUNDLE_ACCEPTED_MS
    await scene.catch_up()
    assert not ann.received


async def test_a_key_from_a_device_that_its_owner_does_not_have_is_not_passed_on(scene: Scene) -> None:
    (office,) = scene.world.add(OFFICE, "O", join=False)
    await scene.comes(OFFICE)
    scene.world.people[OFFICE].clear()
    await scene.person_says(office, ["one"])
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    await scene.catch_up()
    assert not ann.received


async def test_where_the_announcer_is_not_nothing_is_given_for_now(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await scene.say("one")
    (ann,) = scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)

    async def refuse(room_id: RoomId, event_type: str) -> None:
        raise Forbidden("not in the room", status=403)

    with monkeypatch.context() as patch:
        patch.setattr(scene.world, "state_content", refuse)
        assert await scene.catch_up() is None
    await scene.catch_up()
    assert ann.reads(said) == "one"


async def test_a_room_in_which_all_are_served_costs_no_request(scene: Scene) -> None:
    await scene.say("one")
    await scene.catch_up()
    before = len(scene.world.queries), len(scene.world.sent)
    assert await scene.catch_up() is None
    assert (len(scene.world.queries), len(scene.world.sent)) == before


async def test_whom_nobody_told_us_of_is_found_and_reads_too(scene: Scene) -> None:
    said = [await scene.say("one")]
    (ann,) = scene.world.add(ANN, "A", join=True)  # and its event was lost
    await scene.catch_up()
    assert ann.reads(said[0]) is None
    await scene.keys.history.meet(ROOM)
    await scene.catch_up()
    assert ann.reads(said[0]) == "one"
    requests = len(scene.world.sent)
    await scene.keys.history.meet(ROOM)
    await scene.catch_up()
    assert len(scene.world.sent) == requests


async def test_who_left_and_came_back_without_our_knowing_counts_as_having_been_away(scene: Scene) -> None:
    (ann,) = scene.world.add(ANN, "A", join=False)
    first = await scene.say("first")
    await scene.comes(ANN)
    await scene.catch_up()
    scene.world.leave(ANN)
    scene.world.join(ANN)
    second = await scene.say("second")
    scene.clock.now += 1000
    scene.world.came_at[ANN] = scene.clock.now
    scene.clock.now += 3_600_000
    (phone,) = scene.world.add(ANN, "P", join=False)
    await scene.keys.sync_once()
    await scene.keys.history.meet(ROOM)
    await scene.catch_up()
    assert (phone.reads(first), phone.reads(second)) == ("first", None)
    assert (ann.reads(first), ann.reads(second)) == ("first", "second"), "what it was given in the ordinary way"


async def test_who_left_without_our_knowing_is_given_nothing(scene: Scene) -> None:
    scene.world.add(ANN, "A", join=False)
    await scene.comes(ANN)
    scene.world.leave(ANN)
    scene.clock.now += 3_600_000
    await scene.keys.history.meet(ROOM)
    await scene.say("one")
    async with scene.database.transaction() as tx:
        assert await history.rooms_of(tx, [ANN]) == []
