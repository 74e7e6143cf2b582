"""People with real devices (libolm accounts, everything signed), made once and kept in a temporary folder.

The file is mapped into memory and touched beforehand, so that what a case allocates is told apart from it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import secrets
import tempfile
import time
from array import array
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from bridge.core.ids import UserId
from bridge.e2ee.machine import Account, Signer

FORM = 2
"""Changes with the layout of the files."""

PICKLE_KEY = "a pickle key"
USERS_AT_ONCE = 100
DEVICE_KEYS, MASTER_KEY, SELF_SIGNING_KEY, FIRST_DEVICE = 0, 1, 2, 3


def user_id(number: int) -> UserId:
    return UserId(f"@member{number:06d}:example.org")


def device_id(user: int, number: int) -> str:
    """Ten capital letters, as homeservers choose them."""
    digest = hashlib.sha256(f"{user} {number}".encode()).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:10])


def _cross_signing_key(user: UserId, usage: str, key: Signer, signed_by: Signer | None) -> dict[str, Any]:
    value: dict[str, Any] = {
        "user_id": user,
        "usage": [usage],
        "keys": {f"ed25519:{key.public_key}": key.public_key},
    }
    if signed_by is not None:
        value["signatures"] = {user: {f"ed25519:{signed_by.public_key}": signed_by.sign(value)}}
    return value


def _make_user(number: int, devices: int) -> list[bytes]:
    """The pieces of one user, in the order of the file: as clients of today set them up.

    The self-signing key signs each device, the master key signs that, and the first device signs the master key.
    """
    user = user_id(number)
    master, self_signing = Signer(secrets.token_bytes(32)), Signer(secrets.token_bytes(32))
    lists: dict[str, Any] = {}
    identity: dict[str, Any] = {}
    pieces: list[bytes] = []
    for index in range(devices):
        name = device_id(number, index)
        account = Account.create(user, name)
        keys = account.device_keys()
        keys["signatures"][user][f"ed25519:{self_signing.public_key}"] = self_signing.sign(keys)
        lists[name] = {**keys, "unsigned": {"device_display_name": "Element on a phone"}}
        if index == 0:
            identity = account.signed(_cross_signing_key(user, "master", master, None))
        account.make_one_time_keys(1)
        one_time_keys = account.keys_to_publish()["one_time_keys"]
        account.mark_published()
        pieces += [_entry(name, one_time_keys), account.pickle(PICKLE_KEY)]
    return [
        _entry(user, lists),
        _entry(user, identity),
        _entry(user, _cross_signing_key(user, "self_signing", self_signing, master)),
        *pieces,
    ]


def _entry(name: str, value: Any) -> bytes:
    """A member of a JSON object, without its braces."""
    return orjson.dumps({name: value})[1:-1]


def _make_users(first: int, count: int, devices: int) -> list[bytes]:
    return [piece for number in range(first, first + count) for piece in _make_user(number, devices)]


def folder_of(users: int, devices: int) -> Path:
    return Path(tempfile.gettempdir()) / f"matrix-communities-benchmark-{FORM}-{users}x{devices}"


def make(users: int, devices: int) -> float:
    """Make the people where they are not there yet, with all cores; the seconds that it took."""
    folder = folder_of(users, devices)
    if (folder / "index").exists():
        return 0.0
    began = time.perf_counter()
    folder.mkdir(mode=0o700, exist_ok=True)
    ends = array("Q", [0])
    with ProcessPoolExecutor(os.cpu_count()) as pool, (folder / "pieces").open("wb") as file:
        starts = range(0, users, USERS_AT_ONCE)
        counts = [min(USERS_AT_ONCE, users - start) for start in starts]
        for pieces in pool.map(_make_users, starts, counts, [devices] * len(counts)):
            for piece in pieces:
                file.write(piece)
                ends.append(ends[-1] + len(piece))
    (folder / "index.new").write_bytes(ends.tobytes())
    (folder / "index.new").rename(folder / "index")
    return time.perf_counter() - began


class World:
    """The people of a file, or the first `members` of them."""

    def __init__(self, users: int, devices: int, members: int | None = None) -> None:
        folder = folder_of(users, devices)
        self.members = users if members is None else members
        self.devices = devices
        self._ends = array("Q")
        self._ends.frombytes((folder / "index").read_bytes())
        with (folder / "pieces").open("rb") as file:
            self._pieces = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
        self.users = [user_id(number) for number in range(self.members)]
        self._numbers = {user: number for number, user in enumerate(self.users)}
        self._device_numbers = {
            device_id(number, index): number * devices + index
            for number in range(self.members)
            for index in range(devices)
        }

    def _piece(self, user: int, piece: int) -> bytes:
        number = user * (FIRST_DEVICE + 2 * self.devices) + piece
        return self._pieces[self._ends[number] : self._ends[number + 1]]

    def query(self, users: list[str]) -> bytes:
        """The answer of `/keys/query`."""
        numbers = [self._numbers[UserId(user)] for user in users if user in self._numbers]

        def every(piece: int) -> bytes:
            return b",".join([self._piece(number, piece) for number in numbers])

        return (
            b'{"device_keys":{%b},"failures":{},"master_keys":{%b},"self_signing_keys":{%b},"user_signing_keys":{}}'
            % (every(DEVICE_KEYS), every(MASTER_KEY), every(SELF_SIGNING_KEY))
        )

    def one_time_key(self, device: int) -> bytes:
        """A device's one-time key as a member of a JSON object."""
        user, index = divmod(device, self.devices)
        return self._piece(user, FIRST_DEVICE + 2 * index)

    def number_of(self, device: str) -> int | None:
        """Which device this is: users in their order, the devices of each in theirs."""
        return self._device_numbers.get(device)

    def account(self, device: int) -> Account:
        """The device itself, to read what it was sent."""
        user, index = divmod(device, self.devices)
        pickle = self._piece(user, FIRST_DEVICE + 2 * index + 1)
        return Account.load(pickle, PICKLE_KEY, user_id(user), device_id(user, index))

    def keys(self, user: int) -> dict[str, Any]:
        """A user's `/keys/query` answer."""
        return dict(json.loads(self.query([user_id(user)])))
