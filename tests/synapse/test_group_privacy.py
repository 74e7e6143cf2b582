"""What members say in groups never reaches the service in any form that it could read."""

from __future__ import annotations

import asyncio

from bridge.cli.demo.person import Client
from tests.harness.community import ANNOUNCER, STEWARD, Estate
from tests.harness.tap import Exchange
from tests.harness.wait import eventually
from tests.synapse.conftest import School

GROUPS = ("general", "class-1a", "chess", "board")


async def test_no_key_and_no_message_of_a_group_reaches_the_service(estate: Estate, school: School) -> None:
    community, everybody = school.community, school.everybody
    chatting: dict[str, tuple[Client, ...]] = {
        "general": everybody,
        "class-1a": (school.homer, school.marge, school.edna),
        "chess": (*school.members, school.edna),
        "board": (school.owner, school.admin),
    }
    for member in school.members:
        await member.join(community["class-1a"])
        await member.knock(community["chess"])
    for member in school.members:
        await school.edna.wait_membership(community["chess"], member.user_id, "knock")
        await school.edna.invite(community["chess"], member.user_id)
    await school.owner.wait_joined(community["board"])
    await school.owner.invite(community["board"], school.admin.user_id)
    for key, members in chatting.items():
        await community.inside(*members, keys=(key,))
        await asyncio.gather(*(one.wait_joined(community[key], other.user_id) for one in members for other in members))

    marks = {person.user_id: len(person.sent_to_device) for person in everybody}
    asked, pushed = len(estate.asked.heard), len(estate.pushed.heard)
    said = []
    for key, members in chatting.items():
        for author in members:
            text = f"{author.user_id} in {key}"
            said.append(await author.send(community[key], text))
            for reader in members:
                assert (await reader.wait_text(community[key], text)).decrypted
    # a message that the service is to read, sent after all of them: when this has come, so have those
    last = await school.owner.send(community.control, "!help")
    await school.owner.wait_text(community.control, lambda message: "write to me" in message.text)
    await estate.taken_in(last)

    # the clients' side: they shared keys with each other, and with neither of our accounts
    for person in everybody:
        to = [sent.user_id for sent in person.sent_to_device[marks[person.user_id] :]]
        assert to
        assert STEWARD not in to
        allowed = [ANNOUNCER] if person is school.owner else []
        assert [user for user in to if user == ANNOUNCER] in ([], allowed)

    # the homeserver's side: it pushed the ciphertext of the groups, and never a to-device message
    transactions = [exchange.json for exchange in estate.pushed.since(pushed, "/transactions/")]
    events = {event["event_id"]: event for body in transactions for event in body["events"]}
    assert set(said) <= set(events)
    assert {events[event_id]["type"] for event_id in said} == {"m.room.encrypted"}
    assert not any("to_device" in key and value for body in transactions for key, value in body.items())

    # the announcer's side: what came by /sync came from the owner alone, who spoke in the control room
    def syncs_since() -> list[Exchange]:
        return [exchange for exchange in estate.asked.since(asked, "/sync") if exchange.status == 200]

    # a poll that was under way may have nothing to say until its time is up
    syncs = await eventually(syncs_since, 40)
    assert {exchange.query["user_id"] for exchange in syncs} == {ANNOUNCER}
    senders = {
        event["sender"] for sync in syncs for event in sync.answer_json.get("to_device", {}).get("events", ())
    }  # fmt: skip
    assert senders <= {school.owner.user_id}
    assert not any(sync.answer_json.get("rooms", {}).get("join") for sync in syncs)

    # the service's side: it kept neither the messages nor any key
    groups = {community[key] for key in GROUPS}
    seen = {event_id for (event_id,) in estate.rows("SELECT event_id FROM inbox_seen")}
    assert last in seen
    assert not seen & set(said)
    for table in ("crypto_inbound", "crypto_outbound", "crypto_audience", "crypto_message_index"):
        rooms = {room_id for (room_id,) in estate.rows(f"SELECT room_id FROM {table}")}
        assert community.control in rooms
        assert not rooms & groups, table


async def test_nobody_can_encrypt_to_the_steward(school: School) -> None:
    asked: dict[str, dict[str, list[str]]] = {"device_keys": {STEWARD: [], ANNOUNCER: []}}
    for person in school.members:
        found = (await person.call("POST", "/keys/query", asked))["device_keys"]
        assert found[STEWARD] == {}
        assert len(found[ANNOUNCER]) == 1
    assert await school.marge.devices(STEWARD) == {}


async def test_the_announcer_is_in_no_group(estate: Estate, school: School) -> None:
    for key in GROUPS:
        members = await estate.as_service("GET", "rooms", school.community[key], "members")
        assert ANNOUNCER not in {event["state_key"] for event in members["chunk"]}


async def test_a_moderator_cannot_let_the_announcer_listen_unseen(estate: Estate, school: School) -> None:
    room = school.community["class-1a"]
    await school.edna.invite(room, ANNOUNCER)
    left = await school.edna.wait_membership(room, ANNOUNCER, "leave")
    assert left["sender"] == STEWARD
    assert left["unsigned"]["prev_content"]["membership"] == "invite"
