"""Feeds: which community has one, and by which secret."""

from __future__ import annotations

from bridge.core.ids import CommunityId
from bridge.store.database import Transaction


async def open_(tx: Transaction, community: CommunityId, token_sha256: str, by: str, now: int) -> bool:
    """Give a community a feed in the place of the one it has; whether that is another one."""
    before = await tx.fetch_value("SELECT token_sha256 FROM feed WHERE community = $1", community)
    await tx.execute(
        """INSERT INTO feed (community, token_sha256, by_whom, at) VALUES ($1, $2, $3, $4)
           ON CONFLICT (community) DO UPDATE SET token_sha256 = $2, by_whom = $3, at = $4""",
        community, token_sha256, by, now,
    )  # fmt: skip
    return bool(before != token_sha256)


async def close(tx: Transaction, community: CommunityId) -> bool:
    """Take a community's feed away; whether there was one."""
    return await tx.fetch_row("DELETE FROM feed WHERE community = $1 RETURNING at", community) is not None


async def is_open(tx: Transaction, community: CommunityId) -> bool:
    return await tx.fetch_value("SELECT at FROM feed WHERE community = $1", community) is not None


async def community_of(tx: Transaction, token_sha256: str) -> CommunityId | None:
    found = await tx.fetch_value("SELECT community FROM feed WHERE token_sha256 = $1", token_sha256)
    return None if found is None else CommunityId(found)
