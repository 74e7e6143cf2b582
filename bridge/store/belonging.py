"""Since when people are in a community, and by whom they came: as long as they are in it or on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.ids import CommunityId, UserId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Belonging:
    """What is known of how somebody came."""

    since: int | None
    """When they joined, milliseconds since 1970; None where that is not known, or has yet to come."""
    how: str
    """`invite`, `link`, `request`, `configuration`, `client`; empty where nobody knows."""
    by: str
    """Who brought them in: a user id, or a name of ours for the operator."""
    detail: str
    """Of a link its id."""


async def bidden(
    tx: Transaction, community: CommunityId, user: UserId, how: str, by: str, detail: str, now: int
) -> None:
    """Record who brings somebody in. The latest word counts, and none once they are in."""
    await tx.execute(
        """INSERT INTO belonging (community, user_id, how, by_whom, detail, at) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (community, user_id) DO UPDATE SET
               how = excluded.how, by_whom = excluded.by_whom, detail = excluded.detail, at = excluded.at
           WHERE belonging.since IS NULL""",
        community, user, how, by, detail, now,
    )  # fmt: skip


async def joined(tx: Transaction, community: CommunityId, user: UserId, how: str, at: int) -> None:
    """Record when somebody joined; the first time counts until they leave.

    Args:
        how: how they came, where nobody's word was recorded.
    """
    await tx.execute(
        """INSERT INTO belonging (community, user_id, how, by_whom, detail, at, since)
           VALUES ($1, $2, $3, '', '', $4, $4)
           ON CONFLICT (community, user_id) DO UPDATE SET since = excluded.since
           WHERE belonging.since IS NULL""",
        community, user, how, at,
    )  # fmt: skip


async def arrived(tx: Transaction, community: CommunityId, user: UserId, at: int) -> None:
    """Record when somebody joined whom somebody had bidden in, and nothing of anybody else."""
    await tx.execute(
        "UPDATE belonging SET since = $3 WHERE community = $1 AND user_id = $2 AND since IS NULL",
        community, user, at,
    )  # fmt: skip


async def left(tx: Transaction, community: CommunityId, user: UserId, at: int) -> None:
    """Forget what was known of somebody who left at that time, unless they came again since."""
    await tx.execute(
        "DELETE FROM belonging WHERE community = $1 AND user_id = $2 AND at <= $3 AND (since IS NULL OR since <= $3)",
        community, user, at,
    )  # fmt: skip


async def of_community(tx: Transaction, community: CommunityId) -> Mapping[UserId, Belonging]:
    """What is known of everybody in a community."""
    rows = await tx.fetch("SELECT user_id, since, how, by_whom, detail FROM belonging WHERE community = $1", community)
    return {UserId(row["user_id"]): Belonging(row["since"], row["how"], row["by_whom"], row["detail"]) for row in rows}
