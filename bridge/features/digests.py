"""The weekly summary: for whoever wants it, in their chat with the announcer, read from the room when it is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import tzinfo

from bridge.core import texts
from bridge.core.community import Community
from bridge.core.digest import MOST_ITEMS, WEEK_MS, Item, next_due, of_week
from bridge.core.errors import CannotDecrypt, Forbidden, NotFound, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.messages import SendDigest, SendMessage, notice
from bridge.ports import Clock, RoomFacts
from bridge.store import announcements, digests
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

Complete = Callable[[Transaction], Awaitable[None]]
"""Marks the job as done, within the database transaction of what it does."""
WordsOf = Callable[[RoomId, EventId], Awaitable[str]]
"""The first words of a message in an announcement room, read back and decrypted; empty where it is redacted."""


class Digests:
    """Keeps who wants a summary, and sends it on Monday mornings. A quiet week has none."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        facts: RoomFacts,
        words_of: WordsOf,
        declared: Callable[[CommunityId], Community | None],
        zone_of: Callable[[CommunityId], tzinfo],
        language_of: Callable[[CommunityId], Language],
        clock: Clock,
    ) -> None:
        """
        Args:
            zone_of: the time zone in which a community lives.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._facts = facts
        self._words_of = words_of
        self._declared = declared
        self._zone_of = zone_of
        self._language_of = language_of
        self._clock = clock

    async def want(self, community: CommunityId, user: UserId, *, wanted: bool) -> int:
        """Have somebody sent the summaries, or no more. Gives when the next is due (milliseconds since 1970).

        Raises:
            Refused: there is no chat with them.
        """
        due = next_due(self._clock.now_ms(), self._zone_of(community))
        if wanted and user not in self._index.chats.values():
            raise Refused("I have no chat with you to send it to", remedy="open a direct chat with me, and ask there")
        async with self._database.transaction() as tx:
            if wanted:
                await digests.want(tx, community, user)
                await self._plan(tx, community, due)
            else:
                await digests.want_no_more(tx, community, user)
        self._wake()
        return due

    async def _plan(self, tx: Transaction, community: CommunityId, due: int) -> None:
        await self._jobs.add(tx, f"digest-{community}-{due}", f"digest {community}", SendDigest(community, due), due)

    async def send(self, job: SendDigest, complete: Complete) -> None:
        """Send a community's summary of the week before `job.due` to whoever wants it and is still in the room.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        now = self._clock.now_ms()
        community = self._declared(job.community)
        async with self._database.transaction() as tx:
            wanted = await digests.wanted_by(tx, job.community)
        letters: dict[UserId, tuple[RoomId, list[Item]]] = {}
        if community is not None and wanted and now - job.due < WEEK_MS:
            letters = await self._letters(community, job.due, wanted)
        language = self._language_of(job.community)
        name = job.community if community is None else community.name or job.community
        async with self._database.transaction() as tx:
            still = set(await digests.wanted_by(tx, job.community))
            for user, (chat, items) in letters.items():
                if user in still:
                    lines = [(one.number, one.at, one.words, one.room_id, one.event_id) for one in items]
                    content = notice(texts.digest(name, lines, language))
                    await self._jobs.add(tx, f"digest-{job.due}-{chat}", chat, SendMessage(chat, content), now)
            if still and community is not None:
                await self._plan(tx, job.community, next_due(max(now, job.due), self._zone_of(job.community)))
            await complete(tx)
        self._wake()

    async def _letters(
        self, community: Community, due: int, wanted: Collection[UserId]
    ) -> dict[UserId, tuple[RoomId, list[Item]]]:
        """Of each who is there and has a chat: that chat, and what they are told."""
        items = await self._items(community.id, due)
        if not items:
            return {}
        chats = {user: room for room, user in self._index.chats.items() if user in wanted}
        there = {one.user_id: one for one in await self._facts.joined(items[0].room_id) if one.user_id in chats}
        letters = {}
        for user, member in there.items():
            own = of_week(items, due, since=0 if community.history else member.at)
            if own:
                letters[user] = (chats[user], own)
        return letters

    async def _items(self, community: CommunityId, due: int) -> list[Item]:
        """What was said in the community's announcement room in the week before, with its first words."""
        found = []
        async with self._database.transaction() as tx:
            for one in await announcements.listed(tx, community, 10 * MOST_ITEMS):
                if one.announcement.withdrawn_at is not None:
                    continue
                for copy in await announcements.copies_of(tx, one.announcement.id):
                    target = copy.target
                    ours = target.community == community and not target.place and target.room_id is not None
                    if ours and copy.event_id is not None and copy.sent_at is not None:
                        assert target.room_id is not None
                        found.append(Item(one.number, copy.sent_at, target.room_id, copy.event_id, ""))
        return [await self._with_words(one) for one in of_week(found, due)]

    async def _with_words(self, item: Item) -> Item:
        try:
            words = await self._words_of(item.room_id, item.event_id)
        except (CannotDecrypt, Forbidden, NotFound) as error:
            log.info("announcement #%d cannot be read for the summary: %s", item.number, error)
            words = ""
        await asyncio.sleep(0)
        return Item(item.number, item.at, item.room_id, item.event_id, words)
