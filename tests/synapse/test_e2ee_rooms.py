"""Who reads what the announcer says: a real homeserver, and people whose clients have another cryptography."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.ids import RoomId
from tests.harness.announcer import ANNOUNCER, Stage, write_registration
from tests.harness.people import People


@pytest.fixture(scope="module")
async def homeserver(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[PrivateSynapse, str]]:
    folder = tmp_path_factory.mktemp("e2ee")
    synapse = PrivateSynapse(folder / "synapse")
    synapse.add_registration(write_registration(folder, "the-as-token"))
    async with synapse:
        yield synapse, "the-as-token"


@pytest.fixture
async def stage(homeserver: tuple[PrivateSynapse, str], tmp_path: Path) -> AsyncIterator[Stage]:
    synapse, as_token = homeserver
    stage = Stage(synapse, as_token, f"sqlite:///{tmp_path}/keys.db")
    await stage.open()
    await stage.keys.start()
    loop = asyncio.create_task(stage.keys.run())
    yield stage
    await stage.close()
    await asyncio.wait({loop})


@pytest.fixture
async def people(homeserver: tuple[PrivateSynapse, str]) -> AsyncIterator[People]:
    crowd = People(homeserver[0])
    yield crowd
    await crowd.close()


@pytest.fixture
async def room(stage: Stage, room_version: str) -> RoomId:
    return await stage.create_room(version=room_version)


async def test_members_read_and_a_removed_member_does_not(stage: Stage, people: People, room: RoomId) -> None:
    alice, bob = await people.nio("alice"), await people.nio("bob")
    for person in (alice, bob):
        await stage.change(room, "invite", person.user_id)
        await person.join(room)
    _, devices = await stage.say(room, "first")
    assert devices == 2
    for person in (alice, bob):
        assert (await person.wait_text(room, "first")).decrypted
    await stage.change(room, "kick", bob.user_id)
    event_id, devices = await stage.say(room, "second")
    assert devices == 1
    assert (await alice.wait_text(room, "second")).sender == ANNOUNCER
    event = await stage.raw(room, event_id)
    assert await bob.try_decrypt(room, event) is None
