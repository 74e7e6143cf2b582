"""Summaries by e-mail: allowed by an owner, asked for by each with an address that they have shown to be theirs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.core import texts
from bridge.core.community import ANNOUNCEMENTS, Community
from bridge.core.errors import MailRefused, Refused
from bridge.core.ids import CommunityId, EventId, UserId
from bridge.core.mail import Letter, code_from, parse_address, ticket_from
from bridge.core.markup import plain
from bridge.core.messages import SendLetter, SendMessage, notice
from bridge.core.rank import People, check_outside
from bridge.ports import Clock, PostOffice
from bridge.store import mailing as store
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.mailing import Subscription
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)

CODE_PAUSE_MS = 10 * 60_000
"""So long somebody waits before another letter with a code is sent, wherever to: nobody is flooded by our hand."""
CODE_LASTS_MS = 24 * 3_600_000
MOST_TRIES = 5
LANE = "mail"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whose letters an address ends."""

    community: CommunityId
    user: UserId


class Mailing:
    """Keeps addresses, and sends letters."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        jobs: Jobs,
        wake: Callable[[], None],
        post_office: PostOffice | None,
        name_of: Callable[[CommunityId], Awaitable[str]],
        people: Callable[[Community], Awaitable[People]],
        clock: Clock,
        secret: bytes,
        url: str,
    ) -> None:
        """
        Args:
            post_office: None where the operator has set up no mail server.
            name_of: what people call a community.
            people: what the rules ask of a community's people.
            secret: of which codes and the addresses for unsubscribing are made.
            url: what stands before `/unsubscribe/…`; empty where nobody outside can reach it.
        """
        self._database = database
        self._index = index
        self._jobs = jobs
        self._wake = wake
        self._post_office = post_office
        self._name_of = name_of
        self._people = people
        self._clock = clock
        self._secret = secret
        self._url = url

    # --- an owner allows it -----------------------------------------------------------------------------------------

    async def check(self, community: Community, by: UserId | None) -> None:
        """Whether somebody may allow e-mail in the community, and whether there is any.

        Raises:
            Refused: they may not, or the operator has not set it up.
        """
        check_outside(await self._people(community), by)
        if self._post_office is None:
            raise Refused(
                "the service has no mail server", where="email", remedy="ask whoever runs it to set `email.host`"
            )
        if not self._url:
            raise Refused(
                "nobody could unsubscribe, since the service has no address outside",
                where="join.url",
                remedy="ask whoever runs it to set `join.url`",
            )

    async def allow(self, community: Community, by: UserId | None, source: str, *, allowed: bool) -> None:
        """Allow summaries by e-mail in a community, or end them and forget the addresses. The room is told.

        Raises:
            Refused: as of `check`.
        """
        if allowed:
            await self.check(community, by)
        else:
            check_outside(await self._people(community), by)
        now, room_id, who = self._clock.now_ms(), self._index.room_of(community.id, ANNOUNCEMENTS), by or "operator"
        async with self._database.transaction() as tx:
            if allowed:
                changed = await store.allow(tx, community.id, who, now)
            else:
                changed = await store.forbid(tx, community.id)
            if changed:
                what = "allowed e-mail" if allowed else "ended e-mail"
                await record(tx, now, community.id, room_id or "", who, what, "")
            if changed and room_id is not None:
                say = texts.mail_opened if allowed else texts.mail_closed
                job = SendMessage(room_id, notice(say(community.language)))
                await self._jobs.add(tx, f"mail-{source}-{community.id}", room_id, job, now)
        self._wake()

    # --- somebody asks for it ---------------------------------------------------------------------------------------

    async def ask(self, community: Community, user: UserId, address: str, source: EventId) -> str:
        """Have a letter with a code sent to an address that somebody says is theirs; gives the address as it is kept.

        Raises:
            Refused: it is none, e-mail is not allowed there, or they asked a moment ago.
        """
        try:
            address = parse_address(address)
        except ValueError as error:
            raise Refused(str(error), remedy="write it like `digest me@example.org`") from None
        now = self._clock.now_ms()
        code = code_from(self._secret, source, address)
        ticket = ticket_from(self._secret, community.id, user, address)
        name = await self._name_of(community.id)
        async with self._database.transaction() as tx:
            if self._post_office is None or not self._url or not await store.is_allowed(tx, community.id):
                raise Refused(
                    "summaries do not go out by e-mail here",
                    where=str(community.id),
                    remedy="`digest on` sends them into your chat with me; an owner can allow e-mail with `email on`",
                )
            known = await store.of(tx, community.id, user)
            if known is not None and known.source == source:
                return known.address
            last = await store.asked_last(tx, user)
            if 0 <= now - last < CODE_PAUSE_MS:
                raise Refused(
                    "a code was sent to you a moment ago", remedy="look into your mailbox, or ask again in ten minutes"
                )
            await store.put(
                tx,
                Subscription(community.id, user, address, _fingerprint(code), source, now, _fingerprint(ticket)),
            )
            subject = plain(texts.code_subject(code, name, community.language))
            text = plain(texts.code_text(code, name, user, community.language))
            letter = SendLetter(community.id, user, address, subject, text, "")
            await self._jobs.add(tx, f"letter-{source}", LANE, letter, now)
        self._wake()
        return address

    async def confirm(self, community: Community, user: UserId, code: str) -> str:
        """Take the code that somebody found in their letter; gives the address that is theirs now. Safe to repeat.

        Raises:
            Refused: it is not the code, or it is too late for it.
        """
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            known = await store.of(tx, community.id, user)
            fits = known is not None and _fingerprint(code.strip()) == known.code_sha256
            late = known is None or now - known.asked_at > CODE_LASTS_MS or known.tries >= MOST_TRIES
            if known is not None and fits and (known.confirmed_at is not None or not late):
                if known.confirmed_at is None:
                    await store.confirm(tx, community.id, user, now)
                return known.address
            if known is not None and known.confirmed_at is None and not late:
                await store.count_try(tx, community.id, user)
        if late:
            raise Refused("there is no code that would be good now", remedy="ask for one: `digest me@example.org`")
        raise Refused("that is not the code", remedy="it has six digits, and stands in the newest letter")

    async def forget(self, community: CommunityId, user: UserId) -> bool:
        """Send somebody no more letters of a community, and forget their address; whether there was one."""
        async with self._database.transaction() as tx:
            return await store.forget(tx, community, user)

    # --- unsubscribing ----------------------------------------------------------------------------------------------

    async def subscriber(self, ticket: str) -> Subscriber | None:
        """Whose letters a ticket ends; any text may be given."""
        async with self._database.transaction() as tx:
            found = await store.of_ticket(tx, _fingerprint(ticket))
        return None if found is None else Subscriber(found.community, found.user)

    async def unsubscribe(self, ticket: str) -> None:
        """End the letters that a ticket ends (RFC 8058); nothing happens where they have ended."""
        found = await self.subscriber(ticket)
        if found is not None:
            await self.forget(found.community, found.user)

    # --- sending ----------------------------------------------------------------------------------------------------

    def unsubscribe_url(self, community: CommunityId, user: UserId, address: str) -> str:
        """The address at which somebody's letters of a community are ended."""
        return f"{self._url}/unsubscribe/{ticket_from(self._secret, community, user, address)}"

    async def send(self, job_id: str, job: SendLetter) -> None:
        """Send one letter. If the service dies right after the server took it, it goes again with the same
        `Message-ID`, by which mailboxes can tell.

        Raises:
            MailAway: the server cannot be asked, or asks to come later.
        """
        async with self._database.transaction() as tx:
            if not await self._is_wanted(tx, job):
                return
        if self._post_office is None:
            return
        letter = Letter(job.address, job.subject, job.text, job_id, job.unsubscribe)
        try:
            await self._post_office.send(letter)
        except MailRefused as error:
            log.warning("a letter for %s was refused, and their address is forgotten: %s", job.community, error.what)
            await self.forget(job.community, job.user)

    async def _is_wanted(self, tx: Transaction, job: SendLetter) -> bool:
        """Whether the address still waits for that: somebody may have unsubscribed since it was written."""
        known = await store.of(tx, job.community, job.user)
        allowed = await store.is_allowed(tx, job.community)
        wanted = allowed and known is not None and known.address == job.address
        return wanted and (not job.unsubscribe or (known is not None and known.confirmed_at is not None))


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
