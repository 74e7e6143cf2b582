"""Invite links, and who came by which: counted within one database transaction, so that no use is given twice."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bridge.core.community import Role
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.links import Link, Stage
from bridge.store.database import Row, Transaction

_LINK = "id, community, group_keys, expires_at, uses, needs_approval, role, maker, made_at, used, revoked_at"
_ENTRY = "seq, ticket, link, community, user_id, lane, stage, at"


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody who used a link."""

    seq: int
    """Grows with every entry: who came first stands first."""
    ticket: str
    """By which their own page finds them again; it allows nothing but to look."""
    link: str
    community: CommunityId
    user: UserId
    lane: str
    """The lane of jobs in which they wait."""
    stage: Stage
    at: int


async def add(tx: Transaction, link: Link, token_sha256: str) -> None:
    """Remember a new link."""
    await tx.execute(
        """INSERT INTO link (
               id, token_sha256, community, group_keys, expires_at, uses, needs_approval, role, maker, made_at
           ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)""",
        link.id,
        token_sha256,
        link.community,
        json.dumps(link.groups),
        link.expires_at,
        link.uses,
        int(link.needs_approval),
        int(link.role),
        link.maker,
        link.made_at,
    )


async def by_token(tx: Transaction, token_sha256: str) -> Link | None:
    """The link of that secret, whatever became of it."""
    row = await tx.fetch_row(f"SELECT {_LINK} FROM link WHERE token_sha256 = $1", token_sha256)  # noqa: S608
    return None if row is None else _link(row)


async def by_id(tx: Transaction, link_id: str) -> Link | None:
    """The link of that id, whatever became of it."""
    row = await tx.fetch_row(f"SELECT {_LINK} FROM link WHERE id = $1", link_id)  # noqa: S608 - a constant
    return None if row is None else _link(row)


async def of_community(tx: Transaction, community: CommunityId) -> list[Link]:
    """All links of a community, the newest first."""
    rows = await tx.fetch(
        f"SELECT {_LINK} FROM link WHERE community = $1 ORDER BY made_at DESC, id",  # noqa: S608 - a constant
        community,
    )
    return [_link(row) for row in rows]


async def count_live(tx: Transaction, now: int) -> int:
    """How many links can be used."""
    return int(
        await tx.fetch_value(
            "SELECT COUNT(*) FROM link WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $1) "
            "AND (uses IS NULL OR used < uses)",
            now,
        )
    )


async def revoke(tx: Transaction, link_id: str, by: str, now: int) -> bool:
    """Take a link back; whether it was not taken back before."""
    query = "UPDATE link SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL RETURNING id"
    return await tx.fetch_row(query, link_id, now, by) is not None


async def revoke_all(tx: Transaction, community: CommunityId, by: str, now: int) -> list[str]:
    """Take all links of a community back; gives the ids of those that were not before."""
    rows = await tx.fetch(
        "UPDATE link SET revoked_at = $2, revoked_by = $3 WHERE community = $1 AND revoked_at IS NULL RETURNING id",
        community,
        now,
        by,
    )
    return sorted(row["id"] for row in rows)


async def without_group(tx: Transaction, community: CommunityId, key: RoomKeyName, by: str, now: int) -> None:
    """Have no link of a community lead into a group any more. The links stay, but for those that make moderators of
    that group alone: they are taken back."""
    for row in await tx.fetch("SELECT id, group_keys, role FROM link WHERE community = $1", community):
        keys = json.loads(row["group_keys"])
        left = [one for one in keys if one != key]
        if left == keys:
            continue
        if not left and Role(row["role"]) is Role.MODERATOR:
            await revoke(tx, row["id"], by, now)
        else:
            await tx.execute("UPDATE link SET group_keys = $2 WHERE id = $1", row["id"], json.dumps(left))


async def revoke_made_by(tx: Transaction, community: CommunityId, maker: str, by: str, now: int) -> list[str]:
    """Take all links back that somebody made for a community; gives the ids of those that were not before."""
    rows = await tx.fetch(
        "UPDATE link SET revoked_at = $3, revoked_by = $4 "
        "WHERE community = $1 AND maker = $2 AND revoked_at IS NULL RETURNING id",
        community,
        maker,
        now,
        by,
    )
    return sorted(row["id"] for row in rows)


async def count_use(tx: Transaction, link_id: str, now: int) -> bool:
    """Count one more use, if the link still has one at that time; whether it had.

    One statement: of two people who are after the last use, one gets it.
    """
    query = (
        "UPDATE link SET used = used + 1 WHERE id = $1 AND revoked_at IS NULL "
        "AND (expires_at IS NULL OR expires_at > $2) AND (uses IS NULL OR used < uses) RETURNING used"
    )
    return await tx.fetch_row(query, link_id, now) is not None


async def enter(tx: Transaction, entry: Entry) -> bool:
    """Record that somebody came by a link; whether they had not before. `seq` is given by the database."""
    row = await tx.fetch_row(
        """INSERT INTO entry (ticket, link, community, user_id, lane, stage, at, changed_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (link, user_id) DO NOTHING RETURNING seq""",
        entry.ticket,
        entry.link,
        entry.community,
        entry.user,
        entry.lane,
        entry.stage.value,
        entry.at,
    )
    return row is not None


async def entry_of(tx: Transaction, link_id: str, user: UserId) -> Entry | None:
    """Somebody's entry by a link."""
    query = f"SELECT {_ENTRY} FROM entry WHERE link = $1 AND user_id = $2"  # noqa: S608 - a constant
    row = await tx.fetch_row(query, link_id, user)
    return None if row is None else _entry(row)


async def entry(tx: Transaction, ticket: str) -> Entry | None:
    """The entry of that ticket."""
    row = await tx.fetch_row(f"SELECT {_ENTRY} FROM entry WHERE ticket = $1", ticket)  # noqa: S608 - a constant
    return None if row is None else _entry(row)


async def entries_of(tx: Transaction, link_id: str) -> list[Entry]:
    """Who came by a link, in that order."""
    rows = await tx.fetch(f"SELECT {_ENTRY} FROM entry WHERE link = $1 ORDER BY seq", link_id)  # noqa: S608
    return [_entry(row) for row in rows]


async def set_stage(tx: Transaction, ticket: str, stage: Stage, now: int) -> None:
    """Remember how far somebody has come."""
    await tx.execute("UPDATE entry SET stage = $2, changed_at = $3 WHERE ticket = $1", ticket, stage.value, now)


async def ahead_of(tx: Transaction, entry: Entry) -> int:
    """How many wait before somebody in their lane."""
    return int(
        await tx.fetch_value(
            "SELECT COUNT(*) FROM entry WHERE lane = $1 AND stage = $2 AND seq < $3",
            entry.lane,
            Stage.WAITING.value,
            entry.seq,
        )
    )


async def count_waiting(tx: Transaction, community: CommunityId) -> int:
    """How many wait for their invitation to a community."""
    query = "SELECT COUNT(*) FROM entry WHERE community = $1 AND stage = $2"
    return int(await tx.fetch_value(query, community, Stage.WAITING.value))


def _link(row: Row) -> Link:
    return Link(
        id=row["id"],
        community=CommunityId(row["community"]),
        maker=row["maker"],
        made_at=row["made_at"],
        groups=tuple(RoomKeyName(key) for key in json.loads(row["group_keys"])),
        expires_at=row["expires_at"],
        uses=row["uses"],
        needs_approval=bool(row["needs_approval"]),
        role=Role(row["role"]),
        used=row["used"],
        revoked_at=row["revoked_at"],
    )


def _entry(row: Row) -> Entry:
    return Entry(
        seq=row["seq"],
        ticket=row["ticket"],
        link=row["link"],
        community=CommunityId(row["community"]),
        user=UserId(row["user_id"]),
        lane=row["lane"],
        stage=Stage(row["stage"]),
        at=row["at"],
    )
