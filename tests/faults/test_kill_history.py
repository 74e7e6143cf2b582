"""Killed at random while it gives newcomers the past, and while `rekey` changes the key that all of it lies under: they
read everything that the window shows, and nothing before it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiohttp import web

from bridge.cli.demo.person import Client, Person
from bridge.core.errors import CommunitiesError
from tests.faults.ground import SETTLE_SECONDS, Command, Ground, run
from tests.faults.ledger import LEDGER
from tests.faults.meddler import Killer
from tests.harness.community import Community
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.reading import does_not_read, reads
from tests.harness.wait import eventually

SESSIONS = 5
WINDOW = 11
REQUESTS = 9
"""About what giving the past to two newcomers takes, of the requests that count."""
ALL_OF_REKEY = 0.25
"""Seconds from its first step to its end, about."""


@dataclass
class Village:
    """A community with a past, in which nobody but its admin and a guest was."""

    ground: Ground
    people: People
    community: Community
    admin: JsPerson
    ours: dict[str, str] = field(default_factory=dict)
    """Event and text of what the announcer said, in order; two under each session."""
    theirs: dict[str, str] = field(default_factory=dict)
    """Of what the admin said after that."""

    @property
    def room(self) -> str:
        return self.community.announcements

    async def say_everything(self, guest: Person) -> None:
        """Each time the guest is there on another device, a new session begins."""
        for number in range(2 * SESSIONS):
            if number % 2 == 0 and number > 0:
                await guest.call("POST", "/logout", {})
                guest = await self.people.nio(account=guest.account, new_device=True)
            self.ours[await self.community.announce(f"ours {number}")] = f"ours {number}"
        for number in range(3):
            self.theirs[await self.admin.send(self.room, f"theirs {number}")] = f"theirs {number}"
        await self.ground.taken_in(list(self.theirs)[-1])

    @property
    def shown(self) -> dict[str, str]:
        """What of the announcer's the window shows; it begins in the middle of a session."""
        return dict(list(self.ours.items())[len(self.theirs) - WINDOW :])

    async def is_read(self, person: Client, *, theirs: bool) -> None:
        """See that somebody reads everything that the window shows, and nothing before it."""
        await reads(person, self.room, self.shown | (self.theirs if theirs else {}))
        await does_not_read(person, self.room, self.ground, self.ours.keys() - self.shown.keys())


@pytest.fixture(scope="module")
async def village(ground: Ground) -> AsyncIterator[Village]:
    """Made once; each run brings newcomers into it."""
    await ground.still()
    before = ground.operator.settings()["history"]
    ground.operator.edit(history={"announcements": WINDOW})
    await ground.running()
    people = People(ground.synapse)
    admin, guest = await asyncio.gather(people.js("admin"), people.nio("guest"))
    owner = await ground.account("owner")
    community = ground.declare(
        "village", name="Village", owners=[owner.user_id], admins=[admin.user_id], members=[guest.user_id],
        general=False,
    )  # fmt: skip
    ground.only(community)
    for person in (admin, guest):
        person.accept_invites()
    await ground.apply(community)
    await community.inside(admin, guest)
    village = Village(ground, people, community, admin)
    await village.say_everything(guest)
    yield village
    await people.close()
    await ground.still()
    ground.operator.edit(history=before)


def gives(request: web.Request) -> bool:
    """Whether a request is one by which something is given."""
    return any(part in request.path for part in ("/keys/claim", "/sendToDevice/m.room.encrypted", "/media/"))


async def test_newcomers_read_the_past_whenever_the_service_is_killed(
    ground: Ground, village: Village, slow_seed: int
) -> None:
    dice = random.Random(slow_seed)
    ground.only(village.community)
    await ground.running()
    lisa, bart = await asyncio.gather(village.people.js("lisa"), village.people.nio("bart"))
    for person in (lisa, bart):
        person.accept_invites()
    village.community.change(members=[lisa.user_id, bart.user_id])
    killers = [Killer(dice, REQUESTS, counts=gives) for _ in range(dice.randint(1, 3))]
    with LEDGER.run("give the past") as row, ground.told(f"seed {slow_seed}", *killers):
        for killer in killers:
            killer.watch(ground.asked, ground.kill_now)
            if ground.operator.running:
                try:
                    await ground.ask("apply", communities=[village.community.id], force=True)
                except CommunitiesError as error:
                    killer.must_be_why(error)
            else:
                await ground.operator.start(ready=False)
            await given_or_killed(ground, village, killer, lisa, bart)
            killer.call_off()
            row.killed_at_work += killer is killers[0] and killer.done.is_set()
            await ground.operator.kill()
        await ground.restart()
        await ground.nothing_waits()
        ground.nothing_given_up()
        await asyncio.gather(village.is_read(lisa, theirs=True), village.is_read(bart, theirs=False))
    await asyncio.gather(lisa.close(), bart.close())


async def given_or_killed(ground: Ground, village: Village, killer: Killer, *newcomers: Client) -> None:
    """Wait until the past is given to these people, or the killer has done its work."""
    names = [person.user_id for person in newcomers]

    def over() -> bool:
        if killer.done.is_set():
            return True
        served = ground.rows("SELECT user_id FROM crypto_served WHERE room_id = ?", village.room)
        waiting = ground.rows(
            "SELECT 1 FROM crypto_present WHERE room_id = ? AND bundle = '' AND user_id IN (?, ?)", village.room, *names
        )
        return {(name,) for name in names} <= set(served) and not waiting

    await eventually(over, SETTLE_SECONDS, "the past to be given, or a kill")


async def test_newcomers_read_the_past_whenever_rekey_is_killed(
    ground: Ground, village: Village, slow_seed: int
) -> None:
    dice = random.Random(500 + slow_seed)
    ground.only(village.community)
    await ground.still()
    lock = ground.operator.folder / "communities.db.lock"
    old = ground.operator.settings()["encryption"]["pickle_key"]
    delays = [dice.uniform(0, ALL_OF_REKEY) for _ in range(dice.randint(1, 3))]
    story = [f"killed {delay:.3f} s after its first step" for delay in delays]
    with LEDGER.run("rekey") as row, ground.told(f"seed {slow_seed}", *story):
        for delay in delays:
            process = Command(ground, "rekey")
            await process.start()
            await eventually(partial(process.has_open, lock), what="rekey to begin", interval=0.002)
            await asyncio.sleep(delay)
            process.kill()
            code, _ = await process.end()
            row.killed_at_work += delay is delays[0] and code != 0
        code, out = await run(ground, "rekey")
        assert code == 0, out
        settings = ground.operator.settings()["encryption"]
        assert settings.get("next_pickle_key") is None
        assert settings["pickle_key"] != old

        await ground.running()
        bart = await village.people.nio("bart")
        await village.community.admit(bart)
        await village.is_read(bart, theirs=False)
        await ground.nothing_waits()
        ground.nothing_given_up()
    await bart.close()
