"""From *send* to the last device having the key, on a real Synapse, with 1, 10, 100 and 1,000 devices.

    python -m benchmarks.megolm_synapse [--devices 1 10 100 1000] [--json FILE]

Each room has people of its own, registered on a private Synapse, whose devices are libolm accounts with uploaded device
keys and one-time keys (up to 10 devices: one a user; 100: two; 1,000: five). Synapse and the announcer have SQLite. In
each room three messages go out, through the service's own door:

- cold: the first one. Its send reads the device lists, claims a one-time key of each device, and gives the key.
- another key: the room's history visibility has changed, so a new session is due; the Olm sessions are there.
- prepared: another key is due once more, but `prepare` has brought it to everybody before. Its line says what `prepare`
  took; the next one what the send then takes.

What is measured, in seconds from the call:

- *keys*: until Synapse has answered the last `/sendToDevice`. From then on the `/sync` of each device brings the key.
- *event*: until Synapse has answered the event itself: the send is done.
- *seen*: until the last of up to 10 devices, spread over the room, has its key as the answer of a `/sync` in which it
  was waiting since before.
- *in Synapse*: the part of the time until *event* during which a request was with Synapse (the union where several were
  in flight), measured around the client; while it waits the service may be working on the next piece.
- *CPU*: processor time of our process (the waiting devices are in it) and of Synapse until the event was answered.
- *all sync*: how long it takes until each device has asked `/sync` once, 8 at a time, after the event: nearly all of it
  Synapse's. Then each device opens what it got and reads the message; all of them have to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.megolm.reader import TEXT, Reader
from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.ids import RoomId
from bridge.e2ee.machine import Account
from bridge.matrix.client import path
from tests.harness.announcer import Stage, write_registration

AS_TOKEN = "token-of-the-benchmark"
AT_ONCE = 8
WATCHERS = 10
NO_ROOMS = json.dumps({"room": {"rooms": []}, "presence": {"types": []}, "account_data": {"types": []}})


# --- people -----------------------------------------------------------------------------------------------------------


@dataclass
class Device:
    """Somebody's device: a token, a libolm account."""

    http: aiohttp.ClientSession
    url: str
    token: str
    account: Account
    reader: Reader

    async def ask(self, method: str, url_path: str, **arguments: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.request(method, self.url + url_path, headers=headers, **arguments) as response:
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                raise SystemExit(f"{method} {url_path}: {response.status} {answer}")
            return answer

    async def publish(self) -> None:
        self.account.make_one_time_keys(5)
        body = {"device_keys": self.account.device_keys(), **self.account.keys_to_publish()}
        await self.ask("POST", path("v3", "keys", "upload"), json=body)
        self.account.mark_published()

    async def sync(self, since: str | None, *, timeout_ms: int) -> dict[str, Any]:
        query = {"filter": NO_ROOMS, "timeout": str(timeout_ms), "set_presence": "offline"}
        if since is not None:
            query["since"] = since
        return await self.ask("GET", path("v3", "sync"), params=query)

    async def wait_for_key(self, since: str) -> float:
        """Wait in `/sync` until an encrypted to-device message is there; when that was."""
        while True:
            answer = await self.sync(since, timeout_ms=30_000)
            if keys_in(answer):
                return time.perf_counter()
            since = answer["next_batch"]


def keys_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    events = answer.get("to_device", {}).get("events", [])
    return [event["content"] for event in events if event["type"] == "m.room.encrypted"]


async def all_of(work: Iterable[Awaitable[Any]]) -> list[Any]:
    """Do it all, some at a time."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(task: Awaitable[Any]) -> Any:
        async with gate:
            return await task

    return list(await asyncio.gather(*(one(task) for task in work)))


def devices_a_user(devices: int) -> int:
    return 1 if devices < 20 else 2 if devices < 200 else 5


async def person(synapse: PrivateSynapse, http: aiohttp.ClientSession, name: str, devices: int) -> list[Device]:
    account = await synapse.register(name)
    logins = [(account.access_token, account.device_id)]
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password,
    }
    for _ in range(devices - 1):
        async with http.post(synapse.url + path("v3", "login"), json=body) as response:
            answer = await response.json()
            logins.append((answer["access_token"], answer["device_id"]))
    found = []
    for token, device_id in logins:
        olm = Account.create(account.user_id, device_id)
        device = Device(http, synapse.url, token, olm, Reader(olm))
        await device.publish()
        found.append(device)
    return found


# --- the time that requests take --------------------------------------------------------------------------------------


@dataclass
class Requests:
    """When each request of the service was with the homeserver; those that wait there on purpose are left out."""

    spans: list[tuple[float, float, str]] = field(default_factory=list)

    def watch(self, client: Any) -> None:
        inner = client.request

        async def request(method: str, url_path: str, **arguments: Any) -> Any:
            if arguments.get("long_poll"):
                return await inner(method, url_path, **arguments)
            began = time.perf_counter()
            try:
                return await inner(method, url_path, **arguments)
            finally:
                self.spans.append((began, time.perf_counter(), url_path))

        client.request = request

    def with_homeserver(self) -> float:
        """Seconds during which at least one was."""
        total = until = 0.0
        for began, ended, _ in sorted(self.spans):
            total += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return total

    def last(self, part: str) -> float | None:
        """When the last of a kind was answered."""
        return max((ended for _, ended, url_path in self.spans if part in url_path), default=None)


def _cpu_of(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- one room ---------------------------------------------------------------------------------------------------------


class Room:
    """A room with so many devices in it."""

    def __init__(self, stage: Stage, requests: Requests, devices: list[Device], room_id: RoomId) -> None:
        self._stage = stage
        self._requests = requests
        self._devices = devices
        self._room_id = room_id
        self._since = ""

    async def measure(self) -> list[dict[str, Any]]:
        rows = [await self._send("cold")]
        await self._make_key_due("joined")
        rows.append(await self._send("another key"))
        await self._make_key_due("shared")
        rows.append(await self._timed("prepared: prepare", self._prepare))
        rows.append(await self._send("prepared: send", fresh=False))
        return rows

    async def _make_key_due(self, visibility: str) -> None:
        content = {"history_visibility": visibility}
        await self._stage.set_state(self._room_id, "m.room.history_visibility", content)

    async def _prepare(self) -> None:
        await self._stage.keys.prepare(self._room_id)

    async def _send(self, case: str, *, fresh: bool = True) -> dict[str, Any]:
        """Send a message, and have everybody read it.

        Args:
            fresh: whether the key goes out with it.
        """
        sent: list[str] = []

        async def say() -> None:
            event_id, held = await self._stage.say(self._room_id, TEXT)
            assert held == len(self._devices), f"{held} of {len(self._devices)} devices hold the key"
            sent.append(event_id)

        row = await self._timed(case, say, watch=fresh)
        began = time.perf_counter()
        answers = await all_of(device.sync(self._since, timeout_ms=0) for device in self._devices)
        row["all_sync"] = time.perf_counter() - began
        event = await self._stage.raw(self._room_id, sent[0])
        for device, answer in zip(self._devices, answers, strict=True):
            for content in keys_in(answer):
                device.reader.take(content)
            assert device.reader.read(event["content"]) == TEXT
        row["read"] = len(self._devices)
        return row

    async def _timed(self, case: str, work: Callable[[], Awaitable[None]], *, watch: bool = True) -> dict[str, Any]:
        watchers = []
        if watch:
            # A token is a position in the homeserver's streams: that of one device serves all.
            self._since = (await self._devices[0].sync(self._since or None, timeout_ms=0))["next_batch"]
            step = max(1, len(self._devices) // WATCHERS)
            watchers = [asyncio.create_task(one.wait_for_key(self._since)) for one in self._devices[::step][:WATCHERS]]
            await asyncio.sleep(1)
        synapse = self._stage.homeserver.pid
        self._requests.spans.clear()
        synapse_cpu, our_cpu, began = _cpu_of(synapse), time.process_time(), time.perf_counter()
        await work()
        done = time.perf_counter()
        row: dict[str, Any] = {
            "devices": len(self._devices),
            "case": case,
            "event": done - began,
            "in_synapse": self._requests.with_homeserver() / (done - began),
            "requests": len(self._requests.spans),
            "our_cpu": time.process_time() - our_cpu,
            "synapse_cpu": _cpu_of(synapse) - synapse_cpu,
        }
        keys = self._requests.last("/sendToDevice/")
        row["keys"] = keys - began if keys is not None else None
        if watchers:
            row["seen"] = max(await asyncio.wait_for(asyncio.gather(*watchers), 60)) - began
        return row


# --- all of it --------------------------------------------------------------------------------------------------------


async def measure(sizes: list[int]) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="matrix-communities-benchmark-") as name:
        folder = Path(name)
        synapse = PrivateSynapse(folder / "synapse")
        synapse.add_registration(write_registration(folder / "registration", AS_TOKEN))
        timeout, connector = aiohttp.ClientTimeout(total=120), aiohttp.TCPConnector(limit=AT_ONCE + WATCHERS)
        async with synapse, aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
            stage = Stage(synapse, AS_TOKEN, f"sqlite:///{folder}/keys.db")
            requests = Requests()
            try:
                await stage.start()
                requests.watch(stage.client)
                for size in sizes:
                    began = time.perf_counter()
                    room = await _room(stage, requests, http, size)
                    _note(f"{size} devices: registered, joined and with keys in {time.perf_counter() - began:.0f} s")
                    rows += await room.measure()
            finally:
                await stage.close()
    return rows


async def _room(stage: Stage, requests: Requests, http: aiohttp.ClientSession, size: int) -> Room:
    a_user = devices_a_user(size)
    names = [f"member-{size}-{number}" for number in range(size // a_user)]
    people = await all_of(person(stage.homeserver, http, name, a_user) for name in names)
    room_id = await stage.create_room()
    await stage.set_state(room_id, "m.room.join_rules", {"join_rule": "public"})
    await all_of(devices[0].ask("POST", path("v3", "join", room_id), json={}) for devices in people)
    return Room(stage, requests, [device for devices in people for device in devices], room_id)


_SHAPE = "{:>7}  {:18}{:>8}{:>8}{:>8}{:>12}{:>9}{:>13}{:>10}{:>10}{:>7}"
_HEADS = ("keys", "event", "seen", "in Synapse", "CPU ours", "CPU Synapse", "requests", "all sync", "read")


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(_SHAPE.format("devices", "seconds from the call", *_HEADS))
    for row in rows:
        print(
            _SHAPE.format(
                row["devices"],
                row["case"],
                _seconds(row.get("keys")),
                _seconds(row["event"]),
                _seconds(row.get("seen")),
                f"{row['in_synapse']:.0%}",
                _seconds(row["our_cpu"]),
                _seconds(row["synapse_cpu"]),
                row["requests"],
                _seconds(row.get("all_sync")),
                row.get("read", "–"),
            )
        )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.megolm_synapse", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rows = asyncio.run(measure(options.devices))
    show(rows)
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
