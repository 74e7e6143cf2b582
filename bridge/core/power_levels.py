"""Power levels by the specification: reading what a room's content really grants, and comparing contents.

Follows the client-server API's `m.room.power_levels` and the authorisation rules of room versions 1 to 12.
Defaults of absent keys are those of the specification (`invite` 0, `kick`, `ban`, `redact` and `state_default` 50,
`events_default` and `users_default` 0, `notifications.room` 50). In room version 12 (MSC4289) creators stand above
every level and may not be listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
_WITHOUT_EVENT = {**_DEFAULTS, "state_default": 0}
"""What holds in a room that has no `m.room.power_levels` at all."""

_DRAFTS_OF_12 = frozenset({"org.matrix.hydra.11"})


def creators_outrank(room_version: str) -> bool:
    """Whether creators of a room of this version have infinite power (version 12 and later, MSC4289).

    An unstable version (`org.matrix.msc3757.11`) has the rules of the version that it ends with; of what is quite
    unknown nothing is assumed.
    """
    if room_version in _DRAFTS_OF_12:
        return True
    number = room_version.rpartition(".")[2]
    return number.isascii() and number.isdigit() and len(number) < 4 and int(number) >= 12


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


def threshold(content: Mapping[str, Any] | None, key: str) -> int:
    """The level that a top-level key (`kick`, `invite`, `events_default`, …) asks for, absent keys included.

    `None` stands for a room without any `m.room.power_levels`; that is not the same as one whose content is empty.
    """
    if content is None:
        return _WITHOUT_EVENT[key]
    level = as_level(content.get(key))
    return _DEFAULTS[key] if level is None else level


def needed_for(content: Mapping[str, Any] | None, event_type: str, *, state: bool) -> int:
    """The level that sending an event of `event_type` asks for."""
    events = (content or {}).get("events")
    if isinstance(events, Mapping) and (level := as_level(events.get(event_type))) is not None:
        return level
    return threshold(content, "state_default" if state else "events_default")


def level_of(content: Mapping[str, Any] | None, user: str, *, creators: frozenset[str], room_version: str) -> int:
    """The level that `user` has: CREATOR for a creator in version 12, else by `users` and `users_default`.

    Only where there is no `m.room.power_levels` at all (`None`) does a creator of an older version have 100.
    """
    if user in creators and creators_outrank(room_version):
        return CREATOR
    if content is None:
        return 100 if user in creators else 0
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


@dataclass(frozen=True, slots=True)
class Denied:
    """What of a change of levels the authorisation rules do not let somebody do."""

    equals: tuple[str, ...]
    """People whose entry would change and who have as much power as the sender, or more."""
    thresholds: tuple[str, ...]
    """Keys that are above the sender's level, or would be."""


def denied(before: Mapping[str, Any] | None, after: Mapping[str, Any], *, sender: str, own: int) -> Denied:
    """Judge a change of `m.room.power_levels` by the authorisation rules (room version 11, rule 9; 12, rule 10)."""
    if before is None:
        return Denied((), ())
    old_users, new_users = users_of(before), users_of(after)
    equals = tuple(
        user
        for user, level in sorted(old_users.items())
        if user != sender and level >= own and new_users.get(user) != level
    )
    above = [
        f"users.{user}"
        for user, level in sorted(new_users.items())
        if user not in equals and level > own and old_users.get(user) != level
    ]
    old, new = _flat(before), _flat(after)
    above += [
        key
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) and max(old.get(key, own), new.get(key, own)) > own
    ]
    return Denied(equals, tuple(above))


def _flat(content: Mapping[str, Any]) -> dict[str, int]:
    """All thresholds that a content names: `kick`, `events.m.room.name`, `notifications.room`, …"""
    found: dict[str, int] = {}
    for key in _DEFAULTS:
        if (level := as_level(content.get(key))) is not None:
            found[key] = level
    for part in ("events", "notifications"):
        levels = content.get(part)
        for key, value in levels.items() if isinstance(levels, Mapping) else ():
            if (level := as_level(value)) is not None:
                found[f"{part}.{key}"] = level
    return found
