"""The announcer's device as it stands at the homeserver: made, published, cross-signed, replaced, described.

The device is made by the application service itself (MSC4190), and acts with `user_id` and `device_id` (MSC4326).
"""

from __future__ import annotations

import logging
import secrets
import string
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bridge.core.errors import ConfigError
from bridge.core.ids import DeviceId
from bridge.core.lines import one_line
from bridge.e2ee.counting import Counting, Rewound, old_copy
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.gate import Gate
from bridge.e2ee.identity import Identity
from bridge.e2ee.machine import ONE_TIME_KEY, Account
from bridge.e2ee.one_time_keys import OneTimeKeys
from bridge.e2ee.verification import Verifications
from bridge.ports import Clock, DeviceServer
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.keys import AccountRow

log = logging.getLogger(__name__)

DEVICE_NAME = "matrix-communities"
RENEW_AFTER_REWIND_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Standing:
    """How the announcer's device and identity stand on the homeserver, and their public keys: what people compare."""

    device_id: str
    device_key: str
    master_key: str
    cross_signed: bool
    identity: str
    """`ours`, `another` where one from another secret is published, or `none`."""
    devices: tuple[str, ...]
    """All devices of the announcer; there must be one."""
    verified: int
    """How many people's identities we have verified."""
    strange: tuple[str, ...]
    """Devices that were never ours, when such were last seen; they may have been deleted since."""
    strange_at: int | None
    """When that was; None where it never was, or is forgotten."""

    @property
    def foreign_devices(self) -> tuple[str, ...]:
        return tuple(device for device in self.devices if device != self.device_id)


class Establishment:
    """Makes the device, and mends and replaces it.

    One of these at a time: whoever calls holds `Sync.exclusive`, but for `describe` and what concerns strange devices.
    """

    def __init__(
        self,
        database: Database,
        server: DeviceServer,
        clock: Clock,
        own: OwnDevice,
        identity: Identity,
        one_time_keys: OneTimeKeys,
        verifications: Verifications,
        gate: Gate,
        *,
        replace_identity: bool,
    ) -> None:
        """
        Args:
            gate: before everything that uses the device; closed while it changes.
            replace_identity: whether an identity made from another seed may be replaced.
        """
        self._database = database
        self._server = server
        self._clock = clock
        self._own = own
        self._identity = identity
        self._one_time_keys = one_time_keys
        self._verifications = verifications
        self._gate = gate
        self._replace_identity = replace_identity
        self._counting = Counting(database, server, clock, own)

    # --- making it ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make sure that the device, its keys and its cross-signing are there.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
            StoreError: the stored keys cannot be opened with this pickle key.
            ConfigError: the announcer has an identity that was made from another seed.
        """
        if await self._stored() is None:
            await self._begin()
        await self.mend()
        await self._renew()

    async def mend(self) -> None:
        """Publish again what the homeserver has lost; errors as `start`."""
        try:
            await self._establish()
        except Rewound as reason:
            await self._homeserver_was_put_back(str(reason))

    async def rotate(self, *, accept_old: bool) -> tuple[str | None, str]:
        """Put a new device in the place of the present one, and delete that; gives the ids of the one before and now.

        Args:
            accept_old: whether to go on with a database that is an old copy.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked; `finish` goes on from there.
            OldDatabase: the database is an old copy.
        """
        row = await self._stored()
        if row is not None and not accept_old:
            with suppress(Rewound):
                await self._counting.must_be_current(row)
        await self._replace()
        now, _ = await self._load()
        return (None if row is None else row.device_id), now.device_id

    async def finish(self) -> AccountRow:
        """Our device, after what was left to do where another one could not be put in its place to the end."""
        row, _ = await self._load()
        if not row.published:
            async with self._gate.closed():
                await self._establish()
            row, _ = await self._load()
        return row

    async def count_hourly(self) -> None:
        """Count on while running; a homeserver that was put back is noticed by that.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: another process counts, too: it has a copy of the database.
        """
        try:
            if await self._counting.count_hourly():
                await self._renew()
        except Rewound as reason:
            await self._homeserver_was_put_back(str(reason))

    async def _stored(self) -> AccountRow | None:
        async with self._database.transaction() as tx:
            row = await store.load_account(tx, self._own.user_id)
            if row is not None:
                self._own.open(row)
        return row

    async def _load(self) -> tuple[AccountRow, Account]:
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
        return row, self._own.open(row)

    async def _replace(self) -> None:
        """Begin a new device while nobody uses the old one."""
        await self._verifications.end_all("the announcer's device changes")  # may encrypt, so before the gate is closed
        async with self._gate.closed():
            await self._begin()
            await self._establish()

    async def _begin(self) -> None:
        device_id = "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))
        account = Account.create(self._own.user_id, device_id)
        async with self._own.lock, self._database.transaction() as tx:
            pickle = account.pickle(self._own.pickle_key)
            await store.begin_device(tx, self._own.user_id, device_id, pickle)

    async def _establish(self) -> None:
        row, account = await self._load()
        seen = await self._counting.must_be_current(row)
        device_id = DeviceId(account.device_id)
        self._server.act_as(device_id)
        others = await self._server.devices()
        if device_id not in others:
            await self._server.put_device(device_id, DEVICE_NAME)
            async with self._database.transaction() as tx:
                await store.set_fallback_at(tx, self._own.user_id, None)
            row, account = await self._load()
        await self._publish_device(account)
        counts = await self._server.upload_keys({})
        await self._one_time_keys.publish(counts.get(ONE_TIME_KEY, 0), new_fallback=row.fallback_at is None)
        await self._counting.count(row.generation, seen)  # only now: a copy that is refused must not count
        await self._cross_sign(account)
        async with self._database.transaction() as tx:
            await store.set_published(tx, self._own.user_id, True)
        old = [other for other in others if other != device_id]
        if old:
            await self._delete(old)

    async def _publish_device(self, account: Account) -> None:
        published = _own_device(await self._server.query_keys([self._own.user_id]), account)
        ours = account.device_keys()
        if published is None:
            await self._server.upload_keys({"device_keys": ours})
        elif published.get("keys") != ours["keys"]:
            raise old_copy("the homeserver has other keys for the announcer's device")

    async def _cross_sign(self, account: Account) -> None:
        answer = await self._server.query_keys([self._own.user_id])
        if self._identity.belongs_to_another(answer) and not self._replace_identity:
            raise ConfigError(
                ["the announcer is already published with another cross-signing identity than this seed makes"],
                where="keys",
                remedy="put back the identity seed that was in the configuration before. If it is lost, allow a new "
                "identity once: everybody's client will say that the announcer's identity changed",
            )
        if body := self._identity.to_publish(answer):
            await self._server.upload_cross_signing(body)
        device = _own_device(answer, account)
        if device is None or not self._identity.has_signed(device) or not self._identity.is_signed_by(answer, account):
            failures = (await self._server.upload_signatures(self._identity.signatures(account))).get("failures")
            if failures:
                log.warning("the homeserver did not take all of the announcer's signatures: %s", failures)

    # --- a homeserver that was put back -------------------------------------------------------------------------------

    async def _homeserver_was_put_back(self, reason: str) -> None:
        """Begin anew, and renew room keys every hour for a time.

        Clients that stand at a place in the homeserver's stream that is from the future are not sent what comes before
        it, room keys included: they find their way again, and get the next key.
        """
        log.warning("%s: a new device takes the place of the announcer's", reason)
        async with self._database.transaction() as tx:
            await store.set_renew_until(tx, self._own.user_id, self._clock.now_ms() + RENEW_AFTER_REWIND_MS)
        await self._replace()

    async def _renew(self) -> None:
        """End the sessions under which we speak, where the homeserver was put back within a day."""
        async with self._database.transaction() as tx:
            until = (await self._own.row(tx)).renew_until
        if until is not None and 0 < until - self._clock.now_ms() <= RENEW_AFTER_REWIND_MS:
            async with self._gate.closed(), self._database.transaction() as tx:
                await store.end_outbound(tx)

    # --- other devices ------------------------------------------------------------------------------------------------

    async def _delete(self, others: Sequence[DeviceId]) -> None:
        strange = await self.note_strange(others)
        former = [other for other in others if other not in strange]
        if strange:
            names = ", ".join(one_line(other, store.MAX_DEVICE_ID) for other in strange)
            log.warning("deleting devices of the announcer that this database does not know: %s", names)
        if former:
            log.info("deleting former devices of the announcer: %s", ", ".join(former))
        await self._server.delete_devices(others)

    async def note_strange(self, others: Sequence[str]) -> tuple[str, ...]:
        """Remember, with the time, those devices of the announcer that were never ours; gives them."""
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
            strange = tuple(other for other in others if other not in (row.device_id, *row.former))
            if strange:
                await store.note_strange(tx, self._own.user_id, strange, now_ms=self._clock.now_ms())
        return strange

    async def forget_strange(self) -> None:
        """Forget which devices those were: somebody has looked into it. What is seen from now on is remembered."""
        async with self._database.transaction() as tx:
            await store.forget_strange(tx, self._own.user_id)

    async def strange_at(self) -> int | None:
        """When a device of the announcer was last seen that was never ours; None where none was, or it is forgotten."""
        async with self._database.transaction() as tx:
            row = await store.load_account(tx, self._own.user_id)
        return None if row is None else row.strange_at

    # --- how it stands ------------------------------------------------------------------------------------------------

    async def describe(self) -> Standing:
        """The device and the identity as the homeserver shows them. Needs no start, and changes nothing.

        Raises:
            MatrixError: the homeserver cannot be asked.
            StoreError: there is no device yet.
        """
        row, account = await self._load()
        answer = await self._server.query_keys([self._own.user_id])
        devices = await self._server.devices()
        async with self._database.transaction() as tx:
            verified = await store.count_verified(tx)
        device = _own_device(answer, account)
        missing = self._identity.to_publish(answer)
        another = self._identity.belongs_to_another(answer)
        return Standing(
            account.device_id,
            account.ed25519,
            self._identity.master_key,
            not missing and device is not None and self._identity.has_signed(device),
            "another" if another else "none" if "master_key" in missing else "ours",
            tuple(devices),
            verified,
            row.strange,
            row.strange_at,
        )


def _own_device(answer: Mapping[str, Any], account: Account) -> Mapping[str, Any] | None:
    every = answer.get("device_keys")
    ours = every.get(account.user_id) if isinstance(every, Mapping) else None
    device = ours.get(account.device_id) if isinstance(ours, Mapping) else None
    return device if isinstance(device, Mapping) else None
