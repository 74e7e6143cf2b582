"""Drafts: an announcement is shown to whoever writes it, as members will see it, and goes out at their word.

A draft belongs to its author: in a control room others see it, and nobody else's reaction counts. What is decided is
what was shown: a new wording has a new message to decide under. Rights and audience are asked anew when it is sent. One
that is for later is scheduled at that word, if its time is still to come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.core import texts
from bridge.core.announcements import EVERYBODY, Audience, Kind, Part, Target, with_line
from bridge.core.errors import Refused
from bridge.core.files import rings, silent, worded
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import (
    Announce,
    ExpireDraft,
    Pill,
    Reacted,
    SendMessage,
    ShowDraft,
    notice,
    replacing,
)
from bridge.core.schedule import Appointment
from bridge.ports import Clock, Messenger
from bridge.store import drafts as store
from bridge.store.database import Database, Transaction
from bridge.store.drafts import Draft, State
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

SEND, EDIT, DROP = "✅", "✏️", "❌"
WORDS_MS = 10 * 60 * 1000
"""For so long after ✏️ the author's next message is the new text."""
KEPT_MS = 7 * 24 * 3_600_000
"""For how long it is known what became of a draft: longer than any message comes again."""
RUNS_SHOWN = 3
"""How many coming times are shown of one that is for later."""
_PLAIN = str.maketrans("", "", "\ufe0e\ufe0f")
"""Clients put a variation selector behind an emoji, or do not."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Whom a draft would reach now."""

    people: int
    devices: int
    """How many devices hold the key already."""


class Drafts:
    """Keeps drafts, shows them, and does with them what their authors decide."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        clock: Clock,
        check_right: Callable[[CommunityId, UserId, Audience], Awaitable[None]],
        targets_of: Callable[[CommunityId, Audience], Awaitable[Sequence[Target]]],
        expected: Callable[[Sequence[Target]], Awaitable[Expected]],
        name_of: Callable[[CommunityId], Awaitable[str]],
        language_of: Callable[[CommunityId], Language],
        lapse_ms: Callable[[], int],
        appoint: Callable[[CommunityId, str], Awaitable[Appointment]],
        schedule: Callable[[Transaction, Draft], Awaitable[Mapping[str, Any]]],
    ) -> None:
        """
        Args:
            check_right: whether somebody may announce to these; raises `Refused` where they may not.
            targets_of: whom an audience means now; raises `Refused` where one of them cannot be announced to.
            name_of: what people call a community.
            lapse_ms: how long a draft waits, in milliseconds.
            appoint: when words mean that something goes out; raises `Refused` where it cannot go out then.
            schedule: has a draft go out at its time, and gives what `texts.schedule_set` tells of that; raises
                `Refused` where it cannot go out then any more.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._clock = clock
        self._check_right = check_right
        self._targets_of = targets_of
        self._expected = expected
        self._name_of = name_of
        self._language_of = language_of
        self._lapse_ms = lapse_ms
        self._appoint = appoint
        self._schedule = schedule

    # --- how they are written ---------------------------------------------------------------------------------------

    async def take(
        self,
        *,
        community: CommunityId,
        author: UserId,
        room_id: RoomId,
        source: EventId,
        origin: EventId | None,
        parts: Sequence[Part],
        audience: Audience,
        kind: Kind = Kind.TEXT,
        when: str = "",
    ) -> None:
        """Take a draft, and have it shown in that room; the same source again is the same draft.

        Args:
            source: the command.
            origin: the author's own message of which the words are, if that is another one: whoever edits it edits the
                draft.
            when: when it is to go out, in words; empty for at once.

        Raises:
            Refused: whom it is meant for cannot be announced to, or it cannot go out then.
        """
        async with self._database.transaction() as tx:
            if await store.find(tx, store.id_of(source)) is not None:
                return  # its time may have passed since
        await self._targets_of(community, audience)
        appointment = await self._appoint(community, when) if when else None
        now = self._clock.now_ms()
        draft = Draft(
            id=store.id_of(source),
            community=community,
            author=author,
            room_id=room_id,
            source=source,
            origin=origin,
            parts=tuple(parts),
            audience=audience,
            kind=kind,
            version=1,
            worded_by=source,
            at=now,
            card=None,
            asked_at=None,
            state=State.OPEN,
            closed_by=None,
            appointment=appointment,
        )
        async with self._database.transaction() as tx:
            await store.forget_before(tx, now - KEPT_MS)
            if await store.add(tx, draft):
                await self._show_later(tx, draft.id, 1, now)
                await self._jobs.add(
                    tx, _expiry(draft.id), f"draft {draft.id}", ExpireDraft(draft.id), now + self._lapse_ms()
                )
        self._wake()

    async def made_by(self, author: UserId, event_id: EventId) -> Draft | None:
        """The open draft that a message of its author asked for, or that has its words of."""
        async with self._database.transaction() as tx:
            draft = await store.made_by(tx, author, event_id)
        return draft if draft is not None and draft.state is State.OPEN else None

    async def awaiting(self, room_id: RoomId, author: UserId, event_id: EventId) -> Draft | None:
        """The draft whose new text a message is, if somebody asked for that; also when the message comes again."""
        since = self._clock.now_ms() - WORDS_MS
        async with self._database.transaction() as tx:
            taken = await store.worded_by(tx, author, event_id)
            if taken is not None:
                return taken
            for draft in await store.open_of(tx, room_id, author):
                if draft.asked_at is not None and draft.asked_at >= since:
                    return draft
        return None

    async def reword(
        self,
        draft: Draft,
        by: EventId,
        text: str,
        pills: Sequence[Pill] = (),
        *,
        ring: bool | None = None,
        audience: Audience | None = None,
        kind: Kind | None = None,
        when: str | None = None,
    ) -> None:
        """Give a draft another text, and have it shown again. Files stay. Safe to do twice.

        Args:
            by: the message that says so.
            text: empty leaves the words as they are.
            ring: whether it notifies everybody; as before where None.
            audience: whom it is meant for; as before where None.
            kind: what it is; as before where None.
            when: when it is to go out, in words, empty for at once; as before where None.

        Raises:
            Refused: the text is too long, whom it is meant for cannot be announced to, or it cannot go out then.
        """
        if draft.state is not State.OPEN:
            return
        if draft.worded_by == by:
            await self.leave_words(draft, by)
            return
        loud = rings(draft.parts) if ring is None else ring
        parts = worded(draft.parts, text, pills, ring=loud) if text.strip() else draft.parts
        whom = draft.audience if audience is None else audience
        await self._targets_of(draft.community, whom)
        appointment = draft.appointment
        if when is not None:
            appointment = await self._appoint(draft.community, when) if when else None
        now = self._clock.now_ms()
        newer = replace(
            draft,
            parts=parts,
            audience=whom,
            kind=kind or draft.kind,
            worded_by=by,
            at=now,
            appointment=appointment,
        )
        async with self._database.transaction() as tx:
            if await store.reword(tx, draft, newer):
                await self._show_later(tx, draft.id, draft.version + 1, now)
                if draft.card is not None:
                    await self._settle(tx, draft, texts.draft_reworded(self._language_of(draft.community)), now)
        self._wake()

    async def leave_words(self, draft: Draft, by: EventId) -> None:
        """Keep the text that a draft has, by a message of its author. Safe to do twice."""
        async with self._database.transaction() as tx:
            await store.leave_words(tx, draft, by)

    async def _show_later(self, tx: Transaction, draft_id: str, version: int, now: int) -> None:
        await self._jobs.add(tx, f"draft-{draft_id}-{version}", f"draft {draft_id}", ShowDraft(draft_id, version), now)

    # --- how they are decided ---------------------------------------------------------------------------------------

    async def reacted(self, event: Reacted) -> None:
        """A reaction under a draft: its author's ✅ sends it, ✏️ asks for another text, ❌ drops it."""
        key = event.key.translate(_PLAIN)
        if key not in (SEND, DROP, EDIT.translate(_PLAIN)):
            return
        async with self._database.transaction() as tx:
            draft = await store.of_card(tx, event.to)
        if (
            draft is None
            or draft.state is not State.OPEN
            or (draft.author, draft.room_id) != (event.sender, event.room_id)
        ):
            return
        if key == SEND:
            await self._send(draft, event.event_id)
        elif key == DROP:
            await self._drop(draft, event.event_id)
        else:
            await self._ask_for_words(draft, event.event_id)

    async def answer(self, room_id: RoomId, author: UserId, event_id: EventId, *, send: bool) -> bool | None:
        """Somebody's yes or no by word, to the last draft of theirs in a room. Safe to do twice.

        Returns:
            Whether it was shown, and so decided; None where there is none.

        Raises:
            Refused: their last one is decided. A second yes would send one from before, which they may not think of.
        """
        async with self._database.transaction() as tx:
            if await store.closed_by(tx, author, event_id) is not None:
                return True
            drafts = await store.open_of(tx, room_id, author)
            passed = bool(drafts) and await store.is_passed(tx, drafts[0])
        if not drafts:
            return None
        if send and passed:
            raise Refused("an earlier announcement still waits", remedy="send it with ✅ or drop it with ❌ below it")
        if send and drafts[0].card is None:
            return False  # they have not seen it
        await (self._send if send else self._drop)(drafts[0], event_id)
        return True

    async def _send(self, draft: Draft, by: EventId) -> None:
        language = self._language_of(draft.community)
        now = self._clock.now_ms()
        try:
            await self._check_right(draft.community, draft.author, draft.audience)
            if draft.appointment is not None:  # for later only those may who may announce to everybody
                await self._check_right(draft.community, draft.author, EVERYBODY)
        except Refused as error:
            text = texts.refused(error.where, error.what, error.remedy)
            await self._close(draft, State.DROPPED, by, text, now)
            return
        try:
            await self._targets_of(draft.community, draft.audience)
        except Refused as error:
            await self._say(draft, by, texts.refused(error.where, error.what, error.remedy))
            return
        if draft.appointment is not None:
            await self._send_later(draft, draft.appointment, by)
            return
        job = Announce(
            community=draft.community,
            source=f"draft-{draft.id}",
            author=draft.author,
            parts=draft.parts,
            audience=draft.audience.as_words(),
            kind=draft.kind.value,
            reply_room=draft.room_id,
        )
        await self._close(draft, State.SENT, by, texts.draft_sent(language), now, job)

    async def _send_later(self, draft: Draft, appointment: Appointment, by: EventId) -> None:
        """Schedule a draft. Where it cannot go out then any more, that is said, and the draft stays."""
        language, now = self._language_of(draft.community), self._clock.now_ms()
        if appointment.timing.next_after(now) is None:
            await self._say(draft, by, texts.draft_too_late(self._mark(draft.room_id), language))
            return
        try:
            async with self._database.transaction() as tx:
                if await self._close_in(tx, draft, State.SENT, by, texts.draft_planned(language), now):
                    planned = await self._schedule(tx, draft)
                    await self._add_saying(tx, draft, by, texts.schedule_set(planned, language), now)
        except Refused as error:
            await self._say(draft, by, texts.refused(error.where, error.what, error.remedy))
            return
        self._wake()

    async def _drop(self, draft: Draft, by: EventId) -> None:
        text = texts.draft_dropped(self._language_of(draft.community))
        await self._close(draft, State.DROPPED, by, text, self._clock.now_ms())

    async def _close(
        self, draft: Draft, state: State, by: EventId | None, text: str, now: int, job: Announce | None = None
    ) -> None:
        """Close a draft, and add what follows from it, in one database transaction."""
        async with self._database.transaction() as tx:
            if await self._close_in(tx, draft, state, by, text, now) and job is not None:
                await self._jobs.add(tx, f"announce-draft-{draft.id}", f"draft {draft.id}", job, now)
        self._wake()

    async def _close_in(
        self, tx: Transaction, draft: Draft, state: State, by: EventId | None, text: str, now: int
    ) -> bool:
        """Close a draft, and say so under it; False where it was closed, or has another wording, already."""
        if not await store.close(tx, draft, state, by):
            return False
        await self._jobs.complete(tx, _expiry(draft.id))
        if draft.card is not None:
            await self._settle(tx, draft, text, now)
        return True

    async def _settle(self, tx: Transaction, draft: Draft, text: str, now: int) -> None:
        """Say under what was shown that it is not to be decided any more."""
        assert draft.card is not None
        content = replacing(draft.card, notice(text))
        job_id = f"draft-{draft.id}-{draft.version}-settled"
        await self._jobs.add(tx, job_id, draft.room_id, SendMessage(draft.room_id, content), now)

    async def _ask_for_words(self, draft: Draft, by: EventId) -> None:
        now = self._clock.now_ms()
        language = self._language_of(draft.community)
        text = texts.draft_asks_for_words(WORDS_MS // 60_000, self._mark(draft.room_id), language)
        async with self._database.transaction() as tx:
            await store.ask_for_words(tx, draft, now)
            await self._add_saying(tx, draft, by, text, now)
        self._wake()

    async def _say(self, draft: Draft, by: EventId, text: str) -> None:
        async with self._database.transaction() as tx:
            await self._add_saying(tx, draft, by, text, self._clock.now_ms())
        self._wake()

    async def _add_saying(self, tx: Transaction, draft: Draft, by: EventId, text: str, now: int) -> None:
        job = SendMessage(draft.room_id, notice(text))
        await self._jobs.add(tx, f"draft-{draft.id}-said-{by}", draft.room_id, job, now)

    def _mark(self, room_id: RoomId) -> str:
        """What stands before commands in a room: people talk to each other in control rooms."""
        return "" if self._index.place_of(room_id) is None else "!"

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def do(self, job_id: str, job: ShowDraft | ExpireDraft) -> None:
        """Do one of the jobs of a draft: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be shown now.
        """
        async with self._database.transaction() as tx:
            draft = await store.find(tx, job.draft)
        if draft is None or draft.state is not State.OPEN:
            return
        if isinstance(job, ExpireDraft):
            text = texts.draft_lapsed(self._language_of(draft.community))
            await self._close_late(draft, text)
        elif draft.version == job.version:
            await self._show(job_id, draft)

    async def _close_late(self, draft: Draft, text: str) -> None:
        await self._close(draft, State.EXPIRED, None, text, self._clock.now_ms())

    def _planned(self, appointment: Appointment) -> dict[str, Any]:
        return {"zone": appointment.timing.zone, "runs": appointment.coming(self._clock.now_ms(), RUNS_SHOWN)}

    async def _show(self, job_id: str, draft: Draft) -> None:
        language = self._language_of(draft.community)
        try:
            targets = await self._targets_of(draft.community, draft.audience)
        except Refused as error:
            await self._say(draft, draft.worded_by, texts.refused(error.where, error.what, error.remedy))
            await self._close(draft, State.DROPPED, None, texts.draft_dropped(language), self._clock.now_ms())
            return
        expected = await self._expected(targets)
        for number, part in enumerate(_as_seen(draft, language), start=1):
            await self._messenger.send(draft.room_id, silent(part), txn_id=f"{job_id}-part{number}")
        text = texts.draft_shown(
            await self._name_of(draft.community),
            draft.audience.as_words(),
            expected.people,
            expected.devices,
            rings(draft.parts),
            draft.kind is Kind.ACKNOWLEDGE,
            -(-self._lapse_ms() // 3_600_000),
            self._mark(draft.room_id),
            None if draft.appointment is None else self._planned(draft.appointment),
            language,
        )
        sent = await self._messenger.send(draft.room_id, notice(text), txn_id=job_id)
        async with self._database.transaction() as tx:  # at once: who is quick reacts before we do
            now = self._clock.now_ms()
            if not await store.shown(tx, draft, sent.event_id):  # decided by word meanwhile, or worded anew
                late = await store.find(tx, draft.id)
                state = State.DROPPED if late is None else late.state
                await self._settle(tx, replace(draft, card=sent.event_id), _OUTCOMES[state](language), now)
                self._wake()
                return
        for key, name in ((SEND, "send"), (EDIT, "edit"), (DROP, "drop")):
            await self._messenger.react(draft.room_id, sent.event_id, key, txn_id=f"{job_id}-{name}")


def _as_seen(draft: Draft, language: Language) -> Sequence[Part]:
    """What members will see, with what is written below it as it goes out."""
    if draft.kind is not Kind.ACKNOWLEDGE:
        return draft.parts
    first, *more = draft.parts
    return [with_line(first, texts.please_acknowledge(language)), *more]


_OUTCOMES: Mapping[State, Callable[[Language], str]] = {
    State.OPEN: texts.draft_reworded,
    State.SENT: texts.draft_sent,
    State.DROPPED: texts.draft_dropped,
    State.EXPIRED: texts.draft_lapsed,
}
"""What takes the place of what stood below a draft, once it is not to be decided there any more."""


def _expiry(draft_id: str) -> str:
    return f"expire-draft-{draft_id}"
