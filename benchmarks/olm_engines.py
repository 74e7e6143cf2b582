"""What the two Olm libraries cost, and what a second thread brings: python-olm (libolm) against vodozemac.

    python -m benchmarks.olm_engines [--devices 1000] [--rounds 5] [--json FILE]

Each step is what a room key costs for one device, as Python calls it: arguments are strings, as they stand in JSON and
in a database, so decoding a key or a signature is in it. The two take turns; the figures are medians of the rounds, in
microseconds of processor time. Then cold (verify, new session, encrypt, pickle) and warm (unpickle, encrypt, pickle)
are each done for all devices by one thread, by two, and by two processes, half each: two threads are as much faster as
the library lets go of Python's lock, two processes as what goes to and fro between them allows (in hundreds of devices
at a time; the processes are there before). Memory is what a process has that does only that.

vodozemac comes with the test clients (`matrix-nio[e2e]`); nothing of the service uses it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import olm
import vodozemac
from olm.utility import ed25519_verify

STEPS = {
    "verify": "verify a signature",
    "open": "new outbound session",
    "encrypt": "encrypt on it",
    "pickle": "pickle it",
    "unpickle": "unpickle it",
}
SEQUENCES = {"cold": ("verify", "open", "encrypt", "pickle"), "warm": ("unpickle", "encrypt", "pickle")}
TEXT = json.dumps(
    {
        "type": "m.room_key",
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "room_id": "!room:example.org",
            "session_id": "A" * 43,
            "session_key": "A" * 306,
        },
        "sender": "@announcements:example.org",
        "recipient": "@member000000:example.org",
        "recipient_keys": {"ed25519": "A" * 43},
        "keys": {"ed25519": "A" * 43},
    }
)
KEY = bytes(range(32))
PIECE = 250
"""Devices that go to a process, or to a thread, at a time."""


@dataclass(frozen=True, slots=True)
class Device:
    """Somebody's device, as strings: keys, a signed one-time key."""

    curve25519: str
    ed25519: str
    one_time_key: str
    message: str
    signature: str


def make_device() -> Device:
    account = olm.Account()
    account.generate_one_time_keys(1)
    (one_time_key,) = account.one_time_keys["curve25519"].values()
    message = json.dumps({"key": one_time_key})
    keys = account.identity_keys
    return Device(keys["curve25519"], keys["ed25519"], one_time_key, message, account.sign(message))


class Engine(Protocol):
    """What key delivery asks of a library. Pickles are what a database would store."""

    def verify(self, device: Device) -> None: ...

    def open(self, device: Device) -> Any: ...

    def encrypt(self, session: Any) -> Any: ...

    def pickle(self, session: Any) -> Any: ...

    def unpickle(self, pickle: Any) -> Any: ...


class Libolm:
    def __init__(self) -> None:
        self._account = olm.Account()
        self._key = KEY.hex()

    def verify(self, device: Device) -> None:
        ed25519_verify(device.ed25519, device.message, device.signature)

    def open(self, device: Device) -> Any:
        return olm.OutboundSession(self._account, device.curve25519, device.one_time_key)

    def encrypt(self, session: Any) -> Any:
        return session.encrypt(TEXT).ciphertext

    def pickle(self, session: Any) -> Any:
        return session.pickle(self._key)

    def unpickle(self, pickle: Any) -> Any:
        return olm.Session.from_pickle(pickle, self._key)


class Vodozemac:
    def __init__(self) -> None:
        self._account = vodozemac.Account()

    def verify(self, device: Device) -> None:
        key = vodozemac.Ed25519PublicKey.from_base64(device.ed25519)
        key.verify_signature(device.message.encode(), vodozemac.Ed25519Signature.from_base64(device.signature))

    def open(self, device: Device) -> Any:
        return self._account.create_outbound_session(
            vodozemac.Curve25519PublicKey.from_base64(device.curve25519),
            vodozemac.Curve25519PublicKey.from_base64(device.one_time_key),
        )

    def encrypt(self, session: Any) -> Any:
        return session.encrypt(TEXT.encode()).to_parts()

    def pickle(self, session: Any) -> Any:
        return session.pickle(KEY)

    def unpickle(self, pickle: Any) -> Any:
        return vodozemac.Session.from_pickle(pickle, KEY)


ENGINES: dict[str, Callable[[], Engine]] = {"python-olm": Libolm, "vodozemac": Vodozemac}


Done = tuple[Any, Any]
"""A pickle to store and a message to send."""


def cold(engine: Engine, devices: Sequence[Device]) -> list[Done]:
    done = []
    for device in devices:
        engine.verify(device)
        session = engine.open(device)
        message = engine.encrypt(session)
        done.append((engine.pickle(session), message))
    return done


def warm(engine: Engine, before: Sequence[Done]) -> list[Done]:
    done = []
    for pickle, _ in before:
        session = engine.unpickle(pickle)
        message = engine.encrypt(session)
        done.append((engine.pickle(session), message))
    return done


def _each(work: Callable[[Any], Any], things: Sequence[Any]) -> tuple[float, list[Any]]:
    """Processor microseconds of one, and what came out."""
    before = time.process_time()
    made = [work(one) for one in things]
    return (time.process_time() - before) / len(things) * 1e6, made


def steps(engine: Engine, devices: Sequence[Device]) -> dict[str, float]:
    found = {}
    found["verify"], _ = _each(engine.verify, devices)
    found["open"], sessions = _each(engine.open, devices)
    found["encrypt"], _ = _each(engine.encrypt, sessions)
    found["pickle"], pickles = _each(engine.pickle, sessions)
    found["unpickle"], _ = _each(engine.unpickle, pickles)
    return found


def _pieces(things: Sequence[Any]) -> list[Sequence[Any]]:
    size = min(PIECE, -(-len(things) // 2))
    return [things[start : start + size] for start in range(0, len(things), size)]


def _wall(pool: Executor, work: Callable[[Any], Any], things: Sequence[Any]) -> float:
    before = time.perf_counter()
    for _ in pool.map(work, _pieces(things)):
        pass
    return time.perf_counter() - before


def _ready(pool: Executor, workers: int) -> None:
    """See that all the workers are there."""
    list(pool.map(time.sleep, [0.3] * workers))


def threads(engine: Engine, devices: Sequence[Device], workers: int) -> dict[str, float]:
    """Wall of cold and warm."""
    before = cold(engine, devices)
    with ThreadPoolExecutor(workers) as pool:
        _ready(pool, workers)
        return {
            "cold": _wall(pool, lambda part: cold(engine, part), devices),
            "warm": _wall(pool, lambda part: warm(engine, part), before),
        }


class _Worker:
    """What a process of a pool keeps."""

    engine: Engine


def _begin(name: str) -> None:
    _Worker.engine = ENGINES[name]()


def _cold(devices: Sequence[Device]) -> list[Done]:
    return cold(_Worker.engine, devices)


def _warm(before: Sequence[Done]) -> list[Done]:
    return warm(_Worker.engine, before)


def _resident(_: object) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


def processes(name: str, devices: Sequence[Device]) -> dict[str, float]:
    """Wall of cold and warm with two processes, and the memory of one of them."""
    before = cold(ENGINES[name](), devices)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=_begin, initargs=(name,)) as pool:
        _ready(pool, 2)
        return {
            "cold": _wall(pool, _cold, devices),
            "warm": _wall(pool, _warm, before),
            "memory": pool.submit(_resident, None).result(),
        }


def measure(count: int, rounds: int) -> dict[str, Any]:
    devices = [make_device() for _ in range(count)]
    engines = {name: make() for name, make in ENGINES.items()}
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: defaultdict(list) for name in engines}
    for engine in engines.values():  # whatever a first call has to set up
        warm(engine, cold(engine, devices[:20]))
    for _ in range(rounds):
        for name, engine in engines.items():
            found[name]["us"].append(steps(engine, devices))
            found[name]["thread"].append(threads(engine, devices, 1))
            found[name]["threads"].append(threads(engine, devices, 2))
            found[name]["processes"].append(processes(name, devices))
    medians = {name: {kind: _medians(runs) for kind, runs in kinds.items()} for name, kinds in found.items()}
    return {"devices": count, "cores": os.cpu_count(), "engines": medians}


def _medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in found) for key in found[0]}


_SHAPE = "{:38}{:>12}{:>12}{:>8}"


def _line(title: str, form: str, values: Sequence[float], *, ratio: bool = True) -> float:
    one, two = values
    print(_SHAPE.format(title, form.format(one), form.format(two), f"{one / two:.1f}" if ratio else ""))
    return one / two


def show(result: dict[str, Any]) -> dict[str, float]:
    """Print the tables; give the ratios python-olm : vodozemac."""
    engines, count = list(result["engines"].values()), result["devices"]
    ratios = {}
    print(_SHAPE.format("µs of processor time a device", *ENGINES, "ratio"))
    for step, title in STEPS.items():
        ratios[step] = _line(title, "{:.0f}", [one["us"][step] for one in engines])
    for name, parts in SEQUENCES.items():
        values = [sum(one["us"][part] for part in parts) for one in engines]
        ratios[name] = _line(f"{name}: {', '.join(parts)}", "{:.0f}", values)
    print(f"µs of wall a device, {result['cores']} cores")
    for name in SEQUENCES:
        for kind, title in (("thread", "one thread"), ("threads", "two threads"), ("processes", "two processes")):
            values = [one[kind][name] / count * 1e6 for one in engines]
            ratios[f"{name}_{kind}"] = _line(f"{name}: {title}", "{:.0f}", values)
    print("as much faster than one thread")
    for name in SEQUENCES:
        for kind in ("threads", "processes"):
            values = [one["thread"][name] / one[kind][name] for one in engines]
            _line(f"{name}: two {kind}", "× {:.2f}", values, ratio=False)
    print("memory")
    _line("each process of the pool", "{:.1f} MB", [one["processes"]["memory"] / 1e6 for one in engines], ratio=False)
    return ratios


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.olm_engines", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    result = measure(options.devices, options.rounds)
    result["ratios"] = show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
