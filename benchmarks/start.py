"""How long the service takes to start over many communities in which nothing changed, and its memory for each room.

    python -m benchmarks.start [--communities 200] [--members 5] [--json FILE]

The rooms are real ones on a private Synapse: they are made first, which takes several minutes for 2,000 of them. Then
the service is started anew, and measured until every community has been looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rooms import GROUPS
from benchmarks.stage import Stage, stage
from tests.harness.wait import eventually

APPLY_SECONDS = 3000.0


def declarations(communities: int, members: list[str]) -> dict[str, Any]:
    groups = {f"group-{number}": {"name": f"Group {number}", "kind": "open"} for number in range(GROUPS)}
    return {
        f"community-{number}": {
            "name": f"Community {number}", "owners": members[:1], "members": members[1:], "groups": groups,
        }
        for number in range(communities)
    }  # fmt: skip


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LookupError("no VmRSS")


async def start_and_settle(place: Stage) -> tuple[float, float, int]:
    """Start the service; seconds until every community was looked at, its memory then, and the requests it took."""
    mark = place.mark()
    began = int(time.time() * 1000)
    begin = time.perf_counter()
    await place.operator.start()

    async def all_seen() -> bool | None:
        status = (await place.operator.command("status", "--json")).json
        return all((one["last_reconcile"] or 0) >= began for one in status["communities"]) or None

    await eventually(all_seen, deadline=600, what="every community to have been looked at")
    seconds = time.perf_counter() - begin
    memory = resident_megabytes(place.operator.pid or 0)
    requests = len(place.requests(mark))
    await place.operator.stop()
    return seconds, memory, requests


async def measure(communities: int, members: int) -> dict[str, Any]:
    async with stage() as place:
        people = [(await place.people.account("member")).user_id for _ in range(members)]
        place.operator.edit(communities=declarations(1, people))
        await place.operator.command("apply", "--yes")
        _, few_memory, _ = await start_and_settle(place)
        place.operator.edit(communities=declarations(communities, people))
        begin = time.perf_counter()
        await place.operator.command("apply", "--yes", seconds=APPLY_SECONDS)
        build = time.perf_counter() - begin
        seconds, memory, requests = await start_and_settle(place)
    rooms = communities * (4 + GROUPS)
    return {
        "communities": communities,
        "rooms": rooms,
        "build_seconds": round(build, 1),
        "start_seconds": round(seconds, 1),
        "start_requests": requests,
        "memory_mb": round(memory, 1),
        "kb_a_room": round((memory - few_memory) * 1024 / (rooms - (4 + GROUPS)), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--communities", type=int, default=200)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure(options.communities, options.members))
    print(
        f"start: {result['start_seconds']} s for {result['communities']} communities ({result['rooms']} rooms, "
        f"{result['start_requests']} requests); {result['memory_mb']} MB, {result['kb_a_room']} kB a room; "
        f"building them took {result['build_seconds']} s"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
