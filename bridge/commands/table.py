"""Every chat command once: who may, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.commands.grammar import Announce, ApplyHeld, Command, Help, NotUnderstood, Status, Thaw, parse
from bridge.core import texts
from bridge.core.access import Deed, may
from bridge.core.community import Role
from bridge.core.errors import CommunitiesError, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import Said, Unreadable


class Deeds(Protocol):
    """The feature methods that commands call."""

    def communities(self) -> Sequence[CommunityId]: ...

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None: ...

    async def publish(
        self, communities: Sequence[CommunityId], text: str, *, source: str, author: str, reply_room: RoomId | None
    ) -> list[str]: ...

    async def community_status(self, community: CommunityId) -> dict[str, Any]: ...

    async def held(self, community: CommunityId) -> str | None: ...

    async def agree(self, community: CommunityId, digest: str) -> list[str]:
        """Carry out the held plan; gives what could not be done."""
        ...

    async def thaw(self, community: CommunityId) -> None: ...


class Say(Protocol):
    """How an answer goes out."""

    async def __call__(self, room_id: RoomId, text: str, *, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class ChatDoor:
    """Answers messages in direct chats and control rooms. An answer's key is the message's id, so it is given once."""

    deeds: Deeds
    say: Say

    async def said(self, event: Said, *, in_control_room: bool) -> None:
        """Answer a message."""
        if not event.encrypted:
            await self._answer(event.room_id, event.event_id, texts.ENCRYPTED_ONLY)
            return
        command = parse(event.text, to_everybody=in_control_room)
        if command is None:
            return
        try:
            answer = await self._do(command, event)
        except CommunitiesError as error:
            if getattr(error, "retry_helps", False):
                raise
            where = f"{error.where}: " if isinstance(error, Refused) and error.where else ""
            answer = f"{where}{error.what}. {error.remedy}".rstrip(". ") + "."
        if answer:
            await self._answer(event.room_id, event.event_id, answer)

    async def unreadable(self, event: Unreadable, *, in_control_room: bool) -> None:
        """Say that a message could not be read; in a control room it was hardly meant for us."""
        if not in_control_room:
            await self._answer(event.room_id, event.event_id, texts.UNREADABLE)

    async def _answer(self, room_id: RoomId, event_id: EventId, text: str) -> None:
        await self.say(room_id, text, key=f"answer-{event_id}")

    async def _do(self, command: Command, event: Said) -> str | None:
        match command:
            case Help():
                return texts.help_text(await self._where(event.sender, Deed.ANNOUNCE))
            case Status():
                return await self._status(event.sender)
            case Announce():
                return await self._announce(command, event)
            case ApplyHeld():
                return await self._apply(command, event.sender)
            case Thaw():
                return await self._thaw(command, event.sender)
            case NotUnderstood():
                return texts.not_understood(command.text)

    async def _where(self, user: UserId, deed: Deed) -> list[CommunityId]:
        """The communities in which somebody may do that."""
        return [name for name in self.deeds.communities() if may(await self.deeds.role_of(name, user), deed)]

    async def _announce(self, command: Announce, event: Said) -> str | None:
        where = await self._where(event.sender, Deed.ANNOUNCE)
        name = CommunityId(command.community)
        if name not in where:
            return texts.unknown_community(command.community, where)
        if not command.text.strip():
            return texts.announce_what(name)
        await self.deeds.publish(
            [name], command.text, source=event.event_id, author=event.sender, reply_room=event.room_id
        )
        return None

    async def _status(self, user: UserId) -> str:
        where = await self._where(user, Deed.STATUS)
        if not where:
            return texts.NO_COMMUNITIES
        return "\n\n".join([texts.status(await self.deeds.community_status(name)) for name in where])

    async def _apply(self, command: ApplyHeld, user: UserId) -> str:
        name = CommunityId(command.community)
        if name not in await self._where(user, Deed.APPLY_HELD_PLAN):
            return texts.ONLY_OWNERS
        held = await self.deeds.held(name)
        if held is None:
            return texts.NOTHING_HELD
        if not command.digest or command.digest != held:
            return texts.which_plan(name, held)
        failures = await self.deeds.agree(name, held)
        return texts.applied(failures)

    async def _thaw(self, command: Thaw, user: UserId) -> str:
        name = CommunityId(command.community)
        if name not in await self._where(user, Deed.THAW):
            return texts.ONLY_OWNERS
        await self.deeds.thaw(name)
        return texts.THAWED
