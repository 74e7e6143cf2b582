"""Two writers who fight over a room's levels: after some rounds it is locked, and its owners are called."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.cli.demo.person import Person
from tests.harness.community import ANNOUNCER, Community, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually

LEVELS = "m.room.power_levels"
ROUNDS = 3
LOCKED = 200


@pytest.fixture(scope="module")
async def short_tempered(estate: Estate) -> AsyncIterator[Estate]:
    """The service with a short patience; the old one afterwards."""
    before = estate.operator.settings()["reconcile"]["freeze_after_changes"]
    estate.operator.edit(reconcile={"freeze_after_changes": ROUNDS})
    await estate.reload()
    yield estate
    estate.operator.edit(reconcile={"freeze_after_changes": before})
    await estate.reload()


async def pair(estate: Estate, folk: People, version: str) -> tuple[Community, Person]:
    owner = await folk.nio("owner")
    community = estate.declare("duel", room_version=version, name="Duel", owners=[owner.user_id], general=False)
    owner.accept_invites()
    await estate.apply(community)
    await community.inside(owner, keys=("space", "announcements", "control"))
    return community, owner


async def fight(estate: Estate, room_id: str, key: str, by: Person | None) -> None:
    """Lower a threshold again and again, each time after it was put back, until it is put back no more as it was."""
    before = await estate.state(room_id, LEVELS)

    async def put_back() -> bool:
        return bool((await estate.state(room_id, LEVELS))[key] != 0)

    for _ in range(ROUNDS + 1):
        if by is None:
            await estate.put_state(room_id, LEVELS, before | {key: 0})
        else:
            await by.put_state(room_id, LEVELS, "", before | {key: 0})
        await eventually(put_back, 20)


async def has(estate: Estate, room_id: str, **levels: int) -> None:
    async def same() -> bool:
        content = await estate.state(room_id, LEVELS)
        found = {**content, **content["events"]}
        assert {key: found[key] for key in levels} == levels
        return True

    await eventually(same, 20)


@pytest.mark.parametrize(
    ("room_version", "thawed_by"),
    [("11", "control room"), ("12", "control room"), ("12", "direct chat"), ("11", "force")],
)
async def test_an_announcement_room_that_is_fought_over_is_locked_until_it_is_thawed(
    short_tempered: Estate, folk: People, room_version: str, thawed_by: str
) -> None:
    estate = short_tempered
    community, owner = await pair(estate, folk, room_version)
    room = community.announcements
    await fight(estate, room, "events_default", None)
    await has(estate, room, events_default=LOCKED)
    text = await community.told(owner, "locked", "!thaw", community.id)
    assert owner.user_id in text
    assert (await refusal(owner.send(room, "an owner, too, waits"))).status == 403
    assert "announcements: locked after a fight" in (await community.status())["drift"]
    ran = await estate.command("announce", community.id, "--text", "nor can the announcer", expect=(1,))
    assert "locked after a dispute" in ran.err
    assert f"thaw {community.id}" in ran.err
    await owner.send(community.control, f"!announce {community.id} nor so")
    await community.told(owner, community.id, "locked after a dispute")

    match thawed_by:
        case "control room":
            await owner.send(community.control, f"!thaw {community.id}")
            await community.told(owner, "lock is lifted")
        case "direct chat":
            chat = await owner.create_dm(ANNOUNCER)
            await owner.wait_joined(chat, ANNOUNCER)
            await owner.send(chat, f"thaw {community.id}")
            await owner.wait_text(chat, lambda message: "lock is lifted" in message.text)
        case "force":
            await estate.command("apply", community.id, "--yes", "--force")
    await has(estate, room, events_default=100)
    await owner.send(room, "speaking again")
    await community.announce("and so do I")
    await owner.wait_text(room, "and so do I")
    assert (await community.status())["drift"] == []
    estate.forget(community)


async def test_an_owner_who_fights_over_the_space_loses_the_power_to(
    short_tempered: Estate, folk: People, room_version: str
) -> None:
    estate = short_tempered
    community, owner = await pair(estate, folk, room_version)
    await fight(estate, community.space, "kick", owner)
    await has(estate, community.space, **{LEVELS: LOCKED}, kick=100)
    levels = await estate.state(community.space, LEVELS)
    assert (await refusal(owner.put_state(community.space, LEVELS, "", levels | {"kick": 0}))).status == 403
    # it silences nobody
    await community.announce("life goes on")
    await owner.wait_text(community.announcements, "life goes on")
    await owner.send(community.announcements, "it does")
    await community.told(owner, "locked", f"!thaw {community.id}")
    await owner.send(community.control, f"!thaw {community.id}")
    await has(estate, community.space, **{LEVELS: 150})
    estate.forget(community)


async def test_a_fight_over_a_name_is_given_up_and_silences_nobody(
    short_tempered: Estate, folk: People, room_version: str
) -> None:
    estate = short_tempered
    community, owner = await pair(estate, folk, room_version)

    async def put_back() -> bool:
        return bool((await estate.state(community.space, "m.room.name"))["name"] == "Duel")

    for number in range(ROUNDS + 1):
        await owner.put_state(community.space, "m.room.name", "", {"name": f"Duel {number}"})
        await eventually(put_back, 20)
    await community.told(owner, "no longer put it back", "the name")
    await estate.taken_in(await owner.put_state(community.space, "m.room.name", "", {"name": "Ours"}))
    await community.announce("life goes on")
    await owner.wait_text(community.announcements, "life goes on")
    assert await estate.state(community.space, "m.room.name") == {"name": "Ours"}
    await has(estate, community.space, **{LEVELS: 150}, kick=100)
    estate.forget(community)
