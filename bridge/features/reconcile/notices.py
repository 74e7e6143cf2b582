"""What the house tells a community's owners and admins, in the control room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bridge.core import texts
from bridge.core.community import CONTROL
from bridge.core.ids import CommunityId, RoomId, UserId
from bridge.core.messages import SendMessage, call, notice
from bridge.features.reconcile.memory import Memory
from bridge.plan.actions import MayPass
from bridge.plan.state import digest_of
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs

MOMENT_MS = 20_000
"""What may pass is told after this time: clients need a few seconds to remove somebody from all rooms of a space."""


class Notices:
    """Says things in control rooms, each once."""

    def __init__(
        self, *, database: Database, memory: Memory, jobs: Jobs, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._database = database
        self._memory = memory
        self._jobs = jobs
        self.wake = wake
        self._clock = clock

    async def tell(self, community: CommunityId, text: str, *, key: str | None = None) -> None:
        """Say something in the control room, if there is one yet.

        Args:
            key: what makes it the same notice; a notice without a key is a new one each time.
        """
        room_id = await self.room_of(community)
        async with self._database.transaction() as tx:
            await self.add(tx, community, room_id, text, key=key)
        self.wake()

    async def room_of(self, community: CommunityId) -> RoomId | None:
        """The control room, None before it was made."""
        return (await self._memory.known(community)).rooms.get(CONTROL)

    async def add(
        self,
        tx: Transaction,
        community: CommunityId,
        room_id: RoomId | None,
        text: str,
        *,
        key: str | None = None,
        called: Iterable[UserId] | None = None,
    ) -> None:
        """`tell` in the database transaction of what it tells of, so that both happen or neither.

        Args:
            room_id: the control room, from `room_of`.
            called: whose word is waited for: they are notified. None makes it a notice that nobody has to see at once.
        """
        if room_id is None:
            return
        now = self._clock.now_ms()
        job = SendMessage(room_id, notice(text) if called is None else call(text, called))
        await self._jobs.add(tx, f"tell-{community}-{key or digest_of([text, now])}", room_id, job, now)

    async def report(self, community: CommunityId, lines: Iterable[str]) -> None:
        """Tell what stands in `lines`, each once for as long as it stands there; not before there is a control room.

        What may pass (`MayPass`) is told after a moment, and not at all where it passed until then.
        """
        room_id = await self.room_of(community)
        if room_id is None:
            return
        found = {digest_of(printable(line)): line for line in lines}
        reports, now = {digest: printable(line) for digest, line in found.items()}, self._clock.now_ms()
        async with self._database.transaction() as tx:
            fresh, over = await store.new_reports(tx, community, reports, now)
            for digest in over:
                await self._jobs.complete(tx, f"may-pass-{community}-{digest}")
            for digest in [digest for digest in fresh if isinstance(found[digest], MayPass)]:
                job = SendMessage(room_id, notice(texts.report([fresh.pop(digest)])))
                await self._jobs.add(tx, f"may-pass-{community}-{digest}", room_id, job, now + MOMENT_MS)
            if fresh:
                await self.add(tx, community, room_id, texts.report(list(fresh.values())))
        if fresh:
            self.wake()


def printable(line: str) -> str:
    """A line as it can be shown and stored: people write what they like into names and state keys."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
