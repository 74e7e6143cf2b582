"""The weekly summary: for whoever wants it, in their chat with the announcer, read from the room when it is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import tzinfo
from urllib.parse import quote

from bridge.core import texts
from bridge.core.community import Community
from bridge.core.digest import MOST_ITEMS, WEEK_MS, Item, next_due, of_week
from bridge.core.errors import CannotDecrypt, Forbidden, NotFound, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import Language
from bridge.core.markup import plain
from bridge.core.messages import SendDigest, SendLetter, SendMessage, notice
from bridge.ports import Clock, RoomFacts
from bridge.store import announcements, digests, mailing
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

MAIL = "mail"
"""The lane of letters."""

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
        name_of: Callable[[CommunityId], Awaitable[str]],
        zone_of: Callable[[CommunityId], tzinfo],
        language_of: Callable[[CommunityId], Language],
        clock: Clock,
        unsubscribe_url: Callable[[CommunityId, UserId, str], str],
    ) -> None:
        """
        Args:
            unsubscribe_url: the address at which somebody's letters to an address are ended.
            name_of: what people call a community.
            zone_of: the time zone in which a community lives.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._facts = facts
        self._words_of = words_of
        self._declared = declared
        self._name_of = name_of
        self._zone_of = zone_of
        self._language_of = language_of
        self._clock = clock
        self._unsubscribe_url = unsubscribe_url

    async def want(self, community: CommunityId, user: UserId, *, wanted: bool) -> int:
        """Have somebody sent the summaries in their chat, or no more in any way.

        Returns:
            When the next is due, in milliseconds since 1970.

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
                await mailing.forget(tx, community, user)
        self._wake()
        return due

    async def by_mail(self, community: CommunityId) -> int:
        """See that the next summary is planned, since somebody has it sent by e-mail. Gives when it is due."""
        due = next_due(self._clock.now_ms(), self._zone_of(community))
        async with self._database.transaction() as tx:
            await self._plan(tx, community, due)
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
            wanted = await self._wanted(tx, job.community)
        told: dict[UserId, list[Item]] = {}
        if community is not None and wanted and now - job.due < WEEK_MS:
            told = await self._what_each_is_told(community, job.due, wanted)
        language, zone = self._language_of(job.community), self._zone_of(job.community)
        name = await self._name_of(job.community)
        async with self._database.transaction() as tx:
            still = await self._wanted(tx, job.community)
            by_mail = await mailing.confirmed(tx, job.community)
            for user in told.keys() & still:
                lines = [(one.number, one.at, one.words, _link(one)) for one in told[user]]
                chat = self._index.chat_of(user)
                if chat is not None and user in await digests.wanted_by(tx, job.community):
                    content = notice(texts.digest(name, lines, language, zone))
                    job_id = f"digest-{job.due}-{job.community}-{chat}"
                    await self._jobs.add(tx, job_id, chat, SendMessage(chat, content), now)
                if user in by_mail:
                    url = self._unsubscribe_url(job.community, user, by_mail[user])
                    subject = plain(texts.digest_subject(name, language))
                    text = plain(texts.digest_text(name, lines, url, language, zone))
                    letter = SendLetter(job.community, user, by_mail[user], subject, text, url)
                    await self._jobs.add(tx, f"letter-{job.due}-{job.community}-{user}", MAIL, letter, now)
            if still and community is not None:
                await self._plan(tx, job.community, next_due(max(now, job.due), self._zone_of(job.community)))
            await complete(tx)
        self._wake()

    @staticmethod
    async def _wanted(tx: Transaction, community: CommunityId) -> set[UserId]:
        """Everybody who wants summaries, in whatever way."""
        return {*await digests.wanted_by(tx, community), *await mailing.confirmed(tx, community)}

    async def _what_each_is_told(
        self, community: Community, due: int, wanted: Collection[UserId]
    ) -> dict[UserId, list[Item]]:
        """Of each who is there: what was announced that they may read."""
        items = await self._items(community.id, due)
        if not items:
            return {}
        told = {}
        for member in await self._facts.joined(items[0].room_id):
            own = of_week(items, due, since=0 if community.history else member.at)
            if own and member.user_id in wanted:
                told[member.user_id] = own
        return told

    async def _items(self, community: CommunityId, due: int) -> list[Item]:
        """What was said in the community's announcement room in the week before, with its first words."""
        found = []
        async with self._database.transaction() as tx:
            for one in await announcements.listed(tx, community, 10 * MOST_ITEMS):
                if one.announcement.withdrawn_at is not None:
                    continue
                for copy in await announcements.in_rooms(tx, one.announcement.id):
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


def _link(item: Item) -> str:
    return f"https://matrix.to/#/{quote(item.room_id)}/{quote(item.event_id)}"
