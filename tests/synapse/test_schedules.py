"""A scheduled announcement on a real homeserver: at its time, encrypted then, and looked after by chat meanwhile."""

from __future__ import annotations

import pytest

from tests.harness.community import ANNOUNCER, Community, Estate
from tests.synapse.conftest import School


@pytest.fixture
def school(schools: dict[str, School]) -> School:
    """A community that stands; of which room version, does not matter to when something is announced."""
    return schools["12"]


async def asks(community: Community, school: School, command: str, *parts: str) -> str:
    """What the owner is answered in the control room."""
    await school.owner.send(community.control, f"!{command}")
    return await community.told(school.owner, *parts)


async def test_it_arrives_at_its_time_and_what_waits_is_looked_after_by_chat(estate: Estate, school: School) -> None:
    community, text = school.community, "The fire drill **begins**."
    ran = await estate.command(
        "announcement", "schedule", "add", community.id, "--at", "in 6 seconds", "--text", text, "--json"
    )
    (run,) = ran.json["runs"]
    number = ran.json["number"] + 1
    await asks(community, school, "schedule every monday at 8: Menu", f"Scheduled as number {number} in", "Mon ")
    assert "“Menu”, every monday at 8" in await asks(community, school, "scheduled", "Scheduled in", "“Menu”")
    await asks(
        community, school, f"schedule skip {number}", f"Number {number} is left out on Mon", "It comes next: Mon"
    )
    await asks(community, school, f"schedule edit {number} text Soup", "Scheduled as number", "Then: Mon")
    await asks(community, school, f"schedule show {number}", f"Number {number}, set by", "Soup")
    await asks(community, school, f"schedule cancel {number}", f"Number {number} is called off")
    await asks(community, school, "schedule on 31 february at 8: Never", "It is not clear when".lower())

    message = await school.homer.wait_text(community.announcements, text)
    assert (message.sender, message.decrypted) == (ANNOUNCER, True)
    wire = await school.homer.event(community.announcements, message.event_id)
    assert wire["type"] == "m.room.encrypted"
    assert run <= wire["origin_server_ts"] < run + 30_000

    await asks(community, school, "announce --at in 1 second: By **chat**", "Scheduled as number")
    for person in school.members:
        message = await person.wait_text(community.announcements, "By **chat**")
        assert "<strong>chat</strong>" in message.content["formatted_body"]
    assert estate.rows("SELECT content FROM schedule WHERE next_at IS NOT NULL") == []
