"""The announcer's chat with a person: found, or made once, whatever is restarted and whoever asks for it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakValueDictionary

from bridge.core.ids import RoomId, UserId, domain_of
from bridge.plan.state import Accounts
from bridge.ports import Clock, Made, RoomReaderAsAnnouncer
from bridge.store import chat_aliases, communities
from bridge.store.database import Database
from bridge.store.rooms import RoomIndex


class Rooms(Protocol):
    """What making a chat needs of the homeserver."""

    async def create(self, alias: str, body: Mapping[str, Any], *, by_announcer: bool = False) -> Made: ...

    async def drop_alias(self, alias: str, *, by_announcer: bool = False) -> None: ...

    async def invite(self, room_id: RoomId, user: UserId, *, by_announcer: bool) -> None: ...

    async def leave_as_announcer(self, room_id: RoomId, reason: str) -> None: ...


class DirectChats:
    """Finds or makes encrypted chats of two."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        rooms: Rooms,
        look: RoomReaderAsAnnouncer,
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self._database = database
        self._index = index
        self._rooms = rooms
        self._look = look
        self._accounts = accounts
        self._clock = clock
        self._making: WeakValueDictionary[UserId, asyncio.Lock] = WeakValueDictionary()

    async def chat_with(self, user: UserId) -> RoomId:
        """The chat with somebody, of several the one that was begun last; where there is none it is made, and they are
        invited. Safe to repeat.

        Raises:
            Forbidden, BadRequest: they cannot be invited.
            MatrixError: the homeserver cannot be asked.
        """
        lock = self._making.get(user)
        if lock is None:
            lock = self._making[user] = asyncio.Lock()
        async with lock:  # several ask for the same chat at once: a welcome, an announcement
            return await self._find_or_make(user)

    async def _find_or_make(self, user: UserId) -> RoomId:
        known = self._index.chat_of(user)
        if known is not None:
            await self._drop_alias(user)  # a kill may have come before that
            return known
        fresh = f"#_communities_{secrets.token_hex(12)}:{domain_of(self._accounts.steward)}"
        async with self._database.transaction() as tx:
            alias = await chat_aliases.begin(tx, user, fresh)
        made = await self._rooms.create(alias, _chat(user), by_announcer=True)
        if not made.whole and not (await self._look.chat_facts(made.room_id))[0]:  # cut off before it was encrypted
            await self._rooms.leave_as_announcer(made.room_id, "")
            await self._rooms.drop_alias(alias, by_announcer=True)
            made = await self._rooms.create(alias, _chat(user), by_announcer=True)
        if not made.whole:
            await self._rooms.invite(made.room_id, user, by_announcer=True)
        async with self._database.transaction() as tx:
            await communities.open_chat(tx, made.room_id, user, self._clock.now_ms())
        self._index.chats[made.room_id] = user
        await self._drop_alias(user)
        return made.room_id

    async def _drop_alias(self, user: UserId) -> None:
        """Take the alias away under which a chat was made, once the chat is recorded."""
        async with self._database.transaction() as tx:
            alias = await chat_aliases.of(tx, user)
        if alias:
            await self._rooms.drop_alias(alias, by_announcer=True)
            async with self._database.transaction() as tx:
                await chat_aliases.dropped(tx, user)


def _chat(user: UserId) -> dict[str, Any]:
    """The body of `POST /createRoom` for an encrypted chat of two."""
    return {
        "preset": "private_chat",
        "visibility": "private",
        "is_direct": True,
        "invite": [user],
        "initial_state": [
            {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}},
            {"type": "m.room.canonical_alias", "state_key": "", "content": {}},
            {"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}},
        ],
    }
