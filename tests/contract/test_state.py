"""State, messages and redactions: who may, and what a repeat comes to."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import Forbidden
from bridge.core.ids import EventId
from bridge.matrix.client import path
from tests.contract.conftest import Person, World
from tests.fakes.homeserver import ANNOUNCER, STEWARD


async def member(world: World, room_id: Any, name: str = "alice", level: int = 0) -> Person:
    person = await world.person(name)
    await world.executor.invite(room_id, person.user_id, by_announcer=False)
    await person.join(room_id)
    if level:
        await world.give(room_id, person.user_id, level)
    return person


async def test_the_same_state_again_is_the_same_event_and_from_somebody_else_another(world: World) -> None:
    room_id = await world.room()
    alice = await member(world, room_id, level=50)
    first = await world.executor.set_state(room_id, "m.room.name", "", {"name": "Chess"})
    assert await world.executor.set_state(room_id, "m.room.name", "", {"name": "Chess"}) == first
    assert await alice.write(room_id, "m.room.name", {"name": "Chess"}) != first


async def test_the_same_transaction_id_is_the_same_event_even_with_other_words(world: World) -> None:
    room_id = await world.room()
    alice = await member(world, room_id)
    first = await alice.send(room_id, "one", txn_id="t")
    assert await alice.send(room_id, "two", txn_id="t") == first
    assert await alice.send(room_id, "two", txn_id="u") != first


async def test_state_and_messages_need_their_level(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice = await member(world, room_id)
    with pytest.raises(Forbidden):
        await alice.write(room_id, "m.room.name", {"name": "mine"})
    await world.give(room_id, alice.user_id, 50)
    await alice.write(room_id, "m.room.name", {"name": "mine"})
    with pytest.raises(Forbidden):
        await alice.write(room_id, "m.room.topic", {"topic": "mine"})
    levels = await world.levels(room_id)
    await world.executor.set_state(room_id, "m.room.power_levels", "", {**levels, "events_default": 100})
    with pytest.raises(Forbidden):
        await alice.send(room_id, "hello")


@pytest.mark.parametrize(("change", "allowed"), [
    ({"users": {"me": 50}}, True),
    ({"users": {"me": 151}}, False),
    ({"users": {"peer": 0}}, False),
    ({"users": {"lower": 0}}, True),
    ({"users": {"lower": 150}}, True),
    ({"users": {"lower": 151}}, False),
    ({"events_default": 150}, True),
    ({"events_default": 151}, False),
    ({"state_default": 150}, False),
    ({"events": {"m.room.topic": 10}}, True),
    ({"events": {"m.room.topic": 151}}, False),
    ({"notifications": {"room": 1}}, True),
    ({"notifications": {"room": 151}}, False),
])  # fmt: skip
async def test_who_may_change_which_level(world: World, change: dict[str, Any], allowed: bool) -> None:
    room_id = await world.room("11")
    me = await member(world, room_id, "me", 150)
    peer = await member(world, room_id, "peer", 150)
    lower = await member(world, room_id, "lower", 50)
    names = {"me": me.user_id, "peer": peer.user_id, "lower": lower.user_id}
    levels = await world.levels(room_id)
    open_levels = {**levels, "events": {**levels["events"], "m.room.power_levels": 150}}
    await world.executor.set_state(room_id, "m.room.power_levels", "", open_levels)
    content = {**open_levels}
    for key, value in change.items():
        if isinstance(value, dict):
            content[key] = {**open_levels.get(key, {}), **{names.get(name, name): to for name, to in value.items()}}
        else:
            content[key] = value
    if allowed:
        await me.write(room_id, "m.room.power_levels", content)
        assert await world.levels(room_id) == content
    else:
        with pytest.raises(Forbidden):
            await me.write(room_id, "m.room.power_levels", content)


async def test_redacted_state_is_emptied_and_says_that_it_was_redacted(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice = await member(world, room_id, level=50)
    await alice.write(room_id, "m.room.name", {"name": "Chess"})
    before = await world.reader.read(room_id, fresh=True)
    assert not before.state["m.room.name", ""].redacted
    event_id = before.state["m.room.name", ""].event_id
    await world.executor.redact(room_id, event_id, "no", txn_id="redact-1")
    room = await world.reader.refresh(room_id, "m.room.name", "")
    piece = room.state["m.room.name", ""]
    assert (piece.content, piece.sender, piece.event_id) == ({}, alice.user_id, event_id)
    assert piece.redacted
    assert (await world.reader.read(room_id, fresh=True)).state["m.room.name", ""].redacted


async def test_redacted_levels_keep_their_numbers_but_not_those_of_notifications(
    world: World, room_version: str
) -> None:
    room_id = await world.room(room_version)
    levels = {**await world.levels(room_id), "notifications": {"room": 20}}
    event_id = await world.executor.set_state(room_id, "m.room.power_levels", "", levels)
    await world.executor.redact(room_id, event_id, "no", txn_id="redact-1")
    left = await world.levels(room_id)
    assert "notifications" not in left
    assert left["users"] == levels["users"]
    assert left["invite"] == levels["invite"]


async def test_who_may_redact_what(world: World) -> None:
    room_id = await world.room()
    alice, bob = await member(world, room_id), await member(world, room_id, "bob")
    event_id = await alice.send(room_id, "hello")
    with pytest.raises(Forbidden):
        await bob.redact(room_id, event_id)
    await alice.redact(room_id, event_id)
    other = await bob.send(room_id, "hello")
    await world.executor.redact(room_id, EventId(other), "no", txn_id="redact-1")


async def test_the_own_copy_follows_what_we_write_and_read_again(world: World) -> None:
    room_id = await world.room()
    alice = await member(world, room_id, level=50)
    await world.reader.read(room_id, fresh=True)
    event_id = await world.executor.set_state(room_id, "m.room.topic", "", {"topic": "ours"})
    copy = world.reader.peek(room_id)
    assert copy is not None
    assert (copy.state["m.room.topic", ""].event_id, copy.content("m.room.topic")) == (event_id, {"topic": "ours"})
    await alice.write(room_id, "m.room.name", {"name": "theirs"})
    assert (await world.reader.read(room_id)).content("m.room.name") != {"name": "theirs"}
    room = await world.reader.refresh(room_id, "m.room.name", "")
    assert room.content("m.room.name") == {"name": "theirs"}
    await world.executor.kick(room_id, alice.user_id, "")
    room = await world.reader.refresh(room_id, "m.room.member", alice.user_id)
    assert (room.members[alice.user_id].state, room.members[alice.user_id].sender) == ("leave", STEWARD)
    assert room == await world.reader.read(room_id, fresh=True)


async def test_state_under_somebody_elses_id_is_refused(world: World) -> None:
    room_id = await world.room()
    with pytest.raises(Forbidden):
        await world.executor.set_state(room_id, "org.example.thing", "@alice:example.org", {"a": 1})


async def test_a_state_key_may_be_anything(world: World) -> None:
    room_id = await world.room()
    for key in ("", "a/b c?&#%", "…"):
        await world.executor.set_state(room_id, "org.example.thing", key, {"key": key})
    room = await world.reader.read(room_id, fresh=True)
    assert all(room.content("org.example.thing", key) == {"key": key} for key in ("", "a/b c?&#%", "…"))


async def test_members_as_key_delivery_asks_for_them(world: World) -> None:
    room_id = await world.room()
    await world.executor.invite(room_id, ANNOUNCER, by_announcer=False)
    await world.executor.join_as_announcer(room_id)
    answer = await world.client.request("GET", path("v3", "rooms", room_id, "members"), as_user=ANNOUNCER)
    assert {event["state_key"] for event in answer["chunk"]} == {STEWARD, ANNOUNCER}


async def test_state_names_what_it_replaced_and_does_so_when_it_is_redacted(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice = await member(world, room_id, level=50)
    assert await world.reader.latest(room_id, "m.room.name") is None
    first = await world.executor.set_state(room_id, "m.room.name", "", {"name": "Chess"})
    second = await alice.write(room_id, "m.room.name", {"name": "Checkers"})
    await alice.redact(room_id, second)
    now = await world.reader.latest(room_id, "m.room.name")
    assert now is not None
    assert (now.event_id, now.sender, now.replaces, dict(now.content)) == (second, alice.user_id, first, {})
    before = await world.reader.written(room_id, first)
    assert before is not None
    assert (before.sender, before.replaces, dict(before.content)) == (STEWARD, None, {"name": "Chess"})
    assert await world.reader.written(room_id, EventId("$none")) is None
