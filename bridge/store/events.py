"""Events that people are invited to, and the answers that stand. Their words lie in the rooms alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.events import Answer, Happening, Reply
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.store.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Known:
    """One event, without its words."""

    announcement: str
    community: CommunityId
    begins_at: int
    ends_at: int | None
    capacity: int | None
    sequence: int = 0
    """How often it was changed."""
    cancelled_at: int | None = None

    @property
    def happening(self) -> Happening:
        """What is known of it here; the title is missing."""
        return Happening("…", self.begins_at, self.ends_at, capacity=self.capacity)


@dataclass(frozen=True, slots=True)
class Seat:
    """What somebody was told last of an event that they come to."""

    seated: bool | None
    """Whether they have a seat, or wait for one; None where they do not come any more."""
    turn: int
    """How often they were told."""


_COLUMNS = "announcement, community, begins_at, ends_at, capacity, sequence, cancelled_at"


async def add(tx: Transaction, known: Known) -> None:
    """Record an event; the same one again changes nothing."""
    await tx.execute(
        """INSERT INTO happening (announcement, community, begins_at, ends_at, capacity) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT DO NOTHING""",
        known.announcement, known.community, known.begins_at, known.ends_at, known.capacity,
    )  # fmt: skip


async def get(tx: Transaction, announcement: str) -> Known | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM happening WHERE announcement = $1",  # noqa: S608 - a constant
        announcement,
    )
    return None if row is None else _known(row)


async def change(tx: Transaction, before: Known, now: Happening, cancelled_at: int | None) -> bool:
    """Record a change; whether nobody else made one since `before` was read."""
    row = await tx.fetch_row(
        """UPDATE happening SET begins_at = $3, ends_at = $4, capacity = $5, cancelled_at = $6, sequence = sequence + 1
           WHERE announcement = $1 AND sequence = $2 RETURNING sequence""",
        before.announcement, before.sequence, now.begins_at, now.ends_at, now.capacity, cancelled_at,
    )  # fmt: skip
    return row is not None


async def awaits_delivery(tx: Transaction, community: CommunityId) -> bool:
    """Whether an event is on its way into a room of a community: an answer may be known before its message is."""
    found = await tx.fetch_value(
        """SELECT 1 FROM happening JOIN announcement_copy AS copy ON copy.announcement = happening.announcement
           WHERE copy.community = $1 AND copy.event_id IS NULL AND copy.failed IS NULL LIMIT 1""",
        community,
    )
    return found is not None


# --- answers ----------------------------------------------------------------------------------------------------------

_OF = """(target = $1
          OR target IN (SELECT event_id FROM announcement_copy WHERE announcement = $1 AND event_id IS NOT NULL))"""


async def answer(tx: Transaction, room_id: RoomId, target: EventId, reply: Reply) -> None:
    """Record a reaction; the same event again changes nothing."""
    await tx.execute(
        """INSERT INTO happening_answer (event_id, room_id, target, user_id, answer, guests, at, taken)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING""",
        reply.event, room_id, target, reply.user, reply.answer.value, reply.guests, reply.at, reply.taken,
    )  # fmt: skip


async def answer_in_chat(tx: Transaction, announcement: str, reply: Reply) -> None:
    """Record what somebody said in their chat, in the place of what they said there before."""
    await tx.execute(
        "DELETE FROM happening_answer WHERE target = $1 AND user_id = $2 AND event_id <> $3",
        announcement, reply.user, reply.event,
    )  # fmt: skip
    await answer(tx, RoomId(""), EventId(announcement), reply)


async def answered(tx: Transaction, room_id: RoomId, event_id: EventId) -> EventId | None:
    """To which event a reaction belongs that is kept as an answer; None where it is none."""
    found = await tx.fetch_value(
        "SELECT target FROM happening_answer WHERE event_id = $1 AND room_id = $2", event_id, room_id
    )
    return None if found is None else EventId(found)


async def take_back(tx: Transaction, event_id: EventId) -> None:
    await tx.execute("DELETE FROM happening_answer WHERE event_id = $1", event_id)


async def replies(tx: Transaction, announcement: str) -> list[Reply]:
    """The answers that stand."""
    rows = await tx.fetch(
        f"SELECT user_id, answer, guests, at, taken, event_id FROM happening_answer WHERE {_OF}",  # noqa: S608
        announcement,
    )
    return [
        Reply(UserId(row["user_id"]), Answer(row["answer"]), row["guests"], row["at"], row["taken"], row["event_id"])
        for row in rows
    ]


async def forget_answers(tx: Transaction, announcement: str, community: CommunityId) -> None:
    """Forget who answered what: the event is over."""
    await tx.execute(f"DELETE FROM happening_answer WHERE {_OF}", announcement)  # noqa: S608 - a constant
    await tx.execute("DELETE FROM happening_seat WHERE announcement = $1", announcement)
    # and reactions to other messages, kept while it was not known which message was the event
    if not await awaits_delivery(tx, community):
        await tx.execute(
            """DELETE FROM happening_answer
               WHERE room_id IN (SELECT room_id FROM announcement_copy WHERE announcement = $1)
                 AND target NOT IN (SELECT copy.event_id FROM announcement_copy AS copy JOIN happening
                                    ON happening.announcement = copy.announcement WHERE copy.event_id IS NOT NULL)""",
            announcement,
        )


# --- what people were told --------------------------------------------------------------------------------------------


async def seats(tx: Transaction, announcement: str) -> Mapping[UserId, Seat]:
    rows = await tx.fetch("SELECT user_id, seated, turn FROM happening_seat WHERE announcement = $1", announcement)
    return {UserId(row["user_id"]): _seat(row) for row in rows}


async def seat(tx: Transaction, announcement: str, user: UserId, now: Seat) -> None:
    """Record what somebody is told."""
    await tx.execute(
        """INSERT INTO happening_seat (announcement, user_id, seated, turn) VALUES ($1, $2, $3, $4)
           ON CONFLICT (announcement, user_id) DO UPDATE SET seated = excluded.seated, turn = excluded.turn""",
        announcement, user, None if now.seated is None else int(now.seated), now.turn,
    )  # fmt: skip


def _seat(row: Row) -> Seat:
    return Seat(None if row["seated"] is None else bool(row["seated"]), row["turn"])


def _known(row: Row) -> Known:
    return Known(
        row["announcement"],
        CommunityId(row["community"]),
        row["begins_at"],
        row["ends_at"],
        row["capacity"],
        row["sequence"],
        row["cancelled_at"],
    )
