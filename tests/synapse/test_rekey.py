"""Another pickle key for a service that has a past; and whom `trust: signed` gives that past to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.demo.operator import Operator
from bridge.cli.demo.person import Client
from tests.harness.people import People, SynapseFactory
from tests.harness.wait import eventually

TEXTS = ["one", "two", "three"]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty database; None for SQLite beside the configuration."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None


async def test_after_rekey_newcomers_read_the_past_as_far_as_they_are_trusted(
    new_synapse: SynapseFactory, tmp_path: Path, url: str | None
) -> None:
    synapse = new_synapse()
    (tmp_path / "service").mkdir()
    operator, people = Operator(tmp_path / "service", synapse, database=url), People(synapse)
    await operator.set_up()
    operator.edit(encryption={"trust": "signed"})
    await synapse.start()
    try:
        owner = await people.js("owner", cross_sign=True)
        owner.accept_invites()
        declaration = {"name": "School", "owners": [owner.user_id], "general": False}
        operator.edit(communities={"school": declaration})
        await operator.command("apply", "--yes")
        await operator.start()
        status = (await operator.command("status", "--json")).json
        room = next(one["room_id"] for one in status["communities"][0]["rooms"] if one["key"] == "announcements")
        await owner.wait_joined(room)
        for text in TEXTS:
            ran = await operator.command("announce", "school", "--text", text, "--json")
            assert ran.json["ok"]
        refused = await operator.command("rekey", expect=(1,))
        assert "another matrix-communities process" in refused.err

        await operator.stop()
        old = operator.settings()["encryption"]["pickle_key"]
        await operator.command("rekey")
        assert operator.settings()["encryption"]["pickle_key"] != old
        await operator.start()

        signed, unsigned = await people.js("lisa", cross_sign=True), await people.nio("bart")
        for person in (signed, unsigned):
            person.accept_invites()
        operator.edit(communities={"school": {**declaration, "members": [signed.user_id, unsigned.user_id]}})
        await operator.command("apply", "--yes")
        await signed.wait_joined(room)
        await unsigned.wait_joined(room)
        past = await eventually(lambda: texts(signed, room), 30, "the past to be read")
        assert past == TEXTS
        assert await texts(unsigned, room) == []
    finally:
        await people.close()
        await operator.stop()
        await synapse.stop()


async def texts(person: Client, room: str) -> list[str]:
    """What somebody reads of the past; nothing while it is not everything."""
    found = {message.text for message in await person.read_history(room)}
    return TEXTS if set(TEXTS) <= found else []
