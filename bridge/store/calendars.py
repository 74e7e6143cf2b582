"""Calendars: which community opened its, and who reads it under which address."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.ids import CommunityId, UserId
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who has an address of a calendar."""

    community: CommunityId
    user: UserId
    source: str
    """Of which, with a secret that is not stored, the address is made."""


async def open_(tx: Transaction, community: CommunityId, by: str, now: int) -> bool:
    """Let members of a community have addresses of its calendar; whether they could not yet."""
    row = await tx.fetch_row(
        "INSERT INTO calendar (community, by_whom, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING at",
        community, by, now,
    )  # fmt: skip
    return row is not None


async def close(tx: Transaction, community: CommunityId) -> bool:
    """Take all addresses of a community's calendar away; whether there was one."""
    await tx.execute("DELETE FROM calendar_reader WHERE community = $1", community)
    return await tx.fetch_row("DELETE FROM calendar WHERE community = $1 RETURNING at", community) is not None


async def is_open(tx: Transaction, community: CommunityId) -> bool:
    return await tx.fetch_value("SELECT at FROM calendar WHERE community = $1", community) is not None


async def count(tx: Transaction, community: CommunityId) -> int:
    """How many have an address."""
    return int(await tx.fetch_value("SELECT COUNT(*) FROM calendar_reader WHERE community = $1", community))


async def source_of(tx: Transaction, community: CommunityId, user: UserId) -> str | None:
    """Of what somebody's address is made; None where they have none."""
    found: str | None = await tx.fetch_value(
        "SELECT source FROM calendar_reader WHERE community = $1 AND user_id = $2", community, user
    )
    return found


async def give(tx: Transaction, reader: Reader, token_sha256: str, now: int) -> None:
    """Give somebody an address in the place of the one that they have."""
    await tx.execute(
        """INSERT INTO calendar_reader (community, user_id, source, token_sha256, at) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (community, user_id) DO UPDATE SET source = $3, token_sha256 = $4, at = $5""",
        reader.community, reader.user, reader.source, token_sha256, now,
    )  # fmt: skip


async def left(tx: Transaction, community: CommunityId, user: UserId, at: int) -> None:
    """Take away the address that somebody had when they left a community."""
    await tx.execute(
        "DELETE FROM calendar_reader WHERE community = $1 AND user_id = $2 AND at <= $3", community, user, at
    )


async def reader_of(tx: Transaction, token_sha256: str) -> Reader | None:
    """Whose address that is, as long as the community's calendar is open."""
    row = await tx.fetch_row(
        """SELECT reader.community, user_id, source FROM calendar_reader AS reader JOIN calendar
           ON calendar.community = reader.community WHERE token_sha256 = $1""",
        token_sha256,
    )
    return None if row is None else Reader(CommunityId(row["community"]), UserId(row["user_id"]), row["source"])
