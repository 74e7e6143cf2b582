"""What people set about their communities by command."""

from __future__ import annotations

from bridge.core.ids import CommunityId
from bridge.core.profile import Aspect
from bridge.store.database import Transaction


async def load_all(tx: Transaction) -> dict[CommunityId, dict[Aspect, str]]:
    """The values of all communities; what this version does not know is passed over."""
    known = {aspect.value for aspect in Aspect}
    found: dict[CommunityId, dict[Aspect, str]] = {}
    for row in await tx.fetch("SELECT community, name, value FROM own_setting ORDER BY community, name"):
        if row["name"] in known:
            found.setdefault(CommunityId(row["community"]), {})[Aspect(row["name"])] = row["value"]
    return found


async def put(tx: Transaction, community: CommunityId, aspect: Aspect, value: str) -> None:
    """Store a value, over the one before."""
    await tx.execute(
        """INSERT INTO own_setting (community, name, value) VALUES ($1, $2, $3)
           ON CONFLICT (community, name) DO UPDATE SET value = excluded.value""",
        community, aspect.value, value,
    )  # fmt: skip


async def drop(tx: Transaction, community: CommunityId, aspect: Aspect) -> None:
    """Forget a value."""
    await tx.execute("DELETE FROM own_setting WHERE community = $1 AND name = $2", community, aspect.value)
