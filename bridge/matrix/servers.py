"""Which other homeservers answer ours, so that one that does not keeps nobody waiting but its own users.

To invite somebody of another server, ours reaches for that server while it holds the room's memberships (server-server
API, "Inviting to a room"). Synapse tries for up to four minutes, in which nobody is invited to that room, joins it or
is removed from it, and it works on no more than ten such requests of ours. So a server is asked for a profile first,
which holds nothing, and no more than a few invites to one server are under way at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bridge.core.errors import MatrixError, ServerAway, Unreachable
from bridge.core.ids import UserId, domain_of
from bridge.matrix.client import Client, path

log = logging.getLogger(__name__)

AT_ONCE = 3
"""Requests under way that have our homeserver reach for one other."""
PATIENCE_SECONDS = 3.0
"""For how long callers wait for the answer of a server, all together; it is waited for further in the background."""
ASK_SECONDS = 20.0
FIRST_AWAY_SECONDS = 5.0
LONGEST_AWAY_SECONDS = 300.0
OWN_SECONDS = 5.0


@dataclass(slots=True)
class _Server:
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    away_until: float = 0.0
    misses: int = 0
    question: asyncio.Task[None] | None = None
    asked_at: float = 0.0
    fault: MatrixError | None = None
    """Why the question could not be asked: our own homeserver does not answer."""


class OtherServers:
    """Asks through our homeserver, as the steward. All times are those of the event loop, in seconds."""

    def __init__(self, client: Client, domain: str) -> None:
        """
        Args:
            domain: our homeserver's name.
        """
        self._client = client
        self._domain = domain
        self._servers: dict[str, _Server] = {}

    async def stop(self) -> None:
        """Ask no further."""
        questions = [one.question for one in self._servers.values() if one.question is not None]
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)

    def is_theirs(self, user: UserId) -> bool:
        """Whether somebody is of another homeserver."""
        return domain_of(user) != self._domain

    def answered(self, user: UserId) -> None:
        """Something came from the server of that user just now."""
        if (server := self._servers.get(domain_of(user))) is not None:
            self._heard(server)

    @asynccontextmanager
    async def reached(self, user: UserId) -> AsyncIterator[None]:
        """Around a request for which ours has to reach the server of that user.

        Raises:
            ServerAway: it does not answer, or did not a moment ago; with the seconds until it is asked again.
            Unreachable: our own homeserver does not answer.
        """
        if not self.is_theirs(user):
            yield
            return
        server = self._server(user)
        async with server.room:
            await self._see(server, user)
            try:
                yield
            except Unreachable as error:
                if not await self._ours_answers():
                    raise
                self._missed(server)
                raise self._away(server, user) from error
        self._heard(server)

    def _server(self, user: UserId) -> _Server:
        return self._servers.setdefault(domain_of(user), _Server())

    async def _see(self, server: _Server, user: UserId) -> None:
        if _now() < server.away_until:
            raise self._away(server, user)
        if server.question is None or server.question.done():
            server.asked_at = _now()
            server.question = asyncio.create_task(self._ask(server, user), name=f"is {domain_of(user)} there")
        patience = max(0.0, server.asked_at + PATIENCE_SECONDS - _now())
        done, _ = await asyncio.wait({server.question}, timeout=patience)
        if not done:
            raise self._away(server, user)
        if server.fault is not None:
            raise server.fault
        if _now() < server.away_until:
            raise self._away(server, user)

    async def _ask(self, server: _Server, user: UserId) -> None:
        """Whether the server answers to the question for a profile (client-server API, `GET /profile/{userId}`)."""
        server.fault = None
        try:
            await self._client.request("GET", path("v3", "profile", user), retries=0, deadline=ASK_SECONDS)
        except Unreachable as error:
            if await self._ours_answers():
                self._missed(server)
                log.warning("the homeserver %s does not answer ours: its users wait", domain_of(user))
            else:
                server.fault = error
        except MatrixError:  # it says no, so it is there
            self._heard(server)
        else:
            self._heard(server)

    async def _ours_answers(self) -> bool:
        try:
            await self._client.request("GET", path("versions"), retries=0, deadline=OWN_SECONDS)
        except Unreachable:
            return False
        except MatrixError:
            return True
        return True

    @staticmethod
    def _heard(server: _Server) -> None:
        server.away_until, server.misses = 0.0, 0

    @staticmethod
    def _missed(server: _Server) -> None:
        if _now() < server.away_until:  # several were under way, and it is the same absence
            return
        server.away_until = _now() + min(LONGEST_AWAY_SECONDS, FIRST_AWAY_SECONDS * 2 ** min(server.misses, 20))
        server.misses += 1

    @staticmethod
    def _away(server: _Server, user: UserId) -> ServerAway:
        error = ServerAway(f"the homeserver {domain_of(user)} does not answer ours", where=str(user))
        error.seconds = max(1.0, server.away_until - _now())
        return error


def _now() -> float:
    return asyncio.get_running_loop().time()
