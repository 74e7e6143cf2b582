"""A homeserver that is put back to yesterday: the announcer converges by itself, and members read on."""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.cli.demo.operator import Operator
from bridge.cli.demo.person import Client
from bridge.core.errors import MatrixError
from bridge.core.ids import RoomId
from bridge.core.messages import SendMessage
from bridge.e2ee.one_time_keys import ONE_TIME_KEYS
from bridge.store.jobs import encode
from tests.harness.announcer import ANNOUNCER, Stage
from tests.harness.people import People, SynapseFactory
from tests.harness.wait import eventually

AS_TOKEN = "the-as-token"


class Yesterday:
    """The files of a stopped homeserver with SQLite, as a backup has them."""

    def __init__(self, synapse: PrivateSynapse, folder: Path) -> None:
        self._synapse = synapse
        self._folder = folder

    async def keep(self) -> None:
        """Stop the homeserver for a copy of its database."""
        await self._synapse.stop()
        self._folder.mkdir()
        for file in self._synapse.folder.glob("homeserver.db*"):
            shutil.copy(file, self._folder)
        await self._synapse.start()

    async def put_back(self) -> None:
        await self._synapse.stop()
        for file in self._synapse.folder.glob("homeserver.db*"):
            file.unlink()
        for file in self._folder.iterdir():
            shutil.copy(file, self._synapse.folder)
        await self._synapse.start()


async def counted_on(stage: Stage) -> None:
    """Let hours pass in which the service runs."""
    for _ in range(2):
        stage.clock.ahead_ms += 2 * 3600 * 1000
        assert (await stage.keys.health(30)).receives_to_device


async def is_well(stage: Stage) -> bool:
    """Whether one signed device, with all its keys, receives messages."""
    try:
        health = await stage.keys.health(5)
        counts = await stage.server.upload_keys({})
    except MatrixError:  # it has lost the device, and gets it again at the next sync
        return False
    return (
        health.cross_signed
        and health.receives_to_device
        and await stage.server.devices() == [health.device_id]
        and counts.get("signed_curve25519") == ONE_TIME_KEYS
    )


async def catches_up(stage: Stage, person: Client, room: RoomId) -> None:
    """See that somebody reads what is said, once their own client has found its way to the homeserver again.

    What was sent before that it may never see, keys included: its place in the stream is from the future.
    """

    async def reads() -> bool:
        text = secrets.token_hex(4)
        await stage.say(room, text)
        with suppress(TimeoutError):
            return (await person.wait_text(room, text, 3)).decrypted
        stage.clock.ahead_ms += 3600 * 1000 + 1
        await stage.keys.health(5)
        return False

    await eventually(reads, 60, f"{person.user_id} to read again")


async def test_a_restarted_service_begins_anew_and_members_read_on(
    own_stage: Stage, own_crowd: People, tmp_path: Path
) -> None:
    yesterday = Yesterday(own_stage.homeserver, tmp_path / "yesterday")
    ann, bob, late = await own_crowd.nio("ann"), await own_crowd.js("bob", cross_sign=True), await own_crowd.nio("late")
    room = await own_stage.create_room()
    for person in (ann, bob):
        await own_stage.change(room, "invite", person.user_id)
        await person.join(room)
    await own_stage.say(room, "one")
    for person in (ann, bob):
        await person.wait_text(room, "one")
    old = (await own_stage.keys.health()).device_id
    await yesterday.keep()
    await counted_on(own_stage)
    await own_stage.change(room, "invite", late.user_id)
    await late.join(room)
    await own_stage.say(room, "two")
    await bob.wait_text(room, "two")
    await own_stage.close()
    await yesterday.put_back()
    await own_stage.start()
    await eventually(lambda: is_well(own_stage), 30, "the announcer to be well")
    assert (await own_stage.keys.health()).device_id != old
    for person in (ann, bob):
        await catches_up(own_stage, person, room)
    assert (await bob.devices(ANNOUNCER)).popitem()[1]
    event = await own_stage.raw(room, await bob.send(room, "answer"))
    assert await own_stage.keys.wait_for_key(room, event["content"]["session_id"], 20)
    assert (await own_stage.keys.decrypt(event))["content"]["body"] == "answer"


async def test_a_service_that_runs_on_notices_it_with_its_device_gone(
    own_stage: Stage, own_crowd: People, tmp_path: Path
) -> None:
    yesterday = Yesterday(own_stage.homeserver, tmp_path / "yesterday")
    bob = await own_crowd.js("bob", cross_sign=True)
    room = await own_stage.create_room()
    await own_stage.change(room, "invite", bob.user_id)
    await bob.join(room)
    await own_stage.say(room, "one")
    await yesterday.keep()
    await own_stage.keys.rotate()
    await counted_on(own_stage)
    await yesterday.put_back()
    await eventually(lambda: is_well(own_stage), 60, "the announcer to be well")
    await catches_up(own_stage, bob, room)


async def test_a_service_that_runs_on_notices_it_within_the_hour(own_stage: Stage, tmp_path: Path) -> None:
    yesterday = Yesterday(own_stage.homeserver, tmp_path / "yesterday")
    old = (await own_stage.keys.health()).device_id
    await yesterday.keep()
    await counted_on(own_stage)
    await yesterday.put_back()
    await eventually(lambda: is_well(own_stage), 60, "the service to be back")
    own_stage.clock.ahead_ms += 2 * 3600 * 1000

    async def replaced() -> bool:
        return (await own_stage.keys.health(5)).device_id != old and await is_well(own_stage)

    await eventually(replaced, 60, "a new device")


def leave_a_job(file: Path, room: RoomId) -> None:
    """As if the copy had been made while something was still to be sent."""
    kind, body = encode(SendMessage(room, {"msgtype": "m.text", "body": "of the old copy"}))
    with closing(sqlite3.connect(file)) as copy:
        copy.execute("INSERT INTO job (id, lane, kind, body, due_at) VALUES ('old', ?, ?, ?, 0)", (room, kind, body))
        copy.commit()


async def test_an_old_database_stops_the_service_until_somebody_accepts_it(
    new_synapse: SynapseFactory, tmp_path: Path
) -> None:
    synapse = new_synapse()
    folder = tmp_path / "service"
    folder.mkdir()
    operator, people = Operator(folder, synapse), People(synapse)
    await operator.set_up()
    await synapse.start()
    try:
        owner = await people.nio("owner")
        operator.edit(communities={"school": {"name": "School", "owners": [owner.user_id]}})
        await operator.command("apply", "--yes")
        room = next(
            room["room_id"]
            for room in (await operator.command("status", "--json")).json["communities"][0]["rooms"]
            if room["key"] == "announcements"
        )
        await owner.wait_invite(room)
        await owner.join(room)
        await operator.start()
        await operator.stop()
        backup = tmp_path / "communities.db"
        shutil.copy(folder / "communities.db", backup)
        await operator.start()
        await operator.command("announce", "school", "--text", "Newer than the copy")
        await operator.stop()
        for file in folder.glob("communities.db*"):
            file.unlink()
        shutil.copy(backup, folder / "communities.db")
        leave_a_job(folder / "communities.db", RoomId(room))

        await operator.start(ready=False)
        assert await operator.ended() == 1
        said = operator.log_tail(2)
        assert "the database is an old copy" in said
        assert "Remedy: stop everything and put the newest database back" in said
        found = (await operator.command("check", "--json", expect=[1])).json["checks"]
        [failed] = [check for check in found if check["verdict"] == "failed"]
        assert "old copy" in failed["what"]
        assert "--accept-old-database" in failed["remedy"]
        ran = await operator.command("announce", "school", "--text", "No", expect=[1])
        assert "old copy" in ran.err
        ran = await operator.command("rotate-device", expect=[1])
        assert "old copy" in ran.err
        ran = await operator.command("rotate-device", "--accept-old-database")
        assert "The announcer's device is now" in ran.out
        assert "Set aside, not to be done twice: 1 jobs" in ran.out
        await operator.start()
        await operator.command("announce", "school", "--text", "On it goes")
        assert (await owner.wait_text(room, "On it goes")).decrypted
        assert "of the old copy" not in [message.text for message in owner.messages(room)]
        assert (await operator.command("status", "--json")).json["queue"]["parked_jobs"] == 1
        ran = await operator.command("rotate-device", "--accept-old-database", expect=[1])
        assert "was current" in ran.err
        device = (await operator.command("status", "--json")).json["announcer"]["device_id"]
        await operator.command("rotate-device")
        after = (await operator.command("status", "--json")).json["announcer"]
        assert after["device_id"] != device
        assert after["cross_signed"] is True
        await operator.command("announce", "school", "--text", "Rotated")
        assert (await owner.wait_text(room, "Rotated")).decrypted
    finally:
        await people.close()
        await operator.stop()
        await synapse.stop()
