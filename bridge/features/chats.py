"""The announcer's direct chats: which it enters, which it leaves, and how it answers there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from bridge.core import texts
from bridge.core.errors import MatrixError
from bridge.core.ids import RoomId, UserId
from bridge.core.languages import EN, Language
from bridge.core.messages import Invited, MembershipChanged, SendMessage, notice
from bridge.plan.state import Accounts
from bridge.ports import Clock, RoomReaderAsAnnouncer
from bridge.store import communities as store
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex


class ChatRooms(Protocol):
    """What chats need of the homeserver."""

    async def join_as_announcer(self, room_id: RoomId) -> None: ...

    async def leave_as_announcer(self, room_id: RoomId, reason: str) -> None: ...


async def _english(_: UserId) -> Language:
    return EN


class Chats:
    """Encrypted chats of two, and nothing else: the announcer declines or leaves any other room that it is asked to."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        rooms: ChatRooms,
        look: RoomReaderAsAnnouncer,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
        language_for: Callable[[UserId], Awaitable[Language]] = _english,
    ) -> None:
        self._database = database
        self._index = index
        self._rooms = rooms
        self._look = look
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock
        self._language_for = language_for

    async def invited(self, event: Invited) -> None:
        """Enter an encrypted chat of two; decline anything else. Invites to our own rooms are the reconciler's."""
        if event.user != self._accounts.announcer or event.sender in self._accounts.both:
            return
        if self._index.place_of(event.room_id) is not None:
            return
        if not event.encrypted:
            await self._rooms.leave_as_announcer(
                event.room_id, texts.encrypted_only(await self._language_for(event.sender))
            )
            return
        async with self._database.transaction() as tx:
            await store.open_chat(tx, event.room_id, event.sender, self._clock.now_ms())
        self._index.chats[event.room_id] = event.sender
        try:
            await self._rooms.join_as_announcer(event.room_id)
            fits = await self._fits(event.room_id, event.sender)
        except MatrixError as error:
            if error.retry_helps:
                raise
            await self._close(event.room_id)
            return
        if not fits:
            await self._leave(event.room_id, texts.two_only(await self._language_for(event.sender)))
            return
        await self.say(
            event.room_id, texts.greeting(await self._language_for(event.sender)), key=f"greet-{event.event_id}"
        )

    async def _fits(self, room_id: RoomId, partner: UserId) -> bool:
        encrypted, members = await self._look.chat_facts(room_id)
        return encrypted and members <= {partner, self._accounts.announcer}

    async def member_changed(self, event: MembershipChanged) -> None:
        """Leave a chat when its partner has left, or when a third is brought in."""
        partner = self._index.chats.get(event.room_id)
        if partner is None:
            return
        if event.user == self._accounts.announcer:
            if event.membership in ("leave", "ban"):
                await self._close(event.room_id)
        elif event.user != partner and event.membership in ("invite", "join"):
            await self._leave(event.room_id, texts.two_only(await self._language_for(partner)))
        elif event.user == partner and event.membership in ("leave", "ban"):
            await self._leave(event.room_id, "")

    async def _leave(self, room_id: RoomId, reason: str) -> None:
        await self._rooms.leave_as_announcer(room_id, reason)
        await self._close(room_id)

    async def _close(self, room_id: RoomId) -> None:
        async with self._database.transaction() as tx:
            await store.close_chat(tx, room_id)
        self._index.chats.pop(room_id, None)

    async def say(self, room_id: RoomId, text: str, *, key: str) -> None:
        """Answer in a chat or control room; the same `key` is the same answer."""
        content = notice(text)
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, key, room_id, SendMessage(room_id, content), self._clock.now_ms())
        self._wake()
