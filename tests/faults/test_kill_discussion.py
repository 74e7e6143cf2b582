"""Killed at random while an announcement gets its thread: there is one of everything, and one link."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import pytest

from bridge.cli.demo.person import Person
from bridge.core.errors import CommunitiesError
from tests.faults.ground import Ground
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.faults.test_kill_announce import _is
from tests.harness.community import ANNOUNCER, Community
from tests.harness.people import People
from tests.harness.wait import eventually

REQUESTS = 24
"""About what an announcement and its thread take."""


@dataclass
class Talk:
    """A community with a discussion room."""

    community: Community
    reader: Person

    async def heads(self, text: str) -> tuple[int, int, int, int]:
        """How often there is the announcement, the head of its thread, the first message in that, and a link to it, as
        an independent client reads them."""
        room, talk = self.community.announcements, self.community["discussion"]
        for where in (room, talk):
            page = await self.reader.call("GET", f"/rooms/{where}/messages", query={"dir": "b", "limit": "20"})
            newest = next((one["event_id"] for one in page["chunk"] if one["type"] == "m.room.encrypted"), None)
            if newest is not None:
                await self.reader.wait_event(where, partial(_is, newest))
            assert self.reader.undecryptable(where) == []
        roots = [one.event_id for one in self.reader.messages(talk) if text in one.text]
        news = [one for one in self.reader.messages(room) if one.text.startswith(text)]
        of_it = {one.event_id for one in news}
        opening = [one for one in self.reader.messages(talk) if _thread(one.content) in roots]
        links = [one for one in self.reader.messages(room) if "Discuss it here: " in one.text]
        links = [one for one in links if one.event_id in of_it or _thread(one.content) in of_it]
        return len(news), len(roots), len(opening), len(links)


def _thread(content: object) -> str:
    relation = content.get("m.relates_to", {}) if isinstance(content, dict) else {}
    return str(relation.get("event_id", "")) if relation.get("rel_type") == "m.thread" else ""


@pytest.fixture(scope="module")
async def talk(ground: Ground) -> AsyncIterator[Talk]:
    await ground.running()
    people = People(ground.synapse)
    reader = await people.nio("reader")
    owner = await ground.account("owner")
    community = ground.declare(
        "talk", name="Talk", owners=[owner.user_id], members=[reader.user_id], general=False, discussion=True
    )
    ground.only(community)
    reader.accept_invites()
    await ground.apply(community)
    await community.inside(reader, keys=("space", "announcements", "discussion"))
    await reader.wait_joined(community["discussion"], ANNOUNCER)
    yield Talk(community, reader)
    await people.close()


async def test_an_announcement_has_one_thread_and_one_link(ground: Ground, talk: Talk, seed: int) -> None:
    dice = random.Random(seed)
    ground.only(talk.community)
    await ground.running()
    text = f"announcement {seed} {secrets.token_hex(4)}"
    request = {"communities": [talk.community.id], "text": text, "source": f"soak-{text}"}
    killer = Killer(dice, REQUESTS)
    with LEDGER.run("announce with a thread") as row, ground.told(f"seed {seed}", killer):
        killer.watch(ground.asked, ground.kill_now)
        try:
            await ground.ask("announce", **request)
        except CommunitiesError as error:
            killer.must_be_why(error)
        ended = [asyncio.create_task(killer.done.wait()), asyncio.create_task(ground.nothing_waits())]
        _, left = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        row.killed_at_work += killer.done.is_set()
        killer.call_off()
        await ground.restart()
        again = await ground.ask("announce", **request)
        assert again["ok"], again
        await ground.nothing_waits()
        ground.nothing_given_up()
        await ground.asked.quiet()

        async def once() -> bool:
            assert await talk.heads(text) == (1, 1, 1, 1)
            return True

        await eventually(once, 30)
