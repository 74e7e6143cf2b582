"""An event as an iCalendar object (RFC 5545). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from icalendar import Calendar, Event

from bridge.core.events import Happening

MEDIA_TYPE = "text/calendar"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a calendar."""

    uid: str
    """The same for as long as the event is the same (RFC 5545, section 3.8.4.7)."""
    sequence: int
    """Raised with each change (section 3.8.7.4)."""
    cancelled: bool
    happening: Happening
    stamp: int
    """When this was written, in milliseconds since 1970."""


def calendar_of(entries: Iterable[Entry]) -> bytes:
    """A calendar with these events, as programs import it."""
    calendar = Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", "-//matrix-communities//EN")
    calendar.add("method", "PUBLISH")
    for entry in entries:
        calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def _event(entry: Entry) -> Event:
    what = entry.happening
    event = Event()
    event.add("uid", entry.uid)
    event.add("dtstamp", _time(entry.stamp))
    event.add("dtstart", _time(what.begins_at))
    if what.ends_at is not None:
        event.add("dtend", _time(what.ends_at))
    event.add("summary", what.title)
    if what.place:
        event.add("location", what.place)
    if what.description:
        event.add("description", what.description)
    event.add("sequence", entry.sequence)
    event.add("status", "CANCELLED" if entry.cancelled else "CONFIRMED")
    return event


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, UTC)
