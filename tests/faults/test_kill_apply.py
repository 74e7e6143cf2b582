"""Killed at random while it makes a community: the next start finishes it, with nothing twice and nothing lost."""

from __future__ import annotations

import random

from bridge.core.errors import CommunitiesError
from bridge.matrix.client import path
from tests.faults.ground import Command, Ground, run, state_of
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.harness.community import Community

KEYS = {"space", "announcements", "control", "general", "chess", "class-1a"}
REQUESTS = 40
"""About what one apply of this community takes."""


async def declare(ground: Ground, seed: int, dice: random.Random) -> Community:
    """Declare one more community of six rooms, and no others."""
    owner, admin, edna = [await ground.account(name) for name in ("owner", "admin", "edna")]
    community = ground.declare(
        f"kill{seed}",
        name=f"Killed {seed}",
        room_version=dice.choice(["11", "12"]),
        owners=[owner.user_id],
        admins=[admin.user_id],
        general=True,
        groups={
            "class-1a": {"name": "Class 1A", "kind": "open", "moderators": [edna.user_id]},
            "chess": {"name": "Chess", "kind": "request"},
        },
    )
    ground.only(community)
    return community


async def must_be_whole(ground: Ground, community: Community, before: set[str]) -> None:
    """Every room is there once, the steward is in no room that we do not know, and no alias is left."""
    await ground.asked.quiet()
    await community.look()
    assert set(community.rooms) == KEYS
    made = await ground.stewards_rooms() - before
    assert made == set(community.rooms.values())
    for room_id in made:
        events = (await ground.as_service("GET", "rooms", room_id, "state"))["value"]
        assert state_of(events, "m.room.encryption") or room_id == community.space
        found = await ground.service_client.request("GET", path("v3", "rooms", room_id, "aliases"))
        assert found["aliases"] == []


async def test_a_command_that_is_killed_is_finished_by_the_next(ground: Ground, seed: int) -> None:
    dice = random.Random(seed)
    await ground.still()
    before = await ground.stewards_rooms()
    community = await declare(ground, seed, dice)
    killer = Killer(dice, REQUESTS)
    with LEDGER.run("apply alone") as row, ground.told(f"seed {seed}", killer):
        process = Command(ground, "apply", community.id, "--yes")
        await process.start()
        killer.watch(ground.asked, process.kill)
        code, out = await process.end()
        killer.call_off()
        assert killer.done.is_set() or code == 0, out
        row.killed_at_work += code != 0

        code, out = await run(ground, "apply", community.id, "--yes")
        assert code == 0, out
        code, out = await run(ground, "plan", community.id)
        assert code == 0, out
        await must_be_whole(ground, community, before)


async def test_a_service_that_is_killed_finishes_by_itself(ground: Ground, seed: int) -> None:
    dice = random.Random(1000 + seed)
    await ground.running()
    before = await ground.stewards_rooms()
    community = await declare(ground, seed, dice)
    killer = Killer(dice, REQUESTS)
    with LEDGER.run("apply within the service") as row, ground.told(f"seed {seed}", killer):
        killer.watch(ground.asked, ground.kill_now)
        try:
            await ground.ask("apply", communities=[community.id], force=False)
        except CommunitiesError as error:
            killer.must_be_why(error)
            row.killed_at_work += 1
        killer.call_off()
        await ground.restart()
        await ground.converged(community)
        await must_be_whole(ground, community, before)
