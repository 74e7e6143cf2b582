"""What the house tells a community's owners and admins, in the control room."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bridge.core.community import CONTROL
from bridge.core.ids import CommunityId
from bridge.core.messages import SendMessage
from bridge.features.reconcile.memory import Memory
from bridge.plan.state import digest_of
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store.database import Database
from bridge.store.jobs import Jobs


class Notices:
    """Says things in control rooms, each once."""

    def __init__(
        self, *, database: Database, memory: Memory, jobs: Jobs, wake: Callable[[], None], clock: Clock
    ) -> None:
        self._database = database
        self._memory = memory
        self._jobs = jobs
        self._wake = wake
        self._clock = clock

    async def tell(self, community: CommunityId, text: str, *, key: str | None = None) -> None:
        """Say something in the control room, if there is one yet.

        Args:
            key: what makes it the same notice; a notice without a key is a new one each time.
        """
        room_id = (await self._memory.known(community)).rooms.get(CONTROL)
        if room_id is None:
            return
        now = self._clock.now_ms()
        job = SendMessage(room_id, {"msgtype": "m.notice", "body": text, "m.mentions": {}})
        async with self._database.transaction() as tx:
            job_id = f"tell-{community}-{key or digest_of([text, now])}"
            await self._jobs.add(tx, job_id, room_id, job, now)
        self._wake()

    async def report(self, community: CommunityId, lines: Iterable[str]) -> None:
        """Tell what stands in `lines`, each once for as long as it stands there."""
        reports = {digest_of(line): line for line in lines}
        async with self._database.transaction() as tx:
            fresh = await store.new_reports(tx, community, reports, self._clock.now_ms())
        if fresh:
            await self.tell(community, "\n".join(f"- {line}" for line in fresh))
