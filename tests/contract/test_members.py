"""Memberships: who may move whom, and what a repeat comes to."""

from __future__ import annotations

import pytest

from bridge.core.errors import Forbidden
from bridge.matrix.client import path
from bridge.matrix.reader import AnnouncerEyes
from tests.contract.conftest import Person, World
from tests.fakes.homeserver import ANNOUNCER, STEWARD


async def events(world: World, room_id: str, person: Person) -> dict[str, str]:
    """The membership events in force, by user."""
    answer = await world.client.request("GET", path("v3", "rooms", room_id, "members"))
    return {event["state_key"]: event["event_id"] for event in answer["chunk"]}


async def test_repeats_of_what_is_there_already_are_no_error_and_no_event(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice = await world.person()
    await world.executor.invite(room_id, alice.user_id, by_announcer=False)
    first = await events(world, room_id, alice)
    await world.executor.invite(room_id, alice.user_id, by_announcer=False)
    assert await events(world, room_id, alice) == first
    await alice.join(room_id)
    joined = await events(world, room_id, alice)
    await alice.join(room_id)
    await world.executor.invite(room_id, alice.user_id, by_announcer=False)
    assert await events(world, room_id, alice) == joined
    await world.executor.ban(room_id, alice.user_id, "enough")
    banned = await events(world, room_id, alice)
    await world.executor.ban(room_id, alice.user_id, "enough")
    await world.executor.kick(room_id, alice.user_id, "enough")
    assert await events(world, room_id, alice) == banned
    await world.executor.unban(room_id, alice.user_id)
    lifted = await events(world, room_id, alice)
    await world.executor.unban(room_id, alice.user_id)
    await world.executor.kick(room_id, alice.user_id, "enough")
    assert await events(world, room_id, alice) == lifted


async def test_the_homeserver_refuses_what_the_executor_passes_over(world: World) -> None:
    room_id = await world.room()
    alice = await world.person()
    steward = Person(STEWARD, world.client)
    with pytest.raises(Forbidden):
        await steward.move(room_id, alice.user_id, "kick")
    await steward.move(room_id, alice.user_id, "unban")  # whoever was never there may have a ban lifted
    assert await world.membership(room_id, alice.user_id) == "leave"
    with pytest.raises(Forbidden):
        await steward.move(room_id, alice.user_id, "unban")
    await steward.move(room_id, alice.user_id, "invite")
    await alice.join(room_id)
    with pytest.raises(Forbidden):
        await steward.move(room_id, alice.user_id, "invite")


async def test_people_are_joined_where_we_are_admins_of_the_homeserver(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice, bob, carol = await world.person(), await world.person("bob"), await world.person("carol")
    await world.executor.bring_in(room_id, carol.user_id, by_announcer=False)
    assert await world.membership(room_id, carol.user_id) == "invite", "we are none, and so invite"
    await world.let_us(True)
    try:
        await world.executor.invite(room_id, bob.user_id, by_announcer=False)
        for person in (alice, bob):
            await world.executor.bring_in(room_id, person.user_id, by_announcer=False)
            assert await world.membership(room_id, person.user_id) == "join"
        joined = await events(world, room_id, alice)
        await world.executor.bring_in(room_id, alice.user_id, by_announcer=False)
        assert await events(world, room_id, alice) == joined, "a repeat is no event"
        await world.executor.ban(room_id, bob.user_id, "enough")
        with pytest.raises(Forbidden):
            await world.executor.bring_in(room_id, bob.user_id, by_announcer=False)
        assert await world.membership(room_id, bob.user_id) == "ban"
    finally:
        await world.let_us(False)


async def test_the_announcer_invites_where_it_is_a_member(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice = await world.person()
    with pytest.raises(Forbidden):
        await world.executor.invite(room_id, alice.user_id, by_announcer=True)
    await world.executor.invite(room_id, ANNOUNCER, by_announcer=False)
    await world.executor.join_as_announcer(room_id)
    await world.executor.join_as_announcer(room_id)
    await world.executor.invite(room_id, alice.user_id, by_announcer=True)
    here = (await world.reader.read(room_id, fresh=True)).members[alice.user_id]
    assert (here.state, here.sender) == ("invite", ANNOUNCER)


async def test_who_is_not_invited_does_not_come_in(world: World) -> None:
    room_id = await world.room()
    alice = await world.person()
    with pytest.raises(Forbidden):
        await alice.join(room_id)
    with pytest.raises(Forbidden):
        await alice.knock(room_id)
    with pytest.raises(Forbidden):
        await alice.state(room_id)
    with pytest.raises(Forbidden):
        await alice.send(room_id, "hello")


async def test_a_member_of_the_space_enters_a_restricted_room(world: World, room_version: str) -> None:
    space = await world.room(room_version, creation_content={"type": "m.space"})
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    room_id = await world.room(
        room_version, initial_state=[{"type": "m.room.join_rules", "state_key": "", "content": rules}]
    )
    alice, bob = await world.person(), await world.person("bob")
    await world.executor.invite(space, alice.user_id, by_announcer=False)
    with pytest.raises(Forbidden):
        await alice.join(room_id)
    await alice.join(space)
    await alice.join(room_id)
    with pytest.raises(Forbidden):
        await bob.join(room_id)
    await alice.leave(space)
    assert await world.membership(room_id, alice.user_id) == "join"  # nobody but us does the cascade


async def test_a_knock_is_let_in_or_sent_away(world: World) -> None:
    rules = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
    room_id = await world.room(initial_state=[rules])
    alice = await world.person()
    await alice.knock(room_id)
    assert await world.membership(room_id, alice.user_id) == "knock"
    await world.executor.kick(room_id, alice.user_id, "only members")
    assert await world.membership(room_id, alice.user_id) == "leave"
    await alice.knock(room_id)
    await world.executor.invite(room_id, alice.user_id, by_announcer=False)
    await alice.join(room_id)
    assert await world.membership(room_id, alice.user_id) == "join"


async def test_equals_cannot_remove_each_other_and_the_steward_can(world: World, room_version: str) -> None:
    room_id = await world.room(room_version)
    alice, bob = await world.person(), await world.person("bob")
    for person in (alice, bob):
        await world.executor.invite(room_id, person.user_id, by_announcer=False)
        await person.join(room_id)
        await world.give(room_id, person.user_id, 100)
    with pytest.raises(Forbidden):
        await alice.move(room_id, bob.user_id, "kick")
    with pytest.raises(Forbidden):
        await alice.move(room_id, STEWARD, "kick")
    await world.executor.kick(room_id, bob.user_id, "")
    assert await world.membership(room_id, bob.user_id) == "leave"


async def test_whoever_left_may_read_the_past_and_nothing_newer(world: World) -> None:
    room_id = await world.room()
    alice = await world.person()
    await world.executor.invite(room_id, alice.user_id, by_announcer=False)
    await alice.join(room_id)
    await world.executor.set_state(room_id, "m.room.name", "", {"name": "before"})
    await world.executor.kick(room_id, alice.user_id, "")
    await world.executor.set_state(room_id, "m.room.name", "", {"name": "after"})
    names = [event["content"] for event in await alice.state(room_id) if event["type"] == "m.room.name"]
    assert names == [{"name": "before"}]
    mine = [
        event["content"]["membership"] for event in await alice.state(room_id) if event["state_key"] == alice.user_id
    ]
    assert mine == ["leave"]


async def test_the_announcer_leaves_and_leaving_again_is_no_error(world: World) -> None:
    room_id = await world.room()
    await world.executor.invite(room_id, ANNOUNCER, by_announcer=False)
    await world.executor.leave_as_announcer(room_id, "not for me")
    assert await world.membership(room_id, ANNOUNCER) == "leave"
    await world.executor.leave_as_announcer(room_id, "not for me")


async def test_what_the_announcer_sees_of_a_chat(world: World) -> None:
    alice = await world.person()
    body = {
        "preset": "private_chat",
        "invite": [ANNOUNCER],
        "initial_state": [
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
        ],
    }
    made = await alice.client.request("POST", path("v3", "createRoom"), body=body)
    eyes = AnnouncerEyes(world.client, ANNOUNCER)
    with pytest.raises(Forbidden):
        await eyes.chat_facts(made["room_id"])
    await world.executor.join_as_announcer(made["room_id"])
    assert await eyes.chat_facts(made["room_id"]) == (True, {alice.user_id, ANNOUNCER})
