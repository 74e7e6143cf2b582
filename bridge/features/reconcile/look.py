"""One look at a community: what is, what should be, and why it would need a human word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.core.community import Community
from bridge.core.ids import RoomId, RoomKeyName
from bridge.plan.actions import Plan
from bridge.plan.diff import Comparison
from bridge.plan.state import Known, RoomState


@dataclass(frozen=True, slots=True)
class Rest:
    """What a look leaves that found nothing to do: enough to tell whether a look at a few people does afterwards."""

    readings: Mapping[RoomId, int]
    told: frozenset[str]


@dataclass(frozen=True, slots=True)
class Look:
    """The plan, and everything that it was made from."""

    community: Community
    known: Known
    """What was remembered when it was made."""
    comparison: Comparison
    rooms: dict[RoomKeyName, RoomState]
    unsafe: tuple[str, ...]
    readings: Mapping[RoomId, int] = field(default_factory=dict)
    """How often each room had been read as a whole before this look."""

    @property
    def plan(self) -> Plan:
        return self.comparison.plan

    @property
    def told(self) -> frozenset[str]:
        """What the plan has to say beside its actions, which is told once."""
        return frozenset([*self.plan.notes, *(f"{item.room}: {item.reason}" for item in self.plan.blocked)])

    def room_id(self, key: RoomKeyName) -> str:
        """The room's id, empty for a room that does not exist or cannot be read."""
        room = self.rooms.get(key)
        return "" if room is None else room.room_id

    def shown_name(self, key: RoomKeyName) -> str:
        """The room's name as people know it."""
        room = self.comparison.desired.get(key)
        name = None if room is None else (room.state.get(("m.room.name", "")) or {}).get("name")
        return name if isinstance(name, str) else str(key)
