"""The keys by which others begin Olm sessions with the announcer's device: one-time keys, and the fallback key.

Follows the specification's "One-time and fallback keys".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.errors import BadRequest
from bridge.e2ee.counting import old_copy
from bridge.e2ee.device import OwnDevice
from bridge.e2ee.machine import ONE_TIME_KEY
from bridge.ports import Clock, KeyServer
from bridge.store import keys as store
from bridge.store.database import Database

ONE_TIME_KEYS = 50
FORGET_FALLBACK_MS = 3600 * 1000
KNOWN_TO_BE_OLD = -1


class OneTimeKeys:
    """Sees to it that the homeserver never runs out of them."""

    def __init__(self, database: Database, server: KeyServer, clock: Clock, own: OwnDevice) -> None:
        self._database = database
        self._server = server
        self._clock = clock
        self._own = own

    async def keep(self, answer: Mapping[str, Any]) -> None:
        """Top up one-time keys, and replace a fallback key that was used (`device_unused_fallback_key_types`).

        Args:
            answer: of a `/sync`, which says how many are left.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
        """
        counts = answer.get("device_one_time_keys_count")
        count = counts.get(ONE_TIME_KEY, 0) if isinstance(counts, Mapping) else ONE_TIME_KEYS
        unused = answer.get("device_unused_fallback_key_types")
        used_up = isinstance(unused, list) and ONE_TIME_KEY not in unused
        if not isinstance(count, int) or (count >= ONE_TIME_KEYS and not used_up):
            return
        await self.publish(count, new_fallback=used_up)

    async def publish(self, count: int, *, new_fallback: bool) -> None:
        """Make up what is missing of one-time keys, and publish it: stored before it is sent, marked after the answer.

        What an interrupted call has left unpublished goes out again, unchanged.

        Args:
            count: how many the homeserver has.

        Raises:
            MatrixError: the homeserver refuses or cannot be asked.
            OldDatabase: the database is an old copy.
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
                raise old_copy("the homeserver has seen other one-time keys of the announcer") from error
            raise
        async with self._own.lock, self._database.transaction() as tx:
            account = await self._own.account(tx)
            account.mark_published()
            await self._own.save(tx, account)
