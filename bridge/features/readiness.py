"""Keys go out ahead: when people come and go, when devices change, and when a new session is due; so that an
announcement costs one event.

Only jobs are added here, a few at most for a crowd: whoever does one asks the homeserver how things stand by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import MembershipChanged, ShareKeys
from bridge.ports import Clock, Member
from bridge.store import keys, shares
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.rooms import RoomIndex

SETTLE_MS = 2_000
"""What happens within this time is done at once."""

LEAVE_MS = 10_000
"""How long after a leave a new session is begun, if no announcement wants it sooner: others may follow."""

LONGEST_AGE_MS = 6 * 24 * 3600 * 1000
"""After that a session is looked at; it is replaced when it is a week old."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Sees to it that the keys of announcement and control rooms are with everybody before they are needed."""

    database: Database
    index: RoomIndex
    jobs: Jobs
    wake: Callable[[], None]
    clock: Clock
    lets_in: Callable[[CommunityId, RoomKeyName], bool] = lambda _, __: False
    """Whether a group lets the announcer in."""

    def concerns(self, room_id: RoomId) -> bool:
        """Whether the announcer speaks in that room of ours."""
        place = self.index.place_of(room_id)
        return place is not None and (place.kind.has_announcer or self.lets_in(place.community, place.key))

    async def membership_changed(self, event: MembershipChanged) -> None:
        if not self.concerns(event.room_id) or event.membership == "invite":
            return
        async with self.database.transaction() as tx:
            delay = SETTLE_MS if event.membership == "join" else LEAVE_MS
            await self.share(tx, event.room_id, at=self.clock.now_ms() + delay)

    async def devices_changed(self, tx: Transaction, users: Collection[UserId]) -> None:
        """Within the database transaction that notes the change."""
        for room_id in await keys.rooms_with(tx, users):
            if self.concerns(RoomId(room_id)):
                await self.share(tx, RoomId(room_id), at=self.clock.now_ms() + SETTLE_MS)

    async def look(self, room_id: RoomId, joined: Iterable[tuple[UserId, str]]) -> None:
        """Compare a room, as the service knows it, with whom keys were given to: for what happened unseen.

        Args:
            joined: its members and their membership events.
        """
        members = [Member(user, EventId(event)) for user, event in joined]
        now = self.clock.now_ms()
        async with self.database.transaction() as tx:
            fresh, gone = await shares.meet(tx, room_id, members)
            session = await keys.outbound(tx, room_id)
            old = session is None or not now - LONGEST_AGE_MS < session.created_at <= now
            if len(members) > 1 and (fresh or gone or old):
                await self.share(tx, room_id, at=now)

    async def share(self, tx: Transaction, room_id: RoomId, *, at: int) -> None:
        """Have a room's key brought to everybody in it, at about that time.

        In a lane of its own: an announcement does not wait for it.
        """
        due = (at // SETTLE_MS + 1) * SETTLE_MS
        if await self.jobs.add(tx, f"keys-{room_id}-{due}", f"keys {room_id}", ShareKeys(room_id), due):
            # by then this database transaction is over
            asyncio.get_running_loop().call_later(max(0.0, (due - self.clock.now_ms()) / 1000), self.wake)
