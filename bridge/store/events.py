"""Events that people are invited to, and the answers that stand. Their words lie in the rooms alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.announcements import Target
from bridge.core.events import Answer, Happening, Reply
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.store import announcements
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
    changed_at: int = 0
    """When it was made or changed last."""
    withdrawn: bool = False
    """Whether its announcement was withdrawn."""

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


_COLUMNS = """announcement, happening.community, begins_at, ends_at, capacity, sequence, cancelled_at, changed_at,
    (SELECT at FROM announcement WHERE id = happening.announcement) AS announced_at,
    (SELECT withdrawn_at FROM announcement WHERE id = happening.announcement) AS withdrawn_at"""


async def add(tx: Transaction, known: Known) -> None:
    """Record an event; the same one again changes nothing."""
    await tx.execute(
        """INSERT INTO happening (announcement, community, begins_at, ends_at, capacity, changed_at)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        known.announcement, known.community, known.begins_at, known.ends_at, known.capacity, known.changed_at,
    )  # fmt: skip


async def get(tx: Transaction, announcement: str) -> Known | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM happening WHERE announcement = $1",  # noqa: S608 - a constant
        announcement,
    )
    return None if row is None else _known(row)


async def since(tx: Transaction, community: CommunityId, ended_after: int, most: int) -> list[Known]:
    """The events of a community that are not over, or were not at that time, the first one first; none that is
    withdrawn.
    """
    rows = await tx.fetch(
        f"""SELECT {_COLUMNS} FROM happening WHERE community = $1 AND COALESCE(ends_at, begins_at) >= $2
               AND NOT EXISTS (SELECT 1 FROM announcement WHERE id = happening.announcement
                               AND withdrawn_at IS NOT NULL)
           ORDER BY begins_at, announcement LIMIT $3""",  # noqa: S608 - a constant
        community, ended_after, most,
    )  # fmt: skip
    return [_known(row) for row in rows]


async def change(tx: Transaction, before: Known, what: Happening, *, cancel: bool, now: int) -> bool:
    """Record a change; whether nobody else made one since `before` was read."""
    row = await tx.fetch_row(
        """UPDATE happening SET begins_at = $3, ends_at = $4, capacity = $5, cancelled_at = $6, changed_at = $7,
               sequence = sequence + 1
           WHERE announcement = $1 AND sequence = $2 RETURNING sequence""",
        before.announcement, before.sequence, what.begins_at, what.ends_at, what.capacity, now if cancel else None, now,
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


# --- what lies beside a copy ------------------------------------------------------------------------------------------


async def begin_beside(tx: Transaction, announcement: str, target: Target, txn_id: str) -> bool:
    """Record that a calendar file or an edit is about to be sent, so that it may be in the room from now on; whether
    it may: not once the announcement is withdrawn.
    """
    await announcements.hold(tx, announcement)  # a withdrawal comes before this, or knows of it
    known = await get(tx, announcement)
    if known is None or known.withdrawn:
        return False
    await tx.execute(
        """INSERT INTO happening_beside (announcement, community, place, txn_id) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING""",
        announcement, target.community, target.place, txn_id,
    )  # fmt: skip
    return True


async def lies_beside(tx: Transaction, announcement: str, txn_id: str, event_id: EventId) -> None:
    """Record the event of what was begun."""
    await tx.execute(
        "UPDATE happening_beside SET event_id = $3 WHERE announcement = $1 AND txn_id = $2",
        announcement, txn_id, event_id,
    )  # fmt: skip


async def is_found(tx: Transaction, announcement: str, txn_id: str) -> None:
    """Forget what the homeserver knows to belong to the copy, as it does of edits that have arrived."""
    await tx.execute("DELETE FROM happening_beside WHERE announcement = $1 AND txn_id = $2", announcement, txn_id)


async def beside(tx: Transaction, announcement: str, target: Target) -> list[tuple[str, EventId | None]]:
    """What lies beside a copy: the transaction id of each, and its event where that is known."""
    rows = await tx.fetch(
        """SELECT txn_id, event_id FROM happening_beside WHERE announcement = $1 AND community = $2 AND place = $3
           ORDER BY txn_id""",
        announcement, target.community, target.place,
    )  # fmt: skip
    return [(row["txn_id"], None if row["event_id"] is None else EventId(row["event_id"])) for row in rows]


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
        (row["announced_at"] or 0) if row["changed_at"] is None else row["changed_at"],
        row["withdrawn_at"] is not None,
    )
