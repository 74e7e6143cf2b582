"""The harness itself: a private homeserver, and two independent clients that understand each other on it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bridge.cli.demo.homeserver import HomeserverError
from bridge.cli.demo.person import Client, Person, Refused
from tests.harness.people import Library, People, SynapseFactory
from tests.harness.wait import eventually

LIBRARIES: tuple[Library, ...] = ("nio", "js")


async def meet(room_version: str, host: Client, *guests: Client) -> str:
    """Make an encrypted room with everybody in it, known to everybody."""
    room = await host.create_room(
        encrypted=True, room_version=room_version, preset="private_chat", invite=[guest.user_id for guest in guests]
    )
    await asyncio.gather(*(guest.wait_invite(room) for guest in guests))
    await asyncio.gather(*(guest.join(room) for guest in guests))
    everybody = (host, *guests)
    await asyncio.gather(*(one.wait_joined(room, other.user_id) for one in everybody for other in everybody))
    return room


async def test_both_libraries_read_each_other(people: People, room_version: str) -> None:
    nio, js = await people.nio("nio"), await people.js("js")
    room = await meet(room_version, nio, js)

    await nio.send(room, "from nio")
    heard = await js.wait_text(room, "from nio")
    assert heard.decrypted
    assert heard.sender == nio.user_id

    await js.send(room, "from js")
    heard = await nio.wait_text(room, "from js")
    assert heard.decrypted
    assert heard.sender == js.user_id
    assert all(event["type"] != "m.room.message" for event in nio.timeline(room))

    reaction = await js.react(room, heard.event_id, "👍")
    await nio.wait_event(room, lambda event: event["event_id"] == reaction)
    await nio.redact(room, reaction)
    await js.wait_event(room, lambda event: event["type"] == "m.room.redaction")
    assert nio.faults == js.faults == []


async def test_room_keys_are_on_the_record(people: People) -> None:
    nio, js = await people.nio("nio"), await people.js("js")
    room = await meet("12", nio, js)
    for sender, receiver in ((nio, js), (js, nio)):
        await sender.send(room, "hello")
        await receiver.wait_text(room, "hello", sender=sender.user_id)
        assert [key.sender for key in receiver.room_keys(room)] == [sender.user_id]
        assert {(sent.user_id, sent.device_id) for sent in sender.sent_to_device} == {
            (receiver.user_id, receiver.device_id)
        }


@pytest.mark.parametrize("library", LIBRARIES)
async def test_whoever_was_removed_reads_no_further(people: People, room_version: str, library: Library) -> None:
    host, stays = await people.nio("host"), await people.nio("stays")
    goes = await people.on(library, "goes")
    room = await meet(room_version, host, stays, goes)
    await host.send(room, "before")
    await goes.wait_text(room, "before")

    await host.kick(room, goes.user_id)
    await goes.wait_left(room)
    await host.wait_membership(room, goes.user_id, "leave")
    after = await host.event(room, await host.send(room, "after"))

    assert (await stays.wait_text(room, "after")).decrypted
    assert await goes.try_decrypt(room, after) is None
    read = await stays.try_decrypt(room, after)
    assert read is not None
    assert read.text == "after"


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_newcomer_sees_what_it_cannot_read(people: People, library: Library) -> None:
    host, newcomer = await people.nio("host"), await people.on(library, "newcomer")
    room = await meet("12", host)
    early = await host.send(room, "early")
    await host.invite(room, newcomer.user_id)
    newcomer.accept_invites()
    await newcomer.wait_joined(room)

    assert await newcomer.read_history(room) == []
    assert (await newcomer.wait_undecryptable(room, early)).sender == host.user_id
    await host.wait_joined(room, newcomer.user_id)
    await host.send(room, "late")
    await newcomer.wait_text(room, "late")
    assert [failure.event_id for failure in newcomer.undecryptable(room)] == [early]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_refusal_has_the_words_of_the_homeserver(people: People, library: Library) -> None:
    host, guest = await people.nio("host"), await people.on(library, "guest")
    room = await meet("12", host, guest)
    await host.put_state(room, "m.room.power_levels", "", {"events_default": 50, "events": {"m.reaction": 0}})
    with pytest.raises(Refused, match=r"send_level \(50\)") as refused:
        await guest.send(room, "may I?")
    assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")


async def test_cross_signed_devices_are_told_apart(people: People) -> None:
    signed, unsigned = await people.js("signed", cross_sign=True), await people.nio("unsigned")
    strict = await people.js("strict", cross_sign=True)
    room = await meet("12", strict, signed, unsigned)
    await strict.only_signed_devices()
    assert await strict.devices(signed.user_id) == {signed.device_id: True}
    assert await strict.devices(unsigned.user_id) == {unsigned.device_id: False}

    rejected = await unsigned.send(room, "from an unsigned device")
    assert (await strict.wait_undecryptable(room, rejected)).reason == "UNSIGNED_SENDER_DEVICE"
    await signed.send(room, "from a signed device")
    assert (await strict.wait_text(room, "from a signed device")).shield == "none"
    withheld = await strict.send(room, "for signed devices")
    await signed.wait_text(room, "for signed devices")
    await unsigned.wait_undecryptable(room, withheld)


async def test_keys_outlive_the_client_where_they_have_a_folder(people: People, tmp_path: Path) -> None:
    host = await people.nio("host")
    account = await people.account("reader")
    reader = await people.nio(account=account, store_path=tmp_path)
    room = await meet("12", host, reader)
    await host.send(room, "hello")
    await reader.wait_text(room, "hello")
    await reader.close()

    again = await people.nio(account=account, store_path=tmp_path)
    await again.wait_text(room, "hello")
    await host.send(room, "and again")
    await again.wait_text(room, "and again")


async def test_people_and_their_rooms_outlive_the_homeserver(new_synapse: SynapseFactory) -> None:
    homeserver = new_synapse(default_room_version="11")
    await homeserver.start()
    people = People(homeserver)
    try:
        nio, js = await people.nio("nio"), await people.js("js")
        room = await meet("11", nio, js)
        await homeserver.kill()
        await homeserver.start()
        await nio.send(room, "still there?")
        await js.wait_text(room, "still there?")
        await js.send(room, "of course")
        await nio.wait_text(room, "of course")
        create = await nio.state(await nio.create_room(), "m.room.create")
        assert create is not None
        assert create["room_version"] == "11"
    finally:
        await people.close()


async def test_a_homeserver_that_does_not_start_says_why(new_synapse: SynapseFactory) -> None:
    with pytest.raises(HomeserverError, match="default_room_version"):
        await new_synapse(default_room_version="nonsense").start()


async def test_eventually_tells_what_it_waited_for() -> None:
    counted = iter(range(10))
    assert await eventually(lambda: next(counted) > 3, 1.0)

    async def never() -> None:
        raise AssertionError("not yet")

    with pytest.raises(AssertionError, match="not yet"):
        await eventually(never, 0.1)
    with pytest.raises(TimeoutError, match="the moon"):
        await eventually(lambda: False, 0.1, "the moon")


async def test_a_wait_that_ends_tells_what_was_seen(people: People) -> None:
    nio: Person = await people.nio()
    room = await nio.create_room(encrypted=True)
    await nio.send(room, "something else")
    await nio.wait_text(room, "something else")
    with pytest.raises(TimeoutError, match="something else"):
        await nio.wait_text(room, "what never comes", 0.1)
