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


_COLUMNS = "announcement, community, options, multiple, hidden, closes_at, counted, shown"


async def add(tx: Transaction, poll: Poll) -> None:
    """Record a poll; the same one again changes nothing."""
    await tx.execute(
        """INSERT INTO poll (announcement, community, options, multiple, hidden, closes_at)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        poll.announcement, poll.community, poll.options, int(poll.multiple), int(poll.hidden), poll.closes_at,
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
        f"""SELECT counted.number, {", ".join(f"poll.{name}" for name in _COLUMNS.split(", "))}
            FROM poll JOIN announcement_number AS counted
              ON counted.announcement = poll.announcement AND counted.community = poll.community
            WHERE poll.community = $1 AND poll.hidden = 1 AND poll.counted = ''
              AND (poll.closes_at IS NULL OR poll.closes_at > $2)
              AND EXISTS (SELECT 1 FROM announcement_copy AS copy
                          WHERE copy.announcement = poll.announcement AND copy.event_id IS NOT NULL)
            ORDER BY counted.number""",  # noqa: S608 - constants
        community, now,
    )  # fmt: skip
    return [(row["number"], _poll(row)) for row in rows]


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


async def show(tx: Transaction, announcement: str, found: Tally) -> None:
    """Record which count was edited into the announcement."""
    await tx.execute("UPDATE poll SET shown = $2 WHERE announcement = $1", announcement, _written(found))


# --- votes ------------------------------------------------------------------------------------------------------------

_OF = """(target = $1
          OR target IN (SELECT event_id FROM announcement_copy WHERE announcement = $1 AND event_id IS NOT NULL))"""


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
    """Record what somebody chose in their chat, in the place of what they chose there before."""
    await tx.execute("DELETE FROM poll_vote WHERE target = $1 AND user_id = $2", announcement, user)
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
    )
