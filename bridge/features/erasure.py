"""Everything that is stored about one person: shown, and erased. Rooms are not touched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.store import communities
from bridge.store import erasure as store
from bridge.store.database import Database
from bridge.store.rooms import RoomIndex

QUIET_SECONDS = 60.0
"""For how long an erasure waits until rooms and keys are not being worked on."""


class Erasure:
    """Erases in one database transaction; what is at hand in the process is read anew after it."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        lock_of: Callable[[CommunityId], asyncio.Lock],
        still: Callable[[], AbstractAsyncContextManager[None]],
        reload: Callable[[CommunityId], Awaitable[None]],
        read_groups: Callable[[], Awaitable[None]],
        forget: Callable[[UserId], None],
    ) -> None:
        """
        Args:
            lock_of: held by whoever works on a community's rooms: a pass that began before would remember them again.
            still: while it is open nobody encrypts.
            reload: reads what is remembered of a community anew.
            read_groups: reads anew which groups people made.
            forget: told of whom nothing may be remembered in memory alone.
        """
        self._database = database
        self._index = index
        self._lock_of = lock_of
        self._still = still
        self._reload = reload
        self._read_groups = read_groups
        self._forget = forget
        self._one_at_a_time = asyncio.Lock()

    async def show(self, user: UserId, *, bans: bool = False) -> list[store.Found]:
        """Everything that is stored about somebody; see `store/erasure`. Changes nothing."""
        async with self._database.transaction() as tx:
            return await store.find(tx, user, bans=bans)

    async def erase(self, user: UserId, *, bans: bool = False) -> list[store.Found]:
        """Erase everything that is stored about somebody; gives what it was. Safe to run twice.

        A room key that they hold is used no more: with the record of who holds it, nothing else would end it.

        Raises:
            Refused: rooms or keys are being worked on, and went on being so; nothing is erased.
        """
        async with self._one_at_a_time, AsyncExitStack() as held:
            async with self._database.transaction() as tx:
                known = await communities.communities_known(tx)
            try:
                async with asyncio.timeout(QUIET_SECONDS):
                    for community in sorted(known):
                        await held.enter_async_context(self._lock_of(community))
                    await held.enter_async_context(self._still())
            except TimeoutError:
                raise Refused(
                    f"rooms or keys were worked on for {QUIET_SECONDS:.0f} s on end, so nothing was erased",
                    where=user,
                    remedy="try again when `matrix-communities status` shows that nothing is under way",
                ) from None
            try:
                async with self._database.transaction() as tx:
                    found = await store.find(tx, user, bans=bans)
                    await store.erase(tx, user, bans=bans)
            finally:  # whether it was committed can stay unknown
                await self._read_anew(user, known)
        return found

    async def _read_anew(self, user: UserId, known: list[CommunityId]) -> None:
        self._forget(user)
        async with self._database.transaction() as tx:
            chats = await communities.load_chats(tx)
        for room_id in [room_id for room_id, partner in self._index.chats.items() if partner == user]:
            if room_id not in chats:
                del self._index.chats[room_id]
        for community in known:
            await self._reload(community)
        await self._read_groups()
