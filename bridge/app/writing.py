"""What somebody writes as an announcement: its text, the files that go with it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bridge.app.naming import mentioned
from bridge.app.newsroom import Newsroom
from bridge.core import texts
from bridge.core.announcement_templates import template_of
from bridge.core.announcements import Kind, Part, with_line
from bridge.core.community import Community
from bridge.core.errors import CannotDecrypt, Refused
from bridge.core.files import (
    MOST_FILES,
    TOGETHER_MS,
    Address,
    address_of,
    as_part,
    caption_of,
    is_file,
    thumbnail_of,
    worded,
)
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Pill
from bridge.core.rendering import render
from bridge.features.conversations import Conversations
from bridge.features.members import answer_language
from bridge.features.schedules import shown
from bridge.intake.parse import pills_of, words_of
from bridge.plan.state import Accounts

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """What was found to announce."""

    text: str
    pills: tuple[Pill, ...] = ()
    files: tuple[Content, ...] = ()
    origin: EventId | None = None
    """The message of the same person of which the text is, where that is another one."""


class Files(Protocol):
    """Files in chats, as `matrix/files` has them."""

    async def around(self, room_id: RoomId, event_id: EventId) -> tuple[list[dict[str, Any]], int]: ...

    async def again(self, address: Address) -> tuple[dict[str, Any], int]: ...


class Decryptor(Protocol):
    """Opens what people say in chats."""

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]: ...


class Writing:
    """Makes an announcement of what somebody writes, sends along or answers; as a draft, or at once."""

    def __init__(
        self,
        *,
        newsroom: Newsroom,
        conversations: Conversations,
        files: Files,
        decryptor: Decryptor,
        accounts: Accounts,
    ) -> None:
        self._newsroom = newsroom
        self._conversations = conversations
        self._files = files
        self._decryptor = decryptor
        self._accounts = accounts

    async def write(self, community: Community, by: UserId, what: Mapping[str, Any]) -> list[str]:
        """Take an announcement that somebody gives in a chat. Safe to do twice. Gives what is to be said at once.

        Args:
            what: `source`, the command's event; `room`; `text`; `pills`, whom it mentions; `at`, a time in words;
                `acknowledge`, `ring`, `single`, `template` and `to` as the command has them; `file`, whether it stands
                under one; `reply_to`; and `edits`, the command that it replaces.

        Raises:
            Refused: it is no announcement, or cannot go where it is meant for.
            MatrixError, CannotDecrypt: files cannot be fetched, opened or uploaded.
        """
        room_id, source = RoomId(str(what["room"])), EventId(str(what["source"]))
        text, kind, ring = self.text(community, what), _kind(what), what.get("ring") is True
        audience = await self._newsroom.audiences.audience_of(community.id, by, _to(what))
        at, edits = str(what.get("at") or ""), what.get("edits")
        if edits is not None:
            draft = await self._newsroom.drafts.made_by(by, EventId(str(edits)))
            if draft is not None and draft.community != community.id:
                raise Refused(
                    f"the draft is one for {draft.community}", remedy="drop it with ❌, and write another one"
                )
            if draft is not None:
                await self._newsroom.drafts.reword(
                    draft, source, text, mentioned(what), ring=ring, audience=audience, kind=kind, when=at
                )
            return []
        words = await self._words(room_id, by, text, what)
        parts = worded([await self._ours(file) for file in words.files], words.text, words.pills, ring=ring)
        if at and not community.preview:
            one = await self._newsroom.schedules.add(
                source=source,
                community=community.id,
                author=str(by),
                when=at,
                parts=parts,
                audience=audience,
                kind=kind,
                reply_room=room_id,
            )
            return [texts.schedule_set(shown(one), answer_language(community, by))]
        if not community.preview:
            await self._newsroom.announcements.publish(
                source=source,
                author=by,
                parts=parts,
                targets=await self._newsroom.audiences.targets_of(community.id, audience),
                audience=audience,
                kind=kind,
                reply_room=room_id,
            )
            return []
        await self._conversations.let_be(room_id, by, source)  # from now on a yes means this
        await self._newsroom.drafts.take(
            community=community.id,
            author=by,
            room_id=room_id,
            source=source,
            origin=words.origin,
            parts=parts,
            audience=audience,
            kind=kind,
            when=at,
        )
        return []

    def text(self, community: Community, what: Mapping[str, Any]) -> str:
        """The text that is given: as it is, or a template of the community filled in.

        Raises:
            Refused: there is no such template, or its fields are not those that are given.
        """
        text, name = str(what.get("text") or ""), what.get("template")
        return text if not name else template_of(community.announcement_templates, str(name)).filled(text)

    async def previewed(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """What would be announced, and how many people it would reach; nothing is sent.

        Args:
            by: who asks; None for the operator.

        Raises:
            Refused: it is no announcement, or cannot go where it is meant for.
        """
        audience = await self._newsroom.audiences.audience_of(community.id, by, _to(what))
        content: Part = render(self.text(community, what), ring=what.get("ring") is True)
        if _kind(what) is Kind.ACKNOWLEDGE:
            content = with_line(content, texts.please_acknowledge(community.language))
        targets = await self._newsroom.audiences.targets_of(community.id, audience)
        expected = await self._newsroom.audiences.expected(targets)
        return {
            "community": community.id,
            "audience": list(audience.as_words()),
            "kind": _kind(what).value,
            "content": content,
            "people": expected.people,
            "devices": expected.devices,
        }

    # --- what there is to announce --------------------------------------------------------------------------------

    async def _words(self, room_id: RoomId, by: UserId, text: str, what: Mapping[str, Any]) -> Words:
        alone = what.get("single") is True
        if what.get("file") is True:
            files, _ = await self._sent_together(room_id, EventId(str(what["source"])), alone=alone, before_only=True)
            return Words(text, mentioned(what), files)
        if not what.get("reply_to"):
            return Words(text, mentioned(what))
        return await self._answered(room_id, by, text, what, alone=alone)

    async def _answered(self, room_id: RoomId, by: UserId, text: str, what: Mapping[str, Any], *, alone: bool) -> Words:
        """What a message says that the command answers. Where there is a text, files alone count of it."""
        reply_to = EventId(str(what["reply_to"]))
        events, at = await self._files.around(room_id, reply_to)
        answered = events[at]
        if answered.get("sender") in self._accounts.both:
            if text:
                return Words(text, mentioned(what))  # an answer to us: we ask for nothing else there
            raise Refused("that message is mine", remedy="answer one of somebody else, or write a text")
        content = await self._content(answered)
        if is_file(content):
            files, caption = await self._sent_together(room_id, reply_to, alone=alone, found=(events, at))
            return Words(text or caption, mentioned(what) if text else pills_of(content), files)
        if text:
            return Words(text, mentioned(what))
        said = words_of(content)
        if not said.strip():
            raise Refused(
                "that message is neither a text nor a file", remedy="answer a text, picture, file, sound or video"
            )
        return Words(said, pills_of(content), origin=reply_to if answered.get("sender") == by else None)

    async def _sent_together(
        self,
        room_id: RoomId,
        event_id: EventId,
        *,
        alone: bool,
        before_only: bool = False,
        found: tuple[list[dict[str, Any]], int] | None = None,
    ) -> tuple[tuple[Content, ...], str]:
        """The files that somebody sent one after the other, that of a message among them; and what is written under
        one of them.

        Args:
            alone: whether that file alone is meant.
            before_only: whether what is written under it is a command, and no caption.
        """
        events, at = found or await self._files.around(room_id, event_id)
        anchor = await self._content(events[at])
        caption = "" if before_only else caption_of(anchor)
        files = [anchor]
        if not alone:
            earlier = await self._neighbours(events[at], events[:at][::-1])
            if caption:
                earlier = []  # it is the first: words stand under the first of several
            captioned = next((number for number, (_, one) in enumerate(earlier) if caption_of(one)), None)
            if captioned is not None:
                # one with words is the first of its own; that of a command before belongs to that command
                own = [] if before_only else [earlier[captioned]]
                for sent, content in own:
                    caption = caption if await self._is_command(events[at], sent) else caption_of(content)
                earlier = earlier[:captioned] + own
            later = await self._neighbours(events[at], events[at + 1 :])
            begins = next((number for number, (_, one) in enumerate(later) if caption_of(one)), len(later))
            files = [one for _, one in reversed(earlier)] + [anchor] + [one for _, one in later[:begins]]
        if len(files) > MOST_FILES:
            raise Refused(
                f"these are {len(files)} files; {MOST_FILES} fit into one announcement",
                remedy="announce them in several, or one of them with --single",
            )
        return tuple(files), caption

    async def _is_command(self, anchor: Mapping[str, Any], event_id: EventId) -> bool:
        """Whether what stands under a file of the same person is a command of theirs, and so no caption."""
        author = UserId(str(anchor.get("sender")))
        return await self._newsroom.drafts.made_by(author, event_id) is not None

    async def _neighbours(
        self, anchor: Mapping[str, Any], events: Sequence[Mapping[str, Any]]
    ) -> list[tuple[EventId, Content]]:
        """The files that the same person sent right beside a message, the nearest first, with their events."""
        found: list[tuple[EventId, Content]] = []
        last = _sent_at(anchor)
        for event in events:
            if event.get("type") not in ("m.room.encrypted", "m.room.message"):
                continue  # reactions, and what changes in the room, stand between nothing
            if event.get("sender") in self._accounts.both:
                continue  # nor does what we say meanwhile
            if event.get("sender") != anchor.get("sender") or abs(_sent_at(event) - last) > TOGETHER_MS:
                break
            try:
                content = await self._content(event)
            except CannotDecrypt:
                break
            if not is_file(content):
                break
            found.append((EventId(str(event.get("event_id"))), content))
            last = _sent_at(event)
        return found

    async def _content(self, event: Mapping[str, Any]) -> Content:
        """The content of a message, opened where it is encrypted; empty where it is none.

        Raises:
            CannotDecrypt: the announcer has no key for it.
        """
        if event.get("type") == "m.room.encrypted" and event.get("content"):
            event = await self._decryptor.decrypt(event)
        content = event.get("content")
        return content if event.get("type") == "m.room.message" and isinstance(content, Mapping) else {}

    async def _ours(self, content: Content) -> Part:
        """A file that somebody sent, as a message of ours."""
        address, small = address_of(content), thumbnail_of(content)
        assert address is not None
        file, size = await self._files.again(address)
        return as_part(content, file, size, None if small is None else await self._files.again(small))


def _to(what: Mapping[str, Any]) -> list[str]:
    """Whom a command names, as `core/audience` reads it."""
    words = what.get("to")
    return [str(word) for word in words] if isinstance(words, list | tuple) else []


def _kind(what: Mapping[str, Any]) -> Kind:
    return Kind.ACKNOWLEDGE if what.get("acknowledge") is True else Kind.TEXT


def _sent_at(event: Mapping[str, Any]) -> int:
    at = event.get("origin_server_ts")
    return at if isinstance(at, int) else 0
