"""Announcements announced once more, here or in another community: read back from where they lie, and opened."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bridge.core import texts
from bridge.core.afterwards import repeated
from bridge.core.announcements import Kind, person_of
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.languages import EN, Language
from bridge.core.messages import Announce, PostAgain, SendMessage, call
from bridge.ports import Clock
from bridge.store import announcements as store
from bridge.store.announcements import Copy
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

ContentOf = Callable[[RoomId, EventId], Awaitable[Mapping[str, Any] | None]]
"""The content of a message as it reads now, decrypted; None where it is redacted or gone."""
Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""


class Reposts:
    """Takes what an announcement says from the room in which it lies: it is stored nowhere else."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: Jobs,
        wake: Callable[[], None],
        content_of: ContentOf,
        clock: Clock,
        language_of: Callable[[CommunityId], Language] = lambda _: EN,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._content_of = content_of
        self._clock = clock
        self._language_of = language_of

    async def ask(self, job: PostAgain) -> str:
        """Have an announcement announced once more; gives the id of the job, and the same source again is the same.

        Raises:
            Refused: it is withdrawn, not delivered yet, or more than a text with files.
        """
        now, job_id = self._clock.now_ms(), f"again-{store.id_of(job.source)}"
        async with self._database.transaction() as tx:
            await _readable(tx, job.announcement)
            if await self._jobs.add(tx, job_id, f"again {job.community}", job, now):
                await record(tx, now, job.community, "", job.author, "announced again", job.announcement)
        self._wake()
        return job_id

    async def do(self, job: PostAgain, complete: Complete) -> None:
        """Read it back, and ask for the announcement of what it says now. Files keep their place and their key.

        Raises:
            Refused: there is nothing left to be read.
            CannotDecrypt: no key of ours opens it any more.
            MatrixError: the homeserver cannot be asked, or refuses.
        """
        async with self._database.transaction() as tx:
            copies = await _readable(tx, job.announcement)
        copy = await self._whole(copies)
        assert copy.target.room_id is not None
        assert copy.event_id is not None
        parts: list[Mapping[str, Any]] = []
        for event_id in (copy.event_id, *copy.others):
            content = await self._content_of(copy.target.room_id, event_id)
            part = None if content is None else repeated(content)
            if part is not None:
                parts.append(part)
            elif event_id == copy.event_id:
                raise Refused(f"#{job.number} cannot be announced again: there is no text left of it")
        again = Announce(
            job.community, job.source, job.author, tuple(parts), job.audience, Kind.TEXT.value, job.reply_room
        )
        async with self._database.transaction() as tx:
            announcement = store.id_of(job.source)
            await self._jobs.add(tx, f"take-{announcement}", f"take {job.community}", again, self._clock.now_ms())
            await complete(tx)
        self._wake()

    async def _whole(self, copies: Sequence[Copy]) -> Copy:
        """The first copy that is no notice: those are quiet, and name their files only."""
        for copy in copies:
            assert copy.target.room_id is not None
            assert copy.event_id is not None
            content = await self._content_of(copy.target.room_id, copy.event_id)
            if content is not None and content.get("msgtype") != "m.notice":
                return copy
        return copies[0]

    async def failed(self, job: PostAgain, job_id: str, why: str) -> None:
        """Tell whoever asked that an announcement could not be announced again."""
        if job.reply_room is None:
            return
        text = texts.announcement_failed(job.community, why, self._language_of(job.community))
        content = call(text, [job.author] if job.author.startswith("@") else [])
        async with self._database.transaction() as tx:
            send = SendMessage(job.reply_room, content)
            await self._jobs.add(tx, f"failed-{job_id}", job.reply_room, send, self._clock.now_ms())
        self._wake()


async def _readable(tx: Transaction, announcement: str) -> Sequence[Copy]:
    """The copies from which an announcement can be read: those in rooms of communities before those in chats."""
    taken = await store.get(tx, announcement)
    if taken is None or taken.withdrawn_at is not None:
        raise Refused("it is withdrawn", remedy="announce it anew")
    if taken.kind is not Kind.TEXT:
        raise Refused("only texts and files can be announced again", remedy="announce it anew")
    copies: Sequence[Copy] = await store.copies_of(tx, announcement)
    there = [copy for copy in copies if copy.event_id is not None and copy.target.room_id is not None]
    if not there:
        raise Refused("it has not arrived anywhere yet", remedy="wait until it has")
    return sorted(there, key=lambda copy: person_of(copy.target.place) is not None)
