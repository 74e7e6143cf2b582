"""Other people's devices: read from the homeserver in pieces, verified, stored.

Follows the specification's "Tracking the device list for a user" and its key and signature security.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from bridge.core.errors import BadRequest
from bridge.core.ids import UserId
from bridge.e2ee.device import Holds
from bridge.e2ee.division import in_parts
from bridge.e2ee.machine import is_key, verify_json
from bridge.ports import Clock, KeyServer
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.keys import DeviceList, DeviceRow, UserRow

log = logging.getLogger(__name__)

QUERY_USERS = 250
IN_FLIGHT = 2
MAX_DEVICES_PER_USER = 500
MAX_DEVICE_ID_BYTES = 255
FAILURE_PAUSE_MS = 5 * 60 * 1000
"""How long a user whose device list could not be read is left alone, unless they are new in a room."""


Signer = tuple[UserId, str]
"""A user and their public user-signing key."""


class DeviceLists:
    """The device lists of everybody whom the announcer has to do with."""

    def __init__(
        self, database: Database, server: KeyServer, clock: Clock, *, me: UserId, user_signing_key: str | None = None
    ) -> None:
        """
        Args:
            user_signing_key: our own public key under which we sign the identities that we have verified.
        """
        self._database = database
        self._server = server
        self._clock = clock
        self._signer = None if user_signing_key is None else (me, user_signing_key)
        self._reading = Holds()
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="device lists")

    async def refresh(self, users: Iterable[UserId], *, anew: Collection[UserId] = ()) -> set[UserId]:
        """Read the lists of those who are not followed or whose list is outdated, and of all in `anew`.

        Returns:
            Whose list could not be read this time; what was known of them stays.

        Raises:
            MatrixError: the homeserver cannot be asked at all.
        """
        wanted = sorted(set(users) | set(anew))
        pieces = [wanted[start : start + QUERY_USERS] for start in range(0, len(wanted), QUERY_USERS)]
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def read(piece: list[UserId]) -> set[UserId]:
            async with gate:
                return await self._refresh(piece, anew)

        results = await asyncio.gather(*(read(piece) for piece in pieces), return_exceptions=True)
        failed: set[UserId] = set()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            failed |= result
        return failed

    async def _refresh(self, users: list[UserId], anew: Collection[UserId]) -> set[UserId]:
        # One reading of a user at a time: an answer that was overtaken by another must not be stored as the newer one.
        async with self._reading.hold(users):
            return await self._read_due(users, anew)

    async def _read_due(self, users: list[UserId], anew: Collection[UserId]) -> set[UserId]:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            known = await store.tracked_users(tx, users)
            due = [user for user in users if user in anew or _is_due(known.get(user), now)]
            if not due:
                return set()
            # From here on changes are counted, for somebody who is read for the first time, too.
            await store.follow(tx, [user for user in due if user not in known])
            known = await store.tracked_users(tx, due)
            devices = await store.devices_of(tx, due)
        lists = await self._ask(due, known, devices)
        failed = set(due) - {one.user_id for one in lists}
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await store.save_device_lists(tx, lists, now_ms=now)
            await store.mark_failed(tx, sorted(failed), now_ms=now)
        return failed

    async def _ask(
        self, users: Sequence[UserId], known: Mapping[UserId, UserRow], devices: Mapping[UserId, Sequence[DeviceRow]]
    ) -> list[DeviceList]:
        """The lists of these users, as far as the homeserver gives them."""
        lists: list[DeviceList] = []

        async def ask(part: Sequence[UserId]) -> None:
            answer = await self._server.query_keys([*part])
            lists.extend(
                await asyncio.get_running_loop().run_in_executor(
                    self._threads, parse_answer, answer, part, known, devices, self._signer
                )
            )

        try:
            refused = await in_parts(users, ask, owner=str, probe=lambda: self._server.query_keys([]))
        except BadRequest as error:
            log.warning("the homeserver refuses to tell the devices of %d users: %s", len(users), error.what)
            return lists
        if refused.things:
            log.warning("the homeserver does not tell the devices of %d users: %s", len(refused.things), refused.reason)
        return lists

    async def of(self, users: Iterable[UserId]) -> dict[UserId, list[DeviceRow]]:
        """The devices of these users as they are stored."""
        async with self._database.transaction() as tx:
            return await store.devices_of(tx, users)

    async def find(self, user_id: UserId, curve25519: str, ed25519: str) -> DeviceRow | None:
        """The device of a user that has these two keys, as it is stored."""
        devices = (await self.of([user_id])).get(user_id, [])
        return next((one for one in devices if (one.curve25519, one.ed25519) == (curve25519, ed25519)), None)


def _is_due(user: UserRow | None, now: int) -> bool:
    if user is None:
        return True
    if user.outdated == 0:
        return False
    return user.failed_at is None or not now - FAILURE_PAUSE_MS < user.failed_at <= now


def parse_answer(
    answer: Mapping[str, Any],
    users: Iterable[UserId],
    known: Mapping[UserId, UserRow],
    before: Mapping[UserId, Sequence[DeviceRow]],
    signer: Signer | None = None,
) -> list[DeviceList]:
    """The verified device lists in an answer of `/keys/query`; users of whom it says nothing are left out.

    What was verified before, and stands there unchanged, is not verified again.

    Args:
        known: the users as they were known before it was asked for.
        before: their devices as they were then.
        signer: whose signature on an identity says that we have verified it.
    """
    device_keys = answer.get("device_keys")
    if not isinstance(device_keys, Mapping):
        return []
    lists = []
    for user in users:
        devices = device_keys.get(user)
        if isinstance(devices, Mapping):
            old = {device.device_id: device for device in before.get(user, ())}
            lists.append(_parse_user(user, devices, answer, known.get(user), old, signer))
    return lists


def _parse_user(
    user: UserId,
    devices: Mapping[Any, Any],
    answer: Mapping[str, Any],
    row: UserRow | None,
    before: Mapping[str, DeviceRow],
    signer: Signer | None,
) -> DeviceList:
    master, self_signing = _cross_signing_keys(user, answer)
    same_signer = row is not None and self_signing is not None and row.self_signing_key == self_signing
    verified = master is not None and signer is not None and _has_signed(signer, answer["master_keys"][user])
    found = []
    # those already known first, so that a flood of new devices does not push them out
    for device_id in sorted(devices, key=lambda name: (name not in before, str(name)))[:MAX_DEVICES_PER_USER]:
        old = before.get(device_id) if isinstance(device_id, str) else None
        device = _parse_device(user, device_id, devices[device_id], self_signing, old, same_signer=same_signer)
        if device is None:
            continue
        if old is not None and old.ed25519 != device.ed25519:
            log.warning("device %s of %s changed its signing key: not believed", device.device_id, user)
            device = old
        found.append(replace(device, verified=device.cross_signed and verified))
    return DeviceList(user, 0 if row is None else row.outdated, found, master, self_signing)


def _parse_device(
    user: UserId,
    device_id: object,
    value: object,
    self_signing: str | None,
    old: DeviceRow | None,
    *,
    same_signer: bool,
) -> DeviceRow | None:
    if not isinstance(device_id, str) or not isinstance(value, Mapping) or "\x00" in device_id:
        return None
    if not 0 < len(device_id.encode()) <= MAX_DEVICE_ID_BYTES:
        return None
    if value.get("user_id") != user or value.get("device_id") != device_id:
        return None
    keys = value.get("keys")
    if not isinstance(keys, Mapping):
        return None
    curve25519, ed25519 = keys.get(f"curve25519:{device_id}"), keys.get(f"ed25519:{device_id}")
    if not isinstance(curve25519, str) or not isinstance(ed25519, str) or not is_key(curve25519):
        return None
    unchanged = old is not None and (old.curve25519, old.ed25519) == (curve25519, ed25519)
    if not unchanged and not verify_json(value, user_id=user, key_id=device_id, key=ed25519):
        return None
    if unchanged and same_signer and old is not None and old.cross_signed:
        signed = True
    else:
        signed = self_signing is not None and verify_json(value, user_id=user, key_id=self_signing, key=self_signing)
    return DeviceRow(user, device_id, curve25519, ed25519, signed)


def _cross_signing_keys(user: UserId, answer: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """A user's master key and, where that has signed it, self-signing key."""
    master = _single_key(answer.get("master_keys"), user, "master")
    if master is None:
        return None, None
    self_signing = _single_key(answer.get("self_signing_keys"), user, "self_signing")
    if self_signing is None:
        return master, None
    value = answer["self_signing_keys"][user]
    return master, self_signing if verify_json(value, user_id=user, key_id=master, key=master) else None


def _has_signed(signer: Signer, identity: Mapping[str, Any]) -> bool:
    user, key = signer
    return verify_json(identity, user_id=user, key_id=key, key=key)


def _single_key(every: object, user: UserId, usage: str) -> str | None:
    value = every.get(user) if isinstance(every, Mapping) else None
    if not isinstance(value, Mapping) or value.get("user_id") != user:
        return None
    usages, keys = value.get("usage"), value.get("keys")
    if not isinstance(usages, list) or usage not in usages or not isinstance(keys, Mapping) or len(keys) != 1:
        return None
    name, key = next(iter(keys.items()))
    return key if isinstance(key, str) and is_key(key) and name == f"ed25519:{key}" else None
