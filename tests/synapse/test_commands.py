"""The commands of the operator: what they print, how they end, beside the running service and without it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from bridge.cli.demo.homeserver import free_port
from bridge.cli.demo.operator import Ran
from bridge.cli.demo.person import Person
from tests.harness.community import ANNOUNCER, STEWARD, Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School

LEVELS = "m.room.power_levels"


@pytest.fixture
def school(schools: dict[str, School]) -> School:
    """A community that stands; of which room version, does not matter to what is tested with it."""
    return schools["12"]


async def declare(estate: Estate, folk: People, version: str) -> tuple[Community, Person]:
    """A community that is declared and not applied, and its owner."""
    owner = await folk.nio("owner")
    owner.accept_invites()
    groups = {"team": {"kind": "open"}}
    community = estate.declare(
        "new", room_version=version, name="New", owners=[owner.user_id], general=False, groups=groups
    )
    return community, owner


async def fails(estate: Estate, *args: str, says: Sequence[str]) -> Ran:
    """A command that ends with exit code 1, and says these things in an error without a traceback."""
    ran = await estate.command(*args, expect=(1,))
    for words in says:
        assert words in ran.out + ran.err, f"{words!r} is not in\n{ran.out}\n{ran.err}"
    assert "Traceback" not in ran.out + ran.err
    assert "something went wrong that should not" not in ran.err
    return ran


async def walk_through(estate: Estate, community: Community, owner: Person, *, beside_service: bool) -> None:
    """Plan, apply, plan again, apply again, announce, status."""
    ran = await estate.command("plan", community.id, "--json", expect=(2,))
    planned = ran.json
    assert {"digest", "actions", "blocked", "unsafe"} <= set(planned)
    assert (planned["blocked"], planned["unsafe"]) == ([], [])
    assert all(set(action) == {"kind", "room", "summary"} for action in planned["actions"])
    made = {action["room"] for action in planned["actions"] if action["kind"] == "create"}
    assert made == {f"{community.id}/{key}" for key in ("space", "announcements", "control", "team")}
    ran = await estate.command("plan", community.id, expect=(2,))
    assert f"plan {planned['digest']}" in ran.out
    await fails(estate, "apply", community.id, says=["--yes"])
    await community.look()
    assert community.rooms == {}

    ran = await estate.command("apply", community.id, "--yes")
    assert f"{community.id}: {len(planned['actions'])} done, 0 failed" in ran.out
    await community.look()
    ran = await estate.command("plan", community.id, "--json")
    assert ran.json["actions"] == []
    if beside_service:
        await estate.idle()  # it greets whoever has just come into the control room
    before = len(estate.asked.heard)
    ran = await estate.command("apply", community.id)
    assert "Nothing to do" in ran.out
    assert [
        f"{one.method} {one.path}"
        for one in estate.asked.since(before, "")
        if one.method != "GET" and "/appservice/" not in one.path and "/keys/" not in one.path
    ] == []

    await community.inside(owner)
    ran = await estate.command("announce", community.id, "--text", f"by command, to {community.id}")
    assert "1 devices can read it" in ran.out
    assert (await owner.wait_text(community.announcements, f"by command, to {community.id}")).decrypted

    status = (await estate.command("status", "--json")).json
    assert status["steward"] == {"user_id": STEWARD, "devices": []}
    assert status["announcer"]["user_id"] == ANNOUNCER
    assert status["announcer"]["cross_signed"] is True
    (own,) = [one for one in status["communities"] if one["id"] == community.id]
    assert (own["name"], own["space"], own["drift"]) == ("New", community.space, [])
    kinds = {"announcements": "announcements", "control": "control", "team": "open"}
    assert {room["key"]: room for room in own["rooms"]} == {
        key: {"key": key, "kind": kind, "room_id": community[key], "encrypted": True} for key, kind in kinds.items()
    }
    assert own["members"] == {"owner": 1, "admin": 0, "moderator": 0, "member": 0}
    shown = await estate.command("status")
    for words in (STEWARD, "no device, as it should be", ANNOUNCER, community.id, community.space, "1 owner"):
        assert words in shown.out


async def test_the_life_of_a_community_beside_the_running_service(
    estate: Estate, folk: People, room_version: str
) -> None:
    community, owner = await declare(estate, folk, room_version)
    await walk_through(estate, community, owner, beside_service=True)
    estate.forget(community)


async def test_commands_that_come_all_at_once(estate: Estate, school: School) -> None:
    name = school.community.id
    room = school.community.announcements
    await asyncio.gather(
        estate.command("announce", name, "--text", f"one of two, {name}"),
        estate.command("announce", name, "--text", f"two of two, {name}"),
        estate.command("apply", name, "--yes"),
        estate.command("plan", name),
        estate.command("status"),
    )
    for member in school.members:
        await member.wait_text(room, f"one of two, {name}")
        await member.wait_text(room, f"two of two, {name}")


async def test_an_announcement_from_a_file(estate: Estate, school: School, tmp_path: Path) -> None:
    file = tmp_path / "news.md"
    file.write_text("# Žprávy\n\nfrom a *file*", encoding="utf-8")
    await estate.command("announce", school.community.id, "--file", str(file))
    message = await school.homer.wait_text(school.community.announcements, "# Žprávy\n\nfrom a *file*")
    assert message.content["formatted_body"] == "<h1>Žprávy</h1>\n<p>from a <em>file</em></p>"


async def test_errors_say_what_where_and_the_remedy(estate: Estate, school: School, tmp_path: Path) -> None:
    name = school.community.id
    await asyncio.gather(
        fails(estate, "announce", name, says=["--text"]),
        fails(estate, "announce", name, "--text", "  ", says=["no text"]),
        fails(estate, "announce", name, "--text", "x" * 50_000, says=["too long", "40,000"]),
        fails(estate, "announce", name, "--file", str(tmp_path / "none.md"), says=["none.md"]),
        fails(estate, "announce", "nowhere", "--text", "hello", says=["no community 'nowhere'", name]),
        fails(estate, "plan", "nowhere", says=["no community 'nowhere'", name]),
        fails(estate, "status", "--config", str(tmp_path / "none.yaml"), says=["none.yaml", "init"]),
        fails(estate, "plan", "--colour", says=["--colour"]),
    )


async def test_a_second_service_on_the_same_database_is_refused(estate: Estate) -> None:
    await fails(estate, "run", says=["another matrix-communities process uses this database", "Remedy"])
    assert (await estate.ask("ready"))["ready"] is True


async def test_a_broken_config_is_refused_and_the_old_one_kept(estate: Estate, school: School) -> None:
    config = estate.operator.config
    good = config.read_text(encoding="utf-8")
    line = good.count("\n") + 1
    try:
        config.write_text(good + "\nnonsense: true\n", encoding="utf-8")
        said = await estate.reload()
        assert "the old one stays" in said
        assert f"config.yaml:{line + 1}" in said
        assert "nonsense" in said
        await fails(estate, "plan", says=["nonsense", f"config.yaml:{line + 1}"])
        config.write_text("communities: [", encoding="utf-8")
        assert "the old one stays" in await estate.reload()
        # what was loaded is still held
        before = await estate.state(school.community.space, LEVELS)
        await school.owner.put_state(school.community.space, LEVELS, "", before | {"kick": 0})

        async def healed() -> bool:
            return await estate.state(school.community.space, LEVELS) == before

        await eventually(healed)
    finally:
        config.write_text(good, encoding="utf-8")
    assert "was read again" in await estate.reload()


async def test_what_was_given_up_is_shown_and_tried_again(estate: Estate, school: School) -> None:
    control = school.community.control
    for number in (1, 2):
        content = {"msgtype": "m.notice", "body": f"given up {number}", "m.mentions": {}}
        body = json.dumps({"room_id": control, "content": content})
        with closing(sqlite3.connect(estate.operator.folder / "communities.db")) as connection, connection:
            connection.execute(
                "INSERT INTO job (id, lane, kind, body, due_at, parked) VALUES (?, ?, 'send_message.1', ?, 1, 'why')",
                (f"given-up-{number}", control, body),
            )
    shown = await estate.command("parked")
    for words in ("given-up-1", "given-up-2", f"{school.community.id}/control", "1970-01-01", "why"):
        assert words in shown.out
    assert "matrix-communities parked" in (await estate.command("status")).out
    ran = await estate.command("parked", "--release", "given-up-1", "--json")
    assert (ran.json["released"], [one["id"] for one in ran.json["parked"]]) == (["given-up-1"], ["given-up-2"])
    await school.community.told(school.owner, "given up 1")
    await fails(estate, "parked", "--release", "given-up-1", says=["given-up-1", "matrix-communities parked"])
    await fails(estate, "parked", "--release", "all", "--drop", "x", says=["either"])
    await estate.operator.stop()
    try:
        assert (await estate.command("parked", "--drop", "given-up-2", "--json")).json["dropped"] == ["given-up-2"]
        assert "Nothing is given up" in (await estate.command("parked")).out
    finally:
        await estate.operator.start()


# --- without the service ----------------------------------------------------------------------------------------


@pytest.fixture
async def service_down(estate: Estate) -> AsyncIterator[Estate]:
    """The service is stopped, and starts again afterwards."""
    await estate.operator.stop()
    yield estate
    await estate.operator.start()


async def test_the_life_of_a_community_without_the_service(
    service_down: Estate, folk: People, room_version: str
) -> None:
    estate = service_down
    community, owner = await declare(estate, folk, room_version)
    await walk_through(estate, community, owner, beside_service=False)
    checked = await estate.command("check", "--json")
    verdicts = {one["name"]: one["verdict"] for one in checked.json["checks"]}
    assert verdicts["service"] == "warning"
    assert {verdicts[name] for name in ("homeserver", "registration", "ping", "announcer's device")} == {"ok"}
    # the service then finds everything as it left it
    await estate.operator.start()
    assert (await community.status())["drift"] == []
    await community.announce(f"by the service, to {community.id}")
    message = await owner.wait_text(community.announcements, f"by the service, to {community.id}")
    before = await owner.wait_text(community.announcements, f"by command, to {community.id}")
    assert message.device_id == before.device_id
    estate.forget(community)
    await estate.operator.stop()


# --- check ------------------------------------------------------------------------------------------------------


def copy_of_config(estate: Estate, folder: Path, **sections: dict[str, Any]) -> Path:
    """The config with other settings, and with a database and a port of its own: for a `check` that works alone."""
    settings = estate.operator.settings()
    for section, keys in {"listen": {"port": free_port()}, **sections}.items():
        settings[section] = {**settings[section], **keys}
    place = folder / "config.yaml"
    with place.open("w", encoding="utf-8") as file:
        YAML().dump(settings, file)
    place.chmod(0o600)
    return place


async def verdicts(estate: Estate, *args: str, expect: int) -> dict[str, dict[str, Any]]:
    ran = await estate.command("check", "--json", *args, expect=(expect,))
    assert ran.json["ok"] is (expect == 0)
    assert "Traceback" not in ran.err
    found: dict[str, dict[str, Any]] = {one["name"]: one for one in ran.json["checks"]}
    for one in found.values():
        assert set(one) == {"name", "verdict", "what", "remedy"}
        assert one["remedy"] or one["verdict"] != "failed"
    return found


async def test_check_is_content_with_what_works(estate: Estate) -> None:
    found = await verdicts(estate, "--homeserver-config", str(estate.synapse.config_path), expect=0)
    assert {name for name, one in found.items() if one["verdict"] == "ok"} >= {
        "service", "homeserver", "registration", "room versions", "ping", "steward without a device",
        "announcer's device", "rc_joins.local", "rc_joins_per_room", "rc_message",
    }  # fmt: skip
    shown = await estate.command("check")
    assert STEWARD in shown.out
    assert "rc_joins" in shown.out


async def test_check_names_the_rate_limits_that_will_hurt(estate: Estate, tmp_path: Path) -> None:
    file = tmp_path / "homeserver.yaml"
    file.write_text("server_name: example.org\nrc_message: {per_second: 100, burst_count: 100}\n")
    found = await verdicts(estate, "--homeserver-config", str(file), expect=0)
    assert found["rc_joins.local"]["verdict"] == "warning"
    assert "rc_joins" in found["rc_joins.local"]["remedy"]
    assert found["rc_message"]["verdict"] == "ok"
    assert "receipts" not in found, "it names no registration of ours"


async def test_check_sees_whether_the_homeserver_is_told_to_send_receipts(estate: Estate, tmp_path: Path) -> None:
    registration = estate.operator.registration.read_text()
    (tmp_path / "ours.yaml").write_text(registration)
    file = tmp_path / "homeserver.yaml"
    file.write_text("app_service_config_files: [missing.yaml, ours.yaml]\n")
    found = await verdicts(estate, "--homeserver-config", str(file), expect=0)
    assert found["receipts"]["verdict"] == "ok"
    (tmp_path / "ours.yaml").write_text(registration.replace("receive_ephemeral: true", "receive_ephemeral: false"))
    found = await verdicts(estate, "--homeserver-config", str(file), expect=0)
    assert found["receipts"]["verdict"] == "warning"
    assert "ours.yaml lacks `receive_ephemeral: true`" in found["receipts"]["what"]


async def test_check_finds_a_wrong_as_token(estate: Estate, tmp_path: Path) -> None:
    config = copy_of_config(estate, tmp_path, registration={"as_token": "not-the-token-that-it-knows"})
    found = await verdicts(estate, "--config", str(config), expect=1)
    assert found["homeserver"]["verdict"] == "ok"
    assert found["registration"]["verdict"] == "failed"
    assert "app_service_config_files" in found["registration"]["remedy"]


async def test_check_finds_a_wrong_hs_token(estate: Estate, tmp_path: Path) -> None:
    config = copy_of_config(estate, tmp_path, registration={"hs_token": "not-the-token-that-it-sends"})
    port = YAML(typ="safe").load(config.read_text())["listen"]["port"]
    was, estate.pushed.target = estate.pushed.target, f"http://127.0.0.1:{port}"
    try:
        found = await verdicts(estate, "--config", str(config), expect=1)
    finally:
        estate.pushed.target = was
    assert found["registration"]["verdict"] == "ok"
    assert found["ping"]["verdict"] == "failed"
    assert "tokens" in found["ping"]["remedy"]


async def test_check_finds_a_homeserver_that_is_down(estate: Estate, tmp_path: Path) -> None:
    config = copy_of_config(estate, tmp_path, homeserver={"url": f"http://127.0.0.1:{free_port()}"})
    found = await verdicts(estate, "--config", str(config), expect=1)
    assert found["homeserver"]["verdict"] == "failed"
    assert "homeserver.url" in found["homeserver"]["remedy"]


async def test_check_finds_an_address_that_leads_elsewhere(estate: Estate, tmp_path: Path) -> None:
    # the registration that the homeserver has loaded leads to the running service, and then to nobody
    config = copy_of_config(estate, tmp_path, listen={"port": free_port(), "url": "http://127.0.0.1:1"})
    found = await verdicts(estate, "--config", str(config), expect=1)
    assert found["ping"]["verdict"] == "failed"
    assert "listen.url" in found["ping"]["remedy"]
    was, estate.pushed.target = estate.pushed.target, "http://127.0.0.1:1"
    try:
        found = await verdicts(estate, "--config", str(config), expect=1)
    finally:
        estate.pushed.target = was
    assert "cannot ping us" in found["ping"]["what"]


async def test_check_and_status_find_a_device_of_the_steward(estate: Estate) -> None:
    await estate.as_service("PUT", "devices", "SPY", body={"display_name": "a spy"})
    try:
        found = await verdicts(estate, expect=1)
        assert found["steward without a device"]["verdict"] == "failed"
        assert "SPY" in found["steward without a device"]["what"]
        assert (await estate.command("status", "--json")).json["steward"]["devices"] == ["SPY"]
        assert "SPY" in (await estate.command("status")).out
    finally:
        await estate.as_service("DELETE", "devices", "SPY")
    found = await verdicts(estate, expect=0)
    assert found["steward without a device"]["verdict"] == "ok"
