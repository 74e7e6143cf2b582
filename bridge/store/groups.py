"""Groups that people made by command."""

from __future__ import annotations

from bridge.core.community import Posting, RoomKind
from bridge.core.groups import OwnGroup, Stage
from bridge.core.ids import CommunityId, RoomKeyName
from bridge.store.database import Transaction


async def load_all(tx: Transaction) -> dict[CommunityId, list[OwnGroup]]:
    """The groups of all communities, by key."""
    rows = await tx.fetch(
        "SELECT community, key, kind, posting, stage, made_by, source, history FROM own_group ORDER BY community, key"
    )
    found: dict[CommunityId, list[OwnGroup]] = {}
    for row in rows:
        found.setdefault(CommunityId(row["community"]), []).append(
            OwnGroup(
                RoomKeyName(row["key"]),
                RoomKind(row["kind"]),
                Posting(row["posting"]),
                Stage(row["stage"]),
                row["made_by"],
                row["source"],
                row["history"],
            )
        )
    return found


async def put(tx: Transaction, community: CommunityId, group: OwnGroup) -> None:
    """Store a group, new or changed; who made it first, and for what, stays."""
    await tx.execute(
        """INSERT INTO own_group (community, key, kind, posting, stage, made_by, source, history)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
           ON CONFLICT (community, key) DO UPDATE SET
               kind = excluded.kind, posting = excluded.posting, stage = excluded.stage""",
        community, group.key, group.kind.value, group.posting.value, group.stage.value, group.made_by, group.source,
        group.history,
    )  # fmt: skip


async def drop(tx: Transaction, community: CommunityId, key: RoomKeyName) -> None:
    """Forget a group."""
    await tx.execute("DELETE FROM own_group WHERE community = $1 AND key = $2", community, key)
