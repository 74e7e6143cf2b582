"""Whatever breaks while announcements go out: each is in each room once, and in the order in which they were given.

The service is on PostgreSQL. In each run one thing breaks at a random request: the service is killed, the homeserver is
killed or stopped, connections to the database are cut, the database crashes; or the service is killed and all stand
still until the homeserver has forgotten what it was sent. Clients of two libraries read and count.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from bridge.cli.demo.homeserver import Account
from bridge.cli.demo.person import Client, Person
from bridge.core.errors import CommunitiesError
from tests.faults.ground import SETTLE_SECONDS, Ground, Neighbour
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.harness.community import Community
from tests.harness.people import People
from tests.harness.postgres import AWAY, Postgres
from tests.harness.wait import eventually

pytestmark = pytest.mark.timeout(400)
"""Homeservers and databases are started again and again; each wait has a deadline of its own."""

TEXTS = 3
REQUESTS = 45
"""About what three announcements into three rooms take where there is somebody new to give keys to."""
A_DAY = "all stand still for a day"
A_DAY_MS = 25 * 60 * 60 * 1000


@dataclass
class Towns:
    """Three communities with the same people in them."""

    ground: Neighbour
    postgres: Postgres
    communities: list[Community]
    readers: list[Client]
    """Read everything, each with another library, and count."""
    people: People
    nomad: Account
    """Comes with other devices each time."""
    device: Person | None = None
    given: list[asyncio.Task[Any]] = field(default_factory=list)

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

    # --- giving -----------------------------------------------------------------------------------------------------

    async def give(self, text: str) -> None:
        """Give an announcement to the service, however often it takes until it is taken. Its arrival is not awaited."""
        asked: asyncio.Task[Any] | None = None

        async def taken() -> bool:
            nonlocal asked
            if await self._is_taken(text):
                return True
            if asked is None or asked.done():
                asked = asyncio.create_task(self._ask(text))
                self.given.append(asked)
            return False

        await eventually(taken, SETTLE_SECONDS * 2, f"{text} to be taken", interval=0.02)

    async def _is_taken(self, text: str) -> bool:
        try:
            query = "SELECT id FROM announcement WHERE source = ?"
            return bool(await asyncio.to_thread(self.ground.rows, query, text))
        except AWAY:
            return False  # the database is away

    async def _ask(self, text: str) -> None:
        try:
            await self.ground.ask("announce", communities=self.names, text=text, source=text)
        except CommunitiesError:
            await asyncio.sleep(0.1)  # before it is asked again

    # --- what breaks ------------------------------------------------------------------------------------------------

    def calamities(self) -> dict[str, tuple[Callable[[], None], Callable[[], Awaitable[None]]]]:
        """By name: what happens in the moment, and what happens then."""
        synapse, postgres, ground = self.ground.synapse, self.postgres, self.ground

        async def back_again() -> None:
            await synapse.start()

        async def killed() -> None:
            await synapse.kill()
            await back_again()

        async def stopped() -> None:
            await synapse.stop()
            await back_again()

        async def cut() -> None:
            await postgres.kill_connections(ground.database)

        async def crashed() -> None:
            await postgres.restart(immediately=True)

        async def a_day_later() -> None:
            await ground.operator.kill()
            await ground.asked.quiet()
            await synapse.stop()
            forget_transactions(ground)
            await asyncio.to_thread(self._make_older)
            await back_again()
            await ground.operator.start()

        def nothing() -> None:
            return

        return {
            "the service is killed": (ground.kill_now, ground.restart),
            A_DAY: (ground.kill_now, a_day_later),
            "the homeserver is killed": (nothing, killed),
            "connections to the database are cut": (nothing, cut),
            "the homeserver is stopped": (nothing, stopped),
            "the database crashes": (nothing, crashed),
        }

    def _make_older(self) -> None:
        """A day passes in the service's database: it goes by its own clock, which goes on."""
        self.ground.rows(f"UPDATE sending SET begun_at = begun_at - {A_DAY_MS} RETURNING txn_id")

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, texts: list[str]) -> None:
        """See that every reader has read everything that is in the rooms, and these texts once and in this order."""
        for community in self.communities:
            room = community.announcements
            page = await self.readers[0].call("GET", f"/rooms/{room}/messages", query={"dir": "b", "limit": "100"})
            newest = next(one["event_id"] for one in page["chunk"] if one["type"] == "m.room.encrypted")
            for reader in self.readers:
                await reader.wait_event(room, partial(_is, newest), SETTLE_SECONDS)
                await eventually(partial(_has_read, reader, room, texts), SETTLE_SECONDS)


def _sends(request: web.Request) -> bool:
    return "/send/m.room.encrypted/" in request.path


def _is(event_id: str, event: dict[str, Any]) -> bool:
    return bool(event["event_id"] == event_id)


def _has_read(reader: Client, room: str, texts: list[str]) -> bool:
    assert reader.undecryptable(room) == []
    said = {one.event_id: one.text for one in reader.messages(room)}
    read = [said[one["event_id"]] for one in reader.timeline(room) if said.get(one["event_id"]) in texts]
    assert read == texts
    return True


def forget_transactions(ground: Ground) -> None:
    """What Synapse does with transaction ids after a day; it must not run."""
    with closing(sqlite3.connect(ground.synapse.folder / "homeserver.db")) as database, database:
        database.execute("DELETE FROM event_txn_id_device_id")


@pytest.fixture(scope="module")
async def towns(ground: Ground, postgres: Postgres) -> AsyncIterator[Towns]:
    """The service on PostgreSQL runs as long as this module's tests, the other one does not."""
    await ground.running()
    await ground.still()
    neighbour = ground.neighbour
    assert neighbour is not None
    neighbour.database = await postgres.create_database()
    neighbour.operator.edit(database={"url": neighbour.database})
    people = People(ground.synapse)
    readers: list[Client] = [await people.nio("reader"), await people.js("reader")]
    nomad = await people.nio("nomad")
    owner = await ground.account("owner")
    members = [*readers, nomad]
    communities = [
        neighbour.declare(
            f"arriving{number}",
            name=f"Town {number}",
            room_version=version,
            owners=[owner.user_id],
            members=[one.user_id for one in members],
            general=False,
        )
        for number, version in enumerate(("11", "12", "12"))
    ]
    neighbour.only(*communities)
    await neighbour.operator.start()
    for person in members:
        person.accept_invites()
    await neighbour.apply(*communities)
    await asyncio.gather(*(one.inside(*members) for one in communities))
    yield Towns(neighbour, postgres, communities, readers, people, nomad.account)
    await people.close()
    await neighbour.operator.stop()
    neighbour.asked.leave_alone()


async def test_all_arrive_once_and_in_order_whatever_breaks(towns: Towns, calamity_seed: int) -> None:
    dice = random.Random(calamity_seed)
    ground = towns.ground
    calamities = towns.calamities()
    what = list(calamities)[calamity_seed % len(calamities)]
    at_once, then = calamities[what]
    await towns.change_devices(dice)
    texts = [f"{calamity_seed}.{number} {secrets.token_hex(4)}" for number in range(TEXTS)]
    killer = Killer(dice, REQUESTS)
    if what == A_DAY:  # what matters is then whether a message had been sent
        killer = Killer(dice, TEXTS * len(towns.communities), counts=_sends)
    after: list[asyncio.Task[None]] = []

    def happen() -> None:
        at_once()
        after.append(asyncio.ensure_future(then()))

    with LEDGER.run(f"announcements, and {what}") as row, ground.told(f"seed {calamity_seed}", what, killer):
        killer.watch(ground.asked, happen)
        for text in texts:
            await towns.give(text)
        arrived = asyncio.create_task(ground.nothing_waits())
        broken = asyncio.create_task(killer.done.wait())
        await asyncio.wait({arrived, broken}, return_when=asyncio.FIRST_COMPLETED)
        row.killed_at_work += broken.done()
        for task in (arrived, broken):
            task.cancel()
        await asyncio.gather(arrived, broken, return_exceptions=True)
        killer.call_off()
        await asyncio.gather(*after)
        await asyncio.gather(*towns.given)
        towns.given.clear()
        await eventually(partial(_worked_off, ground), SETTLE_SECONDS * 2, interval=0.2)
        ground.nothing_given_up()
        await towns.read(texts)


async def _worked_off(ground: Ground) -> bool:
    try:
        await ground.nothing_waits()
    except AWAY:
        return False
    return True


async def test_a_room_that_refuses_keeps_no_other_and_gets_what_it_missed_when_it_is_told(towns: Towns) -> None:
    ground, refusing = towns.ground, towns.communities[1].announcements
    first, second = (f"{name} {secrets.token_hex(4)}" for name in ("refused", "next"))

    async def refuse(request: web.Request) -> web.Response | None:
        if refusing in request.path and "/send/" in request.path:
            return web.json_response({"errcode": "M_FORBIDDEN", "error": "not today"}, status=403)
        return None

    with ground.told():
        ground.asked.before = refuse
        result = await ground.ask("announce", communities=towns.names, text=first, source=first)
        assert [bool(one["failed"]) for one in result["targets"]] == [False, True, False]
        ground.asked.leave_alone()
        assert (await ground.ask("announce", communities=towns.names, text=second, source=second))["ok"]
        [given_up] = (await ground.ask("parked", release=None, drop=None))["parked"]
        assert given_up["room"] == f"{towns.names[1]}/announcements"
        assert "not today" in given_up["why"]
        assert (await ground.ask("parked", release=given_up["id"], drop=None))["parked"] == []
        await ground.nothing_waits()
        for community, order in zip(
            towns.communities, ([first, second], [second, first], [first, second]), strict=True
        ):
            for reader in towns.readers:
                await eventually(partial(_has_read, reader, community.announcements, order), SETTLE_SECONDS)
