"""Two writers fighting is worse than drift: after so many changes against us within a window, the fight is ended."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core import texts
from bridge.core.community import CONTROL, Role
from bridge.core.ids import CommunityId, RoomKeyName
from bridge.features.reconcile.look import Look
from bridge.features.reconcile.memory import Memory
from bridge.features.reconcile.notices import Notices
from bridge.features.reconcile.rules import Rules
from bridge.plan.actions import PROFILE_TYPES, Action, Cause, SetState
from bridge.ports import Clock
from bridge.store import communities as store
from bridge.store.database import Database


class Fights:
    """Counts what is put back, and ends what does not end by itself.

    A fight over levels or thresholds locks the room, a fight over a name or a picture stops the healing of that alone.
    """

    def __init__(self, *, database: Database, memory: Memory, notices: Notices, clock: Clock) -> None:
        self._database = database
        self._memory = memory
        self._notices = notices
        self._clock = clock

    async def count(self, look: Look, rules: Rules, failed: Sequence[Action] = ()) -> bool:
        """Count the healings of a pass; whether a fight was ended, so that the room is to be locked now."""
        ended = False
        for action in look.plan.actions:
            aspect = _aspect(action, look)
            if aspect is None or action in failed:
                continue
            async with self._database.transaction() as tx:
                now = self._clock.now_ms()
                times = await store.note_heal(tx, look.community.id, action.room, aspect, now, rules.freeze_window_ms)
                room_id = look.room_id(action.room)
                await store.record(tx, now, look.community.id, room_id, "steward", "healed", action.summary)
            if times > rules.freeze_after:
                ended |= await self._end(look, action.room, aspect)
        return ended

    async def _end(self, look: Look, room: RoomKeyName, aspect: str) -> bool:
        known = await self._memory.known(look.community.id)
        if (aspect == store.LEVELS and room in known.frozen) or (room, aspect) in known.yielded:
            return False
        name = look.shown_name(room)
        owners = None
        if aspect == store.LEVELS:
            owners = [user for user, role in look.comparison.roles.items() if role is Role.OWNER]
            tell = texts.fight_in_the_control_room if room == CONTROL else texts.frozen
            text = tell(name, look.community.id, owners, look.community.language)
        else:
            text = texts.fight_over_profile(name, aspect, look.community.language)
        control_room = await self._notices.room_of(look.community.id)
        async with self._database.transaction() as tx:
            await store.freeze(tx, look.community.id, room, aspect, self._clock.now_ms())
            await self._notices.add(tx, look.community.id, control_room, text, called=owners)
        await self._memory.reload(look.community.id)
        self._notices.wake()
        return True

    async def thaw(self, community: CommunityId) -> bool:
        """End all freezes of a community; whether there were any."""
        known = await self._memory.known(community)
        async with self._database.transaction() as tx:
            await store.thaw(tx, community)
        await self._memory.reload(community)
        return bool(known.frozen or known.yielded)


def _aspect(action: Action, look: Look) -> str | None:
    """What a healing counts for; None for what is no fight.

    A fight over levels is one over `m.room.power_levels` alone: a lock would keep nothing else. A redaction of it,
    which a moderator may do, takes nobody's power and gives nobody any; so it is healed, and locks no room.
    """
    if not isinstance(action, SetState) or action.cause is not Cause.DRIFT:
        return None
    if action.type in PROFILE_TYPES:
        return action.type
    room = look.rooms.get(action.room)
    event = None if room is None else room.state.get((action.type, ""))
    if action.type != "m.room.power_levels" or event is None or event.redacted:
        return None
    return store.LEVELS
