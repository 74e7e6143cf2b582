"""What it costs to come in by a link: for one, for a crowd, and among many communities.

    python -m benchmarks.entering [--people 500] [--json FILE]

One: from the click on the join page until the invitation is there, on a private Synapse on SQLite, against an invite
that is made directly. A crowd: so many people at one link at once, against as many bare invites one after the other,
which is what the homeserver allows in one room. Among many: processor time of one use, in memory, with 10, 100 and
1,000 communities.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.stage import STEWARD, Stage, stage
from bridge.cli.door import Door
from bridge.config import load
from bridge.core.community import Community
from bridge.core.ids import CommunityId, UserId
from bridge.features.entering import Terms
from bridge.matrix.client import Client, path
from bridge.store.links import Entry
from tests.fakes.scene import Scene, url_in
from tests.harness.wait import eventually

URL = "https://join.example.org"
SINGLE = 40
AT_ONCE = 50
SIZES = (10, 100, 1000)
USES = 100


async def accounts(place: Stage, count: int) -> list[str]:
    """So many people, without clients."""
    found: list[str] = []
    while len(found) < count:
        batch = [place.people.account("guest") for _ in range(min(10, count - len(found)))]
        found += [account.user_id for account in await asyncio.gather(*batch)]
    return found


async def enter(http: aiohttp.ClientSession, where: str, user: str) -> str:
    """Fill in the form; gives how far that led."""
    async with http.post(where, data={"user": user}) as response:
        text = await response.text()
        if response.status != 200:
            return str(response.status)
        return text.partition('data-stage="')[2].partition('"')[0]


async def on_a_homeserver(people: int) -> dict[str, Any]:
    """One after the other, and a crowd, with and without the page."""
    async with stage(join={"url": URL}) as place:
        names = {name: {"name": name, "owners": [STEWARD.replace("communities", "owner")]} for name in ("page", "bare")}
        await place.people.account("owner")
        place.operator.edit(communities=names)
        await place.operator.start()
        door = Door(load(place.operator.config))
        await door.ask("apply", {"communities": [], "force": False})
        link = (await door.ask("link", {"do": "new", "community": "page"}))["url"].removeprefix(URL)
        settings = place.operator.settings()
        base = f"http://127.0.0.1:{settings['listen']['port']}"
        client = Client(place.tap.url, str(settings["registration"]["as_token"]))
        await client.start()
        rooms = (await client.request("GET", path("v3", "joined_rooms")))["joined_rooms"]
        spaces = [room for room in rooms if await _is_space_of(client, room, "bare")]
        timeout = aiohttp.ClientTimeout(total=600)
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(base, timeout=timeout, connector=connector) as http:
            guests = await accounts(place, 2 * (SINGLE + people))
            clicks, bare, requests = [], [], 0
            for user in guests[:SINGLE]:
                mark, begin = place.mark(), time.perf_counter()
                reached = await enter(http, link, user)
                clicks.append(time.perf_counter() - begin)
                assert reached == "invited", reached
                requests += len(place.requests(mark))
            for user in guests[SINGLE : 2 * SINGLE]:
                begin = time.perf_counter()
                await client.request("POST", path("v3", "rooms", spaces[0], "invite"), body={"user_id": user})
                bare.append(time.perf_counter() - begin)
            crowd, others = guests[2 * SINGLE : 2 * SINGLE + people], guests[2 * SINGLE + people :]
            begin = time.perf_counter()
            reached_by = await asyncio.gather(*(enter(http, link, user) for user in crowd))
            assert set(reached_by) <= {"invited", "waiting"}, set(reached_by)
            answered = time.perf_counter() - begin

            async def all_in() -> bool:
                listed = await door.ask("status", {})
                return bool(listed["queue"]["jobs"] == 0)

            await eventually(all_in, deadline=900, interval=0.2)
            whole = time.perf_counter() - begin
            begin = time.perf_counter()
            for user in others:
                await client.request("POST", path("v3", "rooms", spaces[0], "invite"), body={"user_id": user})
            floor = time.perf_counter() - begin
        await client.stop()
    return {
        "click_ms": round(statistics.median(clicks) * 1000),
        "click_worst_ms": round(max(clicks) * 1000),
        "bare_ms": round(statistics.median(bare) * 1000),
        "requests": round(requests / SINGLE, 2),
        "people": people,
        "answered_seconds": round(answered, 1),
        "crowd_seconds": round(whole, 1),
        "bare_seconds": round(floor, 1),
        "ratio": round(whole / floor, 2),
        "saw_a_place": sum(one == "waiting" for one in reached_by),
    }


async def _is_space_of(client: Client, room: str, community: str) -> bool:
    create = await client.request("GET", path("v3", "rooms", room, "state", "m.room.create", ""))
    return create.get("org.matrix-communities.room") == {"community": community, "key": "space"}


async def among(communities: int) -> float:
    """Milliseconds of processor time for one use, from the click to the invitation, in memory."""
    with tempfile.TemporaryDirectory(prefix="matrix-communities-benchmark-") as folder:
        scene = Scene(url_in(Path(folder)))
        await scene.start()
        owners = frozenset({UserId("@owner:example.org")})
        declared = [Community(CommunityId(f"c{number}"), name="C", owners=owners) for number in range(communities)]
        scene.reconciler.declare(declared)
        for community in declared:
            await scene.reconciler.apply(community)
            await scene.entering.make(Terms(community.id, "operator"))
        link, _ = await scene.entering.make(Terms(declared[communities // 2].id, "operator"))
        begin = time.process_time()
        for number in range(USES):
            assert isinstance(await scene.entering.use(link, UserId(f"@guest{number}:example.org")), Entry)
            await scene.do_jobs()
        took = (time.process_time() - begin) / USES * 1000
        await scene.stop()
    return round(took, 2)


async def measure(people: int) -> dict[str, Any]:
    """Everything."""
    found = await on_a_homeserver(people)
    found["use_ms_among"] = {str(size): await among(size) for size in SIZES}
    return found


def main() -> int:
    """Print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = asyncio.run(measure(args.people))
    print(
        f"one: {found['click_ms']} ms from the click to the invitation (worst of {SINGLE}: {found['click_worst_ms']} "
        f"ms), with {found['requests']} requests; a bare invite takes {found['bare_ms']} ms"
    )
    print(
        f"a crowd of {found['people']}: invited in {found['crowd_seconds']} s, as bare invites one after the other in "
        f"{found['bare_seconds']} s: ratio {found['ratio']}; all were answered within {found['answered_seconds']} s, "
        f"{found['saw_a_place']} with a place in the queue"
    )
    for size, took in found["use_ms_among"].items():
        print(f"among {size} communities: {took} ms of processor time for one use")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
