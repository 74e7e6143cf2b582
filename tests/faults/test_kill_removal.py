"""Killed in the middle of a removal over thirty rooms: the next start finishes it, and until then it is outstanding."""

from __future__ import annotations

import asyncio
import random

from aiohttp import web

from bridge.core.errors import CommunitiesError
from tests.faults.ground import Ground
from tests.faults.meddler import Killer
from tests.harness.people import People
from tests.harness.wait import eventually

GROUPS = 27
"""With space, announcements and general, thirty rooms from which somebody has to go."""


def is_kick(request: web.Request) -> bool:
    return request.path.endswith("/kick")


async def test_a_removal_that_is_killed_half_way_is_finished(ground: Ground, folk: People) -> None:
    await ground.running()
    owner, nelson = await ground.account("owner"), await folk.nio("nelson")
    groups = [f"group-{number}" for number in range(GROUPS)]
    community = ground.declare(
        "cascade",
        name="Cascade",
        owners=[owner.user_id],
        groups={key: {"name": key, "kind": "hidden"} for key in groups},
    )
    ground.only(community)
    await ground.apply(community)
    about = {"community": community.id, "users": [nelson.user_id]}
    await ground.ask("people", deed="invite", groups=groups, wait=False, **about)
    await nelson.wait_invite(community.space)
    await nelson.join(community.space)

    async def rooms_with_nelson() -> list[str]:
        states = await asyncio.gather(*(ground.membership(room, nelson.user_id) for room in community.rooms.values()))
        return [key for key, state in zip(community.rooms, states, strict=True) if state in ("join", "invite")]

    async def everywhere() -> bool:
        return len(await rooms_with_nelson()) == GROUPS + 3

    await eventually(everywhere, 30)
    killer = Killer(random.Random(0), GROUPS, counts=is_kick)
    with ground.told(killer):
        killer.watch(ground.asked, ground.kill_now)
        try:
            await ground.ask("people", deed="remove", reason="see you", **about)
        except CommunitiesError as error:
            killer.must_be_why(error)
        killer.call_off()
        assert killer.done.is_set()
        await ground.asked.quiet()
        assert await rooms_with_nelson(), "it was killed half-way"
        await ground.restart()
        await ground.converged(community)
        assert await rooms_with_nelson() == []
        status = await community.status()
        assert (status["outstanding"], status["drift"]) == ([], [])
