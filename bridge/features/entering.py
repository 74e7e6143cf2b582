"""Invite links: made, taken back, and used. A use is counted, recorded and handed on in one database transaction."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from bridge.core.community import Role
from bridge.core.ids import CommunityId, EventId, RoomKeyName, UserId, domain_of
from bridge.core.links import OBSTACLES, TOKEN_BYTES, Link, Obstacle, Stage, Verdict, fingerprint, token_from
from bridge.core.messages import AskToJoin, LetIn, ShowLink
from bridge.ports import Clock
from bridge.store import belonging
from bridge.store import links as store
from bridge.store.communities import record
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.links import Entry

Complete = Callable[[Transaction], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a new link is to carry; as `core.links.Link`."""

    community: CommunityId
    maker: str
    groups: tuple[RoomKeyName, ...] = ()
    span_ms: int | None = None
    """For how long it may be used; None means for ever."""
    uses: int | None = None
    needs_approval: bool = False
    role: Role = Role.MEMBER


class _NoUseLeft(Exception):
    """Rolls an entry back for which the link had no use left."""


class Entering:
    """The life of invite links, up to the jobs that let people in."""

    def __init__(
        self, *, database: Database, jobs: Jobs, wake: Callable[[], None], clock: Clock, secret: bytes
    ) -> None:
        """
        Args:
            secret: of which the secrets of links are made that somebody asks for in a chat.
        """
        self._database = database
        self._jobs = jobs
        self._wake = wake
        self._clock = clock
        self._secret = secret

    # --- links ----------------------------------------------------------------------------------------------------

    async def make(self, terms: Terms, show: ShowLink | None = None) -> tuple[Link, str]:
        """Make a link; gives it with its secret, which is stored nowhere.

        Args:
            show: how whoever asked in a chat is shown it; the same message is the same link, made and shown once.

        Raises:
            ValueError: the terms contradict each other, with a sentence.
        """
        link, token = self._fresh(terms, show)
        async with self._database.transaction() as tx:
            if show is not None and (made := await store.by_token(tx, fingerprint(token))) is not None:
                return made, token
            await self._add(tx, link, token, show)
        if show is not None:
            self._wake()
        return link, token

    async def reset(self, terms: Terms, show: ShowLink | None = None) -> tuple[Link, str, list[str]]:
        """Take back all links of a community and make one, both or neither; gives the ids of those taken back, too.

        Args, and what it raises, as of `make`.
        """
        link, token = self._fresh(terms, show)
        async with self._database.transaction() as tx:
            if show is not None and (made := await store.by_token(tx, fingerprint(token))) is not None:
                return made, token, []
            revoked = await store.revoke_all(tx, terms.community, terms.maker, link.made_at)
            for link_id in revoked:
                await record(tx, link.made_at, terms.community, "", terms.maker, "revoked link", link_id)
            await self._add(tx, link, token, None if show is None else replace(show, revoked=len(revoked)))
        if show is not None:
            self._wake()
        return link, token, revoked

    def token_of(self, source: EventId) -> str:
        """The secret of the link that a message asked for, whether there is such a link or not."""
        return token_from(self._secret, source)

    def _fresh(self, terms: Terms, show: ShowLink | None) -> tuple[Link, str]:
        now = self._clock.now_ms()
        link = Link(
            id=secrets.token_hex(4),
            community=terms.community,
            maker=terms.maker,
            made_at=now,
            groups=terms.groups,
            expires_at=None if terms.span_ms is None else now + terms.span_ms,
            uses=terms.uses,
            needs_approval=terms.needs_approval,
            role=terms.role,
        )
        return link, secrets.token_urlsafe(TOKEN_BYTES) if show is None else self.token_of(show.source)

    async def _add(self, tx: Transaction, link: Link, token: str, show: ShowLink | None) -> None:
        await store.add(tx, link, fingerprint(token))
        await record(tx, link.made_at, link.community, "", link.maker, "made link", link.id)
        if show is not None:
            await self._jobs.add(tx, f"link-{show.source}", show.room_id, show, link.made_at)

    async def of_community(self, community: CommunityId) -> list[Link]:
        """All links of a community, the newest first."""
        async with self._database.transaction() as tx:
            return await store.of_community(tx, community)

    async def by_id(self, link_id: str) -> Link | None:
        """The link that people call so."""
        async with self._database.transaction() as tx:
            return await store.by_id(tx, link_id)

    async def by_token(self, token: str) -> Link | None:
        """The link of that secret. Any text may be given: what is no secret is looked for all the same, so that both
        take the same time.
        """
        async with self._database.transaction() as tx:
            return await store.by_token(tx, fingerprint(token))

    async def revoke(self, link: Link, by: str) -> bool:
        """Take a link back, also from those who still wait by it; whether it was not taken back before."""
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            revoked = await store.revoke(tx, link.id, by, now)
            if revoked:
                await record(tx, now, link.community, "", by, "revoked link", link.id)
        return revoked

    async def who_came(self, link: Link) -> Sequence[Entry]:
        """Who used a link, in that order."""
        async with self._database.transaction() as tx:
            return await store.entries_of(tx, link.id)

    # --- people -----------------------------------------------------------------------------------------------------

    async def use(self, link: Link, user: UserId, words: str = "") -> Entry | Obstacle:
        """Let somebody use a link: counted once for each person, recorded, and a job added that brings them in.

        Whoever used it before uses it again for nothing, also when it is used up; not when it was revoked or expired.

        Args:
            words: what they wrote for whoever decides, where the link needs approval.
        """
        now = self._clock.now_ms()
        try:
            async with self._database.transaction() as tx:
                entry = await self._use(tx, link, user, now, words)
        except _NoUseLeft:
            return await self._why_not(link, now)
        if isinstance(entry, Entry):
            self._wake()
        return entry

    async def _use(self, tx: Transaction, link: Link, user: UserId, now: int, words: str) -> Entry | Obstacle:
        stage = Stage.ASKED if link.needs_approval else Stage.WAITING
        lane = f"enter {link.community} {domain_of(user)}"
        ticket = secrets.token_urlsafe(TOKEN_BYTES)
        if await store.enter(tx, Entry(0, ticket, link.id, link.community, user, lane, stage, now)):
            if not await store.count_use(tx, link.id, now):
                raise _NoUseLeft
            await record(tx, now, link.community, "", user, "came by link", link.id)
        entry, now_is = await store.entry_of(tx, link.id, user), await store.by_id(tx, link.id)
        if entry is None or now_is is None:
            return Obstacle.UNKNOWN
        if (verdict := now_is.verdict(now)) not in (Verdict.OK, Verdict.USED_UP):
            return OBSTACLES[verdict]
        await store.set_stage(tx, entry.ticket, stage, now)
        if link.needs_approval:
            ask = AskToJoin(link.community, user, "link", link.id, link.groups, words)
            # each time is a request of its own: whoever decides knows of those that are open, and of earlier ones
            await self._jobs.add(tx, f"ask-{entry.ticket}-{now}", f"requests {link.community}", ask, now)
        else:
            let_in = LetIn(entry.ticket, link.community, user)
            await self._jobs.add(tx, self.job_of(entry), entry.lane, let_in, now)
        return entry

    async def _why_not(self, link: Link, now: int) -> Obstacle:
        async with self._database.transaction() as tx:
            now_is = await store.by_id(tx, link.id)
        verdict = Verdict.REVOKED if now_is is None else now_is.verdict(now)
        return OBSTACLES.get(verdict, Obstacle.USED_UP)

    @staticmethod
    def job_of(entry: Entry) -> str:
        """The id of the job that brings somebody in."""
        return f"enter-{entry.ticket}"

    async def entry(self, ticket: str) -> Entry | None:
        """The entry of that ticket."""
        async with self._database.transaction() as tx:
            return await store.entry(tx, ticket)

    async def has_used(self, link: Link, user: UserId) -> bool:
        """Whether somebody came by that link before."""
        async with self._database.transaction() as tx:
            return await store.entry_of(tx, link.id, user) is not None

    async def ahead_of(self, entry: Entry) -> int:
        """How many people are invited before somebody who waits."""
        async with self._database.transaction() as tx:
            return await store.ahead_of(tx, entry)

    async def waiting(self, community: CommunityId) -> int:
        """How many wait for their invitation."""
        async with self._database.transaction() as tx:
            return await store.count_waiting(tx, community)

    async def came(self, ticket: str, stage: Stage, complete: Complete | None = None) -> None:
        """Remember how far somebody has come, and once they are invited by whom, together with taking away the job that
        brought them there.
        """
        async with self._database.transaction() as tx:
            now = self._clock.now_ms()
            await store.set_stage(tx, ticket, stage, now)
            entry = await store.entry(tx, ticket) if stage is Stage.INVITED else None
            link = None if entry is None else await store.by_id(tx, entry.link)
            if entry is not None and link is not None:
                await belonging.bidden(tx, entry.community, entry.user, "link", link.maker, link.id, now)
            if complete is not None:
                await complete(tx)
