"""Who was welcomed to which community: once each."""

from __future__ import annotations

from bridge.core.ids import CommunityId, EventId, UserId
from bridge.store.database import Transaction


async def add(tx: Transaction, community: CommunityId, user: UserId, now: int) -> bool:
    """Record that somebody arrived; whether it is the first time."""
    row = await tx.fetch_row(
        "INSERT INTO arrival (community, user_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING user_id",
        community,
        user,
        now,
    )
    return row is not None


async def untold(tx: Transaction, user: UserId) -> list[CommunityId]:
    """The communities to which somebody is still to be welcomed."""
    rows = await tx.fetch("SELECT community FROM arrival WHERE user_id = $1 AND told = 0 ORDER BY at, community", user)
    return [CommunityId(row["community"]) for row in rows]


async def has_arrived(tx: Transaction, community: CommunityId, user: UserId) -> bool:
    """Whether somebody arrived before."""
    query = "SELECT 1 FROM arrival WHERE community = $1 AND user_id = $2"
    return await tx.fetch_value(query, community, user) is not None


async def said(tx: Transaction, community: CommunityId, user: UserId, message: EventId) -> None:
    """Record the message that welcomed somebody."""
    await tx.execute("UPDATE arrival SET message = $3 WHERE community = $1 AND user_id = $2", community, user, message)


async def was_welcomed(tx: Transaction, user: UserId, but: CommunityId) -> bool:
    """Whether somebody was welcomed to another community before."""
    query = "SELECT 1 FROM arrival WHERE user_id = $1 AND community <> $2 AND message <> '' LIMIT 1"
    return await tx.fetch_value(query, user, but) is not None


async def welcomed_by(tx: Transaction, user: UserId, message: EventId) -> CommunityId | None:
    """The community to which somebody was welcomed by that message."""
    found = await tx.fetch_value("SELECT community FROM arrival WHERE user_id = $1 AND message = $2", user, message)
    return None if found is None else CommunityId(found)


async def told(tx: Transaction, community: CommunityId, user: UserId) -> None:
    """Record that the welcome goes out."""
    await tx.execute("UPDATE arrival SET told = 1 WHERE community = $1 AND user_id = $2", community, user)
