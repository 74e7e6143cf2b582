"""Polls, and the votes of those that are not counted yet. What they ask lies in the rooms alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.polls import Tally, Vote
from bridge.store.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll, without its words."""

    announcement: str
    community: CommunityId
    options: int
    multiple: bool
    hidden: bool
    """Whether votes are given in direct chats, and nothing of them is shown before the end."""
    closes_at: int | None
    """Until when votes count, in milliseconds since 1970; None while there is no end."""
    counted: Tally | None = None
    """How it ended."""
    shown: Tally | None = None
    """The count that was last edited into the announcement."""
    place: str = ""
    """The key of the group in which it is asked; empty for the announcement room."""
    native: bool = False
    """Whether it is a poll of the clients (MSC3381): they count, and the service sees no vote."""

    def takes(self, option: int, at: int) -> bool:
        """Whether a vote of that time counts, in milliseconds since 1970."""
        in_time = self.closes_at is None or at < self.closes_at
        return self.counted is None and in_time and option <= self.options


_COLUMNS = "announcement, community, options, multiple, hidden, closes_at, counted, shown, place, native"
_OF_POLL = ", ".join(f"poll.{name}" for name in _COLUMNS.split(", "))


async def add(tx: Transaction, poll: Poll) -> None:
    """Record a poll; the same one again changes nothing."""
    await tx.execute(
        """INSERT INTO poll (announcement, community, options, multiple, hidden, closes_at, place, native)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING""",
        poll.announcement, poll.community, poll.options, int(poll.multiple), int(poll.hidden), poll.closes_at,
        poll.place, int(poll.native),
    )  # fmt: skip


async def get(tx: Transaction, announcement: str) -> Poll | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM poll WHERE announcement = $1",  # noqa: S608 - a constant
        announcement,
    )
    return None if row is None else _poll(row)


async def open_hidden(tx: Transaction, community: CommunityId, now: int) -> list[tuple[int, Poll]]:
    """The hidden polls of a community that have reached a room and are open, with their numbers."""
    rows = await tx.fetch(
        f"""SELECT counted.number, {_OF_POLL}
            FROM poll JOIN announcement_number AS counted
              ON counted.announcement = poll.announcement AND counted.community = poll.community
            WHERE poll.community = $1 AND poll.hidden = 1 AND poll.native = 0 AND poll.counted = ''
              AND (poll.closes_at IS NULL OR poll.closes_at > $2)
              AND NOT EXISTS (SELECT 1 FROM announcement WHERE id = poll.announcement AND withdrawn_at IS NOT NULL)
              AND EXISTS (SELECT 1 FROM announcement_copy AS copy
                          WHERE copy.announcement = poll.announcement AND copy.event_id IS NOT NULL)
            ORDER BY counted.number""",  # noqa: S608 - constants
        community, now,
    )  # fmt: skip
    return [(row["number"], _poll(row)) for row in rows]


async def heard(tx: Transaction) -> frozenset[RoomId]:
    """The groups in which a poll is open that is voted on by reaction: reactions there are listened to."""
    rows = await tx.fetch(
        """SELECT DISTINCT room.room_id FROM poll JOIN room ON room.community = poll.community AND room.key = poll.place
           WHERE poll.place != '' AND poll.native = 0 AND poll.counted = '' AND room.room_id IS NOT NULL"""
    )
    return frozenset(RoomId(row["room_id"]) for row in rows)


async def listed(tx: Transaction, community: CommunityId, most: int) -> list[tuple[int, bool, Poll]]:
    """The polls of a community, the newest first: number, whether it was withdrawn, and the poll."""
    rows = await tx.fetch(
        f"""SELECT counted.number, announcement.withdrawn_at, {_OF_POLL}
            FROM poll JOIN announcement_number AS counted
              ON counted.announcement = poll.announcement AND counted.community = poll.community
            JOIN announcement ON announcement.id = poll.announcement
            WHERE poll.community = $1 ORDER BY counted.number DESC LIMIT $2""",  # noqa: S608 - constants
        community, most,
    )  # fmt: skip
    return [(row["number"], row["withdrawn_at"] is not None, _poll(row)) for row in rows]


async def awaits_delivery(tx: Transaction, community: CommunityId) -> bool:
    """Whether a poll is on its way into a room of a community: a reaction may be known before its message is."""
    found = await tx.fetch_value(
        """SELECT 1 FROM poll JOIN announcement_copy AS copy ON copy.announcement = poll.announcement
           WHERE copy.community = $1 AND copy.event_id IS NULL AND copy.failed IS NULL AND poll.counted = ''
           LIMIT 1""",
        community,
    )
    return found is not None


async def end(tx: Transaction, announcement: str, at: int) -> None:
    """Have a poll end at that time, if it does not end before."""
    await tx.execute(
        "UPDATE poll SET closes_at = $2 WHERE announcement = $1 AND (closes_at IS NULL OR closes_at > $2)",
        announcement, at,
    )  # fmt: skip


async def count(tx: Transaction, poll: Poll, found: Tally) -> None:
    """Record how a poll ended. Who voted what is forgotten."""
    await tx.execute(
        "UPDATE poll SET counted = $2 WHERE announcement = $1 AND counted = ''", poll.announcement, _written(found)
    )
    await tx.execute(
        f"DELETE FROM poll_vote WHERE {_OF}",  # noqa: S608 - a constant
        poll.announcement,
    )
    # and reactions to other messages, kept while it was not known which message was the poll
    if not await awaits_delivery(tx, poll.community):
        await tx.execute(
            """DELETE FROM poll_vote
               WHERE room_id IN (SELECT room_id FROM announcement_copy WHERE announcement = $1)
                 AND target NOT IN (SELECT copy.event_id FROM announcement_copy AS copy JOIN poll
                                    ON poll.announcement = copy.announcement WHERE copy.event_id IS NOT NULL)""",
            poll.announcement,
        )
    await tx.execute(
        """DELETE FROM poll_vote
           WHERE room_id IN (SELECT room_id FROM poll_ballot WHERE announcement = $1 AND room_id IS NOT NULL)
             AND target NOT IN (SELECT event_id FROM poll_ballot WHERE event_id IS NOT NULL)
             AND NOT EXISTS (SELECT 1 FROM poll_ballot AS other
                             WHERE other.room_id = poll_vote.room_id AND other.event_id IS NULL
                               AND other.announcement != $1 AND other.state IN ('new', 'waits'))""",
        poll.announcement,
    )


async def show(tx: Transaction, announcement: str, found: Tally) -> None:
    """Record which count was edited into the announcement."""
    await tx.execute("UPDATE poll SET shown = $2 WHERE announcement = $1", announcement, _written(found))


# --- votes ------------------------------------------------------------------------------------------------------------

_OF = """(target = $1
          OR target IN (SELECT event_id FROM announcement_copy WHERE announcement = $1 AND event_id IS NOT NULL)
          OR target IN (SELECT event_id FROM poll_ballot WHERE announcement = $1 AND event_id IS NOT NULL))"""
"""Votes given by reaction to a copy of the poll, by reaction to a ballot of it, or in words in a chat."""


async def vote(tx: Transaction, room_id: RoomId, target: EventId, made: Vote) -> None:
    """Record a reaction; the same event again changes nothing."""
    await tx.execute(
        """INSERT INTO poll_vote (event_id, room_id, target, user_id, choice, at) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT DO NOTHING""",
        made.event, room_id, target, made.user, made.option, made.at,
    )  # fmt: skip


async def vote_in_chat(
    tx: Transaction, announcement: str, user: UserId, options: Sequence[int], event_id: str, at: int
) -> None:
    """Record what somebody chose in words in their chat, in the place of what they chose there before, in words or on
    their ballot."""
    await tx.execute(
        f"DELETE FROM poll_vote WHERE user_id = $2 AND {_OF}",  # noqa: S608 - a constant
        announcement, user,
    )  # fmt: skip
    for option in options:
        await vote(tx, RoomId(""), EventId(announcement), Vote(user, option, at, f"{event_id} {option}"))


async def voted(tx: Transaction, room_id: RoomId, event_id: EventId) -> EventId | None:
    """To which event a reaction belongs that is kept as a vote; None where it is none."""
    found = await tx.fetch_value("SELECT target FROM poll_vote WHERE event_id = $1 AND room_id = $2", event_id, room_id)
    return None if found is None else EventId(found)


async def take_back(tx: Transaction, event_id: EventId) -> None:
    await tx.execute("DELETE FROM poll_vote WHERE event_id = $1", event_id)


async def votes(tx: Transaction, poll: Poll) -> list[Vote]:
    """The votes that stand, and were made before the end."""
    rows = await tx.fetch(
        f"SELECT user_id, choice, at, event_id FROM poll_vote WHERE {_OF} AND at < $2",  # noqa: S608 - a constant
        poll.announcement, 2**62 if poll.closes_at is None else poll.closes_at,
    )  # fmt: skip
    return [Vote(UserId(row["user_id"]), row["choice"], row["at"], row["event_id"]) for row in rows]


def _written(found: Tally) -> str:
    return orjson.dumps([found.people, *found.counts]).decode()


def _read(text: str) -> Tally | None:
    if not text:
        return None
    people, *counts = orjson.loads(text)
    return Tally(tuple(counts), people)


def _poll(row: Row) -> Poll:
    return Poll(
        row["announcement"],
        CommunityId(row["community"]),
        row["options"],
        bool(row["multiple"]),
        bool(row["hidden"]),
        row["closes_at"],
        _read(row["counted"]),
        _read(row["shown"]),
        row["place"],
        bool(row["native"]),
    )
