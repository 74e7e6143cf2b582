"""The homeserver goes and comes back: what was to be done is done once, and what happened meanwhile is heard of."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bridge.cli.demo.person import Person
from bridge.core.errors import CommunitiesError
from tests.faults.ground import SETTLE_SECONDS, Ground
from tests.faults.meddler import Killer
from tests.faults.test_kill_apply import REQUESTS, declare, must_be_whole
from tests.harness.community import ANNOUNCER, Community
from tests.harness.people import People
from tests.harness.wait import eventually


@pytest.fixture(scope="module")
async def town(ground: Ground) -> AsyncIterator[tuple[Community, Person]]:
    """A community with somebody in it who reads."""
    await ground.running()
    people = People(ground.synapse)
    reader = await people.nio("reader")
    owner = await ground.account("owner")
    community = ground.declare("away", name="Away", owners=[owner.user_id], members=[reader.user_id], general=False)
    ground.only(community)
    reader.accept_invites()
    await ground.apply(community)
    await community.inside(reader)
    await ground.converged(community)
    yield community, reader
    await people.close()


async def must_be_there_once(reader: Person, room_id: str, text: str) -> None:
    """Wait until somebody reads a text, and see that it is there once, and all else readable."""
    await reader.wait_text(room_id, text, SETTLE_SECONDS)
    page = await reader.call("GET", f"/rooms/{room_id}/messages", query={"dir": "b", "limit": "30"})
    newest = next(one["event_id"] for one in page["chunk"] if one["type"] == "m.room.encrypted")
    await reader.wait_event(room_id, lambda event: event["event_id"] == newest)
    assert [one.text for one in reader.messages(room_id)].count(text) == 1
    assert reader.undecryptable(room_id) == []


@pytest.mark.parametrize(
    ("how", "seconds"),
    [
        ("killed", 3),
        pytest.param("stopped", 3, marks=pytest.mark.soak),
        pytest.param("stopped", 60, marks=[pytest.mark.soak, pytest.mark.timeout(400)]),
        pytest.param("killed", 60, marks=[pytest.mark.soak, pytest.mark.timeout(400)]),
    ],
)
async def test_the_service_outlasts_the_homeserver(
    ground: Ground, town: tuple[Community, Person], how: str, seconds: float
) -> None:
    community, reader = town
    ground.only(community)
    await ground.running()
    pid = ground.operator.pid
    right = await ground.state(community.announcements, "m.room.power_levels")
    await (ground.synapse.stop() if how == "stopped" else ground.synapse.kill())
    text = f"queued {secrets.token_hex(4)}"
    with ground.told(how, seconds):
        asked = asyncio.create_task(ground.ask("announce", communities=[community.id], text=text, source=text))
        await asyncio.sleep(seconds)
        assert ground.operator.running
        await ground.synapse.start()
        drift = await ground.put_state(community.announcements, "m.room.power_levels", right | {"events_default": 0})
        assert drift

        async def healed() -> bool:
            return await ground.state(community.announcements, "m.room.power_levels") == right

        await eventually(healed, SETTLE_SECONDS, "the drift to be healed")
        result = await asyncio.wait_for(asked, 120)
        assert result["ok"], result
        await must_be_there_once(reader, community.announcements, text)
        await ground.converged(community)
        assert ground.operator.pid == pid


@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.soak) for number in range(2, 12))])
async def test_a_homeserver_killed_while_a_community_is_made(ground: Ground, number: int) -> None:
    dice = random.Random(2000 + number)
    await ground.running()
    before = await ground.stewards_rooms()
    community = await declare(ground, number, dice)
    killer = Killer(dice, REQUESTS)
    with ground.told(f"number {number}", killer):
        dead: list[asyncio.Task[None]] = []
        killer.watch(ground.asked, lambda: dead.append(asyncio.create_task(ground.synapse.kill())))
        asked = asyncio.create_task(ground.ask("apply", communities=[community.id], force=False))
        waits = asyncio.create_task(killer.done.wait())
        await asyncio.wait({asked, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        await asyncio.gather(*dead)
        await ground.synapse.start()
        killer.call_off()
        # What the homeserver has lost or half done is put right, now by a retry or later by the service itself.
        await asyncio.wait_for(asyncio.gather(asked, return_exceptions=True), 150)
        ground.operator.reload()
        await ground.converged(community)
        await must_be_whole(ground, community, before)


async def test_a_homeserver_that_restarts_between_a_message_and_its_answer(
    ground: Ground, town: tuple[Community, Person]
) -> None:
    community, reader = town
    ground.only(community)
    await ground.running()
    text = f"between {secrets.token_hex(4)}"
    restarted = asyncio.Event()

    async def cut(request: object, response: object) -> None:
        """The homeserver has the event; the service does not hear of it before both have forgotten the connection."""
        if "/send/m.room.encrypted/" in request.path and not restarted.is_set():  # type: ignore[attr-defined]
            restarted.set()
            ground.asked.leave_alone()
            await ground.synapse.kill()
            request.transport.close()  # type: ignore[attr-defined]
            await ground.synapse.start()

    ground.asked.after = cut
    with ground.told():
        result = await ground.ask("announce", communities=[community.id], text=text, source=text)
        assert result["ok"], result
        assert restarted.is_set()
        await must_be_there_once(reader, community.announcements, text)


async def test_a_service_that_starts_before_its_homeserver(ground: Ground, town: tuple[Community, Person]) -> None:
    community, reader = town
    ground.only(community)
    await ground.still()
    await ground.synapse.stop()
    mark = ground.log_mark()
    await ground.operator.start(ready=False)
    with ground.told():
        await eventually(lambda: "is not there yet" in ground.logged(mark), 20)
        for _ in range(20):
            ground.operator.reload()  # an impatient operator
            await asyncio.sleep(0.02)
        with pytest.raises(CommunitiesError, match="has not met the homeserver"):
            await ground.ask("announce", communities=[community.id], text="too early", source="early")
        await ground.synapse.start()
        await ground.operator.wait_ready()
        await ground.converged(community)
        text = f"awake {secrets.token_hex(4)}"
        await community.announce(text)
        await must_be_there_once(reader, community.announcements, text)


async def test_what_the_homeserver_kept_is_sent_before_a_start_is_over(
    ground: Ground, town: tuple[Community, Person]
) -> None:
    """Tests that act right after a start rely on it: Synapse passes over what happens while it comes to that end."""
    community, _ = town
    ground.only(community)
    await ground.still()
    service = ground.operator.settings()["registration"]["id"]
    for number in range(3):
        event_id = await ground.put_state(community.announcements, "m.room.topic", {"topic": f"Kept {number}"})
    await eventually(lambda: ground.synapse.keeps_something_for(service), 20)
    await ground.operator.start()
    with ground.told():
        assert not ground.synapse.keeps_something_for(service)
        await ground.taken_in(event_id)
        await ground.converged(community)


async def test_a_chat_is_read_as_soon_as_the_homeserver_is_back(ground: Ground, town: tuple[Community, Person]) -> None:
    community, reader = town
    ground.only(community)
    await ground.running()
    chat = await reader.create_dm(ANNOUNCER)
    await reader.wait_joined(chat, ANNOUNCER)

    async def out_of_order(request: web.Request) -> web.Response | None:
        return web.Response(status=502) if request.path.endswith("/sync") else None

    ground.asked.before = out_of_order
    mark = ground.log_mark()
    with ground.told():
        await ground.synapse.restart()  # ends the poll that is under way
        await eventually(lambda: "sync failed, again in 8 s" in ground.logged(mark), 60)
        ground.asked.leave_alone()
        word = f"w{secrets.token_hex(4)}"
        await reader.send(chat, word)
        await reader.wait_text(chat, lambda message: f"“{word}”" in message.text, 5, sender=ANNOUNCER)
