"""Told to stop, or to read its config, at any moment: it ends in time, and loses nothing."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import time

import pytest
from aiohttp import web

from bridge.core.errors import CommunitiesError
from tests.faults.ground import Ground, run
from tests.faults.test_kill_apply import declare, must_be_whole
from tests.harness.people import People
from tests.harness.wait import eventually

GRACE_SECONDS = 25.0
"""What an operator's own stop allows is 30, the systemd unit 60."""


async def stop_at(ground: Ground, count: int) -> float:
    """Send SIGTERM at a later request; the seconds until the end."""
    reached = asyncio.Event()
    left = count

    async def counted(request: web.Request) -> web.Response | None:
        nonlocal left
        left -= not request.path.endswith("/sync")
        if left <= 0:
            reached.set()
        return None

    ground.asked.before = counted
    await asyncio.wait_for(reached.wait(), 30)
    began = time.monotonic()
    ground.operator.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(ground.operator.ended(), GRACE_SECONDS) == 0
    ground.asked.leave_alone()
    return time.monotonic() - began


@pytest.mark.parametrize("at", [12, *(pytest.param(at, marks=pytest.mark.soak) for at in (1, 3, 7, 20, 30))])
async def test_sigterm_while_a_community_is_made(ground: Ground, at: int) -> None:
    await ground.running()
    before = await ground.stewards_rooms()
    community = await declare(ground, at, random.Random(at))
    mark = ground.log_mark()
    with ground.told():
        ask = ground.ask("apply", communities=[community.id], force=False)
        await asyncio.gather(ask, stop_at(ground, at), return_exceptions=True)
        assert not ground.operator.running
        assert "Traceback" not in ground.logged(mark)
        await ground.operator.start()
        await ground.converged(community)
        await must_be_whole(ground, community, before)


@pytest.mark.parametrize("at", [6, *(pytest.param(at, marks=pytest.mark.soak) for at in (2, 3, 4, 5, 7, 8, 9))])
async def test_sigterm_while_it_announces(ground: Ground, folk: People, at: int) -> None:
    await ground.running()
    reader = await folk.nio("reader")
    reader.accept_invites()
    owner = await ground.account("owner")
    community = ground.declare("stop", name="Stop", owners=[owner.user_id], members=[reader.user_id], general=False)
    ground.only(community)
    await ground.apply(community)
    await community.inside(reader)
    text = f"while it stops {secrets.token_hex(4)}"
    request = {"communities": [community.id], "text": text, "source": text}
    mark = ground.log_mark()
    with ground.told():
        await asyncio.gather(ground.ask("announce", **request), stop_at(ground, at), return_exceptions=True)
        assert not ground.operator.running
        assert "Traceback" not in ground.logged(mark)
        await ground.operator.start()
        await ground.nothing_waits()
        again = await ground.ask("announce", **request)
        assert again["ok"]
        await reader.wait_text(community.announcements, text)
        assert [one.text for one in reader.messages(community.announcements)].count(text) == 1


@pytest.mark.soak
async def test_sigterm_while_the_homeserver_hangs(ground: Ground) -> None:
    await ground.running()
    before = await ground.stewards_rooms()
    community = await declare(ground, 9, random.Random(9))
    with ground.told():
        ask = asyncio.create_task(ground.ask("apply", communities=[community.id], force=False))
        mark = len(ground.asked.heard)
        await eventually(lambda: len(ground.asked.heard) > mark + 4, 20)
        ground.synapse.pause()
        try:
            began = time.monotonic()
            ground.operator.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(ground.operator.ended(), GRACE_SECONDS) == 0
            assert time.monotonic() - began < GRACE_SECONDS
            with pytest.raises(CommunitiesError, match="broke off"):
                await ask
        finally:
            ground.synapse.resume()
        await ground.operator.start()
        await ground.converged(community)
        await must_be_whole(ground, community, before)


async def test_sigterm_while_it_waits_for_a_homeserver(ground: Ground) -> None:
    await ground.still()
    ground.synapse.pause()
    try:
        mark = ground.log_mark()
        await ground.operator.start(ready=False)
        await asyncio.sleep(2)
        ground.operator.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(ground.operator.ended(), 5) == 0
        assert "Traceback" not in ground.logged(mark)
    finally:
        ground.synapse.resume()


async def test_a_storm_of_sighup(ground: Ground) -> None:
    await ground.running()
    community = await declare(ground, 7, random.Random(7))
    before = await ground.stewards_rooms()
    good = ground.operator.config.read_text(encoding="utf-8")
    begun = good[: good.index("pickle_key:") + len("pickle_")]
    mark = ground.log_mark()
    with ground.told():
        for number in range(60):
            # every second time it reads a file that an editor has not finished
            ground.operator.config.write_text(begun if number % 2 else good, encoding="utf-8")
            ground.operator.reload()
            await asyncio.sleep(0.03)
        ground.operator.config.write_text(good, encoding="utf-8")
        ground.operator.reload()
        await eventually(lambda: "was read again: 1 communities" in ground.logged(mark), 20)
        assert "was not taken over" in ground.logged(mark)
        await ground.converged(community)
        await must_be_whole(ground, community, before)
        assert "Traceback" not in ground.logged(mark)


async def test_two_services_on_one_database(ground: Ground) -> None:
    await ground.running()
    code, out = await run(ground, "run")
    assert code == 1
    assert "another matrix-communities process uses this database" in out
    assert "Remedy" in out
    assert (await ground.ask("ready"))["ready"]
