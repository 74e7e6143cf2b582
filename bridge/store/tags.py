"""Tags that people were given by hand."""

from __future__ import annotations

from bridge.core.ids import CommunityId, UserId
from bridge.store.database import Transaction


async def of_community(tx: Transaction, community: CommunityId) -> dict[str, set[UserId]]:
    """Who was given which tag."""
    rows = await tx.fetch("SELECT name, user_id FROM tag WHERE community = $1 ORDER BY name, user_id", community)
    found: dict[str, set[UserId]] = {}
    for row in rows:
        found.setdefault(row["name"], set()).add(UserId(row["user_id"]))
    return found


async def give(tx: Transaction, community: CommunityId, name: str, user: UserId, now: int) -> bool:
    """Give somebody a tag; whether they had not had it."""
    row = await tx.fetch_row(
        "INSERT INTO tag (community, name, user_id, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING name",
        community,
        name,
        user,
        now,
    )
    return row is not None


async def take(tx: Transaction, community: CommunityId, name: str, user: UserId) -> bool:
    """Take a tag from somebody; whether they had it."""
    row = await tx.fetch_row(
        "DELETE FROM tag WHERE community = $1 AND name = $2 AND user_id = $3 RETURNING name", community, name, user
    )
    return row is not None


async def forget(tx: Transaction, community: CommunityId, user: UserId, before: int) -> None:
    """Take all tags from somebody that they were given up to that time."""
    await tx.execute("DELETE FROM tag WHERE community = $1 AND user_id = $2 AND at <= $3", community, user, before)
