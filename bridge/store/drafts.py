"""Drafts: announcements that are being written. What one says is forgotten when it is closed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from bridge.core.announcements import Audience, Kind, Part
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.schedule import Appointment, Timing
from bridge.store.database import Row, Transaction


class State(StrEnum):
    """How a draft stands."""

    OPEN = "open"
    SENT = "sent"
    DROPPED = "dropped"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Draft:
    """One draft. Times are milliseconds since 1970."""

    id: str
    community: CommunityId
    author: UserId
    room_id: RoomId
    """The chat or control room in which it is written."""
    source: EventId
    """The command that asked for it."""
    origin: EventId | None
    """The message of its author of which the words are, where that is another one."""
    parts: tuple[Part, ...]
    """Empty once it is closed."""
    audience: Audience
    kind: Kind
    version: int
    """Which of its wordings it is, from 1."""
    worded_by: EventId
    """The message that gave it this wording."""
    at: int
    card: EventId | None
    """The message under which this wording is decided; None while it is not shown."""
    asked_at: int | None
    """When its author asked to give it another wording with their next message."""
    state: State
    closed_by: EventId | None
    """The message or reaction that closed it; None where time did."""
    appointment: Appointment | None = None
    """When it is to go out; None for at once, when its author agrees."""


_COLUMNS = (
    "id, community, author, room_id, source, origin, content, audience, kind, version, worded_by, at, card, "
    "asked_at, state, closed_by, words, zone, first_at, rule, begins"
)


def id_of(source: EventId) -> str:
    """The id of the draft that a command asked for."""
    return hashlib.sha256(f"draft {source}".encode()).hexdigest()[:24]


async def add(tx: Transaction, draft: Draft) -> bool:
    """Record a draft; whether it was new."""
    row = await tx.fetch_row(
        """INSERT INTO draft (id, community, author, room_id, source, origin, content, audience, kind, version,
               worded_by, at, state, words, zone, first_at, rule, begins)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
           ON CONFLICT (id) DO NOTHING RETURNING id""",
        draft.id, draft.community, draft.author, draft.room_id, draft.source, draft.origin, _content(draft.parts),
        " ".join(draft.audience.as_words()), draft.kind.value, draft.version, draft.worded_by, draft.at,
        draft.state.value, *_when(draft.appointment),
    )  # fmt: skip
    return row is not None


async def find(tx: Transaction, draft_id: str) -> Draft | None:
    """A draft by its id, closed or not."""
    return _one(await tx.fetch_row(f"SELECT {_COLUMNS} FROM draft WHERE id = $1", draft_id))  # noqa: S608 - a constant


async def of_card(tx: Transaction, card: EventId) -> Draft | None:
    """The draft that is decided under a message, closed or not."""
    return _one(await tx.fetch_row(f"SELECT {_COLUMNS} FROM draft WHERE card = $1", card))  # noqa: S608 - a constant


async def open_of(tx: Transaction, room_id: RoomId, author: UserId) -> list[Draft]:
    """The open drafts of somebody in a room, the newest wording first."""
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM draft WHERE room_id = $1 AND author = $2 AND state = $3
            ORDER BY at DESC, id""",  # noqa: S608 - a constant
        room_id, author, State.OPEN.value,
    )  # fmt: skip
    return [_draft(row) for row in rows]


async def is_passed(tx: Transaction, draft: Draft) -> bool:
    """Whether its author has decided about one there that was worded later."""
    row = await tx.fetch_row(
        "SELECT id FROM draft WHERE room_id = $1 AND author = $2 AND at > $3 AND closed_by IS NOT NULL LIMIT 1",
        draft.room_id, draft.author, draft.at,
    )  # fmt: skip
    return row is not None


async def made_by(tx: Transaction, author: UserId, event_id: EventId) -> Draft | None:
    """The draft that a message of its author asked for, or that has its words of; closed or not."""
    return _one(
        await tx.fetch_row(
            f"SELECT {_COLUMNS} FROM draft WHERE author = $1 AND (source = $2 OR origin = $2) ORDER BY at DESC LIMIT 1",  # noqa: S608 - constants
            author, event_id,
        )
    )  # fmt: skip


async def closed_by(tx: Transaction, author: UserId, event_id: EventId) -> Draft | None:
    """The draft that a message of its author closed."""
    return _one(
        await tx.fetch_row(
            f"SELECT {_COLUMNS} FROM draft WHERE author = $1 AND closed_by = $2",  # noqa: S608 - a constant
            author, event_id,
        )
    )  # fmt: skip


async def worded_by(tx: Transaction, author: UserId, event_id: EventId) -> Draft | None:
    """The draft that a message of its author gave or left its wording, other than the command that asked for it."""
    return _one(
        await tx.fetch_row(
            f"SELECT {_COLUMNS} FROM draft WHERE author = $1 AND worded_by = $2 AND source <> $2",  # noqa: S608 - constants
            author, event_id,
        )
    )  # fmt: skip


async def reword(tx: Transaction, draft: Draft, newer: Draft) -> bool:
    """Give an open draft the words, audience, kind and time of another wording, which is to be shown; False where it
    was closed or worded meanwhile.
    """
    row = await tx.fetch_row(
        """UPDATE draft SET content = $3, audience = $4, kind = $5, worded_by = $6, at = $7, version = version + 1,
               card = NULL, asked_at = NULL, words = $9, zone = $10, first_at = $11, rule = $12, begins = $13
           WHERE id = $1 AND version = $2 AND state = $8 RETURNING id""",
        draft.id, draft.version, _content(newer.parts), " ".join(newer.audience.as_words()), newer.kind.value,
        newer.worded_by, newer.at, State.OPEN.value, *_when(newer.appointment),
    )  # fmt: skip
    return row is not None


async def shown(tx: Transaction, draft: Draft, card: EventId) -> bool:
    """Remember under which message a wording is decided; False where it is decided, or has another one, already."""
    row = await tx.fetch_row(
        "UPDATE draft SET card = $3 WHERE id = $1 AND version = $2 AND state = $4 RETURNING id",
        draft.id, draft.version, card, State.OPEN.value,
    )  # fmt: skip
    return row is not None


async def ask_for_words(tx: Transaction, draft: Draft, now: int) -> None:
    """Remember that the next message of its author there is the draft's text; of no other one any more."""
    await tx.execute("UPDATE draft SET asked_at = NULL WHERE room_id = $1 AND author = $2", draft.room_id, draft.author)
    await tx.execute("UPDATE draft SET asked_at = $2 WHERE id = $1 AND state = $3", draft.id, now, State.OPEN.value)


async def leave_words(tx: Transaction, draft: Draft, by: EventId) -> None:
    """Keep the text that a draft has, by that message of its author: nothing more is asked for."""
    await tx.execute("UPDATE draft SET asked_at = NULL, worded_by = $2 WHERE id = $1", draft.id, by)


async def close(tx: Transaction, draft: Draft, state: State, by: EventId | None) -> bool:
    """Close an open draft, and forget what it says; False where it was closed, or has another wording, already."""
    row = await tx.fetch_row(
        """UPDATE draft SET state = $3, closed_by = $4, content = '', asked_at = NULL
           WHERE id = $1 AND version = $2 AND state = $5 RETURNING id""",
        draft.id, draft.version, state.value, by, State.OPEN.value,
    )  # fmt: skip
    return row is not None


async def forget_before(tx: Transaction, at: int) -> None:
    """Forget drafts that are older and closed."""
    await tx.execute("DELETE FROM draft WHERE at < $1 AND state <> $2", at, State.OPEN.value)


def _content(parts: Sequence[Part]) -> str:
    return orjson.dumps([dict(part) for part in parts]).decode()


def _when(appointment: Appointment | None) -> tuple[Any, ...]:
    """The columns that say when it is to go out."""
    if appointment is None:
        return (None,) * 5
    timing = appointment.timing
    begins = "" if timing.begins is None else timing.begins.isoformat()
    return appointment.words, timing.zone, timing.first, timing.rule, begins


def _appointment(row: Row) -> Appointment | None:
    if row["words"] is None:
        return None
    begins = datetime.fromisoformat(row["begins"]) if row["begins"] else None
    return Appointment(row["words"], Timing(row["zone"], row["first_at"], row["rule"], begins))


def _one(row: Row | None) -> Draft | None:
    return None if row is None else _draft(row)


def _draft(row: Row) -> Draft:
    parts: list[Part] = orjson.loads(row["content"]) if row["content"] else []
    return Draft(
        row["id"],
        CommunityId(row["community"]),
        UserId(row["author"]),
        RoomId(row["room_id"]),
        EventId(row["source"]),
        row["origin"],
        tuple(parts),
        Audience.of_words(row["audience"].split()),
        Kind(row["kind"]),
        row["version"],
        EventId(row["worded_by"]),
        row["at"],
        row["card"],
        row["asked_at"],
        State(row["state"]),
        row["closed_by"],
        _appointment(row),
    )
