"""Who reads what the announcer says: a real homeserver, and people whose clients have another cryptography."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.cli.demo.person import Client, Person
from bridge.core.errors import BadRequest, CannotDecrypt, CannotEncrypt, Refused, Unreachable
from bridge.core.ids import RoomId
from bridge.e2ee.recipients import Trust
from bridge.matrix.client import path
from bridge.store import shares
from tests.harness.announcer import ANNOUNCER, AS_TOKEN, STEWARD, Stage
from tests.harness.people import Library, People
from tests.harness.wait import eventually


@pytest.fixture
async def room(stage: Stage, room_version: str) -> RoomId:
    return await stage.create_room(version=room_version)


async def bring_in(stage: Stage, room: RoomId, *people: Client) -> None:
    for person in people:
        await stage.change(room, "invite", person.user_id)
        await person.join(room)


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_members_read_and_a_removed_member_does_not(
    stage: Stage, crowd: People, room: RoomId, library: Library
) -> None:
    ann, bob = await crowd.on(library, "ann"), await crowd.on(library, "bob")
    await bring_in(stage, room, ann, bob)
    _, devices = await stage.say(room, "first")
    assert devices == 2
    for person in (ann, bob):
        message = await person.wait_text(room, "first")
        assert message.decrypted
        assert message.sender == ANNOUNCER
        assert message.shield in (None, "none")
    await stage.change(room, "kick", bob.user_id)
    event_id, devices = await stage.say(room, "second")
    assert devices == 1
    await ann.wait_text(room, "second")
    assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_who_leaves_adds_a_device_and_returns_reads_on_with_both(
    stage: Stage, crowd: People, room: RoomId, library: Library
) -> None:
    ann = await crowd.on(library, "ann")
    await bring_in(stage, room, ann)
    await stage.say(room, "first")
    await ann.wait_text(room, "first")
    await ann.leave(room)
    other = await crowd.on(library, account=ann.account, new_device=True)
    await bring_in(stage, room, ann)
    _, devices = await stage.say(room, "second")
    assert devices == 2
    for client in (ann, other):
        assert (await client.wait_text(room, "second")).decrypted


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_a_device_that_appears_later_reads_on(
    stage: Stage, crowd: People, room: RoomId, library: Library
) -> None:
    ann = await crowd.on(library, "ann")
    await bring_in(stage, room, ann)
    await stage.say(room, "first")
    other = await crowd.on(library, account=ann.account, new_device=True)

    async def both() -> bool:
        return (await stage.say(room, "second"))[1] == 2

    await eventually(both, what="the new device to have the key")
    assert (await other.wait_text(room, "second")).decrypted


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_who_joins_while_the_service_is_down_reads_on(
    stage: Stage, crowd: People, room: RoomId, library: Library
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.on(library, "bob")
    await bring_in(stage, room, ann)
    _, devices = await stage.say(room, "first")
    session = (await ann.wait_text(room, "first")).session_id
    await stage.close()
    steward = Stage(stage.homeserver, AS_TOKEN, "unused")
    await steward.connect()
    await steward.change(room, "invite", bob.user_id)
    await steward.client.stop()
    await bob.join(room)
    await stage.start()
    _, devices = await stage.say(room, "second")
    assert devices == 2
    assert (await bob.wait_text(room, "second")).session_id == session, "a join is no reason for a new session"


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_who_leaves_while_the_service_is_down_reads_no_more(
    stage: Stage, crowd: People, room: RoomId, library: Library
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.on(library, "bob")
    await bring_in(stage, room, ann, bob)
    await stage.say(room, "first")
    await bob.wait_text(room, "first")
    await stage.close()
    await bob.leave(room)
    await stage.start()
    event_id, devices = await stage.say(room, "second")
    assert devices == 1
    assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_who_leaves_during_a_share_does_not_read_what_was_being_said(
    stage: Stage, crowd: People, room: RoomId, monkeypatch: pytest.MonkeyPatch, library: Library
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.on(library, "bob")
    await bring_in(stage, room, ann, bob)
    send = stage.server.send_to_device

    async def send_and_leave(*args: Any) -> None:
        await send(*args)
        if room in await bob.joined_rooms():
            await bob.leave(room)

    monkeypatch.setattr(stage.server, "send_to_device", send_and_leave)
    event_id, devices = await stage.say(room, "hello")
    assert devices == 1
    await ann.wait_text(room, "hello")
    await bob.wait_to_device(lambda event: event.inner_type == "m.room_key")
    assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_a_failed_claim_is_made_good_with_the_next_message(
    stage: Stage, crowd: People, room: RoomId, monkeypatch: pytest.MonkeyPatch, library: Library
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.on(library, "bob")
    await bring_in(stage, room, ann)
    await stage.say(room, "before")
    await bring_in(stage, room, bob)

    async def refuse(*args: Any) -> dict[str, Any]:
        raise BadRequest("not now")

    with monkeypatch.context() as patch:
        patch.setattr(stage.server, "claim_keys", refuse)
        _, devices = await stage.say(room, "first")
        assert devices == 1, "the others read all the same"
    await ann.wait_text(room, "first")
    _, devices = await stage.say(room, "second")
    assert devices == 2
    assert (await bob.wait_text(room, "second")).decrypted


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_many_devices_are_served_by_several_requests(
    stage: Stage, crowd: People, room: RoomId, monkeypatch: pytest.MonkeyPatch, library: Library
) -> None:
    people = [await crowd.on(library, "ann"), *[await crowd.nio("bob") for _ in range(4)]]
    await bring_in(stage, room, *people)
    monkeypatch.setattr("bridge.e2ee.recipients.CHUNK_DEVICES", 2)
    send, sizes = stage.server.send_to_device, []

    async def count(event_type: str, txn_id: str, messages: Mapping[str, Mapping[str, Any]]) -> None:
        sizes.append(sum(len(devices) for devices in messages.values()))
        await send(event_type, txn_id, messages)

    monkeypatch.setattr(stage.server, "send_to_device", count)
    _, devices = await stage.say(room, "hello")
    assert devices == 5
    assert sorted(sizes) == [1, 2, 2]
    for person in people:
        assert (await person.wait_text(room, "hello")).decrypted


async def test_keys_that_went_out_ahead_leave_one_event_to_send(
    stage: Stage, crowd: People, room: RoomId, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.js("bob")
    await bring_in(stage, room, ann, bob)
    assert await stage.keys.prepare(room) is None
    for person in (ann, bob):
        await person.wait_to_device(lambda event: event.inner_type == "m.room_key")

    async def never(*args: Any) -> None:
        raise AssertionError("a key went out with the announcement")

    with monkeypatch.context() as patch:
        for name in ("send_to_device", "claim_keys", "query_keys"):
            patch.setattr(stage.server, name, never)
        _, devices = await stage.say(room, "hello")
    assert devices == 2
    for person in (ann, bob):
        assert (await person.wait_text(room, "hello")).decrypted


async def test_an_unused_session_is_not_replaced_for_everybody_who_goes(
    stage: Stage, crowd: People, room: RoomId
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.nio("bob")
    await bring_in(stage, room, ann, bob)
    await stage.keys.prepare(room)
    await bob.leave(room)
    again = await stage.keys.prepare(room)
    assert again is not None
    assert 0 < again - stage.clock.now_ms() <= 10 * 60 * 1000
    stage.clock.ahead_ms += again - stage.clock.now_ms() + 1000
    assert await stage.keys.prepare(room) is None
    event_id, devices = await stage.say(room, "hello")
    assert devices == 1
    assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None
    # an announcement never waits for that
    await bring_in(stage, room, bob)
    await stage.keys.prepare(room)
    await bob.leave(room)
    event_id, devices = await stage.say(room, "again")
    assert devices == 1
    assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None


# --- trust ------------------------------------------------------------------------------------------------------------


async def test_signed_devices_alone_read_where_that_is_the_setting(
    homeserver: PrivateSynapse, crowd: People, room_version: str, tmp_path: Path
) -> None:
    stage = Stage(homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/signed.db", trust=Trust.SIGNED)
    await stage.start()
    try:
        room = await stage.create_room(version=room_version)
        ann, bob = await crowd.js("ann", cross_sign=True), await crowd.nio("bob")
        cleo = await crowd.js("cleo")
        await bring_in(stage, room, ann, bob, cleo)
        event_id, devices = await stage.say(room, "for signed devices")
        assert devices == 1
        assert (await ann.wait_text(room, "for signed devices")).decrypted
        told = await bob.wait_to_device(lambda event: event.type == "m.room_key.withheld")
        assert (told.content["code"], told.content["room_id"]) == ("m.unverified", room)
        for person in (bob, cleo):
            assert await person.try_decrypt(room, await stage.raw(room, event_id)) is None
        async with stage.database.transaction() as tx:
            reach = await shares.reach(tx, room, ours=[ANNOUNCER, STEWARD])
        assert reach == shares.Reach(devices=1, without={"withheld": 2}, people=3, unreached=2)
        # once her identity has signed it, her device is given the key, without anybody's doing
        await cleo.cross_sign()

        async def both() -> bool:
            await stage.keys.prepare(room)
            async with stage.database.transaction() as tx:
                return (await shares.reach(tx, room, ours=[ANNOUNCER, STEWARD])).devices == 2

        await eventually(both, what="the signed device to have the key")
        await stage.say(room, "for two")
        assert (await cleo.wait_text(room, "for two")).decrypted
        assert await bob.try_decrypt(room, await stage.raw(room, event_id)) is None
    finally:
        await stage.close()


async def test_what_a_device_that_is_not_trusted_says_is_not_believed(
    homeserver: PrivateSynapse, crowd: People, tmp_path: Path
) -> None:
    stage = Stage(homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/believed.db", trust=Trust.SIGNED)
    await stage.start()
    try:
        ann, bob = await crowd.js("ann", cross_sign=True), await crowd.nio("bob")
        room = await chat(stage, ann)
        assert (await heard(stage, room, await ann.send(room, "help")))["content"]["body"] == "help"
        other = await chat(stage, bob)
        with pytest.raises(CannotDecrypt, match="not trusted"):
            await heard(stage, other, await bob.send(other, "help"))
    finally:
        await stage.close()


@pytest.mark.parametrize("before", [True, False], ids=["before the request", "before its answer"])
async def test_a_share_that_was_killed_goes_on_and_gives_nothing_twice(
    stage: Stage, crowd: People, room: RoomId, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    ann, bob = await crowd.nio("ann"), await crowd.nio("bob")
    await bring_in(stage, room, ann, bob)
    send = stage.server.send_to_device

    async def die(*args: Any) -> None:
        if not before:
            await send(*args)
        raise Unreachable("killed")

    monkeypatch.setattr(stage.server, "send_to_device", die)
    with pytest.raises(Unreachable):
        await stage.say(room, "hello", txn_id="once")
    await stage.close()
    await stage.start()
    _, devices = await stage.say(room, "hello", txn_id="once")
    assert devices == 2
    for person in (ann, bob):
        await person.wait_text(room, "hello")
        assert len(person.room_keys(room)) == 1


async def test_the_same_transaction_is_the_same_event(stage: Stage, crowd: People, room: RoomId) -> None:
    ann = await crowd.nio("ann")
    await bring_in(stage, room, ann)
    first, _ = await stage.say(room, "once", txn_id="the-job")
    again, _ = await stage.say(room, "once", txn_id="the-job")
    assert first == again
    await stage.say(room, "after")
    await ann.wait_text(room, "after")
    assert [message.text for message in ann.messages(room)] == ["once", "after"]


@pytest.mark.parametrize(("visibility", "shared"), [("shared", True), ("joined", False)])
async def test_a_room_key_says_whether_newcomers_may_have_it(
    stage: Stage, crowd: People, visibility: str, shared: bool
) -> None:
    room = await stage.create_room(visibility=visibility)
    ann = await crowd.nio("ann")
    await bring_in(stage, room, ann)
    await stage.say(room, "hello")
    event = await ann.wait_to_device(lambda event: event.inner_type == "m.room_key")
    assert event.plaintext is not None
    content = event.plaintext["content"]
    assert content.pop("org.matrix.msc3061.shared_history", False) is shared
    assert content.keys() == {"algorithm", "room_id", "session_id", "session_key"}


async def test_a_change_of_history_visibility_makes_a_new_session(stage: Stage, crowd: People, room: RoomId) -> None:
    ann = await crowd.nio("ann")
    await bring_in(stage, room, ann)
    await stage.say(room, "first")
    first = await ann.wait_text(room, "first")
    await stage.set_state(room, "m.room.history_visibility", {"history_visibility": "joined"})
    await stage.say(room, "second")
    assert (await ann.wait_text(room, "second")).session_id != first.session_id


@pytest.mark.parametrize(
    "content",
    [{}, {"algorithm": "rot13"}, {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": "x"}],
    ids=["empty", "bad algorithm", "bad period"],
)
async def test_nonsense_in_the_encryption_settings_does_not_stop_us(
    stage: Stage, crowd: People, content: Mapping[str, Any]
) -> None:
    room = await stage.create_room()
    ann = await crowd.nio("ann")
    await bring_in(stage, room, ann)
    await stage.set_state(room, "m.room.encryption", content)
    event_id, devices = await stage.say(room, "hello")
    assert devices == 1
    event = await stage.raw(room, event_id)
    assert event["type"] == "m.room.encrypted"
    assert (await ann.wait_text(room, "hello")).decrypted


async def test_nothing_is_said_in_the_clear_in_a_room_of_ours(stage: Stage) -> None:
    answer = await stage.client.request("POST", path("v3", "createRoom"), body={"invite": [ANNOUNCER]})
    room = RoomId(answer["room_id"])
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})
    with pytest.raises(CannotEncrypt, match="lost its encryption"):
        await stage.say(room, "secret")
    messages = await stage.client.request(
        "GET", path("v3", "rooms", room, "messages"), query={"dir": "b"}, as_user=ANNOUNCER
    )
    assert "secret" not in str(messages)


async def test_a_long_message_goes_and_a_longer_one_is_refused(stage: Stage, crowd: People, room: RoomId) -> None:
    ann = await crowd.nio("ann")
    await bring_in(stage, room, ann)
    await stage.say(room, "x" * 46_900)
    await ann.wait_text(room, "x" * 46_900)
    with pytest.raises(Refused, match="47,000"):
        await stage.say(room, "x" * 47_000)


# --- what people say to the announcer ---------------------------------------------------------------------------------


async def chat(stage: Stage, person: Client) -> RoomId:
    room = RoomId(await person.create_dm(ANNOUNCER))
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})
    await person.wait_joined(room, ANNOUNCER)
    return room


async def heard(stage: Stage, room: RoomId, event_id: str) -> dict[str, Any]:
    event = await stage.raw(room, event_id)
    assert event["type"] == "m.room.encrypted"
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    return await stage.keys.decrypt(event)


@pytest.mark.parametrize("library", ["nio", "js"])
async def test_a_chat_is_understood_and_answered(stage: Stage, crowd: People, library: Library) -> None:
    ann = await crowd.on(library, "ann")
    room = await chat(stage, ann)
    event_id = await ann.send(room, "announce springfield hello")
    event = await heard(stage, room, event_id)
    assert (event["type"], event["content"]["body"], event["sender"]) == (
        "m.room.message",
        "announce springfield hello",
        ann.user_id,
    )
    await stage.say(room, "done")
    assert (await ann.wait_text(room, "done")).decrypted
    # an event may be read again, but nothing else may use its place in the session
    assert (await stage.keys.decrypt(await stage.raw(room, event_id)))["content"]["body"].startswith("announce")
    replayed = {**await stage.raw(room, event_id), "event_id": "$another"}
    with pytest.raises(CannotDecrypt, match="repeats"):
        await stage.keys.decrypt(replayed)


async def test_nobody_speaks_for_another(stage: Stage, crowd: People) -> None:
    ann = await crowd.nio("ann")
    room = await chat(stage, ann)
    event_id = await ann.send(room, "hello")
    await heard(stage, room, event_id)
    event = await stage.raw(room, event_id)
    with pytest.raises(CannotDecrypt):
        await stage.keys.decrypt({**event, "sender": "@mallory:example.org"})
    with pytest.raises(CannotDecrypt):
        await stage.keys.decrypt({**event, "room_id": "!other:example.org"})


async def test_what_was_said_while_the_service_was_down_is_understood(stage: Stage, crowd: People) -> None:
    ann = await crowd.nio("ann")
    room = await chat(stage, ann)
    await heard(stage, room, await ann.send(room, "hello"))
    await stage.close()
    event_id = await ann.send(room, "are you there?")
    bob = await crowd.nio("bob")
    other = RoomId(await bob.create_dm(ANNOUNCER))
    await stage.start()
    assert (await heard(stage, room, event_id))["content"]["body"] == "are you there?"
    await stage.client.request("POST", path("v3", "join", other), as_user=ANNOUNCER, body={})
    await bob.wait_joined(other, ANNOUNCER)
    assert (await heard(stage, other, await bob.send(other, "me too")))["content"]["body"] == "me too"


async def test_a_broken_olm_session_is_replaced(stage: Stage, crowd: People) -> None:
    ann = await crowd.nio("ann")
    room = await chat(stage, ann)
    await heard(stage, room, await ann.send(room, "hello"))
    await stage.say(room, "answer")  # from now on ann's session sends ordinary Olm messages
    await ann.wait_text(room, "answer")
    async with stage.database.transaction() as tx:
        await tx.execute("DELETE FROM crypto_olm_session")
    rotate(ann, room)
    await ann.send(room, "this key is lost")
    await ann.wait_to_device(lambda event: event.inner_type == "m.dummy")
    rotate(ann, room)
    assert (await heard(stage, room, await ann.send(room, "and now?")))["content"]["body"] == "and now?"


def rotate(person: Person, room: RoomId) -> None:
    """Make the person's next message begin a new session, as after any leave."""
    person._nio.olm.outbound_group_sessions.pop(room, None)
