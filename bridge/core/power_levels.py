"""Power levels by the specification: reading what a room's content really grants, and comparing contents.

Follows the client-server API's `m.room.power_levels` and the authorisation rules of room versions 1 to 12.
Defaults of absent keys are those of the specification (`invite` 0, `kick`, `ban`, `redact` and `state_default` 50,
`events_default` and `users_default` 0, `notifications.room` 50). In room version 12 (MSC4289) creators stand above
every level and may not be listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOCKED = 200
"""A level that nobody but the steward reaches."""

CREATOR = 1 << 53
"""What reading gives for a creator in versions whose creators outrank every level."""

_DEFAULTS = {
    "users_default": 0,
    "events_default": 0,
    "state_default": 50,
    "ban": 50,
    "kick": 50,
    "redact": 50,
    "invite": 0,
}


def creators_outrank(room_version: str) -> bool:
    """Whether creators of a room of this version have infinite power (version 12 and later, MSC4289)."""
    return room_version.isdigit() and int(room_version) >= 12


def as_level(value: object) -> int | None:
    """A level as an integer, or None for what is not one (old versions accept digits in a string)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            return None
    return None


def threshold(content: Mapping[str, Any], key: str) -> int:
    """The level that a top-level key (`kick`, `invite`, `events_default`, …) asks for, absent keys included."""
    level = as_level(content.get(key))
    return _DEFAULTS[key] if level is None else level


def needed_for(content: Mapping[str, Any], event_type: str, *, state: bool) -> int:
    """The level that sending an event of `event_type` asks for."""
    events = content.get("events")
    if isinstance(events, Mapping) and (level := as_level(events.get(event_type))) is not None:
        return level
    return threshold(content, "state_default" if state else "events_default")


def level_of(content: Mapping[str, Any], user: str, *, creators: frozenset[str], room_version: str) -> int:
    """The level that `user` has: CREATOR for a creator in version 12, else by `users` and `users_default`."""
    if user in creators and creators_outrank(room_version):
        return CREATOR
    if not content and user in creators:
        return 100
    users = content.get("users")
    if isinstance(users, Mapping) and (level := as_level(users.get(user))) is not None:
        return level
    return threshold(content, "users_default")


def users_of(content: Mapping[str, Any]) -> dict[str, int]:
    """The valid entries of `users`."""
    users = content.get("users")
    if not isinstance(users, Mapping):
        return {}
    return {str(user): level for user, value in users.items() if (level := as_level(value)) is not None}


def without_users(content: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in the content but `users`: the thresholds."""
    return {key: value for key, value in content.items() if key != "users"}
