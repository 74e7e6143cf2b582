"""What a group's room is left as, when it is released from its community. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.community import Role
from bridge.core.ids import UserId
from bridge.core.power_levels import users_of
from bridge.plan.state import Accounts, RoomState

_THRESHOLDS = ("users_default", "events_default", "state_default", "ban", "kick", "redact", "invite", "historical")


def in_charge(room: RoomState, accounts: Accounts) -> list[UserId]:
    """Who has most power among those who have joined, from moderators up; nobody where none of them is there."""
    levels = _joined(room, accounts)
    top = max(levels.values(), default=0)
    return sorted(user for user, level in levels.items() if level == top) if top >= Role.MODERATOR else []


def is_left_alone(room: RoomState, accounts: Accounts) -> bool:
    """Whether there are people in a room, and nobody would be in charge of them."""
    return bool(_joined(room, accounts)) and not in_charge(room, accounts)


def released_levels(room: RoomState, accounts: Accounts) -> Mapping[str, Any]:
    """The whole `m.room.power_levels` content with which people rule a room by themselves.

    Every threshold is lowered to what its most powerful people hold: in room version 12 nobody but the creator ever
    reaches more (MSC4289). The steward is listed no longer; everybody else keeps their level.
    """
    top = max(_joined(room, accounts).values(), default=0)
    content = dict(room.power_levels)

    def capped(levels: Any) -> Any:
        return {kind: min(level, top) for kind, level in levels.items()} if isinstance(levels, Mapping) else {}

    users = {user: level for user, level in users_of(content).items() if user not in accounts.both}
    thresholds = {key: min(content[key], top) for key in _THRESHOLDS if key in content}
    maps = {key: capped(content.get(key)) for key in ("events", "notifications")}
    return {**content, **thresholds, **maps, "users": dict(sorted(users.items()))}


def _joined(room: RoomState, accounts: Accounts) -> dict[UserId, int]:
    return {
        user: int(room.level(user))
        for user, here in room.members.items()
        if here.state == "join" and user not in accounts.both
    }
