"""Events as iCalendar objects (RFC 5545): a file of one, and the calendar that programs subscribe to. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from icalendar import Calendar, Event

from bridge.core.events import Happening
from bridge.core.ids import CommunityId, UserId
from bridge.core.lines import one_line

MEDIA_TYPE = "text/calendar"
PRODUCT = "-//matrix-communities//EN"
TOKEN_BYTES = 24
REFRESH = timedelta(hours=1)
"""How often programs are asked to look again."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a calendar."""

    uid: str
    """The same for as long as the event is the same (RFC 5545, section 3.8.4.7), in its file and in the calendar."""
    sequence: int
    """Raised with each change (section 3.8.7.4)."""
    cancelled: bool
    happening: Happening
    changed_at: int
    """When it was made or changed last, in milliseconds since 1970."""
    link: str = ""
    """Where it is read in a client."""


def uid_of(announcement: str, domain: str) -> str:
    """The id of an event in every calendar.

    Args:
        domain: the homeserver's name.
    """
    return f"{announcement}@{domain}"


def token_of(secret: bytes, community: CommunityId, user: UserId, source: str) -> str:
    """The secret of somebody's address of a community's calendar.

    Args:
        source: what asked for it: another one is another address.
    """
    words = "\0".join(("calendar", community, user, source))
    digest = hmac.new(secret, words.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:TOKEN_BYTES]).decode()


def file_of(entry: Entry) -> bytes:
    """An event as the file that is sent with it, as programs import it (RFC 5546, sections 3.2.1 and 3.2.5)."""
    calendar = _calendar()
    calendar.add("method", "CANCEL" if entry.cancelled else "PUBLISH")
    calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def calendar_of(name: str, entries: Iterable[Entry]) -> bytes:
    """The calendar of a community, as programs subscribe to it (RFC 7986, sections 5.1 and 5.7). What is the same gives
    the same bytes."""
    calendar = _calendar()
    for key in ("name", "x-wr-calname"):
        calendar.add(key, one_line(name))
    calendar.add("refresh-interval", REFRESH, parameters={"VALUE": "DURATION"})
    calendar.add("x-published-ttl", "PT1H")
    for entry in sorted(entries, key=lambda one: (one.happening.begins_at, one.uid)):
        calendar.add_component(_event(entry))
    return bytes(calendar.to_ical())


def _calendar() -> Calendar:
    calendar = Calendar()
    calendar.add("version", "2.0")
    calendar.add("prodid", PRODUCT)
    return calendar


def _event(entry: Entry) -> Event:
    what = entry.happening
    event = Event()
    event.add("uid", entry.uid)
    event.add("dtstamp", _time(entry.changed_at))
    event.add("last-modified", _time(entry.changed_at))
    event.add("dtstart", _time(what.begins_at))
    if what.ends_at is not None:
        event.add("dtend", _time(what.ends_at))
    event.add("summary", _plain(what.title))
    if what.place:
        event.add("location", _plain(what.place))
    if what.description:
        event.add("description", _plain(what.description))
    if entry.link:
        event.add("url", entry.link)
    event.add("sequence", entry.sequence)
    event.add("status", "CANCELLED" if entry.cancelled else "CONFIRMED")
    return event


def _plain(text: str) -> str:
    """Without what no calendar may hold (RFC 5545, section 3.1): control characters but tabs and ends of lines."""
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign) != "Cc")


def _time(at: int) -> datetime:
    return datetime.fromtimestamp(at // 1000, UTC)
