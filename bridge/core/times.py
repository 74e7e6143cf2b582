"""A moment, or from when to when, as people write it: in numbers as `core/moments` reads them, or in words as
`core/when` does, in English and German. Pure.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bridge.core.errors import Refused
from bridge.core.moments import moment
from bridge.core.schedule import instant, local_of
from bridge.core.when import LONGEST, read_clock, read_span, read_when

EXAMPLES = "`2026-12-24 18:30`, `tomorrow 18:30`, `next friday 19:00 to 22:00` or `am 24. Dezember um 18 Uhr`"
_QUOTES = "\"'“”„‚‘’"
_BETWEEN = re.compile(r"\s+(?:to|until|till|bis|-)\s+|\s*[–—]\s*|(?<=[0-9mr])-(?=[0-9])|\s+(?=(?:for|für|fuer)\s)")
_FROM = re.compile(r"\b(?:from|von|ab)\s+(?=[0-9])")
_FOR = re.compile(r"(?:for|für|fuer)\s+")
_HALF = re.compile(r"[0-9]\s?(am|pm|uhr)\Z")
_MOST_ENDS = 20
_ANY_TIME = 1_767_225_600_000


def read_moment(text: str, now: int, zone: str) -> int:
    """The one moment that somebody means, in milliseconds since 1970; of a span alone (`3 days`) its end.

    Args:
        now: milliseconds since 1970.
        zone: the IANA name of the time zone in which they mean it.

    Raises:
        Refused: it is not understood, or comes again and again.
    """
    words = " ".join(text.strip().strip(_QUOTES).casefold().split())
    try:
        return moment(words.upper(), ZoneInfo(zone))
    except (ValueError, OverflowError):
        pass
    length = read_span(words, now, zone)
    if length is not None:
        return length
    try:
        timing = read_when(words, now, zone)
    except Refused as error:
        raise Refused(error.what, remedy=f"write it like {EXAMPLES}") from None
    if timing.rule:
        raise Refused(f"“{words[:60]}” comes again and again", remedy=f"write one time, like {EXAMPLES}")
    return timing.first


def is_moment(text: str) -> bool:
    """Whether `read_moment` understands it, whenever it is asked."""
    try:
        read_moment(text, _ANY_TIME, "UTC")
    except Refused:
        return False
    return True


def read_time(text: str, now: int, zone: str) -> tuple[int, int | None]:
    """From when to when somebody means, in milliseconds since 1970; without an end where they name none.

    `2026-07-04 18:30 - 20:00`, `tomorrow 18:30`, `next friday 19:00 to 22:00`, `am Freitag von 18 bis 20 Uhr`,
    `saturday 10:00 for 2 hours`. An end that is a time of day is the first one after the begin.

    Raises:
        Refused: it is not understood, or would end before it begins.
    """
    words = " ".join(text.strip().strip(_QUOTES).casefold().split())
    if len(words) > LONGEST:
        raise Refused(f"{words[:60]!r}… is no time", remedy=f"write it like {EXAMPLES}")
    try:
        return read_moment(words, now, zone), None
    except Refused as error:
        whole = error
    ends_early = False
    for found in list(_BETWEEN.finditer(words))[:_MOST_ENDS]:
        begin, end = words[: found.start()].strip(" ,"), words[found.end() :].strip(" ,")
        begins_at = _begin(begin, end, now, zone)
        ends_at = None if begins_at is None else _end(end, begins_at, now, zone)
        if begins_at is not None and ends_at is not None:
            if ends_at > begins_at:
                return begins_at, ends_at
            ends_early = True
    if ends_early:
        raise Refused("it would end before it begins", remedy="give a later end")
    raise whole


def _begin(words: str, end: str, now: int, zone: str) -> int | None:
    words = _FROM.sub("", words)
    half = _HALF.search(end)
    # in `6 to 8 pm` and `18 bis 20 Uhr` what stands behind the end is meant for both
    for one in ([f"{words} {half[1]}"] if half and words[-1:].isdigit() else []) + [words]:
        try:
            return read_moment(one, now, zone)
        except Refused:
            continue
    return None


def _end(words: str, begins_at: int, now: int, zone: str) -> int | None:
    if found := _FOR.match(words):
        return read_span(words[found.end() :], begins_at, zone)
    clock = read_clock(words)
    if clock is not None:
        begin = local_of(begins_at, ZoneInfo(zone))
        end = datetime.combine(begin.date(), clock)
        return instant(end if end > begin else end + timedelta(days=1), ZoneInfo(zone))
    last = None
    for since in (now, begins_at):  # `saturday 2:00` is the one after the begin
        try:
            last = read_moment(words, since, zone)
        except Refused:
            return None
        if last > begins_at:
            return last
    return last
