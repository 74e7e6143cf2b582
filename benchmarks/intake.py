"""What an event costs us, against a stock mautrix application service and against a floor.

    python -m benchmarks.intake [--rounds 5] [--json FILE]

Each server runs in a process of its own and is fed transactions of 100 events over HTTP on the loopback interface;
what is compared is the processor time of that process, all of its threads and the kernel's part included. Ours stores
what it wants in a SQLite file (WAL, synchronous=FULL) before it answers, and then parses it and routes it to handlers
that do nothing. Stock is `mautrix.appservice.AppService` with synchronous handlers that do nothing; for member events
with its SQL state store, on SQLite too. The floor is aiohttp, reading the body, and `orjson.loads`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import http.client
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

EVENTS = 100
TOKEN = "benchmark"
STEWARD = "@communities:example.org"
ANNOUNCER = "@announcements:example.org"
WORKLOADS = {
    "messages": "encrypted group messages",
    "mixed": "99 of them and 1 member event",
    "members": "member events",
}
SERVERS = ("floor", "stock", "taken_in", "whole")
TARGETS = {"messages": 8.0, "members": 20.0}


# --- what is sent --------------------------------------------------------------------------------------------------


def event_id(number: int) -> str:
    """As in rooms of today: a hash, in no order."""
    return "$" + base64.urlsafe_b64encode(hashlib.sha256(str(number).encode()).digest()).decode().rstrip("=")


def message(number: int) -> dict[str, Any]:
    """A message of a group, as Synapse sends it to an application service."""
    return {
        "type": "m.room.encrypted",
        "room_id": f"!group{number % 10}:example.org",
        "sender": f"@member{number % 50}:example.org",
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": "AwgAEsAB" + f"{number:064x}" * 5,
            "device_id": "ABCDEFGHIJ",
            "sender_key": "c2VuZGVyIGtleSBvZiBhIGRldmljZSB0aGF0IHNlbmRz",
            "session_id": "c2Vzc2lvbiBpZCBvZiBhbiBvdXRib3VuZCBncm91cCBz",
        },
        "origin_server_ts": 1_790_000_000_000 + number,
        "unsigned": {"age": 50, "membership": "join"},
        "event_id": event_id(number),
        "user_id": f"@member{number % 50}:example.org",
        "age": 50,
    }


def member(number: int) -> dict[str, Any]:
    """Somebody joins a group."""
    user = f"@member{number}:example.org"
    content = {"membership": "join", "displayname": f"Member {number}", "avatar_url": "mxc://example.org/avatar"}
    return {
        "type": "m.room.member",
        "room_id": f"!group{number % 10}:example.org",
        "sender": user,
        "state_key": user,
        "content": content,
        "origin_server_ts": 1_790_000_000_000 + number,
        "unsigned": {"age": 50, "replaces_state": "$before", "prev_content": {**content, "membership": "invite"}},
        "event_id": event_id(number),
        "user_id": user,
        "age": 50,
    }


def bodies(workload: str, count: int, first: int) -> list[bytes]:
    """Transactions that were not sent before."""
    found = []
    for txn in range(first, first + count):
        numbers = range(txn * EVENTS, (txn + 1) * EVENTS)
        events = [
            member(number)
            if workload == "members" or (workload == "mixed" and number % EVENTS == 50)
            else message(number)
            for number in numbers
        ]
        found.append(orjson.dumps({"events": events}))
    return found


# --- the servers ---------------------------------------------------------------------------------------------------

Drained = Callable[[], Awaitable[None]]


async def nothing_to_drain() -> None:
    """Everything is done with the answer."""


async def floor(folder: Path, workload: str) -> tuple[web.Application, Drained]:
    async def take(request: web.Request) -> web.Response:
        orjson.loads(await request.read())
        return web.Response(body=b"{}", content_type="application/json")

    app = web.Application(client_max_size=2**28)
    app.router.add_put("/_matrix/app/v1/transactions/{txn_id}", take)
    return app, nothing_to_drain


async def stock(folder: Path, workload: str) -> tuple[web.Application, Drained]:
    from mautrix.appservice import AppService
    from mautrix.appservice.state_store import ASStateStore
    from mautrix.appservice.state_store.asyncpg import PgASStateStore
    from mautrix.client.state_store import MemoryStateStore
    from mautrix.util.async_db import Database

    class Memory(MemoryStateStore, ASStateStore):
        def __init__(self) -> None:
            MemoryStateStore.__init__(self)
            ASStateStore.__init__(self)

    store: Any = Memory()
    if workload != "messages":
        database = Database.create(f"sqlite:///{folder}/stock.db", upgrade_table=PgASStateStore.upgrade_table)
        await database.start()
        store = PgASStateStore(database)
    service = AppService(
        server="http://127.0.0.1:1",
        domain="example.org",
        as_token=TOKEN,
        hs_token=TOKEN,
        bot_localpart="communities",
        id="benchmark",
        state_store=store,
    )
    service.synchronous_handlers = True

    async def handle(event: object) -> None:
        pass

    service.matrix_event_handler(handle)
    return service.app, nothing_to_drain


async def ours(folder: Path, workload: str, *, pumping: bool = True) -> tuple[web.Application, Drained]:
    from bridge.core.ids import RoomId, UserId
    from bridge.intake.interest import Interest
    from bridge.intake.pump import Pump
    from bridge.intake.router import Router
    from bridge.intake.transactions import MAX_BODY_BYTES, Transactions
    from bridge.store.database import Database
    from bridge.store.inbox import Inbox

    groups = {f"!group{number}:example.org": Interest.GROUP for number in range(10)}

    class Rooms:
        def interest(self, room_id: RoomId) -> Interest | None:
            return groups.get(room_id)

    class Clock:
        def now_ms(self) -> int:
            return time.time_ns() // 1_000_000

    async def handle(event: object) -> None:
        pass

    accounts: Any = {"steward": UserId(STEWARD), "announcer": UserId(ANNOUNCER)}
    database = Database(f"sqlite:///{folder}/ours.db")
    await database.start()
    shared: Any = {"rooms": Rooms(), "inbox": Inbox(database), "clock": Clock(), **accounts}
    router = Router(**{field.name: handle for field in fields(Router)})
    pump = Pump(**shared, route=router.route)
    transactions = Transactions(hs_token=TOKEN, **shared, on_stored=pump.wake)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    transactions.add_routes(app)
    if not pumping:
        return app, nothing_to_drain
    await pump.start()
    return app, pump.drained


async def taken_in(folder: Path, workload: str) -> tuple[web.Application, Drained]:
    return await ours(folder, workload, pumping=False)


async def serve(name: str, workload: str, folder: Path) -> None:
    """Run one server until the process is ended; its port is the first line it prints."""
    make = {"floor": floor, "stock": stock, "taken_in": taken_in, "whole": ours}[name]
    app, drained = await make(folder, workload)

    async def cpu(request: web.Request) -> web.Response:
        await drained()
        return web.json_response(time.process_time())

    app.router.add_get("/cpu", cpu)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await runner.cleanup()
    os._exit(0)  # the databases' threads are of no interest any more


# --- measuring -----------------------------------------------------------------------------------------------------


@contextmanager
def running(name: str, workload: str) -> Iterator[http.client.HTTPConnection]:
    with tempfile.TemporaryDirectory(prefix="intake-") as folder:
        command = [sys.executable, "-m", "benchmarks.intake", "--serve", name, workload, folder]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            yield connection
            connection.close()
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


def cpu_seconds(connection: http.client.HTTPConnection) -> float:
    connection.request("GET", "/cpu")
    return float(connection.getresponse().read())


def send(connection: http.client.HTTPConnection, body: bytes, txn_id: int) -> None:
    path = f"/_matrix/app/v1/transactions/{txn_id}"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection.request("PUT", path, body=body, headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status


def measure(name: str, workload: str, transactions: int) -> float:
    """Microseconds of processor time an event."""
    warm_up = max(5, transactions // 10)
    sent = bodies(workload, warm_up + transactions, 1)
    with running(name, workload) as connection:
        for number, body in enumerate(sent[:warm_up]):
            send(connection, body, number)
        before = cpu_seconds(connection)
        for number, body in enumerate(sent[warm_up:], warm_up):
            send(connection, body, number)
        after = cpu_seconds(connection)
    return (after - before) / (transactions * EVENTS) * 1e6


def compare(rounds: int) -> dict[str, dict[str, float]]:
    """The median of several rounds, in which the servers take turns."""
    found: dict[str, dict[str, float]] = {}
    for workload in WORKLOADS:
        samples: dict[str, list[float]] = {name: [] for name in SERVERS}
        for _ in range(rounds):
            for name in SERVERS:
                slow = name == "stock" and workload == "members"
                samples[name].append(measure(name, workload, 20 if slow else 200))
        found[workload] = {name: statistics.median(values) for name, values in samples.items()}
    return found


def report(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Print the table; give it with the ratios."""
    shape = "{:32}{:>8}{:>8}{:>9}{:>7}{:>16}{:>14}{:>14}{:>8}"
    heads = ("floor", "stock", "taken in", "whole", "stock:taken in", "stock:whole", "whole:floor", "reach")
    print(shape.format("µs of CPU an event", *heads))
    result: dict[str, Any] = {}
    for workload, title in WORKLOADS.items():
        costs = found[workload]
        ratios = (costs["stock"] / costs["taken_in"], costs["stock"] / costs["whole"], costs["whole"] / costs["floor"])
        target = TARGETS.get(workload)
        numbers = [f"{cost:.1f}" for cost in (*(costs[name] for name in SERVERS), *ratios)]
        print(shape.format(title, *numbers, f"≥ {target:g}" if target else ""))
        result[workload] = {
            "us_per_event": costs,
            "stock_to_taken_in": ratios[0],
            "stock_to_whole": ratios[1],
            "whole_to_floor": ratios[2],
            "target": target,
            "reached": target is None or ratios[0] >= target,
        }
    print("taken in: up to the 200, what is wanted stored durably (this is what has to reach its mark)")
    print("whole: parsed, routed to handlers that do nothing, and forgotten as well")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        logging.basicConfig(level=logging.WARNING)
        name, workload, folder = options.serve
        asyncio.run(serve(name, workload, Path(folder)))
        return 0
    result = report(compare(options.rounds))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(one["reached"] for one in result.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
