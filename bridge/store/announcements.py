"""Announcements, where each copy of them lies, and the numbers by which people call them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bridge.core.announcements import Audience, Kind, Missed, Named, Target, person_of
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.store.database import Row, Transaction

PAGE = 100
"""So many are looked at together where some of them are sought."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One announcement, without its words."""

    id: str
    author: str
    """A user id, or `operator`."""
    kind: Kind
    audience: Audience
    reply_room: RoomId | None
    """The chat in which its author is told."""
    at: int
    """When it was given, in milliseconds since 1970."""
    human: bool
    """Whether an admin posted it in the announcement room with their own client."""
    withdrawn_at: int | None


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of an announcement: delivered, on its way, or failed."""

    announcement: str
    target: Target
    event_id: EventId | None
    others: tuple[EventId, ...]
    """The events of its other parts."""
    devices: int | None
    """How many devices held its key when it went out; None where nobody can know."""
    unreached: int | None
    sent_at: int | None
    failed: str | None
    """Why it did not get there: for good where it is `closed`, else it may be tried again."""
    closed: bool = False
    """Whether it will not be sent any more, and nobody has to do anything about that."""
    people: int | None = None
    """How many members the room had when it went out; None where nobody can know."""

    @property
    def under_way(self) -> bool:
        """Whether it is about to be sent: not there, not failed, and not waiting for somebody to enter their chat.
        `is_under_way` asks the same of all copies."""
        waits = person_of(self.target.place) is not None and self.target.room_id is not None
        return self.event_id is None and self.failed is None and not waits


@dataclass(frozen=True, slots=True)
class Listed:
    """An announcement as a community counts it."""

    number: int
    announcement: Announcement
    sent: int
    """Copies that were delivered, in whatever community."""
    waiting: int
    failed: int


_COLUMNS = "id, author, kind, audience, reply_room, at, human, withdrawn_at"
_COPY = "announcement, community, place, room_id, event_id, others, devices, unreached, sent_at, failed, closed, people"
_IN_ROOM = "substr(place, 1, 1) <> '@'"
"""Of copies: not to a person. To be written as the index has it."""


def id_of(source: str) -> str:
    """The id of an announcement that comes from `source`."""
    return hashlib.sha256(source.encode()).hexdigest()[:24]


async def add(
    tx: Transaction,
    source: str,
    author: str,
    content: str,
    reply_room: RoomId | None,
    now: int,
    *,
    kind: Kind = Kind.TEXT,
    audience: Audience = Audience(everybody=True),  # noqa: B008 - frozen
    human: bool = False,
) -> str:
    """Record an announcement and give its id; the same source gives the same announcement.

    Args:
        content: what it says, as it is stored until it is everywhere.
    """
    announcement = id_of(source)
    await tx.execute(
        """INSERT INTO announcement (id, source, author, content, reply_room, at, kind, audience, human)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING""",
        announcement, source, author, content, reply_room, now, kind.value, " ".join(audience.as_words()), int(human),
    )  # fmt: skip
    return announcement


async def add_target(tx: Transaction, announcement: str, target: Target) -> None:
    """Record where a copy shall go, and give the announcement a number in that community."""
    await tx.execute(
        """INSERT INTO announcement_copy (announcement, community, place, room_id) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING""",
        announcement, target.community, target.place, target.room_id,
    )  # fmt: skip
    await number(tx, target.community, announcement)


async def number(tx: Transaction, community: CommunityId, announcement: str) -> int:
    """The number of an announcement in a community; the next one where it has none yet."""
    known = await number_of(tx, community, announcement)
    if known is None:
        await tx.execute(
            """INSERT INTO announcement_number (community, number, announcement)
               SELECT $1, COALESCE(MAX(number), 0) + 1, $2 FROM announcement_number WHERE community = $1""",
            community, announcement,
        )  # fmt: skip
        known = await number_of(tx, community, announcement)
    assert known is not None
    return known


async def number_of(tx: Transaction, community: CommunityId, announcement: str) -> int | None:
    """The number of an announcement in a community; None where it is none of that community's."""
    found: int | None = await tx.fetch_value(
        "SELECT number FROM announcement_number WHERE community = $1 AND announcement = $2", community, announcement
    )
    return found


async def is_settled(tx: Transaction, announcement: str, target: Target) -> bool:
    """Whether it was delivered there, or will not be any more."""
    found = await tx.fetch_value(
        """SELECT 1 FROM announcement_copy WHERE announcement = $1 AND community = $2 AND place = $3
           AND (event_id IS NOT NULL OR closed = 1)""",
        announcement, target.community, target.place,
    )  # fmt: skip
    return found is not None


async def content_of(tx: Transaction, announcement: str) -> str | None:
    """What it says, as it was given to `add`; empty once it is everywhere."""
    content: str | None = await tx.fetch_value("SELECT content FROM announcement WHERE id = $1", announcement)
    return content


async def get(tx: Transaction, announcement: str) -> Announcement | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM announcement WHERE id = $1",  # noqa: S608 - a constant
        announcement,
    )
    return None if row is None else _announcement(row)


async def find(tx: Transaction, community: CommunityId, named: Named) -> str | None:
    """The announcement that somebody named, of those of this community: by its number, by a copy of it, or by what its
    author was told of it.
    """
    if named.number is not None:
        found: str | None = await tx.fetch_value(
            "SELECT announcement FROM announcement_number WHERE community = $1 AND number = $2", community, named.number
        )
        return found
    found = await tx.fetch_value(
        """SELECT copy.announcement FROM announcement_copy AS copy JOIN announcement_number AS counted
           ON counted.announcement = copy.announcement AND counted.community = $1
           WHERE copy.event_id = $2""",
        community, named.event_id,
    )  # fmt: skip
    if found is None:
        found = await tx.fetch_value(
            """SELECT answer.announcement FROM announcement_answer AS answer JOIN announcement_number AS counted
               ON counted.announcement = answer.announcement AND counted.community = $1
               WHERE answer.event_id = $2 AND answer.room_id = $3""",
            community, named.event_id, named.room_id,
        )  # fmt: skip
    return found


async def begin(tx: Transaction, announcement: str, community: CommunityId, place: str) -> None:
    """Record that a delivery is about to be made: from now on its events may be in the room."""
    await tx.execute(
        "UPDATE announcement_copy SET begun = 1 WHERE announcement = $1 AND community = $2 AND place = $3",
        announcement, community, place,
    )  # fmt: skip


async def was_begun(tx: Transaction, announcement: str, community: CommunityId, place: str) -> bool:
    """Whether a delivery was begun, so that its events may be in the room."""
    found = await tx.fetch_value(
        "SELECT begun FROM announcement_copy WHERE announcement = $1 AND community = $2 AND place = $3",
        announcement, community, place,
    )  # fmt: skip
    return bool(found)


async def of_event(tx: Transaction, room_id: RoomId, event_id: EventId) -> Copy | None:
    """The copy that an event is the first part of."""
    row = await tx.fetch_row(
        f"SELECT {_COPY} FROM announcement_copy WHERE event_id = $1 AND room_id = $2",  # noqa: S608 - a constant
        event_id, room_id,
    )  # fmt: skip
    return None if row is None else _copy(row)


async def copies_of(tx: Transaction, announcement: str) -> list[Copy]:
    """Every copy of an announcement, in whatever community."""
    rows = await tx.fetch(
        f"SELECT {_COPY} FROM announcement_copy WHERE announcement = $1 ORDER BY community, place",  # noqa: S608 - constants
        announcement,
    )
    return [_copy(row) for row in rows]


async def in_rooms(tx: Transaction, announcement: str) -> list[Copy]:
    """The copies of an announcement that go into rooms: those to people are not looked at, however many there are."""
    rows = await tx.fetch(
        f"SELECT {_COPY} FROM announcement_copy WHERE announcement = $1 AND {_IN_ROOM} ORDER BY community, place",  # noqa: S608 - constants
        announcement,
    )
    return [_copy(row) for row in rows]


async def copy_of(tx: Transaction, announcement: str, community: CommunityId, place: str) -> Copy | None:
    """The copy of an announcement that goes to a place of a community."""
    row = await tx.fetch_row(
        f"SELECT {_COPY} FROM announcement_copy WHERE announcement = $1 AND community = $2 AND place = $3",  # noqa: S608 - constants
        announcement, community, place,
    )  # fmt: skip
    return None if row is None else _copy(row)


async def is_under_way(tx: Transaction, announcement: str) -> bool:
    """Whether any copy of an announcement is about to be sent (see `Copy.under_way`)."""
    found = await tx.fetch_value(
        f"""SELECT 1 FROM announcement_copy
            WHERE announcement = $1 AND event_id IS NULL AND closed = 0 AND room_id IS NULL AND failed IS NULL
            UNION ALL
            SELECT 1 FROM announcement_copy
            WHERE announcement = $1 AND {_IN_ROOM} AND event_id IS NULL AND closed = 0 AND failed IS NULL
            LIMIT 1""",  # noqa: S608 - a constant
        announcement,
    )
    return found is not None


async def listed(tx: Transaction, community: CommunityId, most: int, before: int | None = None) -> list[Listed]:
    """The announcements of a community, the newest first.

    Args:
        before: only those with smaller numbers.
    """
    rows = await tx.fetch(
        f"""SELECT counted.number, {_COLUMNS},
               (SELECT COUNT(event_id) FROM announcement_copy WHERE announcement = id) AS sent,
               (SELECT COUNT(*) FROM announcement_copy
                   WHERE announcement = id AND event_id IS NULL AND failed IS NULL) AS waiting,
               (SELECT COUNT(failed) FROM announcement_copy
                   WHERE announcement = id AND event_id IS NULL AND closed = 0) AS failed
           FROM announcement_number AS counted JOIN announcement ON id = counted.announcement
           WHERE counted.community = $1 AND counted.number < $2 ORDER BY counted.number DESC LIMIT $3""",  # noqa: S608 - constants
        community, 2**53 if before is None else before, most,
    )  # fmt: skip
    return [
        Listed(row["number"], _announcement(row), int(row["sent"]), int(row["waiting"]), int(row["failed"]))
        for row in rows
    ]


async def listed_of(
    tx: Transaction, community: CommunityId, most: int, before: int | None, which: Callable[[Audience], bool]
) -> list[Listed]:
    """The same, of those alone whose audience is one of those."""
    found: list[Listed] = []
    while len(found) < most:
        some = await listed(tx, community, PAGE, before)
        found += [one for one in some if which(one.announcement.audience)]
        if len(some) < PAGE:
            break
        before = some[-1].number
    return found[:most]


async def delivered(
    tx: Transaction,
    announcement: str,
    target: Target,
    event_id: EventId,
    *,
    others: Sequence[EventId] = (),
    devices: int | None,
    unreached: int | None,
    now: int,
) -> None:
    """Record a delivery, how many devices hold its key, and how many members have none that does.

    Once it is everywhere what it says is forgotten: it then lies in the rooms alone, encrypted."""
    await tx.execute(
        """UPDATE announcement_copy SET room_id = $4, event_id = $5, others = $6, devices = $7, unreached = $8,
               sent_at = $9, failed = NULL
           WHERE announcement = $1 AND community = $2 AND place = $3""",
        announcement, target.community, target.place, target.room_id, event_id,
        orjson.dumps(list(others)).decode() if others else "", devices, unreached, now,
    )  # fmt: skip
    await forget_content(tx, announcement)


async def dropped(tx: Transaction, announcement: str, community: CommunityId, place: str) -> None:
    """Forget a delivery that will not be made; with the last of them what it says."""
    await tx.execute(
        """DELETE FROM announcement_copy
           WHERE announcement = $1 AND community = $2 AND place = $3 AND event_id IS NULL""",
        announcement, community, place,
    )  # fmt: skip
    await forget_content(tx, announcement)


async def forget_content(tx: Transaction, announcement: str) -> None:
    """Forget what an announcement says, if no copy of it is still to be sent."""
    await tx.execute(
        """UPDATE announcement SET content = '' WHERE id = $1 AND NOT EXISTS
           (SELECT 1 FROM announcement_copy WHERE announcement = $1 AND event_id IS NULL AND closed = 0)""",
        announcement,
    )


async def failed(tx: Transaction, announcement: str, community: CommunityId, place: str, why: str | None) -> None:
    """Record why a delivery failed; None takes that back."""
    await tx.execute(
        "UPDATE announcement_copy SET failed = $4 WHERE announcement = $1 AND community = $2 AND place = $3",
        announcement, community, place, why,
    )  # fmt: skip


async def hold(tx: Transaction, announcement: str) -> None:
    """Let no other database transaction count its copies until this one is over: the last one has to see all."""
    await tx.execute("UPDATE announcement SET at = at WHERE id = $1", announcement)


async def has_chat(tx: Transaction, announcement: str, target: Target) -> None:
    """Record in which chat somebody is to get their copy: from then on it waits there for them."""
    await tx.execute(
        """UPDATE announcement_copy SET room_id = $4
           WHERE announcement = $1 AND community = $2 AND place = $3 AND event_id IS NULL""",
        announcement, target.community, target.place, target.room_id,
    )  # fmt: skip


async def waiting_in(tx: Transaction, room_id: RoomId) -> list[Copy]:
    """The copies that wait in a chat for somebody to enter it, the oldest announcement first."""
    rows = await tx.fetch(
        f"""SELECT {_COPY} FROM announcement_copy WHERE room_id = $1 AND event_id IS NULL AND closed = 0
           ORDER BY (SELECT at FROM announcement WHERE id = announcement), announcement""",  # noqa: S608 - a constant
        room_id,
    )
    return [one for one in map(_copy, rows) if person_of(one.target.place) is not None]


async def closed(tx: Transaction, announcement: str, target: Target, why: Missed) -> None:
    """Record that a copy will not be sent any more; with the last of them what it says is forgotten."""
    await tx.execute(
        """UPDATE announcement_copy SET failed = $4, closed = 1
           WHERE announcement = $1 AND community = $2 AND place = $3 AND event_id IS NULL""",
        announcement, target.community, target.place, why.value,
    )  # fmt: skip
    await forget_content(tx, announcement)


def _announcement(row: Row) -> Announcement:
    room = row["reply_room"]
    return Announcement(
        row["id"],
        row["author"],
        Kind(row["kind"]),
        Audience.of_words(row["audience"].split()),
        None if room is None else RoomId(room),
        row["at"],
        bool(row["human"]),
        row["withdrawn_at"],
    )


def _copy(row: Row) -> Copy:
    room: Any = row["room_id"]
    others: list[EventId] = orjson.loads(row["others"]) if row["others"] else []
    return Copy(
        row["announcement"],
        Target(CommunityId(row["community"]), None if room is None else RoomId(room), row["place"]),
        row["event_id"],
        tuple(others),
        row["devices"],
        row["unreached"],
        row["sent_at"],
        row["failed"],
        bool(row["closed"]),
        row["people"],
    )
