"""Who was asked to acknowledge an announcement, and how often they were reminded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An announcement that is to be acknowledged in one community."""

    announcement: str
    community: CommunityId
    room_id: RoomId
    event_id: EventId
    asked_at: int
    """In milliseconds since 1970."""
    closed_at: int | None


async def open_one(tx: Transaction, one: Acknowledgement, people: Iterable[UserId]) -> bool:
    """Note who is asked, once; whether it was not known yet."""
    rows = await tx.fetch(
        """INSERT INTO acknowledgement (announcement, community, room_id, event_id, asked_at)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1""",
        one.announcement, one.community, one.room_id, one.event_id, one.asked_at,
    )  # fmt: skip
    if rows:
        await tx.put(
            "INSERT INTO acknowledger (user_id, announcement, community, reminded) {rows}",
            ("text",),
            [(user,) for user in sorted(set(people))],
            always={"announcement": one.announcement, "community": one.community, "reminded": 0},
        )
    return bool(rows)


async def get(tx: Transaction, announcement: str, community: CommunityId) -> Acknowledgement | None:
    row = await tx.fetch_row(
        """SELECT announcement, community, room_id, event_id, asked_at, closed_at FROM acknowledgement
           WHERE announcement = $1 AND community = $2""",
        announcement, community,
    )  # fmt: skip
    if row is None:
        return None
    return Acknowledgement(row[0], CommunityId(row[1]), RoomId(row[2]), EventId(row[3]), row[4], row[5])


async def asked(tx: Transaction, announcement: str, community: CommunityId) -> dict[UserId, int]:
    """Who was asked, with the last reminder that they were given, from 1; 0 is none."""
    rows = await tx.fetch(
        "SELECT user_id, reminded FROM acknowledger WHERE announcement = $1 AND community = $2 ORDER BY user_id",
        announcement, community,
    )  # fmt: skip
    return {UserId(row[0]): int(row[1]) for row in rows}


async def reminded(
    tx: Transaction, announcement: str, community: CommunityId, users: Iterable[UserId], step: int
) -> None:
    """Note that people are reminded."""
    await tx.execute(
        "UPDATE acknowledger SET reminded = $3 WHERE announcement = $1 AND community = $2 AND reminded < $3 "  # noqa: S608 - constants
        f"AND user_id {tx.one_of('$4')}",
        announcement, community, step, tx.texts(users),
    )  # fmt: skip


async def close(tx: Transaction, announcement: str, community: CommunityId, now: int) -> None:
    """Note that nobody is asked any more."""
    await tx.execute(
        """UPDATE acknowledgement SET closed_at = $3
           WHERE announcement = $1 AND community = $2 AND closed_at IS NULL""",
        announcement, community, now,
    )  # fmt: skip


async def forget_before(tx: Transaction, before: int) -> None:
    """Forget acknowledgements that were asked for before that time, in milliseconds since 1970."""
    await tx.execute(
        """DELETE FROM acknowledger WHERE EXISTS (SELECT 1 FROM acknowledgement AS one
               WHERE one.announcement = acknowledger.announcement AND one.community = acknowledger.community
               AND one.asked_at < $1)""",
        before,
    )
    await tx.execute("DELETE FROM acknowledgement WHERE asked_at < $1", before)
