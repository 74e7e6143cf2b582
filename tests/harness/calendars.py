"""Calendar files as calendar programs read them."""

from __future__ import annotations

from typing import Any

from icalendar import Calendar


def calendar_in(data: bytes) -> Any:
    """A calendar (RFC 5545), as icalendar's own parser reads it."""
    return Calendar.from_ical(data)


def events_in(data: bytes) -> list[Any]:
    """The events of a calendar."""
    return list(calendar_in(data).walk("VEVENT"))
