"""The ground of these tests: a homeserver, and a service on it that is killed, starved and lied to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from bridge.cli.demo.homeserver import Account
from bridge.cli.demo.operator import CommandFailed, Operator
from bridge.config import load
from tests.faults.meddler import Meddler
from tests.harness.community import SOON_SECONDS, Community, Estate
from tests.harness.wait import eventually

SETTLE_SECONDS = 60.0
"""For everything to be as it should be after a fault, on a machine that is busy with other tests."""

# These tests make more drifts than people do; what ends fights has tests of its own.
NO_FIGHTS = {"freeze_after_changes": 1000, "freeze_within_seconds": 1}


class Ground(Estate):
    """An estate with a meddler in each direction."""

    asked: Meddler
    pushed: Meddler

    def __init__(self, folder: Path) -> None:
        """Nothing runs before :meth:`start`."""
        super().__init__(folder)
        self.asked, self.pushed = Meddler(self.synapse.url), Meddler("")
        self.crowd: dict[str, Account] = {}
        self.neighbour: Neighbour | None = None
        self._forgiven: set[str] = set()

    async def start(self, **sections: Any) -> None:
        """See :meth:`Estate.start`; the neighbour is set up, and not started."""
        self.neighbour = Neighbour(self.operator.folder.parent / "neighbour", self)
        self.neighbour.operator.folder.parent.mkdir()
        await self.neighbour.set_up(**sections)
        await super().start(**sections)

    async def stop(self) -> None:
        """End everything."""
        if self.neighbour is not None:
            await self.neighbour.stop()
        await super().stop()

    async def account(self, name: str) -> Account:
        """Somebody who is never on line: one account for all tests."""
        if name not in self.crowd:
            self.crowd[name] = await self.people.account(name)
        return self.crowd[name]

    def only(self, *communities: Community) -> None:
        """Declare these communities, and no others."""
        self.communities = {one.id: one for one in communities}
        self.write_config()

    # --- the service ------------------------------------------------------------------------------------------------

    async def running(self) -> None:
        """See that the service runs, that nobody meddles, and that the homeserver is there."""
        self.asked.leave_alone()
        self.pushed.leave_alone()
        self.asked.heard.clear()
        self.pushed.heard.clear()
        if not self.synapse.running:
            await self.synapse.start()
        if not self.operator.running:
            await self.operator.start()
        else:
            self.operator.reload()
        await eventually(self._follows, what="the service to have read what is declared")

    async def _follows(self) -> bool:
        """Whether the service has loaded what the config says now."""
        declared = {str(one.id) for one in load(self.operator.config).communities}
        status = await self.ask("status")
        return {one["id"] for one in status["communities"]} == declared

    async def still(self) -> None:
        """See that the service does not run, and that nothing is under way."""
        self.asked.leave_alone()
        self.pushed.leave_alone()
        await self.operator.stop()
        await self.asked.quiet()
        self.asked.heard.clear()
        self.pushed.heard.clear()

    async def restart(self) -> None:
        """Start the service again after it was killed, or kill and start it."""
        await self.operator.kill()
        self.asked.leave_alone()
        self.pushed.leave_alone()
        await self.operator.start()

    def kill_now(self) -> None:
        """Kill the service; its end is not waited for."""
        self.operator.send_signal(signal.SIGKILL)

    def log_mark(self) -> int:
        """Where the service's log ends now."""
        return self.operator.log.stat().st_size

    def logged(self, mark: int) -> str:
        """What the service has logged since a mark."""
        return self.operator.log.read_bytes()[mark:].decode(errors="replace")

    # --- what must be true after a fault ----------------------------------------------------------------------------

    async def converged(self, *communities: Community) -> None:
        """Wait until there is nothing to do, and nothing waits or was given up."""
        names = [community.id for community in communities]

        async def nothing_to_do() -> bool:
            plan = await self.ask("plan", communities=names)
            assert not plan["actions"], plan
            assert not plan["blocked"], plan
            return True

        await eventually(nothing_to_do, SETTLE_SECONDS, interval=0.2)
        await self.nothing_waits()
        self.nothing_given_up()

    async def nothing_waits(self) -> None:
        """Wait until every event and every job is worked off."""

        def worked_off() -> bool:
            assert self.rows("SELECT event_id, room_id, body FROM inbox WHERE parked IS NULL") == []
            soon = int((time.time() + SOON_SECONDS) * 1000)
            jobs = "SELECT id, kind, attempts, failure FROM job WHERE parked IS NULL"
            assert self.rows(f"{jobs} AND (due_at < ? OR failure IS NOT NULL)", soon) == []
            return True

        await eventually(worked_off, SETTLE_SECONDS, interval=0.1)

    def forgive(self) -> None:
        """What was given up until now was bound to fail."""
        self._forgiven |= {job_id for (job_id,) in self.rows("SELECT id FROM job WHERE parked IS NOT NULL")}

    def nothing_given_up(self) -> None:
        """No job and no event was parked."""
        parked = self.rows("SELECT id, parked FROM job WHERE parked IS NOT NULL")
        assert [row for row in parked if row[0] not in self._forgiven] == []
        assert self.rows("SELECT event_id, parked FROM inbox WHERE parked IS NOT NULL") == []

    async def stewards_rooms(self) -> set[str]:
        """Where the steward is joined, as the homeserver has it."""
        return set((await self.as_service("GET", "joined_rooms"))["joined_rooms"])

    @contextmanager
    def told(self, *story: object) -> Iterator[None]:
        """When something fails within, tell the story and what the service said last."""
        try:
            yield
        except BaseException as error:
            lines = "; ".join(str(part) for part in story)
            error.add_note(f"{lines}\nThe service's last words:\n{self.operator.log_tail(40)}")
            raise


class Neighbour(Ground):
    """One more service on the same homeserver, under other names and with a database of its own in PostgreSQL."""

    def __init__(self, folder: Path, ground: Ground) -> None:
        """To be set up before the homeserver starts."""
        super().__init__(folder)
        self.synapse, self.people = ground.synapse, ground.people
        self.operator = Operator(folder / "service", self.synapse)
        self.asked = Meddler(self.synapse.url)
        self.database = ""

    async def set_up(self, **sections: Any) -> None:
        """See :meth:`Estate.set_up`."""
        names = {"steward": {"localpart": "communities2"}, "announcer": {"localpart": "announcements2"}}
        await super().set_up(accounts=names, registration={"id": "neighbour"}, **sections)

    async def stop(self) -> None:
        """End everything but the homeserver."""
        await self.operator.stop()
        await self.service_client.stop()
        await self.pushed.stop()
        await self.asked.stop()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """See :meth:`Estate.rows`."""

        async def fetch() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.database)
            try:
                return [tuple(row) for row in await connection.fetch(numbered, *values)]
            finally:
                await connection.close()

        parts = query.split("?")
        numbered = parts[0] + "".join(f"${number}{part}" for number, part in enumerate(parts[1:], 1))
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, fetch()).result()


class Command:
    """A command of the operator in a process of its own, which can be killed."""

    def __init__(self, ground: Ground, *args: str) -> None:
        """`args` are those of the command line."""
        self._ground, self._args = ground, args

    async def start(self) -> None:
        """Begin; :meth:`end` waits."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bridge", *self._args,
            cwd=self._ground.operator.folder, env={**os.environ, "COLUMNS": "160"},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    def kill(self) -> None:
        """Kill it, if it still lives."""
        if self._process.returncode is None:
            self._process.kill()

    def has_open(self, place: Path) -> bool:
        """Whether it has a file open; True as well where it has ended."""
        if self._process.returncode is not None:
            return True
        folder = f"/proc/{self._process.pid}/fd"
        with suppress(FileNotFoundError):  # a file is closed, or the process ends, in this moment: the next look tells
            return str(place) in [os.readlink(f"{folder}/{number}") for number in os.listdir(folder)]
        return False

    async def end(self, seconds: float = 90.0) -> tuple[int, str]:
        """Its exit code and what it printed."""
        try:
            async with asyncio.timeout(seconds):
                out, _ = await self._process.communicate()
        except TimeoutError:
            self.kill()
            raise CommandFailed(f"{' '.join(self._args)}: no end within {seconds:.0f} s") from None
        return self._process.returncode or 0, out.decode()


async def run(ground: Ground, *args: str) -> tuple[int, str]:
    """Run a command to its end, whatever its exit code."""
    command = Command(ground, *args)
    await command.start()
    return await command.end()


def state_of(events: list[dict[str, Any]], event_type: str, key: str = "") -> dict[str, Any] | None:
    """The content of a piece of state among all of a room."""
    return next(
        (dict(one["content"]) for one in events if (one["type"], one.get("state_key")) == (event_type, key)), None
    )
