"""The watch over the service's own accounts: what it sees, says and mends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.app.guard import Guard
from bridge.cli.demo.operator import Operator
from bridge.core.ids import DeviceId
from bridge.e2ee.identity import Identity
from bridge.matrix.client import Client, path
from tests.harness.announcer import ANNOUNCER, STEWARD, Stage
from tests.harness.people import SynapseFactory
from tests.harness.wait import eventually


@pytest.fixture
def guard(stage: Stage) -> Guard:
    async def steward_devices() -> list[str]:
        answer = await stage.client.request("GET", path("v3", "devices"), as_user=STEWARD)
        return [device["device_id"] for device in answer["devices"]]

    return Guard(stage.keys, steward_devices)


async def change(stage: Stage, method: str, user: Any, device: str) -> None:
    body = {"display_name": "added"} if method == "PUT" else None
    await stage.client.request(method, path("v3", "devices", device), as_user=user, body=body)


async def test_all_is_well(guard: Guard, caplog: pytest.LogCaptureFixture) -> None:
    await guard.watch()
    assert guard.last is not None
    assert guard.last.faults == []
    assert guard.last.announcer.identity == "ours"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_device_of_the_steward_is_reported_once(
    stage: Stage, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    await change(stage, "PUT", STEWARD, "SPY")
    try:
        for _ in range(3):
            await guard.watch()
        assert guard.last is not None
        assert guard.last.steward_devices == ("SPY",)
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert len(said) == 1
        assert "the steward owns devices (SPY)" in said[0]
    finally:
        await change(stage, "DELETE", STEWARD, "SPY")
    await guard.watch()
    assert guard.last is not None
    assert guard.last.faults == []


async def test_a_second_device_of_the_announcer_is_reported_and_left_to_be_seen(stage: Stage, guard: Guard) -> None:
    await change(stage, "PUT", ANNOUNCER, "SPY")
    await guard.watch()
    assert guard.last is not None
    assert guard.last.announcer.foreign_devices == ("SPY",)
    assert "SPY" in await stage.server.devices()
    await stage.close()
    await stage.start()
    assert "SPY" not in await stage.server.devices()
    standing = await stage.keys.describe()
    assert standing.strange == ("SPY",)
    assert await stage.keys.strange_at() == standing.strange_at


async def test_a_second_device_is_remembered_when_what_is_mended_beside_it_deletes_it(
    stage: Stage, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    device = (await stage.keys.describe()).device_id
    await stage.keys.stop()  # so that its own sync does not notice first
    await change(stage, "PUT", ANNOUNCER, "SPY")
    await stage.server.delete_devices([DeviceId(device)])
    await guard.watch()
    assert guard.last is not None
    assert guard.last.faults == []
    assert guard.last.announcer.strange == ("SPY",)
    assert guard.last.announcer.strange_at is not None
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "deleting devices of the announcer that this database does not know: SPY" in said


async def test_a_device_that_was_rotated_away_is_not_taken_for_somebody_elses(
    stage: Stage, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    before = await stage.keys.describe()
    await stage.keys.rotate()
    await guard.watch()
    standing = await stage.keys.describe()
    assert (standing.strange, standing.strange_at) == (before.strange, before.strange_at)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_device_that_was_deleted_is_made_again(stage: Stage, guard: Guard) -> None:
    device = (await stage.keys.describe()).device_id
    await stage.keys.stop()  # so that its own sync does not notice first
    await stage.server.delete_devices([DeviceId(device)])
    await guard.watch()
    assert guard.last is not None
    assert guard.last.faults == []
    assert await stage.server.devices() == [device]


async def test_an_identity_that_somebody_else_has_made_is_reported_and_never_taken_over(own_stage: Stage) -> None:
    thief = Identity(ANNOUNCER, b"what somebody else has thought of")
    await own_stage.server.upload_cross_signing(thief.to_publish({}))

    async def none() -> list[str]:
        return []

    guard = Guard(own_stage.keys, none)
    await guard.watch()
    assert guard.last is not None
    assert guard.last.announcer.identity == "another"
    assert not guard.last.announcer.cross_signed
    assert guard.last.faults == ["the announcer is published with an identity that is not ours"]
    published = await own_stage.server.query_keys([ANNOUNCER])
    assert f"ed25519:{thief.master_key}" in published["master_keys"][ANNOUNCER]["keys"]


async def test_the_running_service_shows_it_everywhere(new_synapse: SynapseFactory, tmp_path: Path) -> None:
    synapse = new_synapse()
    folder = tmp_path / "service"
    folder.mkdir()
    operator = Operator(folder, synapse)
    await operator.set_up()
    await synapse.start()
    settings = operator.settings()
    client = Client(synapse.url, settings["registration"]["as_token"])
    await client.start()

    async def metrics(secret: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{settings['listen']['port']}/metrics"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Authorization": f"Bearer {secret}"}) as answer,
        ):
            return answer.status, await answer.text()

    try:
        await operator.start()
        await operator.stop()
        await client.request("PUT", path("v3", "devices", "SPY"), as_user=STEWARD, body={"display_name": "added"})
        await client.request("PUT", path("v3", "devices", "MOLE"), as_user=ANNOUNCER, body={"display_name": "added"})
        await operator.start()
        assert (await metrics("wrong"))[0] == 403

        async def looked() -> str:
            status, text = await metrics(settings["control"]["secret"])
            assert status == 200
            return text if "steward_devices" in text else ""

        text = await eventually(looked, what="the first look")
        for line in (
            "steward_devices 1",
            "announcer_devices 1",
            "announcer_cross_signed 1",
            "ready 1",
            'queue{what="jobs"} 0',
        ):
            assert f"matrix_communities_{line}\n" in text
        assert "the steward owns devices (SPY)" in operator.log.read_text()
        found = (await operator.command("status", "--json")).json
        assert found["steward"]["devices"] == ["SPY"]
        announcer = found["announcer"]
        assert announcer["devices"] == [announcer["device_id"]]
        assert announcer["identity"] == "ours"
        assert announcer["verified_people"] == 0
        assert announcer["strange_devices"]["devices"] == ["MOLE"]
        seen_at = announcer["strange_devices"]["seen_at"] // 1000
        assert f"matrix_communities_announcer_strange_seen_seconds {seen_at}\n" in text
        assert "deleting devices of the announcer that this database does not know: MOLE" in operator.log.read_text()
        checks = {one["name"]: one for one in (await operator.command("check", "--json", expect=[1])).json["checks"]}
        assert checks["steward without a device"]["verdict"] == "failed"
        assert checks["announcer's only device"]["verdict"] == "ok"
        assert announcer["fingerprint"] in checks["announcer's identity"]["what"]
        assert announcer["identity_fingerprint"] in checks["announcer's identity"]["what"]
        shown = (await operator.command("status")).out
        assert announcer["fingerprint"] in shown
        assert "had devices that its database does not know: MOLE" in shown
        assert "MOLE" in (await operator.command("status", "--forget-strange-devices")).out
        assert (await operator.command("status", "--json")).json["announcer"]["strange_devices"] is None
        assert "strange_seen" not in (await metrics(settings["control"]["secret"]))[1]
        published = await client.request(
            "POST", path("v3", "keys", "query"), as_user=ANNOUNCER, body={"device_keys": {ANNOUNCER: []}}
        )
        keys = published["device_keys"][ANNOUNCER][announcer["device_id"]]["keys"]
        assert announcer["fingerprint"].replace(" ", "") == keys[f"ed25519:{announcer['device_id']}"]
        master = next(iter(published["master_keys"][ANNOUNCER]["keys"].values()))
        assert announcer["identity_fingerprint"].replace(" ", "") == master
    finally:
        await client.stop()
        await operator.stop()
        await synapse.stop()
