"""Threads of announcements in a discussion room: begun, linked, kept to the announcement's words, and taken back.

The message under which a thread stands is sent before its announcement, which so carries the link from the beginning
and rings once. Where that cannot be done the announcement does not wait: its thread is begun afterwards, and linked
from a notice of its own, as for what admins post with their own clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from bridge.core import texts
from bridge.core.announcements import Part, Target
from bridge.core.community import ANNOUNCEMENTS, DISCUSSION
from bridge.core.discussions import carries, digest_of_words, in_thread, permalink, with_link, words_of
from bridge.core.errors import CannotDecrypt, CommunitiesError, Forbidden, NotFound, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.core.messages import TendThread, notice, replacing
from bridge.ports import Clock, Messenger, Posts
from bridge.store import announcements
from bridge.store import discussions as store
from bridge.store.announcements import Announcement
from bridge.store.database import Database, Transaction
from bridge.store.discussions import Piece, Thread
from bridge.store.jobs import Jobs

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 20.0
"""How long an announcement waits for its thread to be begun."""
LATER_MS = 24 * 3_600_000
"""When a thread is looked at whose announcement did not arrive."""

ContentOf = Callable[[RoomId, EventId], Awaitable[Mapping[str, Any] | None]]
"""The content of a message as it reads now, decrypted; None where it is redacted or gone."""
Finish = Callable[[Part], Part]


class Discussions:
    """One thread for each announcement to everybody in a community that has a discussion room."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        messenger: Messenger,
        posts: Posts,
        content_of: ContentOf,
        room_of: Callable[[CommunityId], RoomId | None],
        before: Callable[[CommunityId, RoomKeyName], Awaitable[None]],
        announcer: UserId,
        via: str,
        language_of: Callable[[CommunityId], Language],
        clock: Clock,
    ) -> None:
        """
        Args:
            room_of: a community's discussion room; None where it has none, or wants none any more.
            before: sees who is out of a community before something is said in a room of it.
            via: the server that links name.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._messenger = messenger
        self._posts = posts
        self._content_of = content_of
        self._room_of = room_of
        self._before = before
        self._announcer = announcer
        self._via = via
        self._language_of = language_of
        self._clock = clock

    # --- the link in the announcement -------------------------------------------------------------------------------

    async def begin(self, announcement: str, target: Target) -> Finish | None:
        """Begin the thread of an announcement that is about to be delivered into an announcement room, within some
        seconds. Gives what puts the link below it; None where it goes out without one.

        What it gives is decided once, and stored before anything is sent: so the same delivery again is the same.
        """
        room_id = self._room_of(target.community)
        async with self._database.transaction() as tx:
            taken = await announcements.get(tx, announcement)
            settled = await announcements.is_settled(tx, announcement, target)
            begun = await announcements.was_begun(tx, announcement, target.community, target.place)
            thread = await store.get(tx, announcement, target.community)
            parts = _parts(await announcements.content_of(tx, announcement))
        if taken is None or taken.withdrawn_at is not None or settled or not parts:
            return None
        if thread is not None and thread.linked is not None:
            return self._finish(target.community, thread) if thread.linked else None
        if room_id is None and thread is None:
            return None
        root = None
        if room_id is not None and not begun and (words := words_of(parts[0], taken.kind)):
            root = await self._soon(announcement, target.community, room_id, words)
        finish = None
        if room_id is not None and root is not None:
            finish = self._link(target.community, permalink(room_id, root, self._via))
        linked = finish is not None and carries(finish(parts[0]))
        async with self._database.transaction() as tx:
            await store.decide(tx, announcement, target.community, linked=linked)
        return finish if linked else None

    async def _soon(self, announcement: str, community: CommunityId, room_id: RoomId, words: str) -> EventId | None:
        """Send the root now, if that can be done now."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._before(community, DISCUSSION)
                async with self._database.transaction() as tx:  # its messages begin with the id of this job
                    later = self._clock.now_ms() + LATER_MS
                    job = TendThread(announcement, community)
                    await self._jobs.add(tx, _job_of(announcement, community), _lane(community), job, later)
                return await self._send_root(announcement, community, room_id, words)
        except (CommunitiesError, TimeoutError) as error:
            log.warning("%s: an announcement goes out before its thread is begun: %s", community, error)
            return None

    def _finish(self, community: CommunityId, thread: Thread) -> Finish | None:
        if thread.root is None or thread.closed:
            return None
        return self._link(community, permalink(thread.room_id, thread.root, self._via))

    def _link(self, community: CommunityId, link: str) -> Finish:
        return partial(with_link, said=texts.discuss_here(self._language_of(community)), link=link)

    async def completed(self, announcement: str, target: Target, part: Part) -> Part:
        """The words of a copy as they stand in its room: with the link, where it carries one."""
        if target.place:
            return part
        async with self._database.transaction() as tx:
            thread = await store.get(tx, announcement, target.community)
        finish = None if thread is None or not thread.linked else self._finish(target.community, thread)
        return part if finish is None else finish(part)

    # --- what happens to announcements ------------------------------------------------------------------------------

    async def delivered(self, tx: Transaction, announcement: str, target: Target) -> None:
        """An announcement has arrived: within the database transaction that records it, have its thread tended."""
        if target.place or self._room_of(target.community) is None:
            return
        job_id = _job_of(announcement, target.community)
        await self._jobs.complete(tx, job_id)  # it was planned for later
        job = TendThread(announcement, target.community)
        await self._jobs.add(tx, job_id, _lane(target.community), job, self._clock.now_ms())

    async def changed(self, room_id: RoomId, event_id: EventId, cause: EventId) -> None:
        """A message in an announcement room was edited or redacted, by whomever: its thread follows.

        Args:
            cause: the event that did it.
        """
        async with self._database.transaction() as tx:
            copy = await announcements.of_event(tx, room_id, event_id)
            if copy is None or copy.target.place:
                return
            await self._follow(tx, copy.announcement, copy.target.community, cause)
        self._wake()

    async def ended(self, announcement: str, community: CommunityId) -> None:
        """An announcement is withdrawn, or will not be sent any more."""
        async with self._database.transaction() as tx:
            await self._follow(tx, announcement, community, "ended")
        self._wake()

    async def _follow(self, tx: Transaction, announcement: str, community: CommunityId, cause: str) -> None:
        if await store.get(tx, announcement, community) is not None:
            job_id = f"{_job_of(announcement, community)}-{cause}"
            job = TendThread(announcement, community)
            await self._jobs.add(tx, job_id, _lane(community), job, self._clock.now_ms())

    # --- tending ----------------------------------------------------------------------------------------------------

    async def tend(self, job_id: str, job: TendThread) -> None:
        """Bring a thread up to what its announcement is now: begun, linked, reworded; or taken back. Safe to repeat.

        Raises:
            Unreachable: it cannot be done now; the announcer may not be in the room yet.
            CannotEncrypt, Refused, MatrixError: it cannot be done.
        """
        async with self._database.transaction() as tx:
            taken = await announcements.get(tx, job.announcement)
            copy = await announcements.copy_of(tx, job.announcement, job.community, "")
            thread = await store.get(tx, job.announcement, job.community)
        if thread is not None and thread.closed:
            return
        if taken is None or copy is None or taken.withdrawn_at is not None:
            await self._take_back(job, thread, None if copy is None else copy.target.room_id)
        elif copy.event_id is not None and copy.target.room_id is not None:  # else it is tended when it is there
            await self._keep(job_id, job, taken, copy.target.room_id, copy.event_id)

    async def _keep(
        self, job_id: str, job: TendThread, taken: Announcement, announced_in: RoomId, event_id: EventId
    ) -> None:
        try:
            content = await self._content_of(announced_in, event_id)
        except CannotDecrypt as error:
            raise Unreachable(
                "an announcement cannot be read yet, so its thread is not begun", where=job.community
            ) from error
        async with self._database.transaction() as tx:
            thread = await store.get(tx, job.announcement, job.community)
        if content is None:  # redacted
            await self._take_back(job, thread, announced_in)
            return
        room_id, words = self._room_of(job.community), words_of(content, taken.kind)
        if room_id is None or not words:
            return
        try:
            await self._before(job.community, DISCUSSION)
            await self._bring_about(job_id, job, room_id, words, announced_in, event_id)
        except Forbidden as error:
            raise Unreachable("the announcer cannot speak in the discussion room yet", where=job.community) from error

    async def _bring_about(
        self, job_id: str, job: TendThread, room_id: RoomId, words: str, announced_in: RoomId, event_id: EventId
    ) -> None:
        """Send what is not there yet of a thread, in the order in which people come upon it."""
        language = self._language_of(job.community)
        async with self._database.transaction() as tx:
            await store.decide(tx, job.announcement, job.community, linked=False)  # if it is not decided
            thread = await store.get(tx, job.announcement, job.community)
        assert thread is not None
        root = thread.root or await self._send_root(job.announcement, job.community, room_id, words)
        if thread.root is not None:
            room_id = thread.room_id
            await self._reword(job_id, job, thread, words)
        if Piece.OPENING not in thread.pieces:
            begins = notice(texts.thread_begins(permalink(announced_in, event_id, self._via), language))
            await self._send(job.announcement, job.community, room_id, Piece.OPENING, room_id, in_thread(begins, root))
        if not thread.linked and Piece.POINTER not in thread.pieces:
            await self._before(job.community, ANNOUNCEMENTS)
            there = notice(texts.discussed_there(permalink(room_id, root, self._via), language))
            pointer = in_thread(there, event_id)
            await self._send(job.announcement, job.community, room_id, Piece.POINTER, announced_in, pointer)

    async def _reword(self, job_id: str, job: TendThread, thread: Thread, words: str) -> None:
        digest = digest_of_words(words)
        if thread.root is None or thread.words == digest:
            return
        newer = notice(texts.thread_of(words, self._language_of(job.community)))
        await self._messenger.send(thread.room_id, replacing(thread.root, newer), txn_id=f"{job_id}~{digest}")
        async with self._database.transaction() as tx:
            await store.reworded(tx, job.announcement, job.community, digest)

    async def _send_root(self, announcement: str, community: CommunityId, room_id: RoomId, words: str) -> EventId:
        part = notice(texts.thread_of(words, self._language_of(community)))
        return await self._send(announcement, community, room_id, Piece.ROOT, room_id, part, digest_of_words(words))

    async def _send(
        self,
        announcement: str,
        community: CommunityId,
        discussion: RoomId,
        piece: Piece,
        room_id: RoomId,
        part: Part,
        words: str = "",
    ) -> EventId:
        """Send one message of a thread, once: that it is about to be sent is stored before, and its id afterwards."""
        async with self._database.transaction() as tx:
            await store.begin(tx, announcement, community, discussion, piece)
        sent = await self._messenger.send(room_id, part, txn_id=f"{_job_of(announcement, community)}~{piece}")
        async with self._database.transaction() as tx:
            await store.sent(tx, announcement, community, piece, sent.event_id, words)
        return sent.event_id

    # --- taking back ------------------------------------------------------------------------------------------------

    async def _take_back(self, job: TendThread, thread: Thread | None, announced_in: RoomId | None) -> None:
        """Redact what we said of an announcement that is none any more; what others answered is theirs."""
        if thread is None:
            return
        where = {Piece.ROOT: thread.room_id, Piece.OPENING: thread.room_id, Piece.POINTER: announced_in}
        pieces = dict(thread.pieces)
        reason = texts.withdrawn(self._language_of(job.community))
        if (piece := thread.sending) is not None and (room_id := where[piece]):
            # it may be there: sent with nothing in it, its transaction id finds it, and either way it is redacted
            txn_id = f"{_job_of(job.announcement, job.community)}~{piece}"
            try:
                pieces[piece] = (await self._messenger.send(room_id, notice(reason), txn_id=txn_id)).event_id
            except Forbidden as error:
                log.info("%s: a message of a thread is not looked for: %s", job.community, error.what)
        for piece in (Piece.POINTER, Piece.OPENING, Piece.ROOT):
            if piece in pieces and (room_id := where[piece]):
                await self._redact(room_id, pieces[piece], reason)
        async with self._database.transaction() as tx:
            await store.close(tx, job.announcement, job.community)

    async def _redact(self, room_id: RoomId, event_id: EventId, reason: str) -> None:
        try:
            edits = await self._posts.edits_of(room_id, event_id, sender=self._announcer, by_announcer=False)
            for one in (*edits, event_id):
                await self._posts.redact(room_id, one, reason, txn_id=f"withdraw-{one}", by_announcer=False)
        except (Forbidden, NotFound) as error:
            log.info("%s: a message of a thread cannot be taken back: %s", room_id, error.what)


def _job_of(announcement: str, community: CommunityId) -> str:
    return f"thread-{announcement}-{community}"


def _lane(community: CommunityId) -> str:
    return f"discussion {community}"


def _parts(content: str | None) -> Sequence[Part]:
    """What waits to be sent, as it is stored; nothing of a text of before there were parts."""
    try:
        parts: object = orjson.loads(content or "[]")
    except orjson.JSONDecodeError:
        return []
    return parts if isinstance(parts, list) else []
