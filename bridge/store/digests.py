"""Who wants a weekly summary of a community's announcements."""

from __future__ import annotations

from bridge.core.ids import CommunityId, UserId
from bridge.store.database import Transaction


async def want(tx: Transaction, community: CommunityId, user: UserId) -> None:
    await tx.execute(
        "INSERT INTO digest_wanted (community, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", community, user
    )


async def want_no_more(tx: Transaction, community: CommunityId, user: UserId) -> None:
    await tx.execute("DELETE FROM digest_wanted WHERE community = $1 AND user_id = $2", community, user)


async def wanted_by(tx: Transaction, community: CommunityId) -> list[UserId]:
    rows = await tx.fetch("SELECT user_id FROM digest_wanted WHERE community = $1 ORDER BY user_id", community)
    return [UserId(row["user_id"]) for row in rows]
