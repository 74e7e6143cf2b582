"""A room key for 5,000 members with two devices each, against stock mautrix and against raw Olm calls, in one run.

    python -m benchmarks.megolm [--members 5000] [--devices 2] [--database sqlite|postgres|both]
                                [--only lists|cold|warm] [--rounds 3] [--skip-stock [EARLIER.json]] [--json FILE]

People's devices are libolm accounts whose device keys, one-time keys and cross-signing keys are real and signed; they
are made once, with all cores, and kept in a temporary folder. Both sides have the same people, one stub homeserver in
the process (`homeserver.py`), and a database of their own of the same kind: SQLite in a file (WAL; ours with
synchronous=FULL, stock with mautrix' default NORMAL, which waits less for the disk), or a PostgreSQL on this machine
(without fsync, for both). Stock is `mautrix.crypto.OlmMachine` with `PgCryptoStore` and mautrix' own client; its state
store costs nothing. What both do in answer to the homeserver's list of members (a request) is not in it.

- lists: the device lists of all, never seen before. `DeviceLists.refresh` : `OlmMachine._fetch_keys`.
- cold: a room's key to everybody; devices are known, Olm sessions are not. `Keys.prepare` : `share_group_session`.
- warm: a member has left, the process is new (nothing is cached): another key to everybody else.

Each case runs in a process of its own (`meter.py` says what is counted and how), upon the database that the one before
it has left. After each share, 20 devices open all that they were sent and read a message; every device must have been
sent one. The floor (`floor.py`) is the raw libolm calls for the same devices in one thread. Floor and ours take turns
for some rounds, of which the medians count (of memory the highest); stock, which takes minutes, runs once. Ours runs
with 500 members as well, for the memory.

The exit code is 1 if a target is missed with 5,000 × 2 or more; with fewer people the targets only stand beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.megolm import world
from benchmarks.megolm.case import FLOOR, Case, child, run
from benchmarks.megolm.report import FEWER, earlier, judge, note, show
from tests.harness.postgres import Postgres

CASES = ("lists", "cold", "warm")
DATABASES = ("sqlite", "postgres")


New = Callable[[str], Awaitable[str]]
"""Makes an empty database, and gives its URL."""


@asynccontextmanager
async def databases_of(kind: str, folder: Path) -> AsyncIterator[New]:
    async def file(name: str) -> str:
        return f"sqlite:///{folder / name}.db"

    if kind == "sqlite":
        yield file
        return
    server = Postgres()
    await server.start()
    try:
        yield server.create_database
    finally:
        await server.close()


class Benchmark:
    """All cases of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._members: int = options.members
        self._devices: int = options.devices
        self._rounds: int = options.rounds
        self._wanted = [options.only] if options.only else list(CASES)
        # What comes before a case has to be done to get there.
        self._cases = CASES[: max(CASES.index(case) for case in self._wanted) + 1]
        self._stock = options.skip_stock is None
        self._floors: list[dict[str, dict[str, float]]] = []

    async def run(self, databases: list[str]) -> dict[str, Any]:
        found = {}
        for kind in databases:
            with tempfile.TemporaryDirectory(prefix="matrix-communities-megolm-") as folder:
                async with databases_of(kind, Path(folder)) as new:
                    found[kind] = await self._database(kind, Path(folder), new)
        floor = {case: middle([one[case] for one in self._floors]) for case in self._wanted}
        return {"members": self._members, "devices": self._devices, "floor": floor, "databases": found}

    async def _database(self, kind: str, folder: Path, new: New) -> dict[str, Any]:
        rounds = []
        for number in range(self._rounds):
            self._floor()
            rounds.append(await self._side("ours", f"ours_{number}", folder, new, f"{kind}, round {number + 1}"))
        sides = {"ours": {case: middle([one[case] for one in rounds]) for case in self._wanted}}
        sides["fewer"] = await self._side("ours", "fewer", folder, new, f"{kind}, {self._few} members", fewer=True)
        if self._stock:
            sides["stock"] = await self._side("stock", "stock", folder, new, kind)
        return {case: {side: cases[case] for side, cases in sides.items()} for case in self._wanted}

    @property
    def _few(self) -> int:
        return min(FEWER, self._members)

    def _floor(self) -> None:
        self._floors.append(run(Case(FLOOR, "", self._members, self._members, self._devices)))
        walls = (f"{case} {cost['wall']:.2f} s" for case, cost in self._floors[-1].items())
        note(f"floor: {', '.join(walls)}")

    async def _side(
        self, side: str, name: str, folder: Path, new: New, title: str, *, fewer: bool = False
    ) -> dict[str, Any]:
        url, messages = await new(name), folder / f"{name}-messages"
        messages.mkdir()
        members = self._few if fewer else self._members
        found = {}
        for case in self._cases:
            if case == "cold" and side == "ours":
                run(Case(side, "ready", self._members, members, self._devices, url, str(messages)))
            found[case] = run(Case(side, case, self._members, members, self._devices, url, str(messages)))
            note(f"{title}: {side}, {case}: {found[case]['wall']:.2f} s")
        return found


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; of memory the highest."""
    return {
        key: max(one[key] for one in runs)
        if key == "memory"
        else statistics.median(one[key] for one in runs)
        if isinstance(value, int | float)
        else value
        for key, value in runs[-1].items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.megolm", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--members", type=int, default=5000)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--rounds", type=int, default=3, help="of ours and of the floor; stock runs once")
    parser.add_argument("--only", choices=CASES, help="report this case; those that it builds on are run all the same")
    parser.add_argument(
        "--skip-stock",
        nargs="?",
        const="",
        metavar="EARLIER",
        help="leave stock out (it takes minutes); ratios are against the figures in the file of an earlier run",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        child(options.case)
        return 0
    took = world.make(options.members, options.devices)
    note(f"{options.members * options.devices:,} devices are in {world.folder_of(options.members, options.devices)}")
    if took:
        note(f"making them took {took:.0f} s")
    databases = list(DATABASES) if options.database == "both" else [options.database]
    found = asyncio.run(Benchmark(options).run(databases))
    if options.skip_stock:
        _take_stock(Path(options.skip_stock), found)
    judged = judge(found)
    show(found, judged)
    if options.json:
        options.json.write_text(json.dumps({**found, **judged}, indent=2) + "\n")
    return 1 if judged["missed"] and options.members * options.devices >= 10_000 else 0


def _take_stock(path: Path, found: dict[str, Any]) -> None:
    figures = earlier(path, found, json.loads(path.read_text()))
    for name, cases in found["databases"].items():
        for case, sides in cases.items():
            if case in figures.get(name, {}):
                sides["stock"] = figures[name][case]
    found["stock_from"] = path.name


if __name__ == "__main__":
    sys.exit(main())
