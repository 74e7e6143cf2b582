"""The announcer's keys, as the rest of the house sees them: one device, always there, cross-signed and listening.

The device is made by the application service itself (MSC4190), acts with `user_id` and `device_id` (MSC4326), and
hears through `/sync` without room events. What a sync brings is committed together with its `next_batch`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from bridge.core.errors import BadRequest, CannotDecrypt, ConfigError, DeviceUnknown, MatrixError, OldDatabase
from bridge.core.ids import DeviceId, RoomId, UserId
from bridge.core.lines import one_line
from bridge.e2ee.delivery import Delivery, Progress
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.gate import Gate
from bridge.e2ee.history import History
from bridge.e2ee.identity import Identity
from bridge.e2ee.inbound import PROBE, Batch, Envelope, Opener, envelope, is_user_id, probe_of, verification_of
from bridge.e2ee.machine import MEGOLM, ONE_TIME_KEY, Account, OlmFailure, Peer, decrypt_group, is_key
from bridge.e2ee.olm_sessions import OlmSessions
from bridge.e2ee.recipients import Trust, admits
from bridge.e2ee.verification import Verifications
from bridge.e2ee.window import Window
from bridge.ports import Clock, KeyServer, RoomFacts
from bridge.store import keys as store
from bridge.store import shares
from bridge.store.database import Database, Transaction
from bridge.store.keys import AccountRow
from bridge.store.outage import is_outage

log = logging.getLogger(__name__)

ONE_TIME_KEYS = 50
POLL_MS = 30_000
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0
PROBE_SECONDS = 10.0
UNWEDGE_PAUSE_MS = 3600 * 1000
MAX_UNWEDGED_AT_ONCE = 20
FORGET_FALLBACK_MS = 3600 * 1000
COUNT_EVERY_MS = 3600 * 1000
MAX_CIPHERTEXT = 100_000
DEVICE_NAME = "matrix-communities"
RENEW_AFTER_REWIND_MS = 24 * 3600 * 1000
KNOWN_TO_BE_OLD = -1


class DeviceServer(KeyServer, Protocol):
    """What the device needs of the homeserver besides the end-to-end endpoints."""

    def act_as(self, device_id: DeviceId) -> None:
        """Use this device from now on."""
        ...

    async def register(self) -> None:
        """Make the announcer's account; nothing where it exists."""
        ...

    async def delete_devices(self, device_ids: Sequence[DeviceId]) -> None: ...

    async def generation(self) -> int | None:
        """The number of the device's last start as the homeserver remembers it."""
        ...

    async def set_generation(self, number: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Health:
    """How the announcer's device is."""

    device_id: str
    cross_signed: bool
    receives_to_device: bool


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
    """When that was; None where it never was."""

    @property
    def foreign_devices(self) -> tuple[str, ...]:
        return tuple(device for device in self.devices if device != self.device_id)


class _Rewound(Exception):
    """The homeserver is older than the keys in the database: it was put back from a backup."""


def _old(what: str) -> OldDatabase:
    return OldDatabase(
        f"{what}: the database is an old copy, and its keys and jobs were used since",
        where="keys",
        remedy="stop everything and put the newest database back. If there is none, `matrix-communities rotate-device "
        "--accept-old-database` goes on with this one: the announcer gets a new device, and jobs and events of the "
        "copy are set aside",
    )


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
        on_devices_changed: Callable[[Transaction, Collection[UserId]], Awaitable[None]] | None = None,
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
        self._database = database
        self._server = server
        self._clock = clock
        self._replace_identity = replace_identity
        self._may_hold = may_hold
        self._on_devices_changed = on_devices_changed
        self._identity = Identity(user_id, identity_seed)
        self._own = OwnDevice(user_id, pickle_key)
        self._trust = trust
        self._devices = DeviceLists(
            database, server, clock, me=user_id, user_signing_key=self._identity.user_signing_key
        )
        self._sessions = OlmSessions(database, server, clock, self._own)
        self._delivery = Delivery(database, server, facts, clock, self._own, self._devices, self._sessions, trust=trust)
        self.history = History(
            database,
            server,
            facts,
            clock,
            self._own,
            self._devices,
            self._sessions,
            self._delivery.exclusive,
            trust=trust,
            window_of=window_of,
        )
        self.verifications = Verifications(server, clock, self._own, self._identity, self._devices, database)
        self._news = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._syncing = asyncio.Lock()
        self._syncs = 0
        self._loop: asyncio.Task[Any] | None = None
        self._poll: asyncio.Task[dict[str, Any]] | None = None
        self._stopping = asyncio.Event()
        self._probes: dict[str, bool] = {}
        self._counted_at = clock.now_ms()
        self._gate = Gate()
        self._told: int | None = None
        """The count that the homeserver has confirmed to this process."""

    @property
    def master_key(self) -> str:
        """The public master key of the announcer's identity: what people compare."""
        return self._identity.master_key

    # --- start and stop -----------------------------------------------------------------------------------------------

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
        async with self._database.transaction() as tx:
            row = await store.load_account(tx, self._own.user_id)
            if row is not None:
                self._own.open(row)
            await shares.forget_holders_of_ended(tx)
        if row is None:
            await self._begin_device()
        async with self._syncing:
            await self._establish_or_replace()
            await self._renew()
        await self.sync_once(timeout_ms=0)

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
        async with self._syncing:
            async with self._database.transaction() as tx:
                row = await store.load_account(tx, self._own.user_id)
                if row is not None:
                    self._own.open(row)
            if row is not None and not accept_old:
                with suppress(_Rewound):
                    await self._must_be_current(row)
            await self._replace_device()
            async with self._database.transaction() as tx:
                now = (await self._own.row(tx)).device_id
        await self.sync_once(timeout_ms=0)
        return (None if row is None else row.device_id), now

    async def _establish_or_replace(self) -> None:
        try:
            await self._establish()
        except _Rewound as reason:
            await self._homeserver_was_put_back(str(reason))

    async def _replace_device(self) -> None:
        """Begin a new device while nobody uses the old one; to be called with `_syncing` held."""
        await self.verifications.end_all("the announcer's device changes")  # may encrypt, so before the gate is closed
        async with self._gate.closed():
            await self._begin_device()
            await self._establish()

    async def _begin_device(self) -> None:
        device_id = "".join(secrets.choice(string.ascii_uppercase) for _ in range(10))
        account = Account.create(self._own.user_id, device_id)
        async with self._own.lock, self._database.transaction() as tx:
            pickle = account.pickle(self._own.pickle_key)
            await store.begin_device(tx, self._own.user_id, device_id, pickle)

    async def _establish(self) -> None:
        row, account = await self._load()
        seen = await self._must_be_current(row)
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
        await self._publish_keys(counts.get(ONE_TIME_KEY, 0), new_fallback=row.fallback_at is None)
        await self._count(row.generation, seen)  # only now: a copy that is refused must not count
        await self._cross_sign(account)
        async with self._database.transaction() as tx:
            await store.set_published(tx, self._own.user_id, True)
        old = [other for other in others if other != device_id]
        if old:
            strange = await self.note_strange(old)
            former = [other for other in old if other not in strange]
            if strange:
                names = ", ".join(one_line(other, store.MAX_DEVICE_ID) for other in strange)
                log.warning("deleting devices of the announcer that this database does not know: %s", names)
            if former:
                log.info("deleting former devices of the announcer: %s", ", ".join(former))
            await self._server.delete_devices(old)

    async def _load(self) -> tuple[AccountRow, Account]:
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
        return row, self._own.open(row)

    async def _publish_device(self, account: Account) -> None:
        published = _own_device(await self._server.query_keys([self._own.user_id]), account)
        ours = account.device_keys()
        if published is None:
            await self._server.upload_keys({"device_keys": ours})
        elif published.get("keys") != ours["keys"]:
            raise _old("the homeserver has other keys for the announcer's device")

    async def _must_be_current(self, row: AccountRow) -> int:
        """See that neither the database nor the homeserver is an old copy: both remember how far we have counted.

        The homeserver's count is one behind where it was not reached in the moment between both.
        """
        seen = await self._server.generation() or 0
        if row.published and seen > row.generation:
            raise _old(f"the homeserver has counted its use to {seen}, and this one stands at {max(0, row.generation)}")
        if row.published and seen < row.generation - 1:
            raise _Rewound(f"the homeserver was put back: it has counted to {seen}, we to {row.generation}")
        return seen

    async def _count(self, counted: int, seen: int) -> None:
        """Count one on: in the database first, then at the homeserver.

        A number that the homeserver has not confirmed is sent again, and counted on only then. So however often this
        fails, the database is ahead by one at most, and by more only if the homeserver was put back.

        Args:
            counted: the number in the database.
            seen: the number at the homeserver.
        """
        if seen < counted:
            await self._server.set_generation(counted)
            self._told = counted
        number = max(counted, seen) + 1
        async with self._database.transaction() as tx:
            await store.set_generation(tx, self._own.user_id, number)
        await self._server.set_generation(number)
        self._told = number
        self._counted_at = self._clock.now_ms()

    async def _count_hourly(self) -> None:
        """Count on while running, so that a copy made meanwhile can be told from the original.

        Raises:
            OldDatabase: another process counts, too: it has a copy of the database.
        """
        if abs(self._clock.now_ms() - self._counted_at) < COUNT_EVERY_MS:
            return
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
        seen = await self._server.generation() or 0
        if seen > row.generation:
            raise _old(f"the homeserver has counted its use to {seen}, and this one stands at {max(0, row.generation)}")
        if self._told is not None and seen < self._told:
            await self._homeserver_was_put_back(f"the homeserver was put back: it has counted to {seen}")
            return
        await self._count(row.generation, seen)
        await self._renew()

    async def _renew(self) -> None:
        """End the sessions under which we speak, where the homeserver was put back within a day."""
        async with self._database.transaction() as tx:
            until = (await self._own.row(tx)).renew_until
        if until is not None and 0 < until - self._clock.now_ms() <= RENEW_AFTER_REWIND_MS:
            async with self._gate.closed(), self._database.transaction() as tx:
                await store.end_outbound(tx)

    async def _homeserver_was_put_back(self, reason: str) -> None:
        """Begin anew, and renew room keys every hour for a time.

        Clients that stand at a place in the homeserver's stream that is from the future are not sent what comes before
        it, room keys included: they find their way again, and get the next key.
        """
        log.warning("%s: a new device takes the place of the announcer's", reason)
        async with self._database.transaction() as tx:
            await store.set_renew_until(tx, self._own.user_id, self._clock.now_ms() + RENEW_AFTER_REWIND_MS)
        await self._replace_device()

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

    async def run(self) -> None:
        """Sync until `stop` or cancellation; failures are waited out, longer and longer up to a minute."""
        self._loop = asyncio.current_task()
        backoff = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    await self.sync_once(timeout_ms=POLL_MS)
                    backoff = 0.0
                except OldDatabase:
                    raise
                except Exception as error:
                    if isinstance(error, DeviceUnknown) and await self._comes_back():
                        continue
                    backoff = min(LONGEST_BACKOFF_SECONDS, max(FIRST_BACKOFF_SECONDS, backoff * 2))
                    foreseen = isinstance(error, MatrixError) or is_outage(error)
                    wait = max(backoff, getattr(error, "seconds", 0.0))  # what a homeserver asked us to wait
                    log.warning("sync failed, again in %.0f s: %s", wait, error, exc_info=not foreseen)
                    await self._pause(wait)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
        finally:
            self._loop = None

    async def _comes_back(self) -> bool:
        """Make the device again, of which the homeserver knows nothing any more; whether that went well."""
        log.warning("the homeserver does not know the announcer's device any more: it is made again")
        try:
            async with self._syncing:
                await self._establish_or_replace()
        except (MatrixError, ConfigError) as error:
            log.warning("the announcer's device could not be made again: %s", error)
            return False
        return True

    async def mend(self) -> None:
        """Publish again what the homeserver has lost of the device, its keys and signatures.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
        """
        async with self._syncing:
            await self._establish_or_replace()

    async def note_strange(self, others: Sequence[str]) -> tuple[str, ...]:
        """Remember, with the time, those devices of the announcer that were never ours; gives them."""
        async with self._database.transaction() as tx:
            row = await self._own.row(tx)
            strange = tuple(other for other in others if other not in (row.device_id, *row.former))
            if strange:
                await store.note_strange(tx, self._own.user_id, strange, now_ms=self._clock.now_ms())
        return strange

    async def strange_at(self) -> int | None:
        """When a device of the announcer was last seen that was never ours; None where none was, ever."""
        async with self._database.transaction() as tx:
            row = await store.load_account(tx, self._own.user_id)
        return None if row is None else row.strange_at

    async def _pause(self, seconds: float) -> None:
        """Wait that long, but no longer than until `stop`, or until somebody waits for a key that a sync may bring."""
        self._hurry.clear()
        if self._stopping.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def stop(self) -> None:
        """End `run` for good. A wait at the homeserver is broken off, never the storing of what it gave."""
        self._stopping.set()
        self._hurry.set()
        if self._poll is not None:
            self._poll.cancel()
        loop = self._loop
        if loop is not None and loop is not asyncio.current_task():
            await asyncio.wait({loop})

    # --- one sync -----------------------------------------------------------------------------------------------------

    async def sync_once(self, *, timeout_ms: int = 0) -> None:
        """Fetch and commit what has come; also for a command that runs without the loop.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._syncing:
            row = await self._finished()
            answer = await self._ask(row.next_batch, timeout_ms)
            broken = await self._take_in(answer)
            await self._keep_keys(answer)
            await self._count_hourly()
            await self._unwedge(broken)
        async with self._news:
            self._syncs += 1
            self._news.notify_all()

    async def _finished(self) -> AccountRow:
        """Our device, after what was left to do where another one could not be put in its place to the end."""
        row, _ = await self._load()
        if not row.published:
            async with self._gate.closed():
                await self._establish()
            row, _ = await self._load()
        return row

    async def _ask(self, since: str | None, timeout_ms: int) -> dict[str, Any]:
        wait_ms = 0 if self._stopping.is_set() else timeout_ms
        self._poll = asyncio.create_task(self._server.sync(since, timeout_ms=wait_ms))
        try:
            return await self._poll
        finally:
            self._poll = None

    async def _take_in(self, answer: Mapping[str, Any]) -> set[tuple[UserId, str]]:
        events = _events(answer)
        changed = _names(answer, "changed") | _names(answer, "left")
        for nonce in (probe_of(event, self._own.user_id) for event in events):
            if nonce in self._probes:
                self._probes[nonce] = True
        async with self._database.transaction() as tx:
            our_key = (await self._own.account(tx)).curve25519
        envelopes = [one for one in (envelope(event, our_key) for event in events) if one is not None]
        await self._meet({one.sender for one in envelopes}, changed)
        async with self._own.lock, self._own.ratchets.hold(one.sender_key for one in envelopes):
            batch = await self._open(envelopes) if envelopes else Batch()
            async with self._database.transaction() as tx:
                await self._commit(tx, batch, changed, answer.get("next_batch"))
        plain = [one for one in (verification_of(event) for event in events) if one is not None]
        await self.verifications.take([*plain, *batch.verifications])
        return batch.broken

    async def _meet(self, senders: Iterable[UserId], changed: Iterable[str]) -> None:
        """Read the device lists of senders, where they are not known or changed."""
        wanted = set(senders)
        if not wanted:
            return
        try:
            await self._devices.refresh(wanted, anew=wanted & set(changed))
        except MatrixError as error:
            # Their room keys are stored unverified, and verified when they are first needed.
            log.warning("the device lists of %d senders cannot be read: %s", len(wanted), error)

    async def _open(self, envelopes: Sequence[Envelope]) -> Batch:
        async with self._database.transaction() as tx:
            account = await self._own.account(tx)
            sessions = await store.olm_sessions(tx, (one.sender_key for one in envelopes))
            devices = await store.devices_of(tx, (one.sender for one in envelopes))
        opener = Opener(
            account, self._own.pickle_key, sessions, devices, trust=self._trust, now_ms=self._clock.now_ms()
        )
        return await asyncio.to_thread(opener.open_all, envelopes)

    async def _commit(self, tx: Transaction, batch: Batch, changed: set[str], next_batch: object) -> None:
        now = self._clock.now_ms()
        if batch.account is not None:
            await store.save_account(tx, self._own.user_id, batch.account)
        await store.save_olm_sessions(tx, batch.sessions.values())
        for curve25519 in sorted({row.curve25519 for row in batch.sessions.values()}):
            await store.prune_olm_sessions(tx, curve25519)
        kept = [key for key in batch.room_keys if self._may_hold(RoomId(key.room_id))]
        for key in kept:
            await store.save_inbound(tx, key, now_ms=now)
        for owner in sorted({key.owner for key in kept}):
            await store.prune_inbound(tx, owner)
        await store.mark_outdated(tx, changed | batch.unknown)
        if changed and self._on_devices_changed is not None:
            await self._on_devices_changed(tx, {UserId(user) for user in changed})
        if isinstance(next_batch, str):
            await store.set_next_batch(tx, self._own.user_id, next_batch)

    async def _keep_keys(self, answer: Mapping[str, Any]) -> None:
        """Top up one-time keys, and replace a fallback key that was used (`device_unused_fallback_key_types`)."""
        counts = answer.get("device_one_time_keys_count")
        count = counts.get(ONE_TIME_KEY, 0) if isinstance(counts, Mapping) else ONE_TIME_KEYS
        unused = answer.get("device_unused_fallback_key_types")
        used_up = isinstance(unused, list) and ONE_TIME_KEY not in unused
        if not isinstance(count, int) or (count >= ONE_TIME_KEYS and not used_up):
            return
        await self._publish_keys(count, new_fallback=used_up)

    async def _publish_keys(self, count: int, *, new_fallback: bool) -> None:
        """Make up what is missing of one-time keys, and publish it: stored before it is sent, marked after the answer.

        What an interrupted call has left unpublished goes out again, unchanged.
        """
        async with self._own.lock, self._database.transaction() as tx:
            row = await self._own.row(tx)
            account = self._own.open(row)
            now = self._clock.now_ms()
            account.make_one_time_keys(ONE_TIME_KEYS - count - account.unpublished)
            if row.fallback_at is not None and now - row.fallback_at > FORGET_FALLBACK_MS:
                account.forget_old_fallback_key()
            if new_fallback:
                account.make_fallback_key()
                await store.set_fallback_at(tx, self._own.user_id, now)
            await self._own.save(tx, account)
        body = account.keys_to_publish()
        if not body:
            return
        try:
            await self._server.upload_keys(body)
        except BadRequest as error:
            if "already exists" in error.what:
                async with self._database.transaction() as tx:
                    await store.set_generation(tx, self._own.user_id, KNOWN_TO_BE_OLD)
                raise _old("the homeserver has seen other one-time keys of the announcer") from error
            raise
        async with self._own.lock, self._database.transaction() as tx:
            account = await self._own.account(tx)
            account.mark_published()
            await self._own.save(tx, account)

    async def _unwedge(self, broken: Iterable[tuple[UserId, str]]) -> None:
        """Begin new sessions with devices whose messages do not open (specification: undecryptable messages)."""
        wanted = sorted(broken)[:MAX_UNWEDGED_AT_ONCE]
        if not wanted:
            return
        try:
            peers = await self._to_unwedge(wanted)
            claimed = await self._sessions.claim(peers)
            ready = [peer for peer in peers if (peer.user_id, peer.device_id) in claimed]
            if not ready:
                return
            async with self._own.ratchets.hold(peer.curve25519 for peer in ready):
                sealed, _ = await self._sessions.seal(ready, claimed, "m.dummy", {}, anew=True)
                async with self._database.transaction() as tx:
                    await self._sessions.save(tx, sealed)
                    for one in sealed:
                        await store.prune_olm_sessions(tx, one.peer.curve25519)
            messages: dict[str, dict[str, Any]] = {}
            for one in sealed:
                messages.setdefault(one.peer.user_id, {})[one.peer.device_id] = one.content
            await self._server.send_to_device("m.room.encrypted", secrets.token_urlsafe(16), messages)
        except MatrixError as error:
            log.info("broken sessions could not be replaced: %s", error)

    async def _to_unwedge(self, broken: Sequence[tuple[UserId, str]]) -> list[Peer]:
        now = self._clock.now_ms()
        peers = []
        async with self._database.transaction() as tx:
            devices = await store.devices_of(tx, (user for user, _ in broken))
            for user, curve25519 in broken:
                for device in devices.get(user, ()):
                    if device.curve25519 == curve25519 and await store.claim_unwedging(
                        tx, user, device.device_id, now_ms=now, pause_ms=UNWEDGE_PAUSE_MS
                    ):
                        peers.append(Peer(user, device.device_id, curve25519, device.ed25519))
        return peers

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
        """The event with its decrypted `type` and `content` (`m.megolm.v1.aes-sha2`).

        Only a key that the event's own sender gave us opens it, from a device in the sender's list that is trusted.

        Raises:
            CannotDecrypt: no key (yet), or a forged, replayed or malformed event.
        """
        sender, room_id, event_id, session_id, ciphertext = _megolm(event)
        async with self._database.transaction() as tx:
            key = await store.inbound(tx, room_id, session_id, sender)
        if key is None:
            raise CannotDecrypt("its key has not come", where=event_id)
        await self._verify_owner(key)
        try:
            text, index = await asyncio.to_thread(decrypt_group, key.pickle, self._own.pickle_key, ciphertext)
        except OlmFailure as error:
            raise CannotDecrypt(f"it does not decrypt ({error})", where=event_id) from error
        async with self._database.transaction() as tx:
            first = await store.note_message(tx, room_id, session_id, sender, index, event_id)
        if first != event_id:
            raise CannotDecrypt("it repeats an earlier message", where=event_id)
        return {**event, **_payload(text, room_id, event_id, event["content"])}

    async def _verify_owner(self, key: store.InboundRow) -> None:
        """See that the key came from a device of its owner that we trust, at least when it first opens something."""
        owner = UserId(key.owner)
        device = await self._devices.find(owner, key.curve25519, key.ed25519)
        if device is None and key.verified:
            return  # it was the owner's, and trusted, when it was looked at first, and is gone since
        if device is None or not self._trusts(device):
            try:
                await self._devices.refresh([owner], anew=[owner])
            except MatrixError as error:
                raise CannotDecrypt(f"its sender's devices cannot be read ({error.what})", where=key.room_id) from error
            device = await self._devices.find(owner, key.curve25519, key.ed25519)
        if device is None:
            raise CannotDecrypt("its key came from a device that its sender does not have", where=key.room_id)
        if not self._trusts(device):
            raise CannotDecrypt(f"its sender's device {device.device_id} is not trusted", where=key.room_id)
        if not key.verified:
            async with self._database.transaction() as tx:
                await store.mark_inbound_verified(tx, key.room_id, key.session_id, key.owner)

    def _trusts(self, device: store.DeviceRow) -> bool:
        return admits(self._trust, cross_signed=device.cross_signed, verified=device.verified)

    async def wait_for_key(self, room_id: str, session_id: str, deadline_seconds: float) -> bool:
        """Wait until a room key is here, at most so long; whether it is."""

        self._hurry.set()
        end = asyncio.get_running_loop().time() + deadline_seconds
        while True:
            seen = self._syncs
            async with self._database.transaction() as tx:
                if await store.has_inbound(tx, room_id, session_id):
                    return True
            if not await self._wait_for_sync(seen, end):
                return False

    async def _wait_for_sync(self, seen: int, end: float) -> bool:
        """Wait until another sync is committed than `seen`; False once `end` on the loop's clock has passed."""
        if asyncio.get_running_loop().time() >= end:
            return False
        try:
            async with asyncio.timeout_at(end), self._news:
                await self._news.wait_for(lambda: self._syncs != seen)
        except TimeoutError:
            return False
        return True

    # --- health -------------------------------------------------------------------------------------------------------

    async def health(self, deadline_seconds: float = PROBE_SECONDS) -> Health:
        """The device, whether it is cross-signed, and whether a to-device message to itself really arrives.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        device_id, cross_signed = await self.standing()
        return Health(device_id, cross_signed, await self._probe(device_id, deadline_seconds))

    async def standing(self) -> tuple[str, bool]:
        """The device's id, and whether the homeserver has it cross-signed. Needs no start, and changes nothing.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        standing = await self.describe()
        return standing.device_id, standing.cross_signed

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
            self.master_key,
            not missing and device is not None and self._identity.has_signed(device),
            "another" if another else "none" if "master_key" in missing else "ours",
            tuple(devices),
            verified,
            row.strange,
            row.strange_at,
        )

    async def _probe(self, device_id: str, deadline_seconds: float) -> bool:
        nonce = secrets.token_urlsafe(12)
        end = asyncio.get_running_loop().time() + deadline_seconds
        self._probes[nonce] = False
        try:
            await self._server.send_to_device(PROBE, nonce, {self._own.user_id: {device_id: {"nonce": nonce}}})
            while not self._probes[nonce]:
                seen = self._syncs
                if self._loop is None:
                    await self.sync_once(timeout_ms=1000)
                if not self._probes[nonce] and not await self._wait_for_sync(seen, end):
                    return False
            return True
        finally:
            del self._probes[nonce]


def _own_device(answer: Mapping[str, Any], account: Account) -> Mapping[str, Any] | None:
    every = answer.get("device_keys")
    ours = every.get(account.user_id) if isinstance(every, Mapping) else None
    device = ours.get(account.device_id) if isinstance(ours, Mapping) else None
    return device if isinstance(device, Mapping) else None


def _events(answer: Mapping[str, Any]) -> list[Any]:
    to_device = answer.get("to_device")
    events = to_device.get("events") if isinstance(to_device, Mapping) else None
    return events if isinstance(events, list) else []


def _names(answer: Mapping[str, Any], key: str) -> set[str]:
    lists = answer.get("device_lists")
    names = lists.get(key) if isinstance(lists, Mapping) else None
    return {name for name in names if is_user_id(name)} if isinstance(names, list) else set()


def _megolm(event: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Sender, room, event id, session and ciphertext of a Megolm event."""
    content = event.get("content")
    if not isinstance(content, Mapping) or content.get("algorithm") != MEGOLM:
        raise CannotDecrypt("it is not encrypted with Megolm", where=str(event.get("event_id", "")))
    values = (event.get("sender"), event.get("room_id"), event.get("event_id"))
    session_id, ciphertext = content.get("session_id"), content.get("ciphertext")
    if (
        not all(isinstance(value, str) and "\x00" not in value for value in values)
        or not isinstance(session_id, str)
        or not is_key(session_id)
        or not isinstance(ciphertext, str)
        or not 0 < len(ciphertext) <= MAX_CIPHERTEXT
    ):
        raise CannotDecrypt("it is malformed", where=str(event.get("event_id", "")))
    sender, room_id, event_id = (str(value) for value in values)
    return sender, room_id, event_id, session_id, ciphertext


def _payload(text: str, room_id: str, event_id: str, wire: Mapping[str, Any]) -> dict[str, Any]:
    try:
        payload = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CannotDecrypt("its plaintext is not JSON", where=event_id) from error
    if not isinstance(payload, dict) or payload.get("room_id") != room_id:
        raise CannotDecrypt("it was made for another room", where=event_id)
    event_type, content = payload.get("type"), payload.get("content")
    if not isinstance(event_type, str) or not isinstance(content, dict):
        raise CannotDecrypt("its plaintext is malformed", where=event_id)
    if "m.relates_to" in wire:
        content = {"m.relates_to": wire["m.relates_to"], **content}
    return {"type": event_type, "content": content}
