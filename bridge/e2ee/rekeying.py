"""Another pickle key: everything that libolm has encrypted in the database, under the old key before and the new after.

libolm's pickles are AES-256 in CBC mode with a MAC of HMAC-SHA-256, under keys that are derived from the pickle key.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from bridge.core.errors import StoreError
from bridge.e2ee.machine import OlmFailure, repickled
from bridge.store import repickling
from bridge.store.database import Database
from bridge.store.keys import load_account


async def is_under(database: Database, user_id: str, pickle_key: str) -> bool | None:
    """Whether the account in the database opens under a key; None where there is no account yet."""
    async with database.transaction() as tx:
        row = await load_account(tx, user_id)
    if row is None:
        return None
    try:
        repickled("account", row.pickle, pickle_key, pickle_key)
    except OlmFailure:
        return False
    return True


async def rekey(database: Database, old: str, new: str) -> Mapping[str, int]:
    """Encrypt everything under another key, in one database transaction; gives how many pickles of each kind.

    Raises:
        StoreError: something is not encrypted under `old`; then nothing was changed.
    """
    counts: Counter[str] = Counter()
    async with database.transaction() as tx:
        for shelf in repickling.SHELVES:

            async def change(pickles: list[bytes], kind: str = shelf.kind) -> list[bytes]:
                return await asyncio.to_thread(lambda: [repickled(kind, one, old, new) for one in pickles])

            try:
                counts[shelf.kind] += await repickling.rewrite(tx, shelf, change)
            except OlmFailure as error:
                raise StoreError(
                    f"something in {shelf.table} is not encrypted under the present pickle key ({error})",
                    where="keys",
                    remedy="nothing was changed; restore the database as a whole from one backup",
                ) from error
    return counts
