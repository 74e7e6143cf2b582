"""Calendar files as calendar programs read them."""

from __future__ import annotations

from typing import Any

from icalendar import Calendar


def events_in(data: bytes) -> list[Any]:
    """The events of a calendar (RFC 5545), as icalendar's own parser reads them."""
    return list(Calendar.from_ical(data).walk("VEVENT"))
