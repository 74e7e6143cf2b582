"""Work to do, durable: added in the database transaction of whoever wants it done, gone in that of whoever did it."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.core.messages import (
    Announce,
    AnswerRequest,
    AskToAcknowledge,
    AskToJoin,
    ChangeMembership,
    CloseAcknowledgement,
    CloseCopies,
    CountPoll,
    Deactivate,
    DeliverAnnouncement,
    EditCopy,
    EndBallot,
    EndBallots,
    EndPoll,
    ExpireDraft,
    ExpireRequest,
    GiveHistory,
    Job,
    KeepPins,
    LetIn,
    LookAfterEvent,
    MakeGroup,
    PlaceOptions,
    PostAgain,
    PostCard,
    PrepareEvent,
    RedactEvent,
    ReleaseGroup,
    RemindOfRequest,
    RemindOne,
    RemindToAcknowledge,
    RunSchedule,
    SayWelcome,
    SeatPeople,
    SendBallot,
    SendBallots,
    SendDigest,
    SendFigures,
    SendLetter,
    SendMembers,
    SendMessage,
    ShareKeys,
    ShowDraft,
    ShowEvent,
    ShowLink,
    ShowPoll,
    ShutAnnouncerOut,
    TakeBackState,
    TellAuthor,
    TendThread,
    Welcome,
    WithdrawCopy,
)
from bridge.store import sendings
from bridge.store.database import Database, Row, Transaction

KINDS: dict[str, type[Job]] = {
    "send_message.1": SendMessage,
    "deliver_announcement.2": DeliverAnnouncement,
    "announce.1": Announce,
    "shut_announcer_out.1": ShutAnnouncerOut,
    "close_copies.1": CloseCopies,
    "tell_author.1": TellAuthor,
    "edit_copy.1": EditCopy,
    "withdraw_copy.1": WithdrawCopy,
    "keep_pins.1": KeepPins,
    "post_again.1": PostAgain,
    "ask_to_acknowledge.1": AskToAcknowledge,
    "remind_to_acknowledge.1": RemindToAcknowledge,
    "remind_one.1": RemindOne,
    "close_acknowledgement.1": CloseAcknowledgement,
    "send_figures.1": SendFigures,
    "show_draft.1": ShowDraft,
    "expire_draft.1": ExpireDraft,
    "redact_event.1": RedactEvent,
    "share_keys.1": ShareKeys,
    "take_back_state.1": TakeBackState,
    "give_history.1": GiveHistory,
    "change_membership.1": ChangeMembership,
    "let_in.1": LetIn,
    "ask_to_join.2": AskToJoin,
    "post_card.1": PostCard,
    "answer_request.1": AnswerRequest,
    "remind_of_request.1": RemindOfRequest,
    "expire_request.1": ExpireRequest,
    "welcome.1": Welcome,
    "say_welcome.1": SayWelcome,
    "release_group.1": ReleaseGroup,
    "deactivate.1": Deactivate,
    "show_link.1": ShowLink,
    "send_members.1": SendMembers,
    "make_group.1": MakeGroup,
    "send_digest.1": SendDigest,
    "run_schedule.1": RunSchedule,
    "tend_thread.1": TendThread,
    "place_options.1": PlaceOptions,
    "show_poll.1": ShowPoll,
    "count_poll.1": CountPoll,
    "end_poll.1": EndPoll,
    "send_ballots.1": SendBallots,
    "send_ballot.1": SendBallot,
    "end_ballots.1": EndBallots,
    "end_ballot.1": EndBallot,
    "prepare_event.1": PrepareEvent,
    "seat_people.1": SeatPeople,
    "show_event.1": ShowEvent,
    "look_after_event.1": LookAfterEvent,
    "send_letter.1": SendLetter,
}
"""Kind names on disk. When the fields of a job change, its name is raised and the old one gets a decoder of its own."""

OLDER: dict[str, tuple[str, dict[str, Any]]] = {
    "ask_to_join.1": ("ask_to_join.2", {"words": ""}),
    "deliver_announcement.1": ("deliver_announcement.2", {"place": ""}),
}
"""Names of jobs from before they had a field, with today's name and what it is then."""

LOOKING = ("share_keys.1", "give_history.1")
"""Jobs that bring something up to what is there when they are done."""

_NAMES = {kind: name for name, kind in KINDS.items()}
_COLUMNS = "seq, id, lane, kind, body, due_at, attempts, failure, parked"


class Undecodable(ValueError):
    """A stored job that this version does not understand."""


def encode(job: Job) -> tuple[str, str]:
    """The kind name and the JSON of a job."""
    kind = _NAMES[type(job)]
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    return kind, orjson.dumps(fields, default=_plain).decode()


def decode(kind: str, body: str) -> Job:
    """The job of a stored row.

    Raises:
        Undecodable: an unknown kind, or fields that are missing, too many or of another type.
    """
    kind, lacking = OLDER.get(kind, (kind, {}))
    if kind not in KINDS:
        raise Undecodable(f"no such kind of job: {kind}")
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Undecodable(f"{kind}: not JSON") from error
    types = _FIELDS[kind]
    if isinstance(fields, dict):
        fields = {**lacking, **fields}
    if not isinstance(fields, dict) or fields.keys() != types.keys():
        raise Undecodable(f"{kind}: other fields than {', '.join(types)}")
    for name, wanted in types.items():
        if not isinstance(fields[name], wanted) or (wanted is int and isinstance(fields[name], bool)):
            raise Undecodable(f"{kind}: {name} is not {getattr(wanted, '__name__', wanted)}")
    whole: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return KINDS[kind](**whole)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a job cannot carry {type(value).__name__}")


def _field_types(kind: type[Job]) -> dict[str, Any]:
    """What `isinstance` is asked of each field: identifiers are strings, mappings dictionaries."""
    return {name: _runtime(hint) for name, hint in typing.get_type_hints(kind).items()}


def _runtime(hint: Any) -> Any:
    hint = getattr(hint, "__supertype__", hint)
    origin = typing.get_origin(hint)
    if origin is Mapping or origin is dict:
        return dict
    if origin is tuple:
        return list
    if args := typing.get_args(hint):
        options = tuple(_runtime(option) for option in args)
        return functools.reduce(lambda one, other: one | other, options)
    return hint


_FIELDS = {name: _field_types(kind) for name, kind in KINDS.items()}


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it stands in the database."""

    seq: int
    id: str
    lane: str
    kind: str
    body: str
    due_at: int
    attempts: int
    failure: str | None
    """Why the last attempt failed."""
    parked: str | None
    """Why it was given up."""


class Jobs:
    """The durable outbox. A lane is worked off in the order in which its jobs were added."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, tx: Transaction, job_id: str, lane: str, job: Job, due_at: int) -> bool:
        """Add a job within the caller's database transaction; whether it was new.

        The id makes it happen once: adding it again while it waits changes nothing. It becomes the transaction id of
        what the job sends. `Worker.wake()` after the commit has it done at once.
        """
        kind, body = encode(job)
        row = await tx.fetch_row(
            "INSERT INTO job (id, lane, kind, body, due_at) VALUES ($1, $2, $3, $4, $5) "
            "ON CONFLICT (id) DO NOTHING RETURNING seq",
            job_id,
            lane,
            kind,
            body,
            due_at,
        )
        return row is not None

    async def complete(self, tx: Transaction, job_id: str) -> None:
        """Take a job that is done away, within the database transaction that records what it did."""
        await tx.execute("DELETE FROM job WHERE id = $1", job_id)
        await sendings.settle(tx, job_id)

    async def hasten(self, tx: Transaction, lane: str, now_ms: int) -> bool:
        """Have all jobs of a lane done at once that are planned for later; whether there is one."""
        rows = await tx.fetch(
            "UPDATE job SET due_at = $2 "
            "WHERE lane = $1 AND parked IS NULL AND attempts = 0 AND due_at > $2 RETURNING seq",
            lane,
            now_ms,
        )
        return bool(rows)

    async def lane_of(self, tx: Transaction, job_id: str) -> str | None:
        """The lane of a job that is not done; None when it is (or never was)."""
        lane: str | None = await tx.fetch_value("SELECT lane FROM job WHERE id = $1", job_id)
        return lane

    async def heads(self, now_ms: int, limit: int) -> list[StoredJob]:
        """The job that is next in each lane and due, longest due first.

        A job that was tried and waits for its next attempt holds its lane, so that order is kept. One that is only
        planned for later does not.
        """
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                f"SELECT {_COLUMNS} FROM job WHERE due_at <= $1 AND seq IN ("  # noqa: S608 - a constant
                "SELECT MIN(seq) FROM job WHERE parked IS NULL AND (attempts > 0 OR due_at <= $1) GROUP BY lane"
                ") ORDER BY due_at, seq LIMIT $2",
                now_ms,
                limit,
            )
        return [_stored(row) for row in rows]

    async def head(self, lane: str, now_ms: int) -> StoredJob | None:
        """The job that is next in one lane, if it is due."""
        async with self._database.transaction() as tx:
            row = await tx.fetch_row(
                f"SELECT {_COLUMNS} FROM job WHERE lane = $1 AND parked IS NULL "  # noqa: S608 - a constant
                "AND (attempts > 0 OR due_at <= $2) ORDER BY seq LIMIT 1",
                lane,
                now_ms,
            )
        return _stored(row) if row is not None and row["due_at"] <= now_ms else None

    async def next_due(self, now_ms: int) -> int | None:
        """When the next job that is not due yet will be."""
        async with self._database.transaction() as tx:
            at = await tx.fetch_value("SELECT MIN(due_at) FROM job WHERE parked IS NULL AND due_at > $1", now_ms)
        return None if at is None else int(at)

    async def finish(self, job_id: str) -> None:
        """`complete` in a database transaction of its own, for handlers that record nothing."""
        async with self._database.transaction() as tx:
            await self.complete(tx, job_id)

    async def postpone(self, job_id: str, due_at: int, failure: str) -> bool:
        """Count a failed attempt; the next one is at `due_at`. Whether the job is still there."""
        async with self._database.transaction() as tx:
            row = await tx.fetch_row(
                "UPDATE job SET attempts = attempts + 1, due_at = $2, failure = $3 WHERE id = $1 RETURNING seq",
                job_id,
                due_at,
                failure,
            )
        return row is not None

    async def park(self, job_id: str, reason: str) -> None:
        """Give a job up: it stays, with the reason, and its lane goes on."""
        async with self._database.transaction() as tx:
            await self.park_within(tx, job_id, reason)

    async def park_within(self, tx: Transaction, job_id: str, reason: str) -> bool:
        """`park` within the database transaction of whoever tells of it; whether it was not given up before."""
        row = await tx.fetch_row(
            "UPDATE job SET parked = $2, attempts = attempts + 1 WHERE id = $1 AND parked IS NULL RETURNING seq",
            job_id,
            reason,
        )
        return row is not None

    async def set_aside(self, reason: str) -> int:
        """Park all jobs that wait; gives how many. Those that begin with a look at how things stand are dropped: they
        are added again, and do nothing twice.
        """
        async with self._database.transaction() as tx:
            await tx.execute(f"DELETE FROM job WHERE kind {tx.one_of('$1')}", tx.texts(LOOKING))  # noqa: S608
            rows = await tx.fetch("UPDATE job SET parked = $1 WHERE parked IS NULL RETURNING seq", reason)
        return len(rows)

    async def release(self, job_id: str, now_ms: int) -> bool:
        """Let a parked job be tried again; whether there was one."""
        async with self._database.transaction() as tx:
            row = await tx.fetch_row(
                "UPDATE job SET parked = NULL, attempts = 0, due_at = $2 "
                "WHERE id = $1 AND parked IS NOT NULL RETURNING seq",
                job_id,
                now_ms,
            )
        return row is not None

    async def drop(self, job_id: str) -> bool:
        """Take a parked job away undone; whether there was one."""
        async with self._database.transaction() as tx:
            query = "DELETE FROM job WHERE id = $1 AND parked IS NOT NULL RETURNING seq"
            dropped = await tx.fetch_row(query, job_id) is not None
            if dropped:
                await sendings.settle(tx, job_id)
        return dropped

    async def find(self, job_id: str) -> StoredJob | None:
        """The job of that id; None when it is done (or never was)."""
        async with self._database.transaction() as tx:
            row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM job WHERE id = $1", job_id)  # noqa: S608 - a constant
        return None if row is None else _stored(row)

    async def of_kind(self, kind: type[Job]) -> list[StoredJob]:
        """All jobs of a kind that are not done, those that were given up among them; oldest first."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch(f"SELECT {_COLUMNS} FROM job WHERE kind = $1 ORDER BY seq", _NAMES[kind])  # noqa: S608
        return [_stored(row) for row in rows]

    async def parked(self, limit: int = 100) -> list[StoredJob]:
        """The jobs that were given up, newest first."""
        async with self._database.transaction() as tx:
            rows = await tx.fetch(
                f"SELECT {_COLUMNS} FROM job WHERE parked IS NOT NULL ORDER BY seq DESC LIMIT $1",  # noqa: S608
                limit,
            )
        return [_stored(row) for row in rows]

    async def waiting(self, now_ms: int | None = None) -> int:
        """How many jobs are to be done, parked ones not counted.

        Args:
            now_ms: leave out what is planned for later than that; what failed and is tried again counts all the same.
        """
        query = "SELECT COUNT(*) FROM job WHERE parked IS NULL AND (due_at <= $1 OR failure IS NOT NULL)"
        async with self._database.transaction() as tx:
            return int(await tx.fetch_value(query, 2**62 if now_ms is None else now_ms))


def _stored(row: Row) -> StoredJob:
    return StoredJob(
        seq=row["seq"],
        id=row["id"],
        lane=row["lane"],
        kind=row["kind"],
        body=row["body"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        failure=row["failure"],
        parked=row["parked"],
    )
