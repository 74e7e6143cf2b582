"""The announcer's device over its life: restarts, lost and restored databases, key pools, and a failing homeserver."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.errors import ConfigError, MatrixError, OldDatabase, StoreError
from bridge.core.ids import DeviceId, RoomId, UserId
from bridge.e2ee.one_time_keys import ONE_TIME_KEYS
from bridge.matrix.client import Client, path
from bridge.matrix.key_server import HomeserverKeys
from tests.harness.announcer import ANNOUNCER, AS_TOKEN, Stage, write_registration
from tests.harness.people import People, SynapseFactory
from tests.harness.wait import eventually


async def fresh(new_synapse: SynapseFactory, folder: Path) -> PrivateSynapse:
    """A homeserver on which the announcer has no past."""
    synapse = new_synapse()
    synapse.add_registration(write_registration(folder, AS_TOKEN))
    await synapse.start()
    return synapse


async def published(stage: Stage) -> dict[str, Any]:
    """What everybody sees of the announcer."""
    return await stage.server.query_keys([ANNOUNCER])


def identity(answer: Mapping[str, Any]) -> list[str]:
    return [next(iter(answer[kind][ANNOUNCER]["keys"])) for kind in ("master_keys", "self_signing_keys")]


async def count(stage: Stage) -> int:
    return (await stage.server.upload_keys({}))["signed_curve25519"]


async def test_the_first_start_makes_one_signed_device_with_all_its_keys(stage: Stage) -> None:
    health = await stage.keys.health()
    assert health.cross_signed
    assert health.receives_to_device
    assert await stage.server.devices() == [health.device_id]
    assert await count(stage) == ONE_TIME_KEYS
    answer = await published(stage)
    device = answer["device_keys"][ANNOUNCER][health.device_id]
    master, self_signing = identity(answer)
    assert device["signatures"][ANNOUNCER].keys() == {f"ed25519:{health.device_id}", self_signing}
    assert f"ed25519:{health.device_id}" in answer["master_keys"][ANNOUNCER]["signatures"][ANNOUNCER]
    assert master == f"ed25519:{stage.keys.master_key}"


async def test_a_restart_changes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await published(stage)
    await stage.close()
    writes: list[str] = []
    for name in ("put_device", "upload_cross_signing", "upload_signatures", "delete_devices"):
        monkeypatch.setattr(HomeserverKeys, name, lambda *_, name=name: writes.append(name))
    await stage.start()
    assert await published(stage) == before
    assert not writes


async def test_a_lost_database_means_a_new_device_of_the_same_identity(
    stage: Stage, crowd: People, tmp_path: Path
) -> None:
    ann = await crowd.nio("ann")
    room = await stage.create_room()
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    await stage.say(room, "before")
    await ann.wait_text(room, "before")
    before, old = await published(stage), (await stage.keys.health()).device_id
    await stage.close()
    stage.database_url = f"sqlite:///{tmp_path}/new.db"
    await stage.start()
    health = await stage.keys.health()
    assert health.device_id != old
    assert health.cross_signed
    assert health.receives_to_device
    assert await stage.server.devices() == [health.device_id]
    assert identity(await published(stage)) == identity(before)
    await stage.say(room, "after")
    assert (await ann.wait_text(room, "after")).device_id == health.device_id


async def test_an_interrupted_first_start_is_finished_by_the_next(
    new_synapse: SynapseFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homeserver = await fresh(new_synapse, tmp_path)
    steps = ("put_device", "upload_keys", "upload_cross_signing", "upload_signatures", "set_generation", "sync")
    stage = Stage(homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    for name in steps:
        await stage.open()

        async def fail(*_: Any, **__: Any) -> None:
            raise MatrixError("cut off")

        with monkeypatch.context() as patch:
            patch.setattr(HomeserverKeys, name, fail)
            with pytest.raises(MatrixError, match="cut off"):
                await stage.keys.start()
        await stage.close()
    await stage.start()
    health = await stage.keys.health()
    assert (health.cross_signed, health.receives_to_device) == (True, True)
    assert await stage.server.devices() == [health.device_id]
    assert await count(stage) == ONE_TIME_KEYS
    await stage.close()


async def refuses(stage: Stage, copy: Path) -> None:
    """See that an old copy of the database is refused, and nothing of it reaches the homeserver."""
    before = await stage.server.devices()
    await stage.close()
    stage.database_url = f"sqlite:///{copy}"
    await stage.open()
    with pytest.raises(OldDatabase, match="old copy") as caught:
        await stage.keys.start()
    assert "--accept-old-database" in caught.value.remedy
    with pytest.raises(OldDatabase):
        await stage.keys.rotate()
    assert await stage.server.devices() == before


async def accepts(stage: Stage, old: str) -> None:
    """Go on with an old copy, as somebody who has nothing newer."""
    await stage.keys.rotate(accept_old=True)
    await stage.close()
    await stage.start()
    health = await stage.keys.health()
    assert (health.cross_signed, health.receives_to_device) == (True, True)
    assert health.device_id != old
    assert await stage.server.devices() == [health.device_id]
    assert await count(stage) == ONE_TIME_KEYS


async def test_an_old_copy_of_the_database_is_refused_until_somebody_accepts_it(
    stage: Stage, crowd: People, tmp_path: Path
) -> None:
    ann = await crowd.nio("ann")
    room = await stage.create_room()
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    await stage.say(room, "one")
    old = (await stage.keys.health()).device_id
    await stage.close()
    shutil.copy(tmp_path / "keys.db", tmp_path / "copy.db")
    await stage.start()
    await stage.say(room, "two")
    await ann.wait_text(room, "two")
    await refuses(stage, tmp_path / "copy.db")
    await accepts(stage, old)
    await stage.say(room, "three")
    await ann.wait_text(room, "three")
    assert not ann.undecryptable(room)


async def test_an_old_copy_that_was_made_while_running_is_refused(stage: Stage, tmp_path: Path) -> None:
    old = (await stage.keys.health()).device_id
    with closing(sqlite3.connect(tmp_path / "keys.db")) as source, closing(sqlite3.connect(tmp_path / "copy.db")) as to:
        source.backup(to)
    stage.clock.ahead_ms += 2 * 3600 * 1000
    assert (await stage.keys.health()).receives_to_device  # a sync, hours later
    await refuses(stage, tmp_path / "copy.db")
    await accepts(stage, old)


async def test_one_time_keys_that_clash_are_those_of_an_old_copy(stage: Stage, crowd: People, tmp_path: Path) -> None:
    old = (await stage.keys.health()).device_id
    await stage.close()
    shutil.copy(tmp_path / "keys.db", tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        [(counted,)] = copy.execute("SELECT generation FROM crypto_account").fetchall()
    await stage.start()
    await claim(stage, crowd, 10)
    await refilled(stage)
    await claim(stage, crowd, 5)
    await stage.server.set_generation(counted)  # as if the copy had been made within the hour
    await refuses(stage, tmp_path / "copy.db")
    await accepts(stage, old)


async def test_two_services_upon_copies_of_one_database_do_not_go_on_beside_each_other(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.close()
    shutil.copy(tmp_path / "keys.db", tmp_path / "copy.db")
    await stage.start()
    other = Stage(stage.homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/copy.db")
    await other.open()
    with pytest.raises(OldDatabase):
        await other.keys.start()
    await other.server.set_generation(100)  # as if it had been the quicker one
    stage.clock.ahead_ms += 2 * 3600 * 1000
    with suppress(MatrixError):
        await stage.keys.health(deadline_seconds=1)  # what comes ends the wait of the sync
    assert stage.loop is not None
    with pytest.raises(OldDatabase):
        await asyncio.wait_for(stage.loop, 20)
    stage.loop = None
    await other.close()


async def test_a_rotated_device_takes_over_and_everybody_reads_on(stage: Stage, crowd: People) -> None:
    nio, js = await crowd.nio("ann"), await crowd.js("bob", cross_sign=True)
    room = await stage.create_room()
    for person in (nio, js):
        await stage.change(room, "invite", person.user_id)
        await person.join(room)
    await stage.say(room, "before")
    await js.wait_text(room, "before")
    event_id = await js.send(room, "kept")
    event = await stage.raw(room, event_id)
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    master = identity(await published(stage))
    old, new = await stage.keys.rotate()
    assert old != new
    assert await stage.server.devices() == [new]
    assert identity(await published(stage)) == master
    health = await stage.keys.health()
    assert (health.device_id, health.cross_signed, health.receives_to_device) == (new, True, True)
    assert await count(stage) == ONE_TIME_KEYS
    await stage.say(room, "after")
    for person in (nio, js):
        assert (await person.wait_text(room, "after")).device_id == new
        assert not person.undecryptable(room)
    assert (await js.devices(ANNOUNCER)) == {new: True}
    assert (await stage.keys.decrypt(event))["content"]["body"] == "kept"  # keys received stay
    event = await stage.raw(room, await js.send(room, "to the new one"))
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    assert (await stage.keys.decrypt(event))["content"]["body"] == "to the new one"


async def test_a_rotation_waits_for_what_is_being_sent(stage: Stage, crowd: People) -> None:
    ann = await crowd.nio("ann")
    room = await stage.create_room()
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    sent = [asyncio.create_task(stage.say(room, f"number {number}")) for number in range(10)]
    await asyncio.sleep(0)
    await stage.keys.rotate()
    await asyncio.gather(*sent, return_exceptions=True)
    await stage.say(room, "last")
    await ann.wait_text(room, "last")
    assert not ann.undecryptable(room)


@pytest.mark.parametrize("jump_ms", [365 * 24 * 3600 * 1000, -24 * 3600 * 1000])
async def test_a_clock_that_jumps_breaks_nothing(stage: Stage, crowd: People, jump_ms: int) -> None:
    ann = await crowd.nio("ann")
    room = await stage.create_room()
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    await stage.say(room, "before")
    stage.clock.ahead_ms += jump_ms
    await stage.say(room, "after")
    first, second = await ann.wait_text(room, "before"), await ann.wait_text(room, "after")
    if jump_ms > 0:
        assert first.session_id != second.session_id
    event = await stage.raw(room, await ann.send(room, "answer"))
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    assert (await stage.keys.decrypt(event))["content"]["body"] == "answer"
    old = (await stage.keys.health()).device_id
    await refilled(stage)
    await stage.close()
    await stage.start()
    health = await stage.keys.health()
    assert (health.device_id, health.cross_signed, health.receives_to_device) == (old, True, True)
    stage.clock.ahead_ms -= jump_ms
    await stage.say(room, "back again")
    await ann.wait_text(room, "back again")
    assert not ann.undecryptable(room)


async def refilled(stage: Stage) -> None:
    async def full() -> bool:
        # a claim alone does not end the wait of a sync: the probe does
        await stage.keys.health()
        return await count(stage) == ONE_TIME_KEYS

    await eventually(full, what="the pool to be full again")


async def claim(stage: Stage, crowd: People, times: int) -> list[dict[str, Any]]:
    """Take one-time keys of the announcer, as somebody who writes to it does."""
    taker = await crowd.nio("taker")
    device_id = (await stage.server.devices())[0]
    wanted = {"one_time_keys": {ANNOUNCER: {device_id: "signed_curve25519"}}}
    return [
        (await taker.call("POST", "/keys/claim", wanted))["one_time_keys"][ANNOUNCER][device_id] for _ in range(times)
    ]


async def test_one_time_keys_are_topped_up(stage: Stage, crowd: People) -> None:
    await claim(stage, crowd, 7)
    await refilled(stage)


async def test_with_the_pool_empty_the_fallback_key_serves_and_is_replaced(stage: Stage, crowd: People) -> None:
    await stage.close()
    sender = Stage(stage.homeserver, AS_TOKEN, "unused")
    await sender.connect()
    sender.server = HomeserverKeys(sender.client, ANNOUNCER)
    taken = await claim(sender, crowd, ONE_TIME_KEYS + 1)
    await sender.client.stop()
    fallback = next(iter(taken[-1].values()))
    assert fallback["fallback"] is True
    ann = await crowd.nio("ann")
    room = RoomId(await ann.create_dm(ANNOUNCER))
    await stage.open()
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})
    await ann.wait_joined(room, ANNOUNCER)
    event_id = await ann.send(room, "by the fallback key")
    await stage.close()
    await stage.start()
    event = await stage.raw(room, event_id)
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    assert (await stage.keys.decrypt(event))["content"]["body"] == "by the fallback key"
    await refilled(stage)
    new = (await claim(stage, crowd, 3 * ONE_TIME_KEYS))[-1]
    assert next(iter(new.values()))["key"] != fallback["key"]


async def test_a_deleted_device_comes_back_at_the_next_start(stage: Stage) -> None:
    device_id = (await stage.keys.health()).device_id
    await stage.close()
    await stage.open()
    await stage.server.delete_devices([DeviceId(device_id)])
    await stage.close()
    await stage.start()
    health = await stage.keys.health()
    assert (health.device_id, health.cross_signed, health.receives_to_device) == (device_id, True, True)
    assert await count(stage) == ONE_TIME_KEYS


async def test_another_seed_does_not_make_another_identity_unasked(new_synapse: SynapseFactory, tmp_path: Path) -> None:
    stage = Stage(await fresh(new_synapse, tmp_path), AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    await stage.start()
    before = identity(await published(stage))
    await stage.close()
    stage.seed = secrets.token_bytes(32)
    await stage.open()
    with pytest.raises(ConfigError, match="identity"):
        await stage.keys.start()
    assert identity(await published(stage)) == before
    await stage.close()
    stage.replace_identity = True
    await stage.start()
    assert identity(await published(stage)) != before
    assert (await stage.keys.health()).cross_signed
    await stage.close()


async def test_an_identity_of_which_a_part_is_missing_is_completed(new_synapse: SynapseFactory, tmp_path: Path) -> None:
    stage = Stage(await fresh(new_synapse, tmp_path), AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    await stage.open()
    upload = stage.server.upload_cross_signing

    async def one_key_and_no_more(body: Mapping[str, Any]) -> None:
        await upload({"master_key": body["master_key"]})
        raise MatrixError("cut off")

    stage.server.upload_cross_signing = one_key_and_no_more  # type: ignore[method-assign]
    with pytest.raises(MatrixError, match="cut off"):
        await stage.keys.start()
    await stage.close()
    await stage.start()
    assert (await stage.keys.health()).cross_signed
    await stage.close()


async def test_a_wrong_pickle_key_is_an_error_with_a_remedy(stage: Stage) -> None:
    await stage.close()
    stage.pickle_key = "another"
    await stage.open()
    with pytest.raises(StoreError, match="pickle key"):
        await stage.keys.start()


async def test_a_command_without_the_loop_can_do_all_of_it(
    homeserver: PrivateSynapse, crowd: People, tmp_path: Path
) -> None:
    stage = Stage(homeserver, AS_TOKEN, f"sqlite:///{tmp_path}/keys.db")
    await stage.open()
    await stage.keys.start()
    ann = await crowd.nio("ann")
    room = await stage.create_room()
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    await stage.say(room, "hello")
    await ann.wait_text(room, "hello")
    assert (await stage.keys.health()).receives_to_device
    event_id = await ann.send(room, "answer")
    await stage.keys.sync_once(timeout_ms=5000)
    assert (await stage.keys.decrypt(await stage.raw(room, event_id)))["content"]["body"] == "answer"
    await stage.close()


async def test_health_tells_when_nothing_arrives(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any) -> None:
        return

    monkeypatch.setattr(stage.server, "send_to_device", nothing)
    health = await stage.keys.health(deadline_seconds=0.5)
    assert health.cross_signed
    assert not health.receives_to_device


async def test_the_loop_outlives_a_homeserver_that_is_away(stage: Stage, homeserver: PrivateSynapse) -> None:
    await homeserver.kill()
    await asyncio.sleep(0.5)  # let it fail at least once
    await homeserver.start()
    assert (await stage.keys.health(deadline_seconds=30)).receives_to_device


async def test_the_steward_has_no_device(stage: Stage) -> None:
    client = Client(stage.homeserver.url, AS_TOKEN)
    await client.start()
    assert (await client.request("GET", path("v3", "devices")))["devices"] == []
    steward = UserId("@communities:example.org")
    assert (await stage.server.query_keys([steward]))["device_keys"] == {steward: {}}
    await client.stop()
