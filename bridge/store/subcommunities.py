"""Communities that people made by command within others."""

from __future__ import annotations

from bridge.core.ids import CommunityId
from bridge.core.subcommunities import OwnCommunity
from bridge.store.database import Transaction


async def load_all(tx: Transaction) -> list[OwnCommunity]:
    """All of them, by id."""
    rows = await tx.fetch("SELECT id, parent, made_by, source FROM own_community ORDER BY id")
    return [
        OwnCommunity(CommunityId(row["id"]), CommunityId(row["parent"]), row["made_by"], row["source"]) for row in rows
    ]


async def put(tx: Transaction, one: OwnCommunity) -> None:
    """Store one, new or moved; who made it first, and for what, stays."""
    await tx.execute(
        """INSERT INTO own_community (id, parent, made_by, source) VALUES ($1, $2, $3, $4)
           ON CONFLICT (id) DO UPDATE SET parent = excluded.parent""",
        one.id, one.parent, one.made_by, one.source,
    )  # fmt: skip
