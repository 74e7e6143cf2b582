"""Killed at random while it announces into three rooms: each announcement is in each room exactly once."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from bridge.cli.demo.homeserver import Account
from bridge.cli.demo.person import Person
from bridge.core.errors import CommunitiesError
from tests.faults.ground import Ground
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.harness.community import ANNOUNCER, Community
from tests.harness.people import People
from tests.harness.wait import eventually

REQUESTS = 18
"""About what one announcement into three rooms takes when there is somebody new to give keys to."""


@dataclass
class Towns:
    """Three communities with the same people in them."""

    communities: list[Community]
    reader: Person
    """Reads everything, and counts."""
    people: People
    nomad: Account
    """Comes with other devices each time."""
    device: Person | None = None

    @property
    def names(self) -> list[str]:
        """The communities' ids."""
        return [one.id for one in self.communities]

    async def change_devices(self, dice: random.Random) -> None:
        """Perhaps log in on one more device, perhaps out on the last one: then there are keys to share."""
        wish = dice.choice(["nothing", "more", "more", "other"])
        if wish == "other" and self.device is not None:
            await self.device.call("POST", "/logout", {})
        if wish != "nothing":
            self.device = await self.people.nio(account=self.nomad, new_device=True)
            await self.device.pause()

    async def counted(self, text: str) -> list[int]:
        """How often that text stands in each room, as an independent client reads them."""
        counts = []
        for community in self.communities:
            room = community.announcements
            assert self.reader.undecryptable(room) == []
            counts.append(sum(message.text == text for message in self.reader.messages(room)))
        return counts

    async def caught_up(self) -> None:
        """Wait until the reader has seen all that is in the rooms now."""
        for community in self.communities:
            page = await self.reader.call(
                "GET", f"/rooms/{community.announcements}/messages", query={"dir": "b", "limit": "20"}
            )
            newest = next(one["event_id"] for one in page["chunk"] if one["type"] == "m.room.encrypted")
            await self.reader.wait_event(community.announcements, partial(_is, newest))


def _is(event_id: str, event: dict[str, Any]) -> bool:
    return bool(event["event_id"] == event_id)


@pytest.fixture(scope="module")
async def towns(ground: Ground) -> AsyncIterator[Towns]:
    """Made once; the reader and the nomad are in each announcement room."""
    await ground.running()
    people = People(ground.synapse)
    reader, nomad = await people.nio("reader"), await people.nio("nomad")
    owner = await ground.account("owner")
    communities = [
        ground.declare(
            f"town{number}",
            name=f"Town {number}",
            room_version=version,
            owners=[owner.user_id],
            members=[reader.user_id, nomad.user_id],
            general=False,
        )
        for number, version in enumerate(("11", "12", "12"))
    ]
    ground.only(*communities)
    for person in (reader, nomad):
        person.accept_invites()
    await ground.apply(*communities)
    await asyncio.gather(*(one.inside(reader, nomad) for one in communities))
    yield Towns(communities, reader, people, nomad.account)
    await people.close()


async def test_an_announcement_is_in_each_room_once(ground: Ground, towns: Towns, seed: int) -> None:
    dice = random.Random(seed)
    ground.only(*towns.communities)
    await ground.running()
    await towns.change_devices(dice)
    text = f"announcement {seed} {secrets.token_hex(4)}"
    request = {"communities": towns.names, "text": text, "source": f"soak-{text}"}
    killer = Killer(dice, REQUESTS)
    with LEDGER.run("announce to three rooms") as row, ground.told(f"seed {seed}", killer):
        killer.watch(ground.asked, ground.kill_now)
        answered = False
        try:
            answered = (await ground.ask("announce", **request))["ok"]
        except CommunitiesError as error:
            killer.must_be_why(error)
            row.killed_at_work += 1
        killer.call_off()
        await ground.restart()
        await ground.nothing_waits()
        ground.nothing_given_up()
        await ground.asked.quiet()

        taken = ground.rows("SELECT id FROM announcement WHERE source = ?", request["source"])
        assert taken or not answered
        if taken:
            await eventually_counted(towns, text)
        again = await ground.ask("announce", **request)
        assert again["ok"], again
        await towns.caught_up()
        await eventually_counted(towns, text)
        assert [target["event_id"] for target in again["targets"]] == [
            next(one.event_id for one in towns.reader.messages(community.announcements) if one.text == text)
            for community in towns.communities
        ]
        for community in towns.communities:
            posts = [one for one in towns.reader.timeline(community.announcements) if one["sender"] == ANNOUNCER]
            assert all(one["type"] != "m.room.message" for one in posts)


async def eventually_counted(towns: Towns, text: str) -> None:
    """Wait until the text is in each room, and see that it is there once."""

    async def once() -> bool:
        counts = await towns.counted(text)
        assert counts == [1, 1, 1]
        return True

    await eventually(once, 30)
    await towns.caught_up()
    assert await towns.counted(text) == [1, 1, 1]
