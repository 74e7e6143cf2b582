"""The announcer's keys, as the rest of the house sees them: one device, always there, cross-signed and listening.

What it consists of is put together here, and what is asked of it goes to whom it concerns: `establishment` makes the
device, `sync` listens, `delivery` and `history` give keys out, `decryption` reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.core.ids import RoomId, UserId
from bridge.e2ee import attachments
from bridge.e2ee.arrivals import Arrivals, DevicesChanged
from bridge.e2ee.decryption import Decryption
from bridge.e2ee.delivery import Delivery, Progress
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.establishment import Establishment, Standing
from bridge.e2ee.gate import Gate
from bridge.e2ee.giving import Means
from bridge.e2ee.history import History
from bridge.e2ee.identity import Identity
from bridge.e2ee.olm_sessions import OlmSessions
from bridge.e2ee.one_time_keys import OneTimeKeys
from bridge.e2ee.recipients import Trust
from bridge.e2ee.sync import Sync
from bridge.e2ee.verification import Verifications
from bridge.e2ee.window import Window
from bridge.ports import Clock, DeviceServer, RoomFacts
from bridge.store.database import Database

PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """How the announcer's device is."""

    device_id: str
    cross_signed: bool
    receives_to_device: bool


class Keys:
    """The announcer's device. Implements `RoomCrypto`."""

    def __init__(
        self,
        database: Database,
        server: DeviceServer,
        facts: RoomFacts,
        clock: Clock,
        *,
        user_id: UserId,
        identity_seed: bytes,
        pickle_key: str,
        trust: Trust = Trust.ALL,
        replace_identity: bool = False,
        may_hold: Callable[[RoomId], bool] = lambda _: True,
        on_devices_changed: DevicesChanged | None = None,
        window_of: Callable[[RoomId], Window | None] = lambda _: None,
    ) -> None:
        """
        Args:
            user_id: the announcer, in the registration's namespace and not its sender.
            identity_seed: the secret from which the cross-signing identity is made; at least 16 bytes.
            pickle_key: the secret under which the keys are stored.
            replace_identity: whether an identity made from another seed may be replaced. Synapse never takes an
                identity back that was replaced.
            may_hold: whether room keys of a room may be kept. A client shares keys with whoever is invited, so an
                invite of the announcer to a group brings that group's key: it is dropped unseen.
            on_devices_changed: told whose device lists changed, within the database transaction that notes it.
            window_of: how much of a room's past newcomers are given; None where it is no room of announcements.
        """
        self._server = server
        self._gate = Gate()
        self._identity = Identity(user_id, identity_seed)
        self._own = OwnDevice(user_id, pickle_key)
        self._devices = DeviceLists(
            database, server, clock, me=user_id, user_signing_key=self._identity.user_signing_key
        )
        sessions = OlmSessions(database, server, clock, self._own)
        means = Means(database, server, facts, clock, self._own, self._devices, sessions, trust)
        self._delivery = Delivery(means)
        self.history = History(means, self._delivery.exclusive, window_of=window_of)
        self.verifications = Verifications(server, clock, self._own, self._identity, self._devices, database)
        self._decryption = Decryption(database, self._own, self._devices, trust=trust)
        one_time_keys = OneTimeKeys(database, server, clock, self._own)
        self._establishment = Establishment(
            database,
            server,
            clock,
            self._own,
            self._identity,
            one_time_keys,
            self.verifications,
            self._gate,
            replace_identity=replace_identity,
        )
        arrivals = Arrivals(
            database,
            clock,
            self._own,
            self._devices,
            self.verifications,
            trust=trust,
            may_hold=may_hold,
            on_devices_changed=on_devices_changed,
        )
        self._sync = Sync(database, server, user_id, self._establishment, arrivals, one_time_keys, sessions)

    @property
    def master_key(self) -> str:
        """The public master key of the announcer's identity: what people compare."""
        return self._identity.master_key

    # --- the device ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Make sure that the account, its device, its keys and its cross-signing are there; safe to repeat.

        A new device is begun where the database has none, and where the homeserver was put back from a backup.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
            StoreError: the stored keys cannot be opened with this pickle key.
            ConfigError: the announcer has an identity that was made from another seed.
        """
        await self._server.register()
        async with self._sync.exclusive:
            await self._establishment.start()
        await self._sync.once()

    async def rotate(self, *, accept_old: bool = False) -> tuple[str | None, str]:
        """Put a new device, signed by the same identity, in the place of the announcer's device, and delete that.

        Room keys and Olm sessions begin anew; keys received stay. Gives the ids of the device before and now.

        Args:
            accept_old: whether to go on with a database that is an old copy.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked; `start` goes on from there.
            OldDatabase: the database is an old copy.
        """
        await self._server.register()
        async with self._sync.interrupted():
            ids = await self._establishment.rotate(accept_old=accept_old)
        await self._sync.once()
        return ids

    async def mend(self) -> None:
        """Publish again what the homeserver has lost of the device, its keys and signatures.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
        """
        async with self._sync.interrupted():
            await self._establishment.mend()

    async def note_strange(self, others: Sequence[str]) -> tuple[str, ...]:
        """Remember, with the time, those devices of the announcer that were never ours; gives them."""
        return await self._establishment.note_strange(others)

    async def forget_strange(self) -> None:
        """Forget which devices those were: somebody has looked into it. What is seen from now on is remembered."""
        await self._establishment.forget_strange()

    async def strange_at(self) -> int | None:
        """When a device of the announcer was last seen that was never ours; None where none was, or it is forgotten."""
        return await self._establishment.strange_at()

    async def describe(self) -> Standing:
        """The device and the identity as the homeserver shows them. Needs no start, and changes nothing.

        Raises:
            MatrixError: the homeserver cannot be asked.
            StoreError: there is no device yet.
        """
        return await self._establishment.describe()

    async def health(self, deadline_seconds: float = PROBE_SECONDS) -> Health:
        """The device, whether it is cross-signed, and whether a to-device message to itself really arrives.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        standing = await self.describe()
        arrives = await self._sync.probe(standing.device_id, deadline_seconds)
        return Health(standing.device_id, standing.cross_signed, arrives)

    # --- listening ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sync until `stop` or cancellation; failures are waited out, longer and longer up to a minute."""
        await self._sync.run()

    async def stop(self) -> None:
        """End `run` for good. A wait at the homeserver is broken off, never the storing of what it gave."""
        await self._sync.stop()

    async def sync_once(self, *, timeout_ms: int = 0) -> None:
        """Fetch and commit what has come; also for a command that runs without the loop.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
            OldDatabase: the database is an old copy.
        """
        await self._sync.once(timeout_ms=timeout_ms)

    async def wait_for_key(self, room_id: str, session_id: str, deadline_seconds: float) -> bool:
        """Wait until a room key is here, at most so long; whether it is."""
        return await self._sync.wait_for_key(room_id, session_id, deadline_seconds)

    # --- rooms --------------------------------------------------------------------------------------------------------

    async def encrypt(self, room_id: RoomId, event_type: str, content: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """The `m.room.encrypted` content for a message, after its key is with every joined device.

        Gives the content and how many devices hold the key.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._gate.passing():
            return await self._delivery.encrypt(room_id, event_type, content)

    async def encrypt_file(self, data: bytes) -> tuple[bytes, dict[str, Any]]:
        """A file as it is uploaded, and the `EncryptedFile` that opens it, without its `url`."""
        return await asyncio.to_thread(attachments.encrypt, data)

    async def prepare(self, room_id: RoomId) -> int | None:
        """Bring a room's key to everybody in it ahead of the next message, which then costs one event.

        Returns:
            When to come again (milliseconds since 1970), where it is too early for a new session; else None.

        Raises:
            CannotEncrypt: the room's members changed faster than keys could follow.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._gate.passing():
            return await self._delivery.prepare(room_id)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nobody encrypts, and no key goes out: waits until what is under way has ended."""
        async with self._gate.closed():
            yield

    def progress(self, room_id: RoomId) -> Progress | None:
        """How far the room's key has come that is on its way at this moment; None where none is."""
        return self._delivery.progress(room_id)

    async def catch_up(self, room_id: RoomId) -> int | None:
        """Give what was said before to every device that has not got it; before `prepare`, where both are due.

        Gives when there will be more to do, in milliseconds since 1970; None where there will not.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._gate.passing():
            return await self.history.catch_up(room_id)

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The event with its decrypted `type` and `content`.

        Raises:
            CannotDecrypt: no key (yet), or a forged, replayed or malformed event.
        """
        return await self._decryption.decrypt(event)
