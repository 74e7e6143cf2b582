"""The floor: the raw calls of libolm that cannot be avoided, one after the other in one thread, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from olm.account import Account
from olm.group_session import OutboundGroupSession
from olm.session import OutboundSession, Session
from olm.utility import ed25519_verify

from benchmarks.megolm.homeserver import ANNOUNCER, ROOM
from benchmarks.megolm.world import PICKLE_KEY, World, device_id, user_id
from bridge.e2ee.machine import MEGOLM, canonical_json

Verification = tuple[bytes, bytes, bytes]
"""Key, message and signature."""


def _signed(value: dict[str, Any], user: str, key_id: str, key: str) -> Verification:
    message = canonical_json({name: part for name, part in value.items() if name not in ("signatures", "unsigned")})
    return key.encode(), message, value["signatures"][user][f"ed25519:{key_id}"].encode()


def _lists(world: World) -> Iterator[Verification]:
    """Each device by itself and by its owner's identity, and of each owner the self-signing key by the master key."""
    for number in range(world.members):
        user, answer = user_id(number), world.keys(number)
        (master,) = answer["master_keys"][user]["keys"].values()
        self_signing = answer["self_signing_keys"][user]
        (key,) = self_signing["keys"].values()
        yield _signed(self_signing, user, master, master)
        for name, device in answer["device_keys"][user].items():
            yield _signed(device, user, name, device["keys"][f"ed25519:{name}"])
            yield _signed(device, user, key, key)


def _devices(world: World) -> Iterator[tuple[Verification, str, str]]:
    """Of each device the signature of its one-time key, its identity key and the one-time key."""
    for number in range(world.members):
        user, answer = user_id(number), world.keys(number)
        for index in range(world.devices):
            name = device_id(number, index)
            keys = answer["device_keys"][user][name]["keys"]
            (one_time_key,) = orjson.loads(b"{%b}" % world.one_time_key(number * world.devices + index))[name].values()
            signed = _signed(one_time_key, user, name, keys[f"ed25519:{name}"])
            yield signed, keys[f"curve25519:{name}"], one_time_key["key"]


def payload(account: Account) -> str:
    """A room key as it is sealed for a device."""
    group = OutboundGroupSession()
    keys = account.identity_keys
    content = {"algorithm": MEGOLM, "room_id": ROOM, "session_id": group.id, "session_key": group.session_key}
    return orjson.dumps(
        {
            "type": "m.room_key",
            "content": {**content, "org.matrix.msc3061.shared_history": True},
            "sender": ANNOUNCER,
            "recipient": user_id(0),
            "recipient_keys": {"ed25519": keys["ed25519"]},
            "keys": {"ed25519": keys["ed25519"]},
        }
    ).decode()


def measure(world: World) -> dict[str, dict[str, float]]:
    """Wall and processor seconds of each case."""
    account = Account()
    text = payload(account)
    pickles: list[bytes] = []
    devices = list(_devices(world))

    def cold() -> None:
        for (key, message, signature), identity, one_time_key in devices:
            ed25519_verify(key, message, signature)
            session = OutboundSession(account, identity, one_time_key)
            session.encrypt(text)
            pickles.append(session.pickle(PICKLE_KEY))

    def warm() -> None:
        for pickle in pickles:
            session = Session.from_pickle(pickle, PICKLE_KEY)
            session.encrypt(text)
            session.pickle(PICKLE_KEY)

    verifications = list(_lists(world))

    def lists() -> None:
        for key, message, signature in verifications:
            ed25519_verify(key, message, signature)

    return {"lists": _timed(lists), "cold": _timed(cold), "warm": _timed(warm)}


def _timed(work: Callable[[], None]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
