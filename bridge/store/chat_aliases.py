"""Under which alias a direct chat is being made: recorded before, so that a kill leaves no second chat."""

from __future__ import annotations

from bridge.core.ids import UserId
from bridge.store.database import Transaction


async def begin(tx: Transaction, user: UserId, fresh: str) -> str:
    """Record the alias under which the chat with somebody is made; gives the one that an earlier try recorded, if there
    is one.
    """
    await tx.execute(
        "INSERT INTO chat_alias (user_id, alias) VALUES ($1, $2) ON CONFLICT (user_id) DO NOTHING", user, fresh
    )
    return await of(tx, user) or fresh


async def of(tx: Transaction, user: UserId) -> str | None:
    """The alias that is recorded; None where none is, or it was dropped."""
    alias = await tx.fetch_value("SELECT alias FROM chat_alias WHERE user_id = $1", user)
    return None if alias is None else str(alias)


async def dropped(tx: Transaction, user: UserId) -> None:
    """Record that the alias is gone."""
    await tx.execute("DELETE FROM chat_alias WHERE user_id = $1", user)
