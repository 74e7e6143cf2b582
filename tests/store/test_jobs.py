"""Jobs are kept, done in order, tried again where it helps, and given up where it does not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import CannotEncrypt, Forbidden, RateLimited, StoreError, Unreachable
from bridge.core.ids import CommunityId, DeviceId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import (
    AskToJoin,
    DeliverAnnouncement,
    Job,
    LetIn,
    RedactEvent,
    SendMessage,
    TakeBackState,
)
from bridge.store import sendings
from bridge.store.database import Database
from bridge.store.jobs import KINDS, Jobs, Undecodable, decode, encode
from bridge.worker import Complete, Outcome, Park, Persistence, State, Worker
from tests.harness.wait import eventually

NOW = 1_000_000
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)
JOBS = st.one_of(
    st.builds(SendMessage, WORDS.map(RoomId), st.dictionaries(WORDS, JSON, max_size=4)),
    st.builds(DeliverAnnouncement, WORDS, WORDS.map(CommunityId), WORDS.map(RoomId)),
    st.builds(RedactEvent, WORDS.map(RoomId), WORDS.map(EventId), WORDS),
    st.builds(TakeBackState, WORDS.map(RoomId), WORDS.map(EventId), WORDS, WORDS),
    st.builds(LetIn, WORDS, WORDS.map(CommunityId), WORDS.map(UserId)),
    st.builds(
        AskToJoin, WORDS.map(CommunityId), WORDS.map(UserId), WORDS, WORDS, st.lists(WORDS.map(RoomKeyName)).map(tuple)
    ),
)


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


def job(name: str = "x") -> Job:
    return RedactEvent(RoomId("!room"), EventId("$event"), name)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


async def add(database: Database, jobs: Jobs, *names: str, lane: str = "!a", due_at: int = 0) -> None:
    async with database.transaction() as tx:
        for name in names:
            await jobs.add(tx, name, lane, job(name), due_at)


# --- on disk -------------------------------------------------------------------------------------------------------


@given(JOBS)
def test_a_job_comes_back_as_it_went(one: Job) -> None:
    kind, body = encode(one)
    assert decode(kind, body) == one


def test_a_job_from_before_it_had_a_field_is_understood() -> None:
    kind, body = encode(AskToJoin(CommunityId("school"), UserId("@ann:example.org"), "link", "k3x9"))
    fields = json.loads(body)
    del fields["words"]
    assert decode("ask_to_join.1", json.dumps(fields)) == decode(kind, body)


def test_every_job_has_a_kind() -> None:
    assert set(KINDS.values()) == set(get_args(Job))


@pytest.mark.parametrize(("kind", "body"), [
    ("unheard_of.1", "{}"),
    ("redact_event.1", "no json"),
    ("redact_event.1", "[]"),
    ("redact_event.1", '{"room_id": "!r", "event_id": "$e"}'),
    ("redact_event.1", '{"room_id": "!r", "event_id": "$e", "reason": 3}'),
    ("redact_event.1", '{"room_id": "!r", "event_id": "$e", "reason": "", "more": 1}'),
    ("send_message.1", '{"room_id": "!r", "content": []}'),
])  # fmt: skip
def test_what_cannot_be_decoded_says_why(kind: str, body: str) -> None:
    with pytest.raises(Undecodable, match=kind):
        decode(kind, body)


async def test_a_job_is_added_once(database: Database, jobs: Jobs) -> None:
    async with database.transaction() as tx:
        assert await jobs.add(tx, "one", "!a", job("first"), 0)
        assert not await jobs.add(tx, "one", "!b", job("second"), 0)
    stored = await jobs.find("one")
    assert stored is not None
    assert decode(stored.kind, stored.body) == job("first")
    assert await jobs.waiting() == 1


async def test_a_job_is_added_with_what_its_adder_wrote_or_not_at_all(database: Database, jobs: Jobs) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            await jobs.add(tx, "one", "!a", job(), 0)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await jobs.find("one") is None


async def test_each_lane_has_one_head(database: Database, jobs: Jobs) -> None:
    await add(database, jobs, "a1", "a2", lane="!a", due_at=NOW)
    await add(database, jobs, "b1", "b2", lane="!b", due_at=NOW - 1)
    assert [head.id for head in await jobs.heads(NOW, 10)] == ["b1", "a1"]
    assert [head.id for head in await jobs.heads(NOW, 1)] == ["b1"]
    await jobs.park("a1", "broken")
    await jobs.finish("b1")
    assert [head.id for head in await jobs.heads(NOW, 10)] == ["b2", "a2"]


async def test_a_job_for_later_holds_nobody_up_and_one_being_retried_does(database: Database, jobs: Jobs) -> None:
    await add(database, jobs, "later", due_at=NOW + 60_000)
    await add(database, jobs, "now", "next", due_at=NOW)
    assert [head.id for head in await jobs.heads(NOW, 10)] == ["now"]
    await jobs.postpone("now", NOW + 500, "Unreachable")
    assert await jobs.heads(NOW, 10) == []
    assert await jobs.head("!a", NOW) is None
    assert await jobs.next_due(NOW) == NOW + 500
    assert [head.id for head in await jobs.heads(NOW + 500, 10)] == ["now"]
    await jobs.finish("now")
    head = await jobs.head("!a", NOW)
    assert head is not None
    assert head.id == "next"
    await jobs.finish("next")
    assert await jobs.next_due(NOW) == NOW + 60_000
    assert [head.id for head in await jobs.heads(NOW + 60_000, 10)] == ["later"]


async def test_what_waits_can_be_set_aside(database: Database, jobs: Jobs) -> None:
    await add(database, jobs, "a", "b")
    await jobs.park("a", "hopeless")
    assert await jobs.set_aside("an old copy") == 1
    assert await jobs.waiting() == 0
    assert {one.id: one.parked for one in await jobs.parked()} == {"a": "hopeless", "b": "an old copy"}


async def test_parked_jobs_are_listed_and_released(database: Database, jobs: Jobs) -> None:
    await add(database, jobs, "one")
    await jobs.park("one", "Forbidden: no")
    assert [(parked.id, parked.parked) for parked in await jobs.parked()] == [("one", "Forbidden: no")]
    assert await jobs.waiting() == 0
    assert await jobs.release("one", NOW)
    assert not await jobs.release("one", NOW)
    assert [head.id for head in await jobs.heads(NOW, 10)] == ["one"]


# --- being done ----------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A worker, and what its handler was asked to do."""

    database: Database
    jobs: Jobs
    done: list[str] = field(default_factory=list)
    parked: list[tuple[str, Job | None, str]] = field(default_factory=list)
    behave: Callable[[str, Complete], Awaitable[None]] | None = None

    async def handle(self, job_id: str, one: Job, complete: Complete) -> None:
        assert one == job(job_id)
        if self.behave is not None:
            await self.behave(job_id, complete)
        self.done.append(job_id)

    async def on_parked(self, job_id: str, one: Job | None, reason: str, park: Park) -> None:
        await self.telling(job_id, park)
        self.parked.append((job_id, one, reason))

    async def telling(self, job_id: str, park: Park) -> None:
        """What is told of a job that is given up; tests say what."""

    def worker(self, *, lanes: int = 8, attempts: int = 20, backoff: float = 0.01) -> Worker:
        persistence = Persistence(attempts=attempts, first_backoff_seconds=backoff, longest_backoff_seconds=0.05)
        return Worker(
            jobs=self.jobs,
            handler=self.handle,
            clock=SystemClock(),
            on_parked=self.on_parked,
            lanes=lanes,
            persistence=persistence,
        )

    async def add(self, *names: str, lane: str = "!a", due_at: int = 0) -> None:
        await add(self.database, self.jobs, *names, lane=lane, due_at=due_at)

    async def all_done(self) -> None:
        await eventually(self.none_waits, what="no job to wait")

    async def none_waits(self) -> bool:
        return await self.jobs.waiting() == 0


@pytest.fixture
def bench(database: Database, jobs: Jobs) -> Bench:
    return Bench(database, jobs)


@pytest.fixture
async def worker(bench: Bench) -> AsyncIterator[Worker]:
    worker = bench.worker()
    await worker.start()
    yield worker
    await worker.stop()


async def test_lanes_keep_their_order(bench: Bench, worker: Worker) -> None:
    for number in range(15):
        await bench.add(f"a{number}", lane="!a")
        await bench.add(f"b{number}", lane="!b")
    worker.wake()
    await bench.all_done()
    for lane in "ab":
        assert [name for name in bench.done if name[0] == lane] == [f"{lane}{number}" for number in range(15)]


async def test_a_job_is_done_as_soon_as_it_is_added(bench: Bench, worker: Worker) -> None:
    for name in ("one", "two"):
        await bench.add(name)
        worker.wake()
        assert await worker.wait_done(name, 10) == Outcome(State.DONE)


async def test_a_job_waits_for_its_time(bench: Bench, worker: Worker) -> None:
    due_at = SystemClock().now_ms() + 200
    await bench.add("later", due_at=due_at)
    worker.wake()
    assert await worker.wait_done("later", 10) == Outcome(State.DONE)
    assert SystemClock().now_ms() >= due_at


async def test_a_lane_that_hangs_holds_up_no_other(bench: Bench, worker: Worker) -> None:
    free = asyncio.Event()

    async def behave(job_id: str, complete: Complete) -> None:
        if job_id == "stuck":
            await free.wait()

    bench.behave = behave
    await bench.add("stuck", lane="!a")
    await bench.add("behind", lane="!a")
    await bench.add("beside", lane="!b")
    worker.wake()
    assert await worker.wait_done("beside", 10) == Outcome(State.DONE)
    assert await worker.wait_done("stuck", 0) == Outcome(State.WAITING)
    free.set()
    assert await worker.wait_done("behind", 10) == Outcome(State.DONE)
    assert bench.done == ["beside", "stuck", "behind"]


async def test_lanes_run_beside_each_other_up_to_a_limit(bench: Bench) -> None:
    begun: list[str] = []
    free = asyncio.Event()

    async def behave(job_id: str, complete: Complete) -> None:
        begun.append(job_id)
        await free.wait()

    bench.behave = behave
    for number in range(5):
        await bench.add(f"job{number}", lane=f"!{number}")
    worker = bench.worker(lanes=3)
    await worker.start()
    await eventually(lambda: len(begun) == 3, what="three lanes")
    await bench.add("more", lane="!more")
    worker.wake()
    assert await worker.wait_done("more", 0.1) == Outcome(State.WAITING)
    assert len(begun) == 3
    free.set()
    await bench.all_done()
    assert len(bench.done) == 6
    await worker.stop()


@pytest.mark.parametrize("error", [
    Unreachable("away"),
    RateLimited("slowly"),
    CannotEncrypt("keys are not ready"),
    StoreError("locked"),
    ConnectionResetError(),
])  # fmt: skip
async def test_what_passes_is_tried_again_in_order(bench: Bench, worker: Worker, error: Exception) -> None:
    attempts = 0

    async def behave(job_id: str, complete: Complete) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise error

    bench.behave = behave
    await bench.add("one", "two")
    worker.wake()
    await bench.all_done()
    assert bench.done == ["one", "two"]
    assert attempts == 5
    assert bench.parked == []


async def test_what_never_passes_is_given_up_in_the_end(bench: Bench) -> None:
    attempts = 0

    async def behave(job_id: str, complete: Complete) -> None:
        nonlocal attempts
        if job_id == "one":
            attempts += 1
            raise Unreachable("away")

    bench.behave = behave
    worker = bench.worker(attempts=4)
    await bench.add("one", "two")
    await worker.start()
    assert await worker.wait_done("two", 10) == Outcome(State.DONE)
    assert await worker.wait_done("one", 10) == Outcome(State.PARKED, "away")
    assert attempts == 4
    await worker.stop()


async def test_who_is_told_to_wait_keeps_the_place_and_is_never_given_up(bench: Bench) -> None:
    told, order = 0, list[str]()

    async def behave(job_id: str, complete: Complete) -> None:
        nonlocal told
        if job_id == "one" and told < 5:
            told += 1
            error = RateLimited("slowly")
            error.seconds = 0.001
            raise error
        order.append(job_id)

    bench.behave = behave
    worker = bench.worker(attempts=2)
    await bench.add("one", "two")
    await worker.start()
    assert await worker.wait_done("two", 10) == Outcome(State.DONE)
    assert (told, order, bench.parked) == (5, ["one", "two"], [])
    await worker.stop()


@pytest.mark.parametrize("error", [Forbidden("no power"), ValueError("a bug"), asyncio.CancelledError()])
async def test_what_cannot_be_helped_is_given_up_at_once(bench: Bench, worker: Worker, error: BaseException) -> None:
    async def behave(job_id: str, complete: Complete) -> None:
        if job_id == "one":
            raise error

    bench.behave = behave
    await bench.add("one", "two")
    worker.wake()
    outcome = await worker.wait_done("one", 10)
    assert outcome.state is State.PARKED
    assert await worker.wait_done("two", 10) == Outcome(State.DONE)
    assert [(job_id, one) for job_id, one, _ in bench.parked] == [("one", job("one"))]
    assert bench.parked[0][2] == outcome.reason


async def test_a_job_is_given_up_together_with_what_tells_of_it(bench: Bench, worker: Worker) -> None:
    tries: list[bool] = []

    async def telling(job_id: str, park: Park) -> None:
        async with bench.database.transaction() as tx:
            tries.append(await park(tx))
            await bench.jobs.add(tx, f"told {len(tries)}", "!chat", job(f"told {len(tries)}"), 0)
            if len(tries) == 1:
                raise StoreError("the database is gone for a moment")

    async def behave(job_id: str, complete: Complete) -> None:
        if job_id == "one":
            raise Forbidden("no power")

    bench.telling, bench.behave = telling, behave  # type: ignore[method-assign]
    await bench.add("one", "two")
    worker.wake()
    assert (await worker.wait_done("one", 10)).state is State.PARKED
    await bench.all_done()
    assert tries == [True, True], "what was rolled back is told again, and not lost"
    assert sorted(bench.done) == ["told 2", "two"]
    async with bench.database.transaction() as tx:
        assert not await bench.jobs.park_within(tx, "one", "again")


async def test_a_job_is_given_up_also_where_telling_fails(bench: Bench, worker: Worker) -> None:
    async def telling(job_id: str, park: Park) -> None:
        async with bench.database.transaction() as tx:
            await park(tx)
            raise ValueError("a bug")

    async def behave(job_id: str, complete: Complete) -> None:
        raise Forbidden("no power")

    bench.telling, bench.behave = telling, behave  # type: ignore[method-assign]
    await bench.add("one")
    worker.wake()
    assert (await worker.wait_done("one", 10)).state is State.PARKED
    assert [one.id for one in await bench.jobs.parked()] == ["one"]


async def test_what_a_job_sends_is_known_until_it_is_done_or_dropped(database: Database, jobs: Jobs) -> None:
    room, names = RoomId("!a"), ("one", "one~part~1", "one-more", "two", "three~part~1", "stray")
    await add(database, jobs, "one", "one-more", "two", "three")
    async with database.transaction() as tx:
        for number, name in enumerate(names):
            for seal in ("first", "second"):
                await sendings.note(
                    tx, room, name, device_id=DeviceId("D"), seal=seal, devices=number, now=NOW + number
                )
        found = await sendings.find(tx, room, "one~part~1")
        assert found == sendings.Sending(DeviceId("D"), NOW + 1, frozenset({"first", "second"}), 1)
        assert await sendings.find(tx, RoomId("!b"), "one") is None

    async def known() -> set[str]:
        async with database.transaction() as tx:
            return {row["txn_id"] for row in await tx.fetch("SELECT txn_id FROM sending")}

    await jobs.finish("one")
    assert known_but(names, "one") == await known()
    await jobs.park("two", "no power")
    assert await jobs.release("two", NOW)
    assert "two" in await known(), "it may have arrived, however long it lay"
    await jobs.park("two", "no power")
    assert await jobs.drop("two")
    assert known_but(names, "one", "two") == await known()
    async with database.transaction() as tx:
        await sendings.sweep(tx)
    assert await known() == {"one-more", "three~part~1"}


def known_but(names: Sequence[str], *gone: str) -> set[str]:
    return set(names) - set(gone)


async def test_a_job_of_another_version_is_given_up(bench: Bench, worker: Worker) -> None:
    async with bench.database.transaction() as tx:
        await tx.execute("INSERT INTO job (id, lane, kind, body, due_at) VALUES ('old', '!a', 'gone.1', '{}', 0)")
    await bench.add("two")
    worker.wake()
    assert await worker.wait_done("two", 10) == Outcome(State.DONE)
    assert await worker.wait_done("old", 10) == Outcome(State.PARKED, "Undecodable: no such kind of job: gone.1")
    assert bench.parked == [("old", None, "Undecodable: no such kind of job: gone.1")]


async def test_a_job_is_gone_together_with_what_records_it(bench: Bench, worker: Worker) -> None:
    attempts = 0

    async def behave(job_id: str, complete: Complete) -> None:
        nonlocal attempts
        attempts += 1
        async with bench.database.transaction() as tx:
            await tx.execute("INSERT INTO chat (room_id, user_id, at) VALUES ($1, 'x', 0)", str(attempts))
            await complete(tx)
            if attempts == 1:
                raise Unreachable("cut")

    bench.behave = behave
    await bench.add("one")
    worker.wake()
    assert await worker.wait_done("one", 10) == Outcome(State.DONE)
    async with bench.database.transaction() as tx:
        assert [row[0] for row in await tx.fetch("SELECT room_id FROM chat")] == ["2"]


async def test_who_waits_for_a_job_hears_that_it_is_done_also_where_the_databases_answer_was_lost(
    bench: Bench, worker: Worker
) -> None:
    async def behave(job_id: str, complete: Complete) -> None:
        async with bench.database.transaction() as tx:
            await complete(tx)
        raise ConnectionResetError("cut while it was committed")

    bench.behave = behave
    await bench.add("one")
    waiting = asyncio.create_task(worker.wait_done("one", 600))
    await eventually(lambda: "one" in worker._awaited, what="somebody to wait")
    worker.wake()
    assert await asyncio.wait_for(waiting, 10) == Outcome(State.DONE)


async def test_what_was_begun_is_done_after_a_restart(bench: Bench, url: str) -> None:
    begun = asyncio.Event()

    async def hang(job_id: str, complete: Complete) -> None:
        begun.set()
        await asyncio.Event().wait()

    bench.behave = hang
    await bench.add("one", "two")
    worker = bench.worker()
    await worker.start()
    await begun.wait()
    await worker.stop(grace_seconds=0)
    assert bench.done == []
    again = Database(url)
    await again.start()
    after = Bench(again, Jobs(again))
    worker = after.worker()
    await worker.start()
    await after.all_done()
    assert after.done == ["one", "two"]
    await worker.stop()
    await again.stop()


async def test_stopping_lets_a_job_come_to_its_end(bench: Bench) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def behave(job_id: str, complete: Complete) -> None:
        begun.set()
        await end.wait()

    bench.behave = behave
    await bench.add("one", "two")
    worker = bench.worker()
    await worker.start()
    await begun.wait()
    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    end.set()
    await stopping
    assert bench.done == ["one"]
    assert await bench.jobs.find("one") is None
    assert await bench.jobs.find("two") is not None


async def test_what_is_planned_for_later_is_hastened_in_its_lane_alone(database: Database, jobs: Jobs) -> None:
    async with database.transaction() as tx:
        for name, lane, due in (("a", "one", 50), ("b", "one", 90), ("c", "two", 50), ("d", "one", 5)):
            await jobs.add(tx, name, lane, job(name), due)
    await jobs.park("b", "given up")
    async with database.transaction() as tx:
        assert await jobs.hasten(tx, "one", 10)
        assert not await jobs.hasten(tx, "one", 10)
        assert not await jobs.hasten(tx, "three", 10)
        rows = await tx.fetch("SELECT id, due_at FROM job ORDER BY id")
    assert {row["id"]: row["due_at"] for row in rows} == {"a": 10, "b": 90, "c": 50, "d": 5}
