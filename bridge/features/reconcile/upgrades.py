"""Following a group to the room that somebody entitled made in its place."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from bridge.core import texts
from bridge.core.errors import MatrixError
from bridge.features.reconcile.look import Look
from bridge.features.reconcile.memory import Memory
from bridge.features.reconcile.notices import Notices
from bridge.features.reconcile.outcome import Failure
from bridge.plan import takeover
from bridge.plan.actions import Blocked
from bridge.plan.state import Accounts, RoomState
from bridge.plan.upgrades import Upgrade, may_be_theirs, moved, replaces
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import communities as store
from bridge.store.database import Transaction
from bridge.store.rooms import RoomIndex

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Followed:
    """What came of it: how many groups are in their new rooms, and what keeps the others."""

    done: int = 0
    blocked: list[Blocked] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


class Upgrades:
    """Goes where a group went: the new room is recorded in one database transaction, and held from the next look on."""

    def __init__(
        self,
        *,
        memory: Memory,
        index: RoomIndex,
        reader: RoomReader,
        executor: RoomExecutor,
        notices: Notices,
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self._memory = memory
        self._index = index
        self._reader = reader
        self._executor = executor
        self._notices = notices
        self._accounts = accounts
        self._clock = clock

    async def follow(self, look: Look) -> Followed:
        """Follow every group of a look that moved, as far as the steward can. Safe to repeat."""
        found = Followed()
        for upgrade in look.comparison.upgrades:
            try:
                reason = await self._one(look, upgrade)
            except MatrixError as error:
                why = f"{upgrade.by} moved it to {upgrade.new}: {error.what}"
                if error.retry_helps:
                    found.failures.append(Failure(str(upgrade.key), "follow it to its new room", why, passes=True))
                    continue
                steward = self._accounts.steward
                reason = f"{why}. Invite {steward} to that room, and make it an admin there (level 100)"
            if reason is None:
                found.done += 1
            else:
                found.blocked.append(Blocked(upgrade.key, reason))
        return found

    async def _one(self, look: Look, upgrade: Upgrade) -> str | None:
        """Follow one; gives why not."""
        if self._index.place_of(upgrade.new) is not None:
            return f"{upgrade.by} moved it to {upgrade.new}, which is a room of another community"
        room = None
        if may_be_theirs(upgrade):
            await self._executor.join(upgrade.new)
            room = await self._reader.read(upgrade.new, fresh=True)
        if room is None or not replaces(room, upgrade):
            return await self._take_back(upgrade, joined=room is not None)
        if (lacking := takeover.lacking(room, self._accounts)) is not None:
            return f"{upgrade.by} moved it to {upgrade.new}: {lacking[0]}. What helps: {lacking[1]}"
        await self._record(look, upgrade, room)
        return None

    async def _take_back(self, upgrade: Upgrade, *, joined: bool) -> str:
        """Somebody pointed to a room that is no replacement: the group stays where it is."""
        if joined:
            await self._executor.leave(upgrade.new)
        await self._executor.set_state(upgrade.old, "m.room.tombstone", "", {})
        return (
            f"{upgrade.by} pointed it to {upgrade.new}, which they did not make to replace it: that was taken back. "
            "A room that exists can be adopted with `group adopt`"
        )

    async def _record(self, look: Look, upgrade: Upgrade, room: RoomState) -> None:
        community, key = look.community, upgrade.key
        control = await self._notices.room_of(community.id)

        async def also(tx: Transaction) -> None:
            text = texts.group_moved(look.shown_name(key), key, upgrade.by, community.language)
            await store.record(tx, self._clock.now_ms(), community.id, room.room_id, upgrade.by, "moved", upgrade.old)
            await self._notices.add(tx, community.id, control, text, key=f"moved-{upgrade.new}")

        await self._memory.adopt_room(
            community.id,
            key,
            look.comparison.desired[key].kind,
            upgrade.new,
            lambda known: moved(known, upgrade, look.rooms[key], look.comparison.out, self._accounts),
            also,
        )
        self._notices.wake()
        for room_id in (upgrade.old, upgrade.new):
            self._reader.forget(room_id)  # the one is not ours any more, of the other nothing was pushed to us
        log.warning("%s: %s moved %s to %s", community.id, upgrade.by, key, upgrade.new)
