"""The announcer's `/sync`, without room events: one after the other, for as long as the service runs."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from bridge.core.errors import ConfigError, DeviceUnknown, MatrixError, OldDatabase
from bridge.core.ids import UserId
from bridge.e2ee.arrivals import Arrivals
from bridge.e2ee.establishment import Establishment
from bridge.e2ee.inbound import PROBE, events_of, probe_of
from bridge.e2ee.olm_sessions import OlmSessions
from bridge.e2ee.one_time_keys import OneTimeKeys
from bridge.ports import KeyServer
from bridge.store import keys as store
from bridge.store.database import Database
from bridge.store.outage import is_outage

log = logging.getLogger(__name__)

POLL_MS = 30_000
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 60.0


class _BrokenOff(Exception):
    """A wait at the homeserver was ended since somebody wants the device to themselves."""


class Sync:
    """Fetches what has come, and has it taken in."""

    def __init__(
        self,
        database: Database,
        server: KeyServer,
        me: UserId,
        establishment: Establishment,
        arrivals: Arrivals,
        one_time_keys: OneTimeKeys,
        sessions: OlmSessions,
    ) -> None:
        self._database = database
        self._server = server
        self._me = me
        self._establishment = establishment
        self._arrivals = arrivals
        self._one_time_keys = one_time_keys
        self._sessions = sessions
        self.exclusive = asyncio.Lock()
        """Held during a sync, and while the device is made."""
        self._long: asyncio.Task[dict[str, Any]] | None = None
        """The poll, where it waits at the homeserver."""
        self._wanted = 0
        """How many want the device to themselves."""
        self._news = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._done = 0
        self._loop: asyncio.Task[Any] | None = None
        self._poll: asyncio.Task[dict[str, Any]] | None = None
        self._stopping = asyncio.Event()
        self._probes: dict[str, bool] = {}

    # --- for as long as the service runs ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sync until `stop` or cancellation; failures are waited out, longer and longer up to a minute."""
        self._loop = asyncio.current_task()
        backoff = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    await self.once(timeout_ms=POLL_MS)
                    backoff = 0.0
                except OldDatabase:
                    raise
                except Exception as error:  # whatever it is, the announcer goes on listening
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
            async with self.exclusive:
                await self._establishment.mend()
        except (MatrixError, ConfigError) as error:
            log.warning("the announcer's device could not be made again: %s", error)
            return False
        return True

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

    @asynccontextmanager
    async def interrupted(self) -> AsyncIterator[None]:
        """Have the device to oneself, without waiting until something comes from the homeserver."""
        self._wanted += 1
        try:
            if self._long is not None:
                self._long.cancel()
            async with self.exclusive:
                yield
        finally:
            self._wanted -= 1

    # --- one sync -----------------------------------------------------------------------------------------------------

    async def once(self, *, timeout_ms: int = 0) -> None:
        """Fetch and commit what has come; also for a command that runs without the loop.

        Args:
            timeout_ms: how long the homeserver may wait for something to come; somebody who wants the device to
                themselves may end that, and then nothing has come.

        Raises:
            MatrixError: the homeserver cannot be asked, or refuses.
            OldDatabase: the database is an old copy.
        """
        with suppress(_BrokenOff):
            await self._fetch(timeout_ms)
        async with self._news:
            self._done += 1
            self._news.notify_all()

    async def _fetch(self, timeout_ms: int) -> None:
        async with self.exclusive if timeout_ms else self.interrupted():
            row = await self._establishment.finish()
            answer = await self._ask(row.next_batch, timeout_ms)
            self._note_probes(answer)
            broken = await self._arrivals.take_in(answer)
            await self._one_time_keys.keep(answer)
            await self._establishment.count_hourly()
            await self._sessions.begin_anew(broken)

    async def _ask(self, since: str | None, timeout_ms: int) -> dict[str, Any]:
        wait_ms = 0 if self._stopping.is_set() or self._wanted else timeout_ms
        poll = self._poll = asyncio.create_task(self._server.sync(since, timeout_ms=wait_ms))
        self._long = poll if wait_ms else None
        try:
            return await poll
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._wanted and poll.cancelled() and not (task and task.cancelling()):
                raise _BrokenOff from None
            raise
        finally:
            self._poll = self._long = None

    # --- waiting for what it brings -----------------------------------------------------------------------------------

    async def wait_for_key(self, room_id: str, session_id: str, deadline_seconds: float) -> bool:
        """Wait until a room key is here, at most so long; whether it is."""
        self._hurry.set()
        end = asyncio.get_running_loop().time() + deadline_seconds
        while True:
            seen = self._done
            async with self._database.transaction() as tx:
                if await store.has_inbound(tx, room_id, session_id):
                    return True
            if not await self._wait(seen, end):
                return False

    async def probe(self, device_id: str, deadline_seconds: float) -> bool:
        """Send a to-device message to our own device; whether it arrives within that time.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        nonce = secrets.token_urlsafe(12)
        end = asyncio.get_running_loop().time() + deadline_seconds
        self._probes[nonce] = False
        try:
            await self._server.send_to_device(PROBE, nonce, {self._me: {device_id: {"nonce": nonce}}})
            while not self._probes[nonce]:
                seen = self._done
                if self._loop is None:
                    await self.once(timeout_ms=1000)
                if not self._probes[nonce] and not await self._wait(seen, end):
                    return False
            return True
        finally:
            del self._probes[nonce]

    def _note_probes(self, answer: Mapping[str, Any]) -> None:
        for nonce in (probe_of(event, self._me) for event in events_of(answer)):
            if nonce in self._probes:
                self._probes[nonce] = True

    async def _wait(self, seen: int, end: float) -> bool:
        """Wait until more syncs are committed than `seen`; False once `end` on the loop's clock has passed."""
        if asyncio.get_running_loop().time() >= end:
            return False
        try:
            async with asyncio.timeout_at(end), self._news:
                await self._news.wait_for(lambda: self._done != seen)
        except TimeoutError:
            return False
        return True
