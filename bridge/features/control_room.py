"""What owners and admins are told in the control room of people as they come and go with their own clients.

Whoever comes into it is greeted. What is done by command is told by whoever does that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bridge.core import texts
from bridge.core.community import CONTROL, SPACE, Community
from bridge.core.ids import CommunityId, RoomId
from bridge.core.messages import MembershipChanged, SendMessage, notice
from bridge.plan.state import Accounts
from bridge.ports import Clock
from bridge.store.database import Database
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

TOGETHER_MS = 5_000
"""Who comes into a control room within this time is greeted together."""


class ControlRooms:
    """Listens to the memberships of spaces and control rooms. An event that comes twice is told once."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        declared: Callable[[CommunityId], Community | None],
        name_of: Callable[[CommunityId], Awaitable[str]],
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self._database = database
        self._index = index
        self._declared = declared
        self._name_of = name_of
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody left a community, was removed or banned in a client, or came into a control room."""
        place = self._index.place_of(event.room_id)
        community = None if place is None else self._declared(place.community)
        if place is None or community is None or event.user in self._accounts.both:
            return
        if place.key == CONTROL and event.membership == "join" and event.before != "join":
            await self._greet(community, event)
        elif place.key == SPACE and event.before == "join" and event.membership in ("leave", "ban"):
            await self._tell_who_left(community, event)

    async def _greet(self, community: Community, event: MembershipChanged) -> None:
        text = texts.control_room_greeting(await self._name_of(community.id), community.language)
        over = (event.sent_at // TOGETHER_MS + 1) * TOGETHER_MS
        due = min(over, self._clock.now_ms() + TOGETHER_MS)  # another server's clock may be wrong
        await self._say(f"greet-{over}-{event.room_id}", event.room_id, text, due)

    async def _tell_who_left(self, community: Community, event: MembershipChanged) -> None:
        room_id = self._index.room_of(community.id, CONTROL)
        # what we do ourselves is told where it is decided; that the file names somebody who left is reported
        if room_id is None or event.sender in self._accounts.both or event.user in community.named:
            return
        how = "left" if event.sender == event.user else "banned" if event.membership == "ban" else "removed"
        text = texts.departed(event.user, how, event.sender, community.language)
        await self._say(f"departed-{event.event_id}", room_id, text, self._clock.now_ms())

    async def _say(self, job_id: str, room_id: RoomId, text: str, at: int) -> None:
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, job_id, room_id, SendMessage(room_id, notice(text)), at)
        self._wake()
