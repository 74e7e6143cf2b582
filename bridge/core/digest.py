"""The weekly summary of what was announced: when it comes, and what stands in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from bridge.core.ids import EventId, RoomId

WEEK_MS = 7 * 24 * 3_600_000
MOST_ITEMS = 50
"""In one summary; of more the newest stand in it."""
_MONDAY, _AT = 0, time(8)


@dataclass(frozen=True, slots=True)
class Item:
    """One announcement of the week."""

    number: int
    at: int
    """When it was sent, in milliseconds since 1970."""
    room_id: RoomId
    event_id: EventId
    words: str
    """Its first words; empty where nobody can read it any more."""


def next_due(now_ms: int, zone: tzinfo) -> int:
    """The next Monday at 8 o'clock in that zone, after `now_ms`; in milliseconds since 1970."""
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    day = now.date() + timedelta(days=(_MONDAY - now.weekday()) % 7)
    due = _at(day.year, day.month, day.day, zone)
    if due <= now_ms:
        day += timedelta(days=7)
        due = _at(day.year, day.month, day.day, zone)
    return due


def _at(year: int, month: int, day: int, zone: tzinfo) -> int:
    local = datetime.combine(datetime(year, month, day), _AT, zone)  # noqa: DTZ001 - the zone is given
    return int(local.astimezone(UTC).timestamp() * 1000)


def of_week(items: Iterable[Item], until: int, since: int = 0) -> list[Item]:
    """What was announced in the week before `until`, oldest first.

    Args:
        since: nothing earlier than that: what somebody may not read who came later.
    """
    found = sorted((one for one in items if max(until - WEEK_MS, since) <= one.at < until), key=lambda one: one.at)
    return found[-MOST_ITEMS:]
