"""One measured case in a process of its own, so that memory and processor time are its alone."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.megolm import floor, meter
from benchmarks.megolm.reader import must_read
from benchmarks.megolm.world import World

FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Case:
    """What to run."""

    side: str
    """`ours`, `stock` or `floor`."""
    case: str
    users: int
    """How many people the file has; the case takes the first `members` of them."""
    members: int
    devices: int
    url: str = ""
    folder: str = ""
    """Where the messages of the sampled devices are kept from case to case."""


def run(case: Case) -> dict[str, Any]:
    """Run it in a process of its own, and give what it found."""
    command = [sys.executable, "-m", "benchmarks.megolm", "--case", json.dumps(asdict(case))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{case.side} {case.case} failed, exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def child(text: str) -> None:
    """The other end of `run`."""
    logging.basicConfig(level=logging.ERROR)
    case = Case(**json.loads(text))
    world = World(case.users, case.devices, case.members)
    if case.side == FLOOR:
        print(json.dumps(floor.measure(world)))
        return
    meter.count_statements()
    print(json.dumps(asyncio.run(_measure(case, world))))


async def _measure(case: Case, world: World) -> dict[str, Any]:
    if case.side == "ours":
        from benchmarks.megolm import ours as side
    else:
        from benchmarks.megolm import stock as side  # type: ignore[no-redef]
    cost, wire, message = await side.run(case.case, world, case.url, Path(case.folder))
    result: dict[str, Any] = {
        "wall": cost.wall,
        "cpu": cost.cpu,
        "statements": cost.statements,
        "memory": cost.memory,
        "body": wire.largest_body,
        "requests": wire.requests,
    }
    if message is not None:
        expected = (world.members - (case.case == "warm")) * world.devices
        reached = sum(1 for count in wire.messages[:expected] if count == 1)
        assert reached == expected, f"{reached} of {expected} devices got one message"
        assert not any(wire.messages[expected:]), "somebody who left was sent something"
        kept = Path(case.folder, f"{case.side}.json")
        earlier = json.loads(kept.read_text()) if kept.exists() else {}
        sent = {number: [*earlier.get(str(number), []), *contents] for number, contents in wire.sent.items()}
        kept.write_text(json.dumps(sent))
        result["readers"] = must_read(world, sent, message)
        result["reached"] = reached
    return result
