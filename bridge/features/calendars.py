"""The calendar of a community's events: opened by an owner, read by each member under an address of their own."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bridge.core import texts
from bridge.core.calendar import Entry, calendar_of, token_of, uid_of
from bridge.core.community import ANNOUNCEMENTS, SPACE, Community
from bridge.core.errors import CannotDecrypt, Forbidden, Refused
from bridge.core.feed import Shown, fingerprint
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import MembershipChanged, SendMessage, notice
from bridge.core.rank import People, check_outside
from bridge.ports import Clock
from bridge.store import announcements, events
from bridge.store import calendars as store
from bridge.store.calendars import Reader
from bridge.store.communities import record
from bridge.store.database import Database
from bridge.store.events import Known
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

FRESH_MS = 60_000
"""For how long a calendar is shown as it was made: so it is never read more often, however many ask."""
RECENT_MS = 30 * 24 * 3_600_000
"""So long after their end events are still shown."""
MOST_EVENTS = 100

Recall = Callable[[RoomId, EventId], Awaitable[Mapping[str, Any] | None]]
"""What a message says, read back and opened; None for what was redacted."""
IsMember = Callable[[CommunityId, UserId], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody reads a calendar."""

    https: str
    webcal: str
    """The same for programs that subscribe to it at once."""


class Calendars:
    """Opens, closes and shows calendars, and gives members their addresses."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        recall: Recall,
        declared: Callable[[CommunityId], Community | None],
        people: Callable[[Community], Awaitable[People]],
        is_member: IsMember,
        name_of: Callable[[CommunityId], Awaitable[str]],
        clock: Clock,
        secret: bytes,
        url: str,
        domain: str,
    ) -> None:
        """
        Args:
            people: what the rules ask of a community's people.
            name_of: what people call a community.
            secret: of which addresses are made.
            url: what stands before `/calendar/…`; empty where nobody outside can reach it.
            domain: the homeserver's name, for the ids of events.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._recall = recall
        self._declared = declared
        self._people = people
        self._is_member = is_member
        self._name_of = name_of
        self._clock = clock
        self._secret = secret
        self._url = url
        self._domain = domain
        self._made: dict[CommunityId, tuple[int, Shown]] = {}
        """What is shown, and when it was made."""
        self._locks: defaultdict[CommunityId, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- opened and closed ------------------------------------------------------------------------------------------

    async def check(self, community: Community, by: UserId | None) -> None:
        """Whether somebody may open or close the community's calendar.

        Raises:
            Refused: they may not, or nobody could reach it.
        """
        check_outside(await self._people(community), by)
        if not self._url:
            raise Refused(
                "nobody outside can reach the service, so no program can subscribe to a calendar",
                where="join.url",
                remedy="ask whoever runs the service to set `join.url`",
            )

    async def open(self, community: Community, by: UserId | None, source: str) -> None:
        """Let members have addresses of the community's calendar.

        Raises:
            Refused: as of `check`.
        """
        await self.check(community, by)
        await self._told(community, by, source, opened=True)

    async def close(self, community: Community, by: UserId | None, source: str) -> None:
        """Close the community's calendar: no address leads anywhere from now on.

        Raises:
            Refused: they may not.
        """
        check_outside(await self._people(community), by)
        await self._told(community, by, source, opened=False)

    async def _told(self, community: Community, by: UserId | None, source: str, *, opened: bool) -> None:
        now, room_id = self._clock.now_ms(), self._index.room_of(community.id, ANNOUNCEMENTS)
        async with self._database.transaction() as tx:
            if opened:
                changed = await store.open_(tx, community.id, by or "operator", now)
            else:
                changed = await store.close(tx, community.id)
            if changed:
                what = "opened the calendar" if opened else "closed the calendar"
                await record(tx, now, community.id, room_id or "", by or "operator", what, "")
            if changed and room_id is not None:
                say = texts.calendar_opened if opened else texts.calendar_closed
                job = SendMessage(room_id, notice(say(community.language)))
                await self._jobs.add(tx, f"calendar-{source}-{community.id}", room_id, job, now)
        self._made.pop(community.id, None)
        self._wake()

    async def is_open(self, community: CommunityId) -> bool:
        async with self._database.transaction() as tx:
            return await store.is_open(tx, community)

    async def readers(self, community: CommunityId) -> int:
        """How many members have an address."""
        async with self._database.transaction() as tx:
            return await store.count(tx, community)

    # --- addresses --------------------------------------------------------------------------------------------------

    async def address(self, community: Community, user: UserId, source: str, *, another: bool = False) -> Address:
        """Somebody's own address of the calendar: the one that they have, else one that is made now. The same source is
        the same address.

        Args:
            another: make one in the place of the one that they have, which then leads nowhere.

        Raises:
            Refused: they are not in the community, its calendar is closed, or nobody could reach it.
        """
        if not await self._is_member(community.id, user):
            raise Refused("who is not in the community has no calendar of it", where=str(user))
        async with self._database.transaction() as tx:
            if not self._url or not await store.is_open(tx, community.id):
                raise Refused(
                    "no program can subscribe to the calendar of this community",
                    where=str(community.id),
                    remedy="an owner can change that with `calendar on`",
                )
            known = await store.source_of(tx, community.id, user)
            if known is None or another:
                known = source
                reader = Reader(community.id, user, source)
                await store.give(tx, reader, fingerprint(self._token(reader)), self._clock.now_ms())
        token = self._token(Reader(community.id, user, known))
        https = f"{self._url}/calendar/{token}.ics"
        return Address(https, f"webcal://{https.partition('://')[2]}")

    def _token(self, reader: Reader) -> str:
        return token_of(self._secret, reader.community, reader.user, reader.source)

    async def moved(self, event: MembershipChanged) -> None:
        """Whoever leaves a community leaves their address behind."""
        place = self._index.place_of(event.room_id)
        if place is not None and place.key == SPACE and event.membership in ("leave", "ban"):
            async with self._database.transaction() as tx:
                await store.left(tx, place.community, event.user, event.sent_at)

    # --- shown ------------------------------------------------------------------------------------------------------

    async def document(self, token: str) -> Shown | None:
        """The calendar of that address; None where there is none, or whoever has it is in the community no more. Any
        text may be given.

        Raises:
            MatrixError: the homeserver cannot be asked.
        """
        async with self._database.transaction() as tx:
            reader = await store.reader_of(tx, fingerprint(token))
        community = None if reader is None else self._declared(reader.community)
        if reader is None or community is None:
            return None
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token(reader).encode()):
            return None
        if not await self._is_member(reader.community, reader.user):
            return None
        async with self._locks[community.id]:
            return await self._fresh(community)

    async def _fresh(self, community: Community) -> Shown:
        now = self._clock.now_ms()
        made_at, shown = self._made.get(community.id, (0, Shown(b"", now)))
        if not shown.document or not 0 <= now - made_at < FRESH_MS:
            entries = await self._entries(community.id, now)
            document = calendar_of(await self._name_of(community.id), entries)
            if document != shown.document:
                shown = Shown(document, now)
            self._made[community.id] = now, shown
        return shown

    async def _entries(self, community: CommunityId, now: int) -> list[Entry]:
        entries = []
        async with self._database.transaction() as tx:
            found = await events.since(tx, community, now - RECENT_MS, MOST_EVENTS)
            lies = {one.announcement: await announcements.copies_of(tx, one.announcement) for one in found}
        for known in found:
            for copy in lies[known.announcement]:
                if copy.target.community == community and not copy.target.place:
                    entry = await self._entry(known, copy.target.room_id, copy.event_id)
                    entries += [] if entry is None else [entry]
        return entries

    async def _entry(self, known: Known, room_id: RoomId | None, event_id: EventId | None) -> Entry | None:
        """An event with its words, None where they cannot be read or are gone."""
        if room_id is None or event_id is None:
            return None
        try:
            content = await self._recall(room_id, event_id)
        except (CannotDecrypt, Forbidden) as error:
            log.info("an event cannot be read for the calendar of %s: %s", known.community, error)
            return None
        if content is None:
            return None
        return Entry(
            uid_of(known.announcement, self._domain),
            known.sequence,
            known.cancelled_at is not None,
            known.happening.with_words(content),
            known.changed_at,
            f"https://matrix.to/#/{quote(room_id)}/{quote(event_id)}",
        )
