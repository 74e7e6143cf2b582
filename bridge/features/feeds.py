"""The feed of a community: opened by an owner, told to everybody whose words it shows, and closed at once."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from bridge.core import texts
from bridge.core.announcements import first_words
from bridge.core.community import ANNOUNCEMENTS, Community
from bridge.core.errors import CannotDecrypt, Forbidden, Refused
from bridge.core.feed import MOST_ENTRIES, Entry, Shown, atom, fingerprint, token_from
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import SendMessage, notice
from bridge.core.rank import People, check_outside
from bridge.ports import Clock
from bridge.store import announcements
from bridge.store import feeds as store
from bridge.store.communities import record
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

FRESH_MS = 60_000
"""For how long a feed is shown as it was made: so it is never read more often, however many ask."""
Recall = Callable[[RoomId, EventId], Awaitable[Mapping[str, Any] | None]]
"""What a message says, read back and opened; None for what was redacted."""


class Feeds:
    """Opens, closes and shows feeds."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        recall: Recall,
        declared: Callable[[CommunityId], Community | None],
        name_of: Callable[[CommunityId], Awaitable[str]],
        people: Callable[[Community], Awaitable[People]],
        clock: Clock,
        secret: bytes,
        url: str,
    ) -> None:
        """
        Args:
            name_of: what people call a community.
            people: what the rules ask of a community's people.
            secret: of which the addresses of feeds are made.
            url: what stands before `/feed/…`; empty where nobody outside can reach it.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._recall = recall
        self._declared = declared
        self._name_of = name_of
        self._people = people
        self._clock = clock
        self._secret = secret
        self._url = url
        self._made: dict[CommunityId, tuple[int, Shown]] = {}
        """What is shown, and when it was made."""
        self._locks: defaultdict[CommunityId, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def check(self, community: Community, by: UserId | None) -> None:
        """Whether somebody may open or close the community's feed.

        Raises:
            Refused: they may not, or nobody could reach it.
        """
        check_outside(await self._people(community), by)
        if not self._url:
            raise Refused(
                "nobody outside can reach the service, so there can be no feed",
                where="join.url",
                remedy="ask whoever runs the service to set `join.url`",
            )

    async def open(self, community: Community, by: UserId | None, source: str) -> str:
        """Give a community a feed, in the place of the one it has; gives its address. The same source is the same one.

        Raises:
            Refused: as of `check`.
        """
        await self.check(community, by)
        token = token_from(self._secret, source)
        await self._told(community, by, source, fingerprint(token))
        return self._address(token)

    async def close(self, community: Community, by: UserId | None, source: str) -> None:
        """Take the community's feed away: its address leads nowhere from now on.

        Raises:
            Refused: they may not.
        """
        check_outside(await self._people(community), by)
        await self._told(community, by, source, None)

    async def _told(self, community: Community, by: UserId | None, source: str, token_sha256: str | None) -> None:
        now, room_id = self._clock.now_ms(), self._index.room_of(community.id, ANNOUNCEMENTS)
        async with self._database.transaction() as tx:
            if token_sha256 is None:
                changed = await store.close(tx, community.id)
            else:
                changed = await store.open_(tx, community.id, token_sha256, by or "operator", now)
            if changed:
                what = "opened a feed" if token_sha256 else "closed the feed"
                await record(tx, now, community.id, room_id or "", by or "operator", what, "")
            if changed and room_id is not None:
                say = texts.feed_opened if token_sha256 else texts.feed_closed
                job = SendMessage(room_id, notice(say(community.language)))
                await self._jobs.add(tx, f"feed-{source}-{community.id}", room_id, job, now)
        self._made.pop(community.id, None)
        self._wake()

    async def is_open(self, community: CommunityId) -> bool:
        async with self._database.transaction() as tx:
            return await store.is_open(tx, community)

    async def document(self, token: str) -> Shown | None:
        """The feed of that address; None where there is none. Any text may be given.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            name = await store.community_of(tx, fingerprint(token))
        community = None if name is None else self._declared(name)
        if community is None:
            return None
        async with self._locks[community.id]:
            now = self._clock.now_ms()
            made_at, shown = self._made.get(community.id, (0, Shown(b"", now)))
            if not shown.document or not 0 <= now - made_at < FRESH_MS:
                title = await self._name_of(community.id)
                entries = await self._entries(community.id)
                document = atom(str(community.id), title, self._address(token), entries)
                if document != shown.document:
                    shown = Shown(document, now)
                self._made[community.id] = now, shown
            return shown

    def _address(self, token: str) -> str:
        return f"{self._url}/feed/{token}.atom"

    async def _entries(self, community: CommunityId) -> list[Entry]:
        found = []
        async with self._database.transaction() as tx:
            for one in await announcements.listed(tx, community, 2 * MOST_ENTRIES):
                copies = await announcements.in_rooms(tx, one.announcement.id)
                here = [copy for copy in copies if copy.target.community == community and not copy.target.place]
                if one.announcement.withdrawn_at is None:
                    found += [copy for copy in here if copy.event_id is not None]
        entries = []
        for copy in found[:MOST_ENTRIES]:
            room_id, event_id = copy.target.room_id, copy.event_id
            assert room_id is not None
            assert event_id is not None
            try:
                content = await self._recall(room_id, event_id)
            except (CannotDecrypt, Forbidden) as error:
                log.info("an announcement cannot be read for the feed of %s: %s", community, error)
                continue
            if content is not None:
                link = f"https://matrix.to/#/{quote(room_id)}/{quote(event_id)}"
                text = str(content.get("body", ""))
                entry_id = f"urn:matrix-communities:{community}:{copy.announcement}"
                entries.append(Entry(entry_id, copy.sent_at or 0, first_words([content]), text, link))
        return entries
