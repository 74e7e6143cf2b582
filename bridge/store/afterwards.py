"""Edits and withdrawals of announcements, how far each has come in each copy; and the answers that name one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import orjson

from bridge.core.announcements import Target
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store.database import Row, Transaction


class What(StrEnum):
    """What is done to every copy."""

    EDIT = "edit"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Change:
    """An edit, or the withdrawal, of an announcement."""

    id: str
    announcement: str
    community: CommunityId
    """Where it was asked for."""
    what: What
    content: str
    """Of an edit: the new words, as JSON of a message's content; empty once they are everywhere."""
    author: str
    reply_room: RoomId | None
    at: int


@dataclass(frozen=True, slots=True)
class Progress:
    """In how many copies a change is done, failed, or still to come."""

    done: int
    failed: int
    waiting: int


_COLUMNS = "id, announcement, community, what, content, author, reply_room, at"


def id_of_edit(source: str) -> str:
    """The id of the edit that comes from `source`."""
    return hashlib.sha256(f"edit {source}".encode()).hexdigest()[:24]


def id_of_withdrawal(announcement: str) -> str:
    """The id of an announcement's withdrawal: there is one at most."""
    return f"withdrawn-{announcement}"


async def add(tx: Transaction, change: Change) -> bool:
    """Record a change; whether it was new."""
    row = await tx.fetch_row(
        """INSERT INTO announcement_change (id, announcement, community, what, content, author, reply_room, at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING RETURNING at""",
        change.id, change.announcement, change.community, change.what.value, change.content, change.author,
        change.reply_room, change.at,
    )  # fmt: skip
    return row is not None


async def add_copy(tx: Transaction, change: str, target: Target) -> None:
    """Record that a change shall be made in a copy."""
    await tx.execute(
        """INSERT INTO announcement_change_copy (change, community, place) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING""",
        change, target.community, target.place,
    )  # fmt: skip


async def get(tx: Transaction, change: str) -> Change | None:
    row = await tx.fetch_row(f"SELECT {_COLUMNS} FROM announcement_change WHERE id = $1", change)  # noqa: S608 - constants
    return None if row is None else _change(row)


async def is_outdated(tx: Transaction, change: Change) -> bool:
    """Whether there is a later edit of the same announcement."""
    found = await tx.fetch_value(
        "SELECT 1 FROM announcement_change WHERE announcement = $1 AND what = 'edit' AND at > $2 LIMIT 1",
        change.announcement, change.at,
    )  # fmt: skip
    return found is not None


async def begin(tx: Transaction, change: str, community: CommunityId, place: str) -> None:
    """Record that a change is about to be made in a copy: from now on its event may be in the room."""
    await tx.execute(
        "UPDATE announcement_change_copy SET begun = 1 WHERE change = $1 AND community = $2 AND place = $3",
        change, community, place,
    )  # fmt: skip


async def is_half_done(tx: Transaction, change: str, community: CommunityId, place: str) -> bool:
    """Whether a change was begun in a copy, and nobody knows whether it is there."""
    found = await tx.fetch_value(
        """SELECT begun FROM announcement_change_copy
           WHERE change = $1 AND community = $2 AND place = $3 AND done = 0""",
        change, community, place,
    )  # fmt: skip
    return bool(found)


async def settle(tx: Transaction, change: str, community: CommunityId, place: str) -> bool:
    """Record that a change is done in a copy; whether that is news."""
    row = await tx.fetch_row(
        """UPDATE announcement_change_copy SET done = 1, failed = NULL
           WHERE change = $1 AND community = $2 AND place = $3 AND done = 0 RETURNING change""",
        change, community, place,
    )  # fmt: skip
    return row is not None


async def failed(tx: Transaction, change: str, community: CommunityId, place: str, why: str | None) -> None:
    """Record why a change was given up in a copy; None where it is tried again."""
    await tx.execute(
        """UPDATE announcement_change_copy SET failed = $4
           WHERE change = $1 AND community = $2 AND place = $3 AND done = 0""",
        change, community, place, why,
    )  # fmt: skip


async def drop_copy(tx: Transaction, change: str, community: CommunityId, place: str) -> None:
    """Forget a change in a copy that will not be made."""
    await tx.execute(
        "DELETE FROM announcement_change_copy WHERE change = $1 AND community = $2 AND place = $3 AND done = 0",
        change, community, place,
    )  # fmt: skip


async def failed_copies(tx: Transaction, announcement: str) -> list[tuple[Change, Target]]:
    """The changes of an announcement that were given up, and in which copies; the oldest first."""
    rows = await tx.fetch(
        f"""SELECT {", ".join(f"one.{name}" for name in _COLUMNS.split(", "))}, copy.community AS there, copy.place
            FROM announcement_change AS one JOIN announcement_change_copy AS copy ON copy.change = one.id
            WHERE one.announcement = $1 AND copy.failed IS NOT NULL AND copy.done = 0
            ORDER BY one.at, one.id, copy.community, copy.place""",  # noqa: S608 - constants
        announcement,
    )
    return [(_change(row), Target(CommunityId(row["there"]), None, row["place"])) for row in rows]


async def progress(tx: Transaction, change: str) -> Progress:
    row = await tx.fetch_row(
        """SELECT COALESCE(SUM(done), 0) AS done, COUNT(failed) AS failed, COUNT(*) AS total
           FROM announcement_change_copy WHERE change = $1""",
        change,
    )
    assert row is not None
    done, given_up = int(row["done"]), int(row["failed"])
    return Progress(done, given_up, int(row["total"]) - done - given_up)


async def is_waiting(tx: Transaction, change: str) -> bool:
    """Whether a change is still to come in any copy."""
    found = await tx.fetch_value(
        "SELECT 1 FROM announcement_change_copy WHERE change = $1 AND done = 0 AND failed IS NULL LIMIT 1", change
    )
    return found is not None


async def forget_words(tx: Transaction, change: str) -> None:
    """Forget what an edit says, once it is everywhere: it then lies in the rooms alone, encrypted."""
    await tx.execute(
        """UPDATE announcement_change SET content = '' WHERE id = $1 AND NOT EXISTS
           (SELECT 1 FROM announcement_change_copy WHERE change = $1 AND done = 0)""",
        change,
    )


# --- announcements and their copies -----------------------------------------------------------------------------------


async def withdrawn(tx: Transaction, announcement: str, now: int) -> None:
    """Record that an announcement is withdrawn, and forget what its edits say."""
    await tx.execute(
        "UPDATE announcement SET withdrawn_at = $2 WHERE id = $1 AND withdrawn_at IS NULL", announcement, now
    )
    await tx.execute("UPDATE announcement_change SET content = '' WHERE announcement = $1", announcement)


async def reword(tx: Transaction, announcement: str, content: str) -> None:
    """Let copies that have not gone out say something else."""
    await tx.execute("UPDATE announcement SET content = $2 WHERE id = $1 AND content <> ''", announcement, content)


async def edited(tx: Transaction, announcement: str, target: Target, event_id: EventId) -> None:
    """Record the event of an edit of a copy."""
    known = await edits_of(tx, announcement, target)
    if event_id not in known:
        await tx.execute(
            "UPDATE announcement_copy SET edits = $4 WHERE announcement = $1 AND community = $2 AND place = $3",
            announcement, target.community, target.place, orjson.dumps([*known, event_id]).decode(),
        )  # fmt: skip


async def edits_of(tx: Transaction, announcement: str, target: Target) -> list[EventId]:
    """The events of a copy's edits."""
    found = await tx.fetch_value(
        "SELECT edits FROM announcement_copy WHERE announcement = $1 AND community = $2 AND place = $3",
        announcement, target.community, target.place,
    )  # fmt: skip
    return [EventId(str(one)) for one in orjson.loads(found)] if found else []


async def tried_again(tx: Transaction, announcement: str, target: Target) -> None:
    """Record that a delivery that was given up is tried again."""
    await tx.execute(
        """UPDATE announcement_copy SET failed = NULL
           WHERE announcement = $1 AND community = $2 AND place = $3 AND event_id IS NULL""",
        announcement, target.community, target.place,
    )  # fmt: skip


# --- answers ----------------------------------------------------------------------------------------------------------


async def answered(tx: Transaction, room_id: RoomId, event_id: EventId, announcement: str) -> None:
    """Record by which message somebody was told of an announcement."""
    await tx.execute(
        """INSERT INTO announcement_answer (room_id, event_id, announcement) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING""",
        room_id, event_id, announcement,
    )  # fmt: skip


def _change(row: Row) -> Change:
    room = row["reply_room"]
    return Change(
        row["id"],
        row["announcement"],
        CommunityId(row["community"]),
        What(row["what"]),
        row["content"],
        row["author"],
        None if room is None else RoomId(room),
        row["at"],
    )
