"""Summaries by e-mail: in which communities they are allowed, and who has shown which address to be theirs."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.core.ids import CommunityId, UserId
from bridge.store.database import Row, Transaction


@dataclass(frozen=True, slots=True)
class Subscription:
    """An address that somebody named for a community's summaries. Times are milliseconds since 1970."""

    community: CommunityId
    user: UserId
    address: str
    code_sha256: str
    source: str
    """The message that named it."""
    asked_at: int
    ticket_sha256: str
    """Of the secret by which it is ended."""
    tries: int = 0
    """How many wrong codes were given."""
    confirmed_at: int | None = None


_COLUMNS = "community, user_id, address, code_sha256, source, asked_at, ticket_sha256, tries, confirmed_at"


async def allow(tx: Transaction, community: CommunityId, by: str, now: int) -> bool:
    """Whether it was not allowed before."""
    row = await tx.fetch_row(
        """INSERT INTO mail_allowed (community, by_whom, at) VALUES ($1, $2, $3)
           ON CONFLICT DO NOTHING RETURNING at""",
        community, by, now,
    )  # fmt: skip
    return row is not None


async def forbid(tx: Transaction, community: CommunityId) -> bool:
    """End e-mail in a community, and forget its addresses; whether it was allowed before."""
    await tx.execute("DELETE FROM digest_mail WHERE community = $1", community)
    return await tx.fetch_row("DELETE FROM mail_allowed WHERE community = $1 RETURNING at", community) is not None


async def is_allowed(tx: Transaction, community: CommunityId) -> bool:
    return await tx.fetch_value("SELECT at FROM mail_allowed WHERE community = $1", community) is not None


async def put(tx: Transaction, one: Subscription) -> None:
    """Record what somebody asked for, in the place of what they had before."""
    await forget(tx, one.community, one.user)
    await tx.execute(
        f"INSERT INTO digest_mail ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",  # noqa: S608 - a constant
        one.community, one.user, one.address, one.code_sha256, one.source, one.asked_at, one.ticket_sha256, one.tries,
        one.confirmed_at,
    )  # fmt: skip


async def of(tx: Transaction, community: CommunityId, user: UserId) -> Subscription | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM digest_mail WHERE community = $1 AND user_id = $2",  # noqa: S608 - a constant
        community, user,
    )  # fmt: skip
    return None if row is None else _subscription(row)


async def asked_last(tx: Transaction, user: UserId) -> int:
    """When somebody last asked for a letter with a code, in whatever community; 0 for never."""
    return int(await tx.fetch_value("SELECT MAX(asked_at) FROM digest_mail WHERE user_id = $1", user) or 0)


async def confirm(tx: Transaction, community: CommunityId, user: UserId, now: int) -> None:
    await tx.execute(
        "UPDATE digest_mail SET confirmed_at = $3 WHERE community = $1 AND user_id = $2", community, user, now
    )


async def count_try(tx: Transaction, community: CommunityId, user: UserId) -> None:
    await tx.execute("UPDATE digest_mail SET tries = tries + 1 WHERE community = $1 AND user_id = $2", community, user)


async def forget(tx: Transaction, community: CommunityId, user: UserId) -> bool:
    """Forget somebody's address; whether there was one."""
    query = "DELETE FROM digest_mail WHERE community = $1 AND user_id = $2 RETURNING address"
    return await tx.fetch_row(query, community, user) is not None


async def of_ticket(tx: Transaction, ticket_sha256: str) -> Subscription | None:
    row = await tx.fetch_row(
        f"SELECT {_COLUMNS} FROM digest_mail WHERE ticket_sha256 = $1",  # noqa: S608 - a constant
        ticket_sha256,
    )
    return None if row is None else _subscription(row)


async def confirmed(tx: Transaction, community: CommunityId) -> dict[UserId, str]:
    """Who is sent a community's summaries by e-mail, and where to; nobody where that is not allowed."""
    rows = await tx.fetch(
        """SELECT user_id, address FROM digest_mail AS one WHERE community = $1 AND confirmed_at IS NOT NULL
           AND EXISTS (SELECT 1 FROM mail_allowed WHERE community = one.community) ORDER BY user_id""",
        community,
    )
    return {UserId(row["user_id"]): row["address"] for row in rows}


def _subscription(row: Row) -> Subscription:
    return Subscription(
        CommunityId(row["community"]),
        UserId(row["user_id"]),
        row["address"],
        row["code_sha256"],
        row["source"],
        row["asked_at"],
        row["ticket_sha256"],
        row["tries"],
        row["confirmed_at"],
    )
