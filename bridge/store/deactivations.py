"""Communities that were deactivated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.core.ids import CommunityId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Deactivation:
    """A community was deactivated, or is being so."""

    community: CommunityId
    name: str
    """What it was called."""
    by: str
    at: int
    done_at: int | None = None
    """When space and announcement room were done; None while they are not."""


async def load_all(tx: Transaction) -> dict[CommunityId, Deactivation]:
    """All of them."""
    rows = await tx.fetch("SELECT community, name, by_whom, at, done_at FROM deactivation ORDER BY community")
    return {CommunityId(row["community"]): _deactivation(row) for row in rows}


async def add(tx: Transaction, one: Deactivation) -> bool:
    """Record that a community is deactivated from now on; whether it was not before."""
    row = await tx.fetch_row(
        """INSERT INTO deactivation (community, name, by_whom, at) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING RETURNING community""",
        one.community,
        one.name,
        one.by,
        one.at,
    )
    return row is not None


async def done(tx: Transaction, community: CommunityId, at: int) -> None:
    """Record that its space and announcement room say so."""
    await tx.execute("UPDATE deactivation SET done_at = $2 WHERE community = $1", community, at)


async def drop(tx: Transaction, community: CommunityId) -> None:
    """It is a community as any other again."""
    await tx.execute("DELETE FROM deactivation WHERE community = $1", community)


async def forget_arrivals(tx: Transaction, community: CommunityId) -> None:
    """Forget who was on the way in, or has to agree to the rules: nobody comes in any more."""
    for table in ("bidden", "must_agree"):
        await tx.execute(f"DELETE FROM {table} WHERE community = $1", community)  # noqa: S608 - names from the line above


def _deactivation(row: Any) -> Deactivation:
    return Deactivation(CommunityId(row["community"]), row["name"], row["by_whom"], row["at"], row["done_at"])
