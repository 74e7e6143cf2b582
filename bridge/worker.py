"""Does the jobs: in order within a lane (a room), lanes beside each other.

One process owns the database, so nothing is leased: a job that was begun and not finished is simply still there after a
crash, and runs again with the same id, which the homeserver knows as a transaction id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from bridge.core.errors import CannotEncrypt, CommunitiesError, MailError, MatrixError, RateLimited
from bridge.core.messages import Job
from bridge.ports import Clock
from bridge.store.database import Transaction
from bridge.store.jobs import Jobs, StoredJob, decode
from bridge.store.outage import is_outage

log = logging.getLogger(__name__)

T = TypeVar("T")

LANES = 8
IN_A_ROW = 10
"""How many jobs of one lane are done before another lane gets its turn."""
LOOK_AGAIN_SECONDS = 60.0
ASKED_MARGIN_SECONDS = 0.05
"""Beyond the time that a homeserver asked to be left alone."""
MAX_REASON_LENGTH = 500

Complete = Callable[[Transaction], Awaitable[None]]
"""Takes the job away within the database transaction that records what it did, so that both happen or neither."""
JobHandler = Callable[[str, Job, Complete], Awaitable[None]]
"""Does one job, given its id. A handler that never calls `complete` has its job taken away when it returns."""
Park = Callable[[Transaction], Awaitable[bool]]
"""Gives the job up within the database transaction that tells of it, so that both happen or neither; whether it was
not given up before."""
OnParked = Callable[[str, Job | None, str, Park], Awaitable[None]]
"""Told the id of a job that is given up, the job (None if it cannot be decoded) and the reason. If it never calls
`park`, the job is parked when it returns."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How often a job is tried that fails in a way that passes."""

    attempts: int = 20
    first_backoff_seconds: float = 1.0
    longest_backoff_seconds: float = 300.0
    handler_seconds: float = 3600.0
    """For one run of a handler."""


class State(StrEnum):
    """How a job stands."""

    DONE = "done"
    PARKED = "parked"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job stands, and why it is not done."""

    state: State
    reason: str = ""


class Worker:
    """Runs jobs until it is stopped."""

    def __init__(
        self,
        *,
        jobs: Jobs,
        handler: JobHandler,
        clock: Clock,
        on_parked: OnParked | None = None,
        lanes: int = LANES,
        persistence: Persistence | None = None,
    ) -> None:
        self._jobs = jobs
        self._handler = handler
        self._clock = clock
        self._on_parked = on_parked
        self._max_lanes = lanes
        self._persistence = persistence or Persistence()
        self._wanted = asyncio.Event()
        self._stopping = False
        self._loop: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._awaited: dict[str, list[asyncio.Future[Outcome]]] = {}

    # --- the outside -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._stopping = False
        self.wake()
        self._loop = asyncio.create_task(self._run(), name="worker")

    async def stop(self, grace_seconds: float = 10.0) -> None:
        """Let jobs that run come to an end, then stop; what is not done is done after the next start."""
        self._stopping = True
        idle = [task for task in self._busy.values() if task not in self._running]
        await _cancel([*idle, *([self._loop] if self._loop else [])])
        self._loop = None
        if self._busy:
            await asyncio.wait(list(self._busy.values()), timeout=grace_seconds)
        await _cancel(list(self._busy.values()))

    def wake(self) -> None:
        """A job was added and committed: look now."""
        self._wanted.set()

    async def wait_done(self, job_id: str, deadline_seconds: float) -> Outcome:
        """Wait until a job that was added (and committed) is done or given up, or the deadline is over."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(job_id, []).append(future)
        try:
            outcome = await self._outcome(job_id)
            if outcome.state is not State.WAITING:
                return outcome
            async with asyncio.timeout(deadline_seconds):
                return await future
        except TimeoutError:
            return await self._outcome(job_id)
        finally:
            waiting = self._awaited[job_id]
            waiting.remove(future)
            if not waiting:
                del self._awaited[job_id]

    async def _outcome(self, job_id: str) -> Outcome:
        stored = await self._jobs.find(job_id)
        if stored is None:
            return Outcome(State.DONE)
        if stored.parked is not None:
            return Outcome(State.PARKED, stored.parked)
        return Outcome(State.WAITING, stored.failure or "")

    # --- lanes -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            seconds = await self._insist("read the jobs", self._begin_what_is_due)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):  # wait_for of Python 3.11 can swallow a cancellation
                    await self._wanted.wait()

    async def _begin_what_is_due(self) -> float:
        """Start lanes as far as there is room; give how many seconds to sleep at most."""
        if len(self._busy) >= self._max_lanes:
            return LOOK_AGAIN_SECONDS
        now = self._clock.now_ms()
        for job in await self._jobs.heads(now, self._max_lanes + len(self._busy)):
            if job.lane not in self._busy and len(self._busy) < self._max_lanes:
                self._begin(job.lane)
        due = await self._jobs.next_due(now)
        if due is None:
            return LOOK_AGAIN_SECONDS
        return min(LOOK_AGAIN_SECONDS, max(0.0, (due - self._clock.now_ms()) / 1000))

    def _begin(self, lane: str) -> None:
        def done(_: object) -> None:
            del self._busy[lane]
            self.wake()

        task = self._busy[lane] = asyncio.create_task(self._work_off(lane), name=f"lane {lane}")
        task.add_done_callback(done)

    async def _work_off(self, lane: str) -> None:
        for _ in range(IN_A_ROW):
            # Read with the lane to oneself: what was seen before may have been done by then.
            job = await self._insist("read the next job", partial(self._jobs.head, lane, self._clock.now_ms()))
            if job is None or self._stopping:
                return
            await self._do(job)

    # --- one job ---------------------------------------------------------------------------------------------------

    async def _do(self, stored: StoredJob) -> None:
        job: Job | None = None
        try:
            job = decode(stored.kind, stored.body)
            completed = await self._run_handler(stored, job)
        except Exception as error:  # noqa: BLE001 - whatever a handler does, the lane goes on
            await self._failed(stored, job, error)
            return
        if not completed:
            await self._insist("take a job that is done away", partial(self._jobs.finish, stored.id))
        self._tell(stored.id, Outcome(State.DONE))

    async def _run_handler(self, stored: StoredJob, job: Job) -> bool:
        """Run the handler; whether it took the job away itself."""
        completed = False

        async def complete(tx: Transaction) -> None:
            nonlocal completed
            await self._jobs.complete(tx, stored.id)
            completed = True

        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            async with asyncio.timeout(self._persistence.handler_seconds):
                await self._handler(stored.id, job, complete)
        except asyncio.CancelledError:
            if task.cancelling():
                raise
            raise RuntimeError("the handler was cancelled from within") from None
        finally:
            self._running.discard(task)
        return completed

    async def _failed(self, stored: StoredJob, job: Job | None, error: Exception) -> None:
        reason = _reason(error)
        attempts = stored.attempts + 1
        if _passes(error) and (attempts < self._persistence.attempts or _is_told_to_wait(error)):
            seconds = self._backoff(attempts, error)
            log.warning("job %s: %s; again in %.1f s (attempt %d)", stored.id, reason, seconds, attempts)
            due_at = self._clock.now_ms() + int(seconds * 1000)
            if not await self._insist("postpone a job", partial(self._jobs.postpone, stored.id, due_at, reason)):
                self._tell(stored.id, Outcome(State.DONE))  # it was, and the database's answer to that was lost
            return
        log.error("job %s is given up after %d attempts: %s", stored.id, attempts, reason, exc_info=error)
        await self._insist("park a job", partial(self._give_up, stored, job, reason))
        self._tell(stored.id, Outcome(State.PARKED, reason))

    async def _give_up(self, stored: StoredJob, job: Job | None, reason: str) -> None:
        parked = False

        async def park(tx: Transaction) -> bool:
            nonlocal parked
            parked = True
            return await self._jobs.park_within(tx, stored.id, reason)

        try:
            if self._on_parked is not None:
                await self._on_parked(stored.id, job, reason, park)
        except Exception as error:
            if is_outage(error):
                raise
            log.exception("that job %s was given up could not be reported", stored.id)
            parked = False
        if not parked:
            await self._jobs.park(stored.id, reason)

    def _tell(self, job_id: str, outcome: Outcome) -> None:
        for future in self._awaited.get(job_id, ()):
            if not future.done():
                future.set_result(outcome)

    def _backoff(self, attempts: int, error: Exception | None = None) -> float:
        persistence = self._persistence
        own: float = min(
            persistence.longest_backoff_seconds, persistence.first_backoff_seconds * 2 ** min(attempts - 1, 20)
        )
        own *= 0.75 + random.random() / 2  # noqa: S311 - spreads retries, protects nothing
        if isinstance(error, RateLimited) and error.seconds > 0:  # it is no failure, so there is no backing off further
            return min(error.seconds, persistence.longest_backoff_seconds) + ASKED_MARGIN_SECONDS
        return own

    async def _insist(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """Do something with the database, however long it is away."""
        tries = 0
        while True:
            try:
                return await action()
            except Exception as error:
                tries += 1
                if tries == 1:
                    log.warning("cannot %s now: %s", what, _reason(error), exc_info=not is_outage(error))
                await asyncio.sleep(min(15.0, self._backoff(tries)))


def _passes(error: Exception) -> bool:
    if isinstance(error, MatrixError | MailError):
        return error.retry_helps
    return isinstance(error, CannotEncrypt) or (is_outage(error))


def _is_told_to_wait(error: Exception) -> bool:
    """Whether the homeserver says itself when to come back: then its word counts, and not the number of tries."""
    return isinstance(error, RateLimited) and error.seconds > 0


def _reason(error: Exception) -> str:
    """Why a job failed: in the words that are meant for people, where there are any."""
    text = error.what if isinstance(error, CommunitiesError) else f"{type(error).__name__}: {error}"
    return text[:MAX_REASON_LENGTH]


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
