"""Dates and times as people write them and read them, in the time zone of a community. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

_MOMENT = re.compile(
    r"(?:(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"|(?P<tag>[0-9]{1,2})\.(?P<monat>[0-9]{1,2})\.(?P<jahr>[0-9]{4}))"
    r"(?:[ T]+|,[ ]*)(?P<hour>[0-9]{1,2})[:.](?P<minute>[0-9]{2})(?![0-9:])"
)
EXAMPLES = ("2026-12-24 18:30", "24.12.2026 18:30")


def found_at(text: str, at: int = 0) -> re.Match[str] | None:
    """The date and time that stand in a text at that place, None where there are none."""
    return _MOMENT.match(text, at)


def moment(text: str, zone: tzinfo) -> int:
    """The moment that `2026-12-24 18:30` or `24.12.2026 18:30` means in a time zone, in milliseconds since 1970.

    Of an hour that comes twice when clocks are set back the first is meant.

    Raises:
        ValueError: it is no date and time.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:60]!r} is no date with a time")
    day = found["year"] or found["jahr"], found["month"] or found["monat"], found["day"] or found["tag"]
    year, month, of_month = (int(number) for number in day)
    if not 1971 <= year <= 9000:
        raise ValueError(f"{text[:60]!r} is too far away")
    local = datetime(year, month, of_month, int(found["hour"]), int(found["minute"]), tzinfo=zone)
    return int(local.astimezone(UTC).timestamp() * 1000)


def shown(at: int, zone: tzinfo) -> str:
    """A moment (milliseconds since 1970) as people of that zone read it."""
    return datetime.fromtimestamp(at / 1000, zone).strftime("%Y-%m-%d %H:%M %Z")
