"""When people mean something to happen: plain words, in English and German, or an RRULE → a `Timing`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from bridge.core.errors import Refused
from bridge.core.schedule import Timing, checked_rule, instant, local_of, rule_of

LONGEST = 200
"""In characters."""
EXAMPLES = (
    "`tomorrow 8:00`, `on 24 december at 18:30`, `in 2 hours`, `every monday at 8`, `jeden ersten montag im monat um 9`"
)

_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_WEEKDAYS = {
    "MO": "monday mondays mon montag montags mo",
    "TU": "tuesday tuesdays tue tues dienstag dienstags di",
    "WE": "wednesday wednesdays wed mittwoch mittwochs mi",
    "TH": "thursday thursdays thu thurs donnerstag donnerstags do",
    "FR": "friday fridays fri freitag freitags fr",
    "SA": "saturday saturdays sat samstag samstags sonnabend sonnabends sa",
    "SU": "sunday sundays sun sonntag sonntags so",
}
_DAY_OF = {word: day for day, words in _WEEKDAYS.items() for word in words.split()}
_MONTHS = (
    "january jan januar jänner", "february feb februar", "march mar märz maerz mrz", "april apr", "may mai",
    "june jun juni", "july jul juli", "august aug", "september sep sept", "october oct oktober okt", "november nov",
    "december dec dezember dez",
)  # fmt: skip
_MONTH_OF = {word: number for number, words in enumerate(_MONTHS, 1) for word in words.split()}
_COUNTS = (
    "one a an ein eine einen einem einer eins", "two zwei", "three drei", "four vier", "five fünf fuenf", "six sechs",
    "seven sieben", "eight acht", "nine neun", "ten zehn", "eleven elf", "twelve zwölf zwoelf",
)  # fmt: skip
_COUNT_OF = {word: number for number, words in enumerate(_COUNTS, 1) for word in words.split()}
_ORDINALS = {
    1: "first 1st 1. ersten erste erster",
    2: "second 2nd 2. zweiten zweite zweiter",
    3: "third 3rd 3. dritten dritte dritter",
    4: "fourth 4th 4. vierten vierte vierter",
    5: "fifth 5th 5. fünften fünfte",
    -1: "last letzten letzte letzter",
}
_ORDINAL_OF = {word: number for number, words in _ORDINALS.items() for word in words.split()}


def _one_of(words: object) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))  # type: ignore[call-overload]


_WD, _MON, _ORD = _one_of(_DAY_OF), _one_of(_MONTH_OF), _one_of(_ORDINAL_OF)
_N = rf"\d{{1,4}}|{_one_of(_COUNT_OF)}"
_UNITS = {
    "second": "seconds? secs? sekunden?",
    "minute": "minutes? mins? minuten?",
    "hour": "hours? stunden? std",
    "day": "days? tage?n?",
    "week": "weeks? wochen?",
    "month": "months? monate?n?",
    "year": "years? jahre?n?",
}
_SHORT = {"h": "hours", "min": "minutes", "d": "days", "w": "weeks"}
_UNIT = "|".join(f"(?P<{name}>{'|'.join(words.split())})" for name, words in _UNITS.items())
_HALF = rf"(?: ?(?P<half>am(?! (?:{_WD}|{_ORD}|\d|am)\b)|pm)\b"
"""`am` before a day is German for *on*."""
_UHR = r" ?(?:uhr|o'clock)(?: (?P<mm>\d\d)\b)?)"
_TIMES = (
    rf"\b(?:at|um|gegen) (?P<h>\d{{1,2}})(?:[:.](?P<m>\d\d))?{_HALF}|{_UHR}?(?![\d:.])",
    rf"\b(?P<h>\d{{1,2}}):(?P<m>\d\d){_HALF}| uhr)?(?![\d:])",
    rf"\b(?P<h>\d{{1,2}})(?:\.(?P<m>\d\d))?{_HALF}|{_UHR}(?!\d)",
    r"\b(?:at |um |zu )?(?P<noon>noon|mittags?|midday)\b",
    r"\b(?:at |um )?(?P<midnight>midnight|mitternachts?)\b",
    r"(?:(?<= )|\A)(?P<h>\d{1,2})\.(?P<m>\d\d)\Z",
)
_LAST = r" (?P<h>\d{1,2})\Z"
_ON = r"(?:on |am |the |den |dem |an )*"
_DATES = (
    rf"{_ON}(?P<y>\d{{4}})-(?P<mo>\d\d)-(?P<d>\d\d)",
    rf"{_ON}(?P<d>\d{{1,2}})(?:\.|st|nd|rd|th)? (?:of )?(?P<month>{_MON})\.?,?(?: (?P<y>\d{{4}}))?",
    rf"{_ON}(?P<month>{_MON})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?(?: (?P<y>\d{{4}}))?",
    rf"{_ON}(?P<d>\d{{1,2}})\. ?(?P<mo>\d{{1,2}})\. ?(?P<y>\d{{4}})?",
)
_EACH = r"(?:every|each|jede[nrsm]?|alle)"
_OF_MONTH = r"(?:(?:of|in) (?:the|every|each|a) month|(?:im|des|eines|jeden|jedes) monats?|every month)"
_EVERY_N = rf"{_EACH} (?P<other>other |second |zweiten |zweite )?(?:(?P<n>{_N}) )?"
_SEVERAL = rf"(?P<days>(?:{_WD})(?:(?:, ?| and | und | & |, and )(?:{_WD}))*)"
_ANY_DAYS = re.compile(rf"\b(?:{_WD})\b")


@dataclass(frozen=True, slots=True)
class _Now:
    """The moment from which words are understood."""

    at: int
    zone_name: str

    @property
    def zone(self) -> tzinfo:
        return ZoneInfo(self.zone_name)

    @property
    def local(self) -> datetime:
        return local_of(self.at, self.zone)


def read_when(text: str, now: int, zone: str) -> Timing:
    """What somebody means by a time.

    Args:
        now: milliseconds since 1970.
        zone: the IANA name of the time zone in which they mean it.

    Raises:
        Refused: it is not understood; whether it may be scheduled is asked of `Timing.check`.
    """
    words = " ".join(text.casefold().split()).strip(" ,;:")
    moment = _Now(now, zone)
    if not words or len(words) > LONGEST:
        raise _not_understood(text)
    found = _relative(words, moment)
    if found is None:
        words, clock = _take_time(words)
        found = _read(words, clock, moment)
    if found is None and clock is None and (last := re.search(_LAST, words)):  # `every monday 8`
        found = _read(words[: last.start()], _time(last), moment)
    if found is None:
        raise _not_understood(text)
    return found


def read_clock(text: str) -> time | None:
    """The time of day that some words are, and nothing else; None where they are none."""
    words = " ".join(text.casefold().split()).strip(" ,;:")
    try:
        rest, clock = _take_time(words)
        if clock is None and (last := re.fullmatch(_LAST.strip(), words)):
            return _time(last)
    except Refused:
        return None
    return clock if not rest else None


def read_span(text: str, now: int, zone: str) -> int | None:
    """When a length of time is over that begins now, such as `3 days`, `zwei Stunden` or `90 min`; None where it is
    none.

    Args:
        now: milliseconds since 1970.
    """
    words = re.sub(r"\A(\d{1,4})([a-z])", r"\1 \2", " ".join(text.casefold().split()))
    number, _, unit = words.partition(" ")
    found = _relative(f"in {number} {_SHORT.get(unit, unit)}", _Now(now, zone))
    return None if found is None else found.first


def _not_understood(text: str) -> Refused:
    return Refused(f"it is not clear when “{' '.join(text.split())[:60]}” is", remedy=f"write it like {EXAMPLES}")


def _read(words: str, clock: time | None, now: _Now) -> Timing | None:
    try:
        rule = _by_rule(words, clock, now) or _recurring(words, clock, now)
        return rule or _once(words, clock, now)
    except (OverflowError, ValueError):
        return None


# --- pieces ---------------------------------------------------------------------------------------------------------


def _take_time(words: str) -> tuple[str, time | None]:
    """The time of day in some words, and the words without it."""
    if words.startswith(("freq=", "rrule:")):
        head, _, rest = words.partition(" ")
        rest, clock = _take_time(rest) if rest else ("", None)
        return f"{head} {rest}".strip(), clock
    for pattern in _TIMES:
        if found := re.search(pattern, words):
            rest = " ".join(f"{words[: found.start()]} {words[found.end() :]}".split()).strip(" ,")
            return rest, _time(found)
    return words, None


def _time(found: re.Match[str]) -> time:
    parts = found.groupdict()
    if parts.get("noon"):
        return time(12)
    if parts.get("midnight"):
        return time(0)
    hour, minute = int(parts["h"]), int(parts.get("m") or parts.get("mm") or 0)
    half = parts.get("half")
    if half and not 1 <= hour <= 12:
        raise Refused(f"there is no {hour} {half}", remedy="write the time as 18:30 or 6:30 pm")
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59:
        raise Refused(f"there is no time {hour}:{minute:02}", remedy="write the time as 18:30 or 6:30 pm")
    return time(hour, minute)


def _count(word: str | None) -> int:
    return 1 if word is None else int(word) if word.isdecimal() else _COUNT_OF[word]


def _date(words: str, now: _Now, clock: time | None) -> date | None:
    """The date that some words name; without a year the next one that is still to come."""
    for pattern in _DATES:
        found = re.fullmatch(pattern, words)
        if found is None:
            continue
        parts = found.groupdict()
        month = _MONTH_OF[parts["month"]] if parts.get("month") else int(parts["mo"])
        if parts["y"]:
            return date(int(parts["y"]), month, int(parts["d"]))
        for year in range(now.local.year, now.local.year + 9):  # the 29th of February is not in every one
            try:
                day = date(year, month, int(parts["d"]))
            except ValueError:
                continue
            if datetime.combine(day, clock or time(23, 59)) > now.local:
                return day
        raise ValueError("there is no such day")
    return None


def _needs_time() -> Refused:
    return Refused("the time of day is missing", remedy=f"write it like {EXAMPLES}")


# --- once -----------------------------------------------------------------------------------------------------------


def _relative(words: str, now: _Now) -> Timing | None:
    if words in ("in half an hour", "in einer halben stunde"):
        return Timing(now.zone_name, now.at + 1_800_000)
    found = re.fullmatch(rf"in (?P<n>{_N}) (?:{_UNIT})", words)
    if found is None:
        return None
    unit = next(name for name in _UNITS if found[name])
    count = _count(found["n"])
    exact = {"second": 1, "minute": 60, "hour": 3600}
    if unit in exact:
        return Timing(now.zone_name, now.at + count * exact[unit] * 1000)
    try:
        at = instant(_moved(now.local.replace(second=0, microsecond=0), unit, count), now.zone)
    except (OverflowError, ValueError):
        return None
    return Timing(now.zone_name, at)


def _moved(local: datetime, unit: str, count: int) -> datetime:
    if unit in ("day", "week"):
        return local + timedelta(days=count * (7 if unit == "week" else 1))
    months = local.year * 12 + local.month - 1 + count * (12 if unit == "year" else 1)
    first = local.replace(year=months // 12, month=months % 12 + 1, day=1)
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(local.day, last.day))


def _once(words: str, clock: time | None, now: _Now) -> Timing | None:
    day = _day(words, clock, now)
    if day is None:
        return None
    if clock is None:
        raise _needs_time()
    return Timing(now.zone_name, instant(datetime.combine(day, clock), now.zone))


def _day(words: str, clock: time | None, now: _Now) -> date | None:
    today = now.local.date()
    if not words:
        return None if clock is None else today + timedelta(days=clock <= now.local.time())
    if words in ("today", "heute"):
        return today
    if words in ("tomorrow", "morgen"):
        return today + timedelta(days=1)
    if words in ("day after tomorrow", "the day after tomorrow", "übermorgen", "uebermorgen"):
        return today + timedelta(days=2)
    if found := re.fullmatch(rf"in (?P<n>{_N}) (?P<unit>days?|tage?n?|weeks?|wochen?)", words):
        weeks = found["unit"].startswith("w")
        return today + timedelta(days=_count(found["n"]) * (7 if weeks else 1))
    prefix = r"(?:on |am |next |this |coming |diesen |dieser |nächste[nr]? |naechste[nr]? |kommende[nr]? )*"
    if found := re.fullmatch(rf"{prefix}(?P<day>{_WD})", words):
        ahead = (_DAYS.index(_DAY_OF[found["day"]]) - today.weekday()) % 7
        passed = ahead == 0 and clock is not None and clock <= now.local.time()
        next_week = ahead == 0 and words.startswith(("next", "nächste", "naechste"))
        return today + timedelta(days=7 if passed or next_week else ahead)
    return _date(words, now, clock)


# --- recurring ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bounds:
    """From when a rule holds, and how it ends."""

    begins: date | None
    ends: str
    """`;UNTIL=…`, `;COUNT=…` or nothing."""


def _bounds(words: str, now: _Now) -> tuple[str, _Bounds]:
    ends, begins = "", None
    if found := re.search(r" ?,? (?P<n>\d{1,4}) ?(?:times|mal|x)\Z", words):
        words, ends = words[: found.start()], f";COUNT={int(found['n'])}"
    elif found := re.search(r" ?,? (?:until|till|bis)(?: zum)? (?P<date>.+)\Z", words):
        last = _date(found["date"], now, None)
        if last is not None:
            words, ends = words[: found.start()], f";UNTIL={last:%Y%m%d}T235959"
    if found := re.search(r" ?,? (?:from|starting|beginning|ab)(?: dem)? (?P<date>.+)\Z", words):
        begins = _day(found["date"], None, now)
        words = words[: found.start()] if begins is not None else words
    return words, _Bounds(begins, ends)


def _by_rule(words: str, clock: time | None, now: _Now) -> Timing | None:
    head, _, rest = words.partition(" ")
    if not head.startswith(("freq=", "rrule:")):
        return None
    rule = checked_rule(head, now.zone)
    rest, bounds = _bounds(f" {rest}" if rest else "", now)
    if rest.strip() or bounds.ends:
        return None
    often = rule.startswith(("FREQ=HOURLY", "FREQ=MINUTELY"))
    if clock is None and "BYHOUR=" not in rule and not often:
        raise _needs_time()
    bare = ";".join(part for part in rule.split(";") if not part.startswith(("INTERVAL=", "COUNT=", "UNTIL=")))
    return _ruled(bare, rule, clock or time(0), bounds.begins, now)


def _ruled(bare: str, rule: str, clock: time, begins: date | None, now: _Now) -> Timing:
    """The rule, from its first run on.

    Args:
        bare: the rule without its interval and end, by which the first run is found.
    """
    today = now.local.date()
    start = datetime.combine(max(begins or today, today), clock)
    for local in rule_of(bare, start):
        if instant(local, now.zone) > now.at:
            return Timing(now.zone_name, instant(local, now.zone), rule, local)
    raise Refused("that never comes", remedy="give another time")


def _recurring(words: str, clock: time | None, now: _Now) -> Timing | None:
    words, bounds = _bounds(words, now)
    if often := _often(words, clock, bounds, now):
        return often
    for pattern, rule in _RULES:
        if found := pattern.fullmatch(words):
            bare, interval = rule(found, now)
            if clock is None:
                raise _needs_time()
            every = f";INTERVAL={interval}" if interval != 1 else ""
            return _ruled(bare, checked_rule(f"{bare}{every}{bounds.ends}", now.zone), clock, bounds.begins, now)
    return None


def _often(words: str, clock: time | None, bounds: _Bounds, now: _Now) -> Timing | None:
    """Every so many hours or minutes: hours from the next full one on, minutes from now."""
    hours = rf"hourly|stündlich|{_EACH} (?:(?P<n>{_N}) )?(?:hours?|stunden?)"
    minutes = rf"{_EACH} (?P<n>{_N}) min(?:ute)?[sn]?"
    if clock is not None or bounds.begins is not None:
        return None
    floor = now.local.replace(minute=0, second=0, microsecond=0)
    if found := re.fullmatch(hours, words):
        begins, count, frequency = floor + timedelta(hours=1), _count(found["n"]), "HOURLY"
    elif found := re.fullmatch(minutes, words):
        count, frequency = _count(found["n"]), "MINUTELY"
        begins = floor + timedelta(minutes=now.local.minute + count)
    else:
        return None
    rule = checked_rule(f"FREQ={frequency};INTERVAL={count}{bounds.ends}", now.zone)
    return Timing(now.zone_name, instant(begins, now.zone), rule, begins)


_Made = tuple[str, int]
"""A rule without interval and end, and its interval."""


def _daily(found: re.Match[str], _: _Now) -> _Made:
    return "FREQ=DAILY", 2 if found["other"] else _count(found["n"])


def _weekdays(_: re.Match[str], __: _Now) -> _Made:
    return "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", 1


def _weekly(found: re.Match[str], _: _Now) -> _Made:
    parts = found.groupdict()
    days = dict.fromkeys(_DAY_OF[word] for word in _ANY_DAYS.findall(parts.get("days") or ""))
    interval = 2 if parts.get("other") else _count(parts.get("n"))
    return f"FREQ=WEEKLY;BYDAY={','.join(days)}" if days else "FREQ=WEEKLY", interval


def _nth(found: re.Match[str], _: _Now) -> _Made:
    return f"FREQ=MONTHLY;BYDAY={_ORDINAL_OF[found['ord']]}{_DAY_OF[found['day']]}", 1


def _day_of_month(found: re.Match[str], _: _Now) -> _Made:
    parts = found.groupdict()
    day = -1 if parts.get("last") else int(parts["d"])
    if not (day == -1 or 1 <= day <= 31):
        raise ValueError("there is no such day")
    return f"FREQ=MONTHLY;BYMONTHDAY={day}", _count(parts.get("n"))


def _yearly(found: re.Match[str], now: _Now) -> _Made:
    day = _date(found["date"], now, None)
    if day is None:
        raise ValueError("it is no date")
    return f"FREQ=YEARLY;BYMONTH={day.month};BYMONTHDAY={day.day}", 1


_NTH = r"(?P<d>\d{1,2})(?:\.|st|nd|rd|th)"
_LAST_DAY = r"(?P<last>last day|letzten tag)"
_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], _Now], _Made]], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (rf"(?:daily|täglich|taeglich|{_EVERY_N}(?:days?|tage?))", _daily),
        (
            rf"(?:on )?(?:weekdays|werktags|an werktagen|{_EACH} (?:weekday|working day|werktag)|monday to friday|"
            r"(?:von )?montag bis freitag|montags bis freitags)",
            _weekdays,
        ),
        (rf"(?:{_EACH}|am|on the) (?P<ord>{_ORD}) (?P<day>{_WD}) {_OF_MONTH}", _nth),
        (rf"{_EACH} (?P<other>other |second |zweiten |zweite )?{_SEVERAL}", _weekly),
        (rf"(?:on )?{_SEVERAL}(?<=days|tags|ochs|ends)", _weekly),
        (rf"(?:weekly|wöchentlich|woechentlich|{_EVERY_N}(?:weeks?|wochen?))(?: (?:on |am )?{_SEVERAL})?", _weekly),
        (rf"(?:{_EACH}|am|on the) (?:{_NTH}|{_LAST_DAY}) {_OF_MONTH}", _day_of_month),
        (
            rf"(?:monthly|monatlich|{_EACH} (?:(?P<n>{_N}) )?(?:months?|monate?))"
            rf" (?:on the |on |am )(?:{_NTH}|{_LAST_DAY})",
            _day_of_month,
        ),
        (rf"(?:yearly|annually|jährlich|jaehrlich|{_EACH} (?:year|jahr)) (?P<date>.+)", _yearly),
        (rf"{_EACH} (?P<date>\d.+)", _yearly),
    )
)
"""The ways of saying that something comes again, each with the rule that it makes; the first that fits counts."""
