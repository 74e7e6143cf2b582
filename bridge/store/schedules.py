"""Scheduled announcements: what each says until it was said for the last time, and when it runs next."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from bridge.core.announcements import Audience, Kind, Part
from bridge.core.ids import CommunityId, RoomId
from bridge.core.schedule import Timing
from bridge.store.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One scheduled announcement."""

    id: str
    community: CommunityId
    number: int
    """By which people of the community name it."""
    author: str
    """A user id, or `operator`."""
    reply_room: RoomId | None
    """The chat in which its author is told."""
    parts: tuple[Part, ...]
    """What it says; empty once it was said for the last time, or cancelled."""
    kind: Kind
    audience: Audience
    words: str
    """When it runs, in the words of whoever said so."""
    timing: Timing
    next_at: int | None
    """Its next run, in milliseconds since 1970; None where there is none any more."""


_COLUMNS = (
    "id, community, number, author, reply_room, content, kind, audience, words, zone, first_at, rule, begins, next_at"
)


def id_of(source: str) -> str:
    """The id of the schedule that comes from `source`."""
    return hashlib.sha256(f"schedule {source}".encode()).hexdigest()[:24]


async def add(tx: Transaction, one: Scheduled, at: int) -> None:
    """Record a schedule; its number is the next one of its community, whatever it says."""
    timing = one.timing
    await tx.execute(
        """INSERT INTO schedule (id, community, number, author, reply_room, content, kind, audience, words, zone,
               first_at, rule, begins, next_at, at)
           SELECT $1, $2, COALESCE(MAX(number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
           FROM schedule WHERE community = $2""",
        one.id, one.community, one.author, one.reply_room, _content(one.parts), one.kind.value,
        " ".join(one.audience.as_words()), one.words, timing.zone, timing.first, timing.rule, _begins(timing),
        one.next_at, at,
    )  # fmt: skip


async def get(tx: Transaction, schedule: str) -> Scheduled | None:
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM schedule WHERE id = $1", schedule)  # noqa: S608 - a constant
    return None if row is None else _scheduled(row)


async def numbered(tx: Transaction, community: CommunityId, number: int) -> Scheduled | None:
    """The schedule of that number in a community, also when it has ended."""
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM schedule WHERE community = $1 AND number = $2",  # noqa: S608 - a constant
        community, number,
    )  # fmt: skip
    return None if row is None else _scheduled(row)


async def coming(tx: Transaction, community: CommunityId) -> list[Scheduled]:
    """The schedules of a community that still run, the next one first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM schedule WHERE community = $1 AND next_at IS NOT NULL "  # noqa: S608 - a constant
        "ORDER BY next_at, number",
        community,
    )
    return [_scheduled(row) for row in rows]


async def change(tx: Transaction, one: Scheduled, was: int) -> bool:
    """Write a schedule anew, if its next run is still at `was`; whether it was."""
    timing = one.timing
    row = await tx.fetch_row(
        """UPDATE schedule SET author = $3, reply_room = $4, content = $5, words = $6, zone = $7, first_at = $8,
               rule = $9, begins = $10, next_at = $11
           WHERE id = $1 AND next_at = $2 RETURNING id""",
        one.id, was, one.author, one.reply_room, _content(one.parts), one.words, timing.zone, timing.first,
        timing.rule, _begins(timing), one.next_at,
    )  # fmt: skip
    return row is not None


async def advance(tx: Transaction, schedule: str, was: int, next_at: int | None) -> bool:
    """Go on to the next run, if it is still at `was`; whether it was. With the last run what it says is forgotten."""
    row = await tx.fetch_row(
        """UPDATE schedule SET next_at = $3, content = CASE WHEN $4 = 1 THEN '[]' ELSE content END
           WHERE id = $1 AND next_at = $2 RETURNING id""",
        schedule, was, next_at, int(next_at is None),
    )  # fmt: skip
    return row is not None


async def obey(tx: Transaction, schedule: str, source: str, run: int) -> None:
    """Remember that a message was obeyed, and which run the schedule was at then."""
    await tx.execute("INSERT INTO schedule_word (source, schedule, run) VALUES ($1, $2, $3)", source, schedule, run)


async def obeyed(tx: Transaction, schedule: str, source: str) -> int | None:
    """Which run a schedule was at when a message was obeyed; None where it was not yet."""
    run: int | None = await tx.fetch_value(
        "SELECT run FROM schedule_word WHERE source = $1 AND schedule = $2", source, schedule
    )
    return run


def _content(parts: Sequence[Part]) -> str:
    return orjson.dumps([dict(part) for part in parts]).decode()


def _begins(timing: Timing) -> str:
    return "" if timing.begins is None else timing.begins.isoformat()


def _scheduled(row: Row) -> Scheduled:
    room: Any = row["reply_room"]
    begins = datetime.fromisoformat(row["begins"]) if row["begins"] else None
    return Scheduled(
        row["id"],
        CommunityId(row["community"]),
        row["number"],
        row["author"],
        None if room is None else RoomId(room),
        tuple(orjson.loads(row["content"])),
        Kind(row["kind"]),
        Audience.of_words(row["audience"].split()),
        row["words"],
        Timing(row["zone"], row["first_at"], row["rule"], begins),
        row["next_at"],
    )
