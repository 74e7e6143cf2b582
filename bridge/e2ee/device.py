"""Our own device as it stands in the database: loaded for each use, never kept, so that nothing runs ahead of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.core.errors import StoreError
from bridge.core.ids import UserId
from bridge.e2ee.machine import Account, OlmFailure
from bridge.store import keys as store
from bridge.store.database import Transaction


class Holds:
    """Things that one task at a time has to itself, by name; tasks that want different ones go side by side."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Have these to oneself. All at once or none, so nobody waits in a circle."""
        wanted = frozenset(names)
        while not self._held.isdisjoint(wanted):
            await self._freed.wait()
        self._held |= wanted
        try:
            yield
        finally:
            self._held -= wanted
            self._freed.set()
            self._freed = asyncio.Event()


@dataclass(frozen=True, slots=True)
class OwnDevice:
    """Whose device it is, the key its secrets are stored under, and who may change them at this moment.

    `lock` is held from the reading of the account to the storing of its next state, `ratchets` likewise for the Olm
    sessions with a device, by its curve25519 key; neither over a network call. `pickle_key` is the configured secret
    under which libolm encrypts what is stored.
    """

    user_id: UserId
    pickle_key: str = field(repr=False)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ratchets: Holds = field(default_factory=Holds)

    async def row(self, tx: Transaction) -> store.AccountRow:
        row = await store.load_account(tx, self.user_id)
        if row is None:
            raise StoreError("the announcer has no device yet", where="keys", remedy="start the service once")
        return row

    async def account(self, tx: Transaction) -> Account:
        """The account.

        Raises:
            StoreError: there is none, or the pickle key is not the one that it was stored under.
        """
        return self.open(await self.row(tx))

    def open(self, row: store.AccountRow) -> Account:
        try:
            return Account.load(row.pickle, self.pickle_key, self.user_id, row.device_id)
        except OlmFailure as error:
            raise StoreError(
                f"the announcer's keys cannot be opened ({error})",
                where="keys",
                remedy="put back the pickle key under which they were stored; if `matrix-communities rekey` was "
                "interrupted, run it again",
            ) from error

    async def save(self, tx: Transaction, account: Account) -> None:
        await store.save_account(tx, self.user_id, account.pickle(self.pickle_key))
