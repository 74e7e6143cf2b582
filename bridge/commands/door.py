"""The chat door: what is done about a message to the announcer, and what is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from bridge.commands.announcing import ANNOUNCE
from bridge.commands.arguments import Setting
from bridge.commands.deeds import Deeds
from bridge.commands.grammar import Fault, Found, Trouble, heard, read, recognise, render
from bridge.commands.patience import Patience
from bridge.commands.row import Request, Row
from bridge.commands.schedules import SCHEDULE
from bridge.commands.table import NO, TABLE, YES, row_of, unknown
from bridge.core import texts
from bridge.core.access import NEEDED, may
from bridge.core.community import Role
from bridge.core.errors import CommunitiesError, Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import Pill, Said, Unreadable

CONFIRM_MINUTES = 10


class Say(Protocol):
    """How an answer goes out."""

    async def __call__(self, room_id: RoomId, text: str, *, key: str) -> None: ...


class Clock(Protocol):
    def now_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Talk:
    """One message, and what is known of whoever wrote it."""

    event: Said
    here: CommunityId | None
    roles: Mapping[CommunityId, Role]
    language: Language

    def request(self, row: Row, text: Found, setting: Setting) -> Request | Fault:
        asked = read(text, setting)
        if isinstance(asked, Fault):
            return asked
        event = self.event
        return Request(
            asked,
            event.sender,
            event.room_id,
            event.event_id,
            self.language,
            self.roles,
            setting.may,
            event.picture,
            event.reply_to,
            self.mark,
            event.pills,
            event.file,
            event.edits,
        )

    @property
    def mark(self) -> str:
        """What stands before commands in this room."""
        return "" if self.here is None else "!"


@dataclass(frozen=True, slots=True)
class ChatDoor:
    """Answers messages in direct chats and control rooms. An answer's key is the message's id, so it is given once."""

    deeds: Deeds
    say: Say
    clock: Clock
    patience: Patience = field(default_factory=Patience)

    async def said(self, event: Said, *, control_of: CommunityId | None) -> None:
        """Answer a message.

        Args:
            control_of: the community in whose control room it was said; None in a direct chat.
        """
        draft = await self._draft(event)
        text = heard(event.text, to_everybody=control_of is not None)
        if draft is None and (event.edits is not None or (text is None and event.encrypted)):
            return
        patient = self.patience.take(event.sender, event.event_id, self.clock.now_ms())
        if patient.silent:
            return
        talk = await self._talk(event, control_of)
        if patient.over:
            answer: str | None = texts.too_fast(talk.language)
        elif not event.encrypted:
            answer = texts.encrypted_only(talk.language)
        elif not talk.roles:
            answer = await self._told_outside(talk)
        elif draft is not None:
            answer = await self._told(partial(self._reword, text, talk, draft))
        else:
            answer = await self._told(partial(self._do, text or "", talk, talk.event.pills))
        if answer:
            await self._answer(event.room_id, event.event_id, answer)

    async def unreadable(self, event: Unreadable, *, control_of: CommunityId | None) -> None:
        """Say that a message could not be read; in a control room it was hardly meant for us."""
        if control_of is not None:
            return
        patient = self.patience.take(event.sender, event.event_id, self.clock.now_ms())
        if not patient.silent:
            await self._answer(event.room_id, event.event_id, texts.too_fast() if patient.over else texts.unreadable())

    async def _answer(self, room_id: RoomId, event_id: EventId, text: str) -> None:
        await self.say(room_id, text, key=f"answer-{event_id}")

    async def _talk(self, event: Said, here: CommunityId | None) -> Talk:
        roles = {}
        for community in self.deeds.communities():
            role = await self.deeds.role_of(community, event.sender)
            if role is not None:
                roles[community] = role
        of = here or next(iter(roles), None)
        return Talk(event, here, roles, EN if of is None else self.deeds.language_of(of))

    async def _told_outside(self, talk: Talk) -> str | None:
        """What somebody is told who is in no community: once a day."""
        event = talk.event
        if not await self.deeds.first_today(event.sender, event.event_id):
            return None
        ended = await self.deeds.ended_for(event.sender)
        return texts.stranger(talk.language) if ended is None else texts.ended(*ended)

    async def _told(self, do: Callable[[], Awaitable[str | None]]) -> str | None:
        """The answer; a refusal is one, and what may pass by itself is raised, so that the message comes again."""
        try:
            return await do()
        except CommunitiesError as error:
            if getattr(error, "retry_helps", False):
                raise
            return texts.refused(error.where if isinstance(error, Refused) else "", error.what, error.remedy)

    async def _draft(self, event: Said) -> EventId | None:
        """The draft to which a message gives other words: the next one after its author asked for that, or an edit."""
        if not event.encrypted:
            return None
        if event.edits is not None:
            return await self.deeds.draft_made_by(event.sender, event.edits)
        return await self.deeds.draft_awaits(event.room_id, event.sender, event.event_id)

    async def _reword(self, text: str | None, talk: Talk, draft: EventId) -> str | None:
        """Take the new words of a draft: a whole command, or the text alone.

        Args:
            text: what the message says as a command; None where it cannot be one.
        """
        event = talk.event
        found = None if text is None or event.edits not in (None, draft) else recognise(text, TABLE, event.pills)
        if text is not None and isinstance(found, Found):
            row, alone = row_of(found), not found.words.rest.strip(".! ")
            is_anew = row in (ANNOUNCE, SCHEDULE) if event.edits == draft else row is ANNOUNCE and _is_spelt_out(text)
            if is_anew:
                return await self._do(text, replace(talk, event=replace(event, edits=draft)), event.pills)
            if event.edits is None and row is NO and alone:
                await self.deeds.leave_draft_words(event.sender, draft, event.event_id)
                return texts.draft_words_stay(talk.language)
            if event.edits is None and (talk.here is not None or (row is YES and alone)):
                return await self._do(text, talk, event.pills)  # in a control room, what begins with `!` is a command
        if event.edits != draft:  # a command that was edited to be none gives no new text
            await self.deeds.reword_draft(event, draft)
        return None

    async def _do(self, text: str, talk: Talk, pills: tuple[Pill, ...] = (), *, confirmed: bool = False) -> str | None:
        found = recognise(text, TABLE, pills)
        if not isinstance(found, Found):
            return unknown(found, talk.mark, talk.language)
        row = row_of(found)
        if row is YES or row is NO:
            return await self._word(row, found.words.rest, talk)
        request = talk.request(row, found, self._setting(row, talk))
        if isinstance(request, Fault):
            return explain(request, row, talk)
        if row.confirm is not None and not confirmed:
            caution = await row.confirm(self.deeds, request)
            if caution is not None:
                event = talk.event
                await self.deeds.ask_to_confirm(event.room_id, event.sender, render(caution.asked), event.event_id)
                return texts.please_confirm(caution.what, CONFIRM_MINUTES, talk.mark, talk.language)
        return await row.run(self.deeds, request)

    async def _word(self, row: Row, more: str, talk: Talk) -> str | None:
        """Somebody's yes or no to what they were asked. Whether they may still do it is asked anew."""
        event = talk.event
        if more.strip(".! "):  # `yes, but …` is no yes
            return texts.too_much(more, talk.mark + row.form(talk.language), talk.language)
        if row is NO:
            waited = await self.deeds.let_be(event.room_id, event.sender, event.event_id)
            return texts.dropped(talk.language) if waited else await self._about_draft(talk, send=False)
        command = await self.deeds.confirmed(event.room_id, event.sender, event.event_id)
        if command is None:
            return await self._about_draft(talk, send=True)
        return await self._do(command, talk, confirmed=True)

    async def _about_draft(self, talk: Talk, *, send: bool) -> str | None:
        """A yes or no to an announcement that is being written. What comes of a yes is told when it is there."""
        event = talk.event
        answered = await self.deeds.answer_draft(event.room_id, event.sender, event.event_id, send=send)
        if answered is None:
            return texts.nothing_to_confirm(talk.language)
        if not answered:
            return texts.draft_not_shown(talk.language)
        return None if send else texts.dropped(talk.language)

    def _setting(self, row: Row, talk: Talk) -> Setting:
        where = row.where(talk.roles)
        groups = {place: tuple(self.deeds.groups_of(place)) for place in where}
        event = talk.event
        along = event.file or event.reply_to is not None or event.edits is not None
        return Setting(tuple(self.deeds.communities()), where, talk.here, groups, along=along)


def _is_spelt_out(text: str) -> bool:
    """Whether a text begins with the command's own name: its short ones are words with which a text may begin."""
    word = text.split(maxsplit=1)[0].casefold().rstrip(":.,!?")
    return word in (ANNOUNCE.name, *ANNOUNCE.names.values())


def explain(fault: Fault, row: Row, talk: Talk) -> str:
    """What was wrong with a command, and how it is written."""
    language = talk.language
    mark = talk.mark
    form = mark + row.form(language)
    where = row.where(talk.roles)
    match fault.trouble:
        case Trouble.NOBODY:
            return texts.not_allowed(NEEDED[row.deed], language)
        case Trouble.NOT_THERE:
            if not any(may(role, row.deed) for role in talk.roles.values()):
                return texts.not_allowed(NEEDED[row.deed], language)
            return texts.unknown_community(fault.given, fault.choices, fault.nearest, language)
        case Trouble.WHICH:
            return texts.which_community(fault.choices, form, language)
        case Trouble.UNCLEAR:
            readings = [f"{mark}{row.called(language)} {reading}" for reading in fault.choices]
            return texts.unclear_community(fault.given, readings, language)
        case Trouble.TOO_MUCH:
            return texts.too_much(fault.given, form, language)
    assert fault.argument is not None
    name = fault.argument.called(language)
    if fault.trouble is Trouble.MISSING:
        named = where[0] if len(where) > 1 and talk.here is None else None
        return texts.missing(name, form, mark + row.example(language, named), language)
    return texts.wrong(name, fault.given, fault.choices, fault.nearest, form, language)
