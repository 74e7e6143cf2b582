"""When a scheduled announcement runs: once, or by a rule, in a time zone; and what becomes of a run that is due. Pure.

Rules are those of RFC 5545, section 3.3.10, on the clock on the wall: python-dateutil says which local times they mean,
and `instant` when each of these is. `core/when` reads them out of people's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo, available_timezones

from dateutil.rrule import rrule, rrulestr

from bridge.core.errors import Refused

ON_TIME_MS = 120_000
"""So much later a run is still on time: the service had something else to do."""
FURTHEST_MS = 5 * 366 * 86_400_000
CLOSEST = timedelta(minutes=15)
"""How far apart on the clock the runs of a rule are at least."""
_LOOKED_AT = 400
"""So many runs of a rule are looked at for how far apart they are: all that a year of days has, and what hours do in a
fortnight."""


class Late(StrEnum):
    """What becomes of a run that was missed, since the service was away."""

    SEND = "send"
    """It is sent late, within the grace period."""
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Timing:
    """When something runs. All instants are milliseconds since 1970."""

    zone: str
    """The IANA name of the time zone of its local times."""
    first: int
    """The first run; the only one where there is no rule."""
    rule: str = ""
    """An RRULE without its name, as `checked_rule` gives it."""
    begins: datetime | None = None
    """With a rule: its DTSTART, in local time."""

    def runs(self, after: int) -> Iterator[int]:
        """The runs after an instant, in their order, without end where the rule has none.

        Two local times that are the same instant, in an hour that the clock leaves out, are one run.
        """
        if not self.rule:
            yield from [self.first] if self.first > after else []
            return
        zone = ZoneInfo(self.zone)
        last = after
        # a clock that is set back or forth moves the local time by no more than a day
        for local in self._rule().xafter(local_of(max(after, 0), zone) - timedelta(days=2), inc=True):
            at = instant(local, zone)
            if at > last:
                last = at
                yield at

    def next_after(self, after: int) -> int | None:
        """The first run after an instant; None where there is none any more."""
        return next(self.runs(after), None)

    def check(self, now: int) -> int:
        """Whether it may be scheduled; gives its next run.

        Raises:
            Refused: it never runs, lies in the past or too far ahead, or runs too often.
        """
        at = self.next_after(now)
        if at is None:
            if self.rule or self.first > now:
                raise Refused("that never comes", remedy="give another time")
            raise Refused("that is in the past", remedy="give a time to come, for instance `tomorrow 8:00`")
        if at > now + FURTHEST_MS:
            raise Refused("that is more than five years ahead", remedy="give an earlier time")
        if self.rule:
            furthest = local_of(now + FURTHEST_MS, ZoneInfo(self.zone))
            looked_at = takewhile(lambda local: local < furthest, islice(self._rule(), _LOOKED_AT))
            if any(later - earlier < CLOSEST for earlier, later in pairwise(looked_at)):
                raise Refused("that is too often", remedy="leave at least 15 minutes between two runs")
        return at

    def _rule(self) -> rrule:
        return rule_of(self.rule, self.begins or local_of(self.first, ZoneInfo(self.zone)))


@dataclass(frozen=True, slots=True)
class Appointment:
    """When something is to run: in the words of whoever says so, and as these were understood."""

    words: str
    timing: Timing

    def coming(self, now: int, most: int) -> list[int]:
        """The next runs, and no more than `most`: those after `now`, or the first where none is left."""
        return list(islice(self.timing.runs(now), most)) or [self.timing.first]


class Fate(StrEnum):
    """What is to be done about a schedule at a moment."""

    WAIT = "wait"
    SEND = "send"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Step:
    """What a schedule comes to at a moment."""

    fate: Fate
    run: int
    """The run that it is about: of several that were missed the last one."""
    missed: int
    """How many runs will never be."""
    next_at: int | None
    """When it runs next; None where that was all."""


def step(timing: Timing, next_at: int, now: int, *, late: Late, grace_ms: int) -> Step:
    """What is to be done now about a schedule whose next run is at `next_at`.

    Of several runs that are due, which the service slept through, none but the last can still be sent.
    """
    if now < next_at:
        return Step(Fate.WAIT, next_at, 0, next_at)
    run, passed, following = next_at, 0, None
    for at in timing.runs(next_at):
        if at > now:
            following = at
            break
        run, passed = at, passed + 1
    allowed = ON_TIME_MS if late is Late.SKIP else max(grace_ms, ON_TIME_MS)
    if now - run <= allowed:
        return Step(Fate.SEND, run, passed, following)
    return Step(Fate.SKIP, run, passed + 1, following)


def instant(local: datetime, zone: tzinfo) -> int:
    """When a local time is, in milliseconds since 1970.

    A time that does not exist, since the clock is set forth over it, is the first moment after; one that exists twice
    is the first of both.
    """
    before = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if before.astimezone(zone).replace(tzinfo=None) == local:
        return int(before.timestamp() * 1000)
    low, high = int(local.replace(tzinfo=zone, fold=1).timestamp()), int(before.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == _offset(high, zone):
            high = middle
        else:
            low = middle
    return high * 1000


def _offset(seconds: int, zone: tzinfo) -> timedelta | None:
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone).utcoffset()


def local_of(at: int, zone: tzinfo) -> datetime:
    """The local time of an instant (milliseconds since 1970), without a zone."""
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).replace(tzinfo=None)


def checked_zone(name: str) -> str:
    """The IANA name of a time zone, as it is spelt there.

    Raises:
        ValueError: there is none of that name.
    """
    spelt = {one.casefold(): one for one in available_timezones()}
    try:
        return spelt[name.strip().casefold()]
    except KeyError:
        raise ValueError(f"{name[:60]!r} is no time zone, such as Europe/Berlin, America/Sao_Paulo or UTC") from None


# --- rules ----------------------------------------------------------------------------------------------------------

_TAKEN: Mapping[str, str] = {
    "MINUTELY": "FREQ INTERVAL COUNT UNTIL",
    "HOURLY": "FREQ INTERVAL COUNT UNTIL BYDAY BYHOUR BYMINUTE WKST",
    "DAILY": "FREQ INTERVAL COUNT UNTIL BYDAY BYMONTH BYHOUR BYMINUTE WKST",
    "WEEKLY": "FREQ INTERVAL COUNT UNTIL BYDAY BYHOUR BYMINUTE WKST",
    "MONTHLY": "FREQ INTERVAL COUNT UNTIL BYDAY BYMONTHDAY BYMONTH BYSETPOS BYHOUR BYMINUTE WKST",
    "YEARLY": "FREQ INTERVAL COUNT UNTIL BYDAY BYMONTHDAY BYMONTH BYSETPOS BYHOUR BYMINUTE WKST",
}
"""The parts that are taken with each frequency. With others, a rule can be one that never comes true, and whoever looks
for its next run looks through eight thousand years of minutes."""
_LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_NUMBERS = {
    "INTERVAL": (1, 1000), "COUNT": (1, 10_000), "BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYSETPOS": (-31, 31),
    "BYHOUR": (0, 23), "BYMINUTE": (0, 59),
}  # fmt: skip
_DAY = re.compile(r"([+-]?[0-9]{1,2})?(MO|TU|WE|TH|FR|SA|SU)\Z")
_UNTIL = re.compile(r"[0-9]{8}(?:T[0-9]{6}Z?)?\Z")


def rule_of(rule: str, begins: datetime) -> rrule:
    """The rule as the library has it; `begins` is its DTSTART, in local time."""
    found = rrulestr(rule, dtstart=begins)
    assert isinstance(found, rrule)
    return found


def checked_rule(text: str, zone: tzinfo) -> str:
    """An RRULE as it is stored: without its name, in capitals, every time in it local.

    Raises:
        Refused: it is none, or has parts that we do not take.
    """
    parts: dict[str, str] = {}
    for part in text.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        name, _, value = part.partition("=")
        if name in parts:
            raise _no_rule(f"{name} stands there twice")
        parts[name] = value
    taken = _TAKEN.get(parts.get("FREQ", ""))
    if taken is None:
        raise _no_rule("its FREQ is MINUTELY, HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY")
    for name, value in parts.items():
        if name not in taken.split():
            raise _no_rule(f"{name[:20]} is not taken with FREQ={parts['FREQ']}")
        if name in _NUMBERS:
            _check_numbers(name, value)
    _check_days(parts)
    if "UNTIL" in parts:
        if "COUNT" in parts:
            raise _no_rule("COUNT and UNTIL do not go together")
        parts["UNTIL"] = _local_until(parts["UNTIL"], zone)
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _check_numbers(name: str, value: str) -> None:
    low, high = _NUMBERS[name]
    numbers = value.split(",") if name.startswith("BY") else [value]
    for number in numbers:
        if not re.fullmatch(r"[+-]?[0-9]{1,5}", number) or not low <= int(number) <= high or (not int(number) and low):
            raise _no_rule(f"{name} is from {low} to {high}")


def _check_days(parts: Mapping[str, str]) -> None:
    frequency, steps = parts["FREQ"], int(parts.get("INTERVAL", "1"))
    most = 0 if frequency not in ("MONTHLY", "YEARLY") else 5 if frequency == "MONTHLY" or "BYMONTH" in parts else 53
    for day in parts["BYDAY"].split(",") if "BYDAY" in parts else []:
        found = _DAY.match(day)
        if found is None:
            raise _no_rule("BYDAY has days as MO, or in months as 1MO and -1FR")
        if found[1] and not 1 <= abs(int(found[1])) <= most:
            raise _no_rule(f"there is no {day[:10]} in it")
    if frequency in ("HOURLY", "DAILY") and steps > 1 and parts.keys() & {"BYDAY", "BYMONTH"}:
        raise _no_rule(f"INTERVAL with FREQ={frequency} takes no days and months")
    if frequency == "HOURLY" and steps > 1 and "BYHOUR" in parts:
        raise _no_rule("INTERVAL with FREQ=HOURLY takes no BYHOUR")
    if "BYSETPOS" in parts and "BYDAY" not in parts:
        raise _no_rule("BYSETPOS chooses among the days of BYDAY")
    if "BYMONTHDAY" in parts and "BYMONTH" in parts:
        longest = max(_LONGEST_MONTHS.get(int(month), 31) for month in parts["BYMONTH"].split(","))
        if min(abs(int(day)) for day in parts["BYMONTHDAY"].split(",")) > longest:
            raise _no_rule("no such month has that day")


def _local_until(value: str, zone: tzinfo) -> str:
    if not _UNTIL.match(value):
        raise _no_rule("UNTIL is written 20261224T180000Z, or 20261224")
    try:
        until = datetime.fromisoformat(value.rstrip("Z") if "T" in value else f"{value}T235959")
        if value.endswith("Z"):
            until = until.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _no_rule("UNTIL is no time that there is") from None
    return f"{until:%Y%m%dT%H%M%S}"


def _no_rule(why: str) -> Refused:
    return Refused(
        f"the rule is not understood: {why}", remedy="for instance `FREQ=WEEKLY;BYDAY=MO;BYHOUR=8;BYMINUTE=0`"
    )
