"""What a `/sync` brings: to-device messages and changed device lists, committed together with its `next_batch`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from bridge.core.errors import MatrixError
from bridge.core.ids import RoomId, UserId
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.devices import DeviceLists
from bridge.e2ee.inbound import Batch, Envelope, Opener, envelope, events_of, is_user_id, verification_of
from bridge.e2ee.recipients import Trust
from bridge.e2ee.verification import Verifications
from bridge.ports import Clock
from bridge.store import keys as store
from bridge.store.database import Database, Transaction

log = logging.getLogger(__name__)

DevicesChanged = Callable[[Transaction, Collection[UserId]], Awaitable[None]]


class Arrivals:
    """Takes in what has come."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        own: OwnDevice,
        devices: DeviceLists,
        verifications: Verifications,
        *,
        trust: Trust,
        may_hold: Callable[[RoomId], bool],
        on_devices_changed: DevicesChanged | None,
    ) -> None:
        """
        Args:
            may_hold: whether room keys of a room may be kept.
            on_devices_changed: told whose device lists changed, within the database transaction that notes it.
        """
        self._database = database
        self._clock = clock
        self._own = own
        self._devices = devices
        self._verifications = verifications
        self._trust = trust
        self._may_hold = may_hold
        self._on_devices_changed = on_devices_changed

    async def take_in(self, answer: Mapping[str, Any]) -> set[tuple[UserId, str]]:
        """Open and commit what a `/sync` has answered.

        Gives user and curve25519 key of devices whose messages no session could open.
        """
        events = events_of(answer)
        changed = _names(answer, "changed") | _names(answer, "left")
        async with self._database.transaction() as tx:
            our_key = (await self._own.account(tx)).curve25519
        envelopes = [one for one in (envelope(event, our_key) for event in events) if one is not None]
        await self._meet({one.sender for one in envelopes}, changed)
        async with self._own.lock, self._own.ratchets.hold(one.sender_key for one in envelopes):
            batch = await self._open(envelopes) if envelopes else Batch()
            async with self._database.transaction() as tx:
                await self._commit(tx, batch, changed, answer.get("next_batch"))
        plain = [one for one in (verification_of(event) for event in events) if one is not None]
        await self._verifications.take([*plain, *batch.verifications])
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


def _names(answer: Mapping[str, Any], key: str) -> set[str]:
    lists = answer.get("device_lists")
    names = lists.get(key) if isinstance(lists, Mapping) else None
    return {name for name in names if is_user_id(name)} if isinstance(names, list) else set()
