"""PostgreSQL cuts connections, or goes and comes back: nothing is lost, and the database stays the service's own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from bridge.cli.demo.person import Person
from bridge.core.errors import CommunitiesError
from bridge.store.ownership import _LOCK_NUMBER
from tests.faults.ground import SETTLE_SECONDS, Ground, Neighbour, run
from tests.harness.community import Community
from tests.harness.people import People
from tests.harness.postgres import Postgres
from tests.harness.wait import eventually

ANNOUNCER = "@announcements2:example.org"
LOCKS = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"


@dataclass
class Town:
    """A community of the service on PostgreSQL, and somebody in it who writes and reads."""

    ground: Neighbour
    postgres: Postgres
    community: Community
    reader: Person
    chat: str

    async def announce(self, text: str) -> None:
        """Announce, however often it takes until the service takes it."""

        async def taken() -> bool:
            try:
                ask = self.ground.ask("announce", communities=[self.community.id], text=text, source=text)
                return bool((await ask)["ok"])
            except CommunitiesError:
                return False

        await eventually(taken, SETTLE_SECONDS, interval=0.3)

    async def everything_works(self) -> None:
        """A chat is answered once, an announcement is there once, a drift is healed, nothing was given up."""
        ground, community = self.ground, self.community
        right = await ground.state(community.announcements, "m.room.power_levels")
        word, text = f"w{secrets.token_hex(4)}", f"text {secrets.token_hex(4)}"
        await self.reader.send(self.chat, word)
        await ground.put_state(community.announcements, "m.room.power_levels", right | {"events_default": 0})
        await self.announce(text)
        await self.answered(word)
        await self.reader.wait_text(community.announcements, text, SETTLE_SECONDS)

        async def healed() -> bool:
            return await ground.state(community.announcements, "m.room.power_levels") == right

        await eventually(healed, SETTLE_SECONDS, "the drift to be healed")
        await ground.converged(community)
        assert self.answers(word) == 1
        assert [one.text for one in self.reader.messages(community.announcements)].count(text) == 1

    async def answered(self, word: str) -> None:
        """Wait until a word that nobody understands is answered."""
        await eventually(lambda: self.answers(word) > 0, SETTLE_SECONDS, f"an answer to {word}")

    def answers(self, word: str) -> int:
        """How often a word was answered."""
        return sum(one.sender == ANNOUNCER and f"“{word}”" in one.text for one in self.reader.messages(self.chat))


@pytest.fixture(scope="module")
async def town(ground: Ground, postgres: Postgres) -> AsyncIterator[Town]:
    """The service on PostgreSQL runs as long as this module's tests, the other one does not."""
    await ground.running()
    await ground.still()
    neighbour = ground.neighbour
    assert neighbour is not None
    neighbour.database = await postgres.create_database()
    neighbour.operator.edit(database={"url": neighbour.database})
    await neighbour.operator.start()
    people = People(ground.synapse)
    reader = await people.nio("reader")
    owner = await ground.account("owner")
    community = neighbour.declare("pg", name="Pg", owners=[owner.user_id], members=[reader.user_id], general=False)
    reader.accept_invites()
    await neighbour.apply(community)
    await community.inside(reader)
    chat = await reader.create_dm(ANNOUNCER)
    await reader.wait_joined(chat, ANNOUNCER)
    yield Town(neighbour, postgres, community, reader, chat)
    await people.close()
    await neighbour.operator.stop()


async def test_cut_connections(town: Town) -> None:
    with town.ground.told():
        pid = town.ground.operator.pid
        for _ in range(3):
            word = f"w{secrets.token_hex(4)}"
            sending = asyncio.create_task(town.reader.send(town.chat, word))
            assert await town.postgres.kill_connections(town.ground.database) > 0
            await sending
            await town.postgres.kill_connections(town.ground.database)
            await town.answered(word)
        await town.everything_works()
        assert town.ground.operator.pid == pid
        await eventually(lambda: town.ground.rows(LOCKS) == [(1,)], 20, "the lock to be taken again")


@pytest.mark.parametrize("immediately", [False, True])
async def test_a_database_that_is_away_for_a_while(town: Town, immediately: bool) -> None:
    ground, reader = town.ground, town.reader
    with ground.told():
        pid = ground.operator.pid
        pushes, asked = len(ground.pushed.heard), len(ground.asked.heard)
        mark = ground.log_mark()
        await town.postgres.stop(immediately=immediately)
        words = [f"w{secrets.token_hex(4)}" for _ in range(3)]
        for word in words:
            await reader.send(town.chat, word)
        await eventually(lambda: any(one.status == 500 for one in ground.pushed.since(pushes, "/transactions/")), 20)
        # long enough for the service to look for its lock in vain
        await eventually(lambda: "the database cannot be reached" in ground.logged(mark), 30)
        assert ground.operator.running
        assert not list(ground.asked.since(asked, "/ping"))
        await town.postgres.start()
        # by itself the homeserver would try again later and later; it is pinged, and sends at once
        await eventually(lambda: any(one.status == 200 for one in ground.asked.since(asked, "/ping")), 15, "a ping")
        for word in words:
            await town.answered(word)
        await town.everything_works()
        assert [town.answers(word) for word in words] == [1, 1, 1]
        assert ground.operator.pid == pid
        await eventually(lambda: ground.rows(LOCKS) == [(1,)], 20, "the lock to be taken again")
        code, out = await run(ground, "run")
        assert code == 1
        assert "another matrix-communities process uses this database" in out


async def test_a_service_that_lost_its_database_to_another_ends(town: Town) -> None:
    """Two processes with the same keys would break each other's sessions: the one that came too late ends itself."""
    ground = town.ground
    with ground.told():
        await town.postgres.stop(immediately=True)
        await town.postgres.start()
        thief = await asyncpg.connect(ground.database)
        assert await thief.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_NUMBER)
        try:
            assert await asyncio.wait_for(ground.operator.ended(), 60) == 1
            assert "another matrix-communities process" in ground.operator.log_tail()
        finally:
            await thief.close()
        await ground.operator.start()
        await town.everything_works()
