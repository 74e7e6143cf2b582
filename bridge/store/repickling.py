"""Every pickle in the database, piece by piece, for a change of the key that they are encrypted under."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.store.database import Transaction

PAGE = 500


@dataclass(frozen=True, slots=True)
class Shelf:
    """A column of pickles of one kind, and the columns by which its rows are told apart."""

    kind: str
    """`account`, `olm`, `outbound` or `inbound`."""
    table: str
    column: str
    key: tuple[str, ...]


SHELVES = (
    Shelf("account", "crypto_account", "pickle", ("user_id",)),
    Shelf("olm", "crypto_olm_session", "pickle", ("session_id",)),
    Shelf("outbound", "crypto_outbound", "pickle", ("room_id",)),
    Shelf("inbound", "crypto_inbound", "pickle", ("room_id", "session_id", "owner")),
    Shelf("outbound", "crypto_inbound", "original", ("room_id", "session_id", "owner")),
)


async def rewrite(tx: Transaction, shelf: Shelf, change: Callable[[list[bytes]], Awaitable[list[bytes]]]) -> int:
    """Put what `change` makes of them in the place of all pickles of a shelf, and give how many there were."""
    columns = ", ".join(shelf.key)
    marks = ", ".join(f"${number}" for number in range(1, len(shelf.key) + 1))
    named = " AND ".join(f"{name} = ${number}" for number, name in enumerate(shelf.key, start=2))
    after: tuple[str, ...] = ("",) * len(shelf.key)
    count = 0
    while True:
        rows = await tx.fetch(
            f"SELECT {columns}, {shelf.column} AS content FROM {shelf.table} WHERE ({columns}) > ({marks}) "  # noqa: S608
            f"AND {shelf.column} IS NOT NULL ORDER BY {columns} LIMIT {PAGE}",
            *after,
        )
        if not rows:
            return count
        keys = [tuple(str(row[name]) for name in shelf.key) for row in rows]
        changed = await change([bytes(row["content"]) for row in rows])
        await tx.execute_many(
            f"UPDATE {shelf.table} SET {shelf.column} = $1 WHERE {named}",  # noqa: S608 - names from the table above
            [(content, *key) for content, key in zip(changed, keys, strict=True)],
        )
        count += len(rows)
        after = keys[-1]
