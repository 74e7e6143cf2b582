"""Creating rooms: the alias comes first, what we ask for is what is there, and a second try finds the first."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from bridge.core.community import Community, Group, RoomKind
from bridge.core.errors import BadRequest, Forbidden, NotFound
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.features.reconcile.work import creation_body
from bridge.matrix.client import path
from bridge.plan.actions import CreateRoom
from bridge.plan.desired import Setting
from bridge.plan.diff import compare
from bridge.plan.state import MARKER, Accounts, Known, same
from tests.contract.conftest import World
from tests.fakes.homeserver import ANNOUNCER, STEWARD

OWNER = UserId("@owner:example.org")


def alias() -> str:
    return f"#_communities_{secrets.token_hex(8)}:example.org"


def plain(**more: Any) -> dict[str, Any]:
    return {"preset": "private_chat", "room_version": "12", **more}


def creations(version: str) -> list[CreateRoom]:
    community = Community(
        CommunityId("school"),
        owners=frozenset({OWNER}),
        room_version=version,
        groups=(
            Group(RoomKeyName("chess"), RoomKind.REQUEST),
            Group(RoomKeyName("board"), RoomKind.HIDDEN),
            Group(RoomKeyName("class-1a"), RoomKind.OPEN),
        ),
    )
    plan = compare(community, Known(), {}, Setting(Accounts(STEWARD, ANNOUNCER), version)).plan
    return [action for action in plan.actions if isinstance(action, CreateRoom)]


async def test_every_kind_of_room_is_made_as_it_is_desired(world: World, room_version: str) -> None:
    space = None
    for action in creations(room_version):
        made = await world.executor.create(alias(), creation_body(CommunityId("school"), action, space))
        assert made.whole
        space = space or made.room_id
        room = await world.reader.read(made.room_id)
        assert room.version == room_version
        assert room.marker == ("school", action.room)
        assert room.creators == {STEWARD}
        for event_type, state_key, content in action.state:
            wanted = (
                {**content, "allow": [{**content["allow"][0], "room_id": space}]} if "allow" in content else content
            )
            have = room.content(event_type, state_key)
            assert have is not None, event_type
            assert same(have, wanted), event_type
        assert room.members.keys() == {STEWARD}
        assert not room.content("m.room.canonical_alias")


async def test_a_second_try_under_the_same_alias_finds_the_room_of_the_first(world: World) -> None:
    name = alias()
    first = await world.executor.create(name, plain())
    second = await world.executor.create(name, plain())
    assert (first.whole, second.whole) == (True, False)
    assert second.room_id == first.room_id
    await world.executor.drop_alias(name)
    await world.executor.drop_alias(name)
    assert (await world.executor.create(name, plain())).room_id != first.room_id


async def test_an_alias_of_a_room_in_which_the_steward_is_not_is_taken_over(world: World) -> None:
    name = alias()
    body = plain(room_alias_name=name[1:].partition(":")[0])
    lost = await world.client.request("POST", path("v3", "createRoom"), as_user=ANNOUNCER, body=body)
    made = await world.executor.create(name, plain())
    assert made.whole
    assert made.room_id != lost["room_id"]
    found = await world.client.request("GET", path("v3", "directory", "room", name))
    assert found["room_id"] == made.room_id


async def test_people_cannot_take_our_aliases(world: World) -> None:
    with pytest.raises(NotFound):
        await world.client.request("GET", path("v3", "directory", "room", alias()))


async def test_a_creator_of_version_12_may_not_be_listed(world: World) -> None:
    with pytest.raises(BadRequest):
        await world.room("12", power_level_content_override={"users": {STEWARD: 100}})
    room_id = await world.room("12")
    levels = await world.levels(room_id)
    with pytest.raises(BadRequest):
        await world.executor.set_state(
            room_id, "m.room.power_levels", "", {**levels, "users": {**levels["users"], STEWARD: 100}}
        )


async def test_an_alias_stands_as_the_rooms_name_unless_it_is_emptied(world: World) -> None:
    name = alias()
    made = await world.executor.create(name, plain())
    room = await world.reader.read(made.room_id)
    assert room.content("m.room.canonical_alias") == {"alias": name}
    empty = {"type": "m.room.canonical_alias", "state_key": "", "content": {}}
    made = await world.executor.create(alias(), plain(initial_state=[empty]))
    assert (await world.reader.read(made.room_id)).content("m.room.canonical_alias") == {}


async def test_a_room_that_does_not_exist_is_forbidden(world: World) -> None:
    with pytest.raises(Forbidden):
        await world.reader.read(type(await world.room())("!nowhere-to-be-found:example.org"))


async def test_the_marker_stands_in_the_creation_content(world: World) -> None:
    room_id = await world.room(creation_content={MARKER: {"community": "a", "key": "b"}})
    assert (await world.reader.read(room_id)).marker == ("a", "b")


async def test_the_public_directory(world: World) -> None:
    room_id = await world.room(creation_content={"type": "m.space"})
    for listed in (True, False):
        await world.executor.set_listed(room_id, listed=listed)
        room = await world.reader.read(room_id, fresh=True)
        assert room.content("org.matrix-communities.listed") == {"listed": listed}


async def test_the_rooms_that_the_steward_is_in_and_their_marks(world: World) -> None:
    mark = {MARKER: {"community": "a", "key": "b"}}
    marked, plain_room = await world.room(creation_content=mark), await world.room()
    assert {marked, plain_room} <= set(await world.reader.joined())
    assert await world.reader.mark(marked) == ("a", "b")
    assert await world.reader.mark(plain_room) is None


async def test_the_steward_comes_into_a_room_of_others_when_it_is_invited(world: World, room_version: str) -> None:
    alice = await world.person()
    body = {"room_version": room_version, "preset": "private_chat", "visibility": "public"}
    room_id = RoomId((await alice.client.request("POST", path("v3", "createRoom"), body=body))["room_id"])
    with pytest.raises(Forbidden):
        await world.executor.join(room_id)
    await alice.move(room_id, STEWARD, "invite")
    for _ in range(2):
        await world.executor.join(room_id)
    room = await world.reader.read(room_id)
    assert room.members[STEWARD].state == "join"
    assert set(room.creators) == {str(alice.user_id)}
    assert await world.reader.is_listed(room_id)
    levels = dict(room.power_levels)
    await alice.write(room_id, "m.room.power_levels", {**levels, "users": {**levels["users"], STEWARD: 100}})
    await world.executor.set_listed(room_id, listed=False)
    assert not await world.reader.is_listed(room_id)
    await world.executor.leave(room_id)
    assert await world.executor.room_of(alias()) is None
