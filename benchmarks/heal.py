"""How fast a drift is healed, against a bare script that answers the same event with the same PUT.

    python -m benchmarks.heal [--rounds 30] [--json FILE]

Both are application services of one private Synapse, and heal rooms of the same kind; they take turns. The bare script
is an aiohttp endpoint that keeps nothing, reads nothing and checks nothing: it sees the event, and writes the state
back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from bridge.cli.demo.homeserver import PrivateSynapse, free_port
from bridge.cli.demo.operator import Operator
from tests.harness.people import People
from tests.harness.wait import eventually

ROUNDS = 30
WARM_UP = 3
POLL_SECONDS = 0.002
TO_REACH = 1.3
TOKEN = "bare-script-token"
LEVELS = "m.room.power_levels"


class BareScript:
    """Answers a change of power levels with a PUT of what they were."""

    def __init__(self, folder: Path, homeserver: str) -> None:
        self.registration = folder / "bare.yaml"
        self.port = free_port()
        self.room = ""
        self.wanted: Mapping[str, Any] = {}
        self._homeserver = homeserver
        self.registration.write_text(
            json.dumps(
                {
                    "id": "bare", "url": f"http://127.0.0.1:{self.port}", "as_token": TOKEN, "hs_token": TOKEN,
                    "sender_localpart": "bare", "rate_limited": False,
                    "namespaces": {"users": [{"exclusive": True, "regex": "@bare:.*"}], "aliases": [], "rooms": []},
                }
            )
        )  # fmt: skip

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        app = web.Application()
        app.router.add_put("/_matrix/app/v1/transactions/{txn}", self._transaction)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def request(self, method: str, path: str, body: Any) -> Any:
        url = f"{self._homeserver}/_matrix/client/v3{path}"
        async with self._session.request(method, url, data=orjson.dumps(body)) as response:
            return await response.json()

    async def _transaction(self, request: web.Request) -> web.Response:
        for event in orjson.loads(await request.read())["events"]:
            theirs = event["type"] == LEVELS and event["sender"] != "@bare:example.org"
            if theirs and event["room_id"] == self.room:
                await self.request("PUT", f"/rooms/{self.room}/state/{LEVELS}/", self.wanted)
        return web.json_response({})


async def one(owner: Any, room: str, wanted: Mapping[str, Any], number: int) -> float:
    """Open a threshold as an owner, and give the seconds until it is back."""
    changed = {**wanted, "kick": number % 40}
    begin = time.perf_counter()
    await owner.put_state(room, LEVELS, "", changed)
    while await owner.state(room, LEVELS) != wanted:  # noqa: ASYNC110 - it is remote
        await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - begin


async def measure(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="matrix-communities-heal-") as folder:
        home = Path(folder)
        synapse = PrivateSynapse(home / "synapse")
        (home / "service").mkdir()
        operator, bare, people = Operator(home / "service", synapse), BareScript(home, synapse.url), People(synapse)
        synapse.add_registration(bare.registration)
        await operator.set_up()
        await asyncio.gather(synapse.start(), bare.start())
        try:
            return await _take_turns(operator, bare, people, rounds)
        finally:
            await people.close()
            await operator.stop()
            await bare.stop()
            await synapse.stop()


async def _take_turns(operator: Operator, bare: BareScript, people: People, rounds: int) -> dict[str, Any]:
    owner = await people.nio("owner")
    operator.edit(
        communities={"bench": {"name": "Benchmark", "owners": [owner.user_id], "admins": []}},
        reconcile={"freeze_after_changes": 1000},
    )
    await operator.start()

    async def made() -> bool | None:
        status = (await operator.command("status", "--json")).json
        return (bool(status["communities"][0]["space"]) and not status["communities"][0]["drift"]) or None

    await eventually(made, deadline=120, what="the community")
    space = (await operator.command("status", "--json")).json["communities"][0]["space"]
    await owner.join(space)
    wanted = await owner.state(space, LEVELS) or {}
    body = {"preset": "private_chat", "invite": [owner.user_id], "power_level_content_override": wanted}
    bare.room = (await bare.request("POST", "/createRoom", body))["room_id"]
    await owner.join(bare.room)
    bare.wanted = await owner.state(bare.room, LEVELS) or {}
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for number in range(rounds + WARM_UP):
        for name, room, content in (("bare", bare.room, bare.wanted), ("ours", space, wanted)):
            seconds = await one(owner, room, content, number)
            if number >= WARM_UP:
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "rounds": rounds,
        "bare_ms": round(medians["bare"] * 1000, 1),
        "ours_ms": round(medians["ours"] * 1000, 1),
        "ratio": round(medians["ours"] / medians["bare"], 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure(options.rounds))
    print(
        f"heal, median of {result['rounds']}: ours {result['ours_ms']} ms, a bare script {result['bare_ms']} ms: "
        f"{result['ratio']} × (to reach: {TO_REACH})"
    )
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["ratio"] <= TO_REACH else 1


if __name__ == "__main__":
    sys.exit(main())
