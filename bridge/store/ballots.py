"""Who is given a ballot of a secret poll, in which chat, and as what message. What they chose is none of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bridge.core.ids import EventId, RoomId, UserId
from bridge.store.database import Row, Transaction


class State(StrEnum):
    """How far a ballot is."""

    NEW = "new"
    """Nobody has tried yet."""
    WAITS = "waits"
    """Until the person enters their chat."""
    SENT = "sent"
    MISSED = "missed"
    """The person left, declined the chat, or cannot be invited to one."""


@dataclass(frozen=True, slots=True)
class Paper:
    """One person's ballot."""

    announcement: str
    user: UserId
    room_id: RoomId | None
    """The chat; None while there is none."""
    event_id: EventId | None
    state: State


@dataclass(frozen=True, slots=True)
class Handed:
    """How many people have a ballot of a poll."""

    sent: int
    waiting: int
    """Were invited to a chat, and have not entered it."""
    missed: int
    new: int
    """Nobody has tried yet."""


_COLUMNS = "announcement, user_id, room_id, event_id, state"


async def add(tx: Transaction, announcement: str, users: Iterable[UserId], state: State) -> list[UserId]:
    """Note who is to have a ballot; gives those of them who were not known yet."""
    known = {paper.user for paper in await of(tx, announcement)}
    fresh = sorted(set(users) - known)
    await tx.put(
        "INSERT INTO poll_ballot (user_id, announcement, state) {rows} ON CONFLICT DO NOTHING",
        ("text",),
        [(user,) for user in fresh],
        always={"announcement": announcement, "state": state.value},
    )
    return fresh


async def of(tx: Transaction, announcement: str) -> list[Paper]:
    """All ballots of a poll."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM poll_ballot WHERE announcement = $1 ORDER BY user_id",  # noqa: S608 - a constant
        announcement,
    )
    return [_paper(row) for row in rows]


async def get(tx: Transaction, announcement: str, user: UserId) -> Paper | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM poll_ballot WHERE announcement = $1 AND user_id = $2",  # noqa: S608 - a constant
        announcement, user,
    )  # fmt: skip
    return None if row is None else _paper(row)


async def of_event(tx: Transaction, room_id: RoomId, event_id: EventId) -> Paper | None:
    """The ballot that a message in a chat is."""
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM poll_ballot WHERE event_id = $1 AND room_id = $2",  # noqa: S608 - a constant
        event_id, room_id,
    )  # fmt: skip
    return None if row is None else _paper(row)


async def waiting_in(tx: Transaction, room_id: RoomId) -> list[Paper]:
    """The ballots that are to be sent in a chat, and are not there yet as far as is known."""
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM poll_ballot
            WHERE room_id = $1 AND event_id IS NULL AND state IN ('new', 'waits') ORDER BY announcement""",  # noqa: S608 - a constant
        room_id,
    )
    return [_paper(row) for row in rows]


async def has_chat(tx: Transaction, announcement: str, user: UserId, room_id: RoomId) -> None:
    """Record in which chat somebody is to get their ballot: from then on it waits there for them."""
    await tx.execute(
        """UPDATE poll_ballot SET room_id = $3
           WHERE announcement = $1 AND user_id = $2 AND event_id IS NULL""",
        announcement, user, room_id,
    )  # fmt: skip


async def sent(tx: Transaction, announcement: str, user: UserId, room_id: RoomId, event_id: EventId) -> None:
    await tx.execute(
        """UPDATE poll_ballot SET room_id = $3, event_id = $4, state = 'sent'
           WHERE announcement = $1 AND user_id = $2""",
        announcement, user, room_id, event_id,
    )  # fmt: skip


async def becomes(tx: Transaction, announcement: str, user: UserId, state: State) -> None:
    """Record how far a ballot is that was not sent."""
    await tx.execute(
        "UPDATE poll_ballot SET state = $3 WHERE announcement = $1 AND user_id = $2 AND event_id IS NULL",
        announcement, user, state.value,
    )  # fmt: skip


async def handed(tx: Transaction, announcement: str) -> Handed:
    rows = await tx.fetch(
        "SELECT state, COUNT(*) AS number FROM poll_ballot WHERE announcement = $1 GROUP BY state", announcement
    )
    found = {row["state"]: int(row["number"]) for row in rows}
    return Handed(*(found.get(state.value, 0) for state in (State.SENT, State.WAITS, State.MISSED, State.NEW)))


async def forget_before(tx: Transaction, before: int) -> None:
    """Forget who had ballots of polls that ended before that time, in milliseconds since 1970."""
    await tx.execute(
        """DELETE FROM poll_ballot WHERE announcement IN
           (SELECT announcement FROM poll WHERE counted != '' AND closes_at < $1)""",
        before,
    )


def _paper(row: Row) -> Paper:
    return Paper(
        row["announcement"],
        UserId(row["user_id"]),
        None if row["room_id"] is None else RoomId(row["room_id"]),
        None if row["event_id"] is None else EventId(row["event_id"]),
        State(row["state"]),
    )
