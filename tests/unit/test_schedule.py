"""When schedules run: by dateutil's rules, over changes of the clock, and what becomes of runs that were missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from dateutil import tz
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.schedule import Appointment, Fate, Late, Timing, checked_rule, checked_zone, instant, local_of, step

ZONES = ("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "UTC")
HOUR, DAY = 3_600_000, 86_400_000


def wall(*when: int) -> datetime:
    """A local time: year, month, day, hour, minute."""
    return datetime(*when)  # type: ignore[arg-type]  # noqa: DTZ001 - it has no zone


def at(zone: str, *when: int) -> int:
    return instant(wall(*when), ZoneInfo(zone))


def utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def daily(zone: str, *when: int) -> Timing:
    begins = wall(*when)
    return Timing(zone, instant(begins, ZoneInfo(zone)), "FREQ=DAILY", begins)


# --- the clock is changed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "when", "expected"),
    [
        ("Europe/Berlin", (2026, 3, 28, 2, 30), "2026-03-28 01:30"),
        ("Europe/Berlin", (2026, 3, 29, 2, 30), "2026-03-29 01:00"),  # there is no 2:30: the first moment after
        ("Europe/Berlin", (2026, 3, 29, 3, 0), "2026-03-29 01:00"),
        ("Europe/Berlin", (2026, 10, 25, 2, 30), "2026-10-25 00:30"),  # there are two: the first
        ("Europe/Berlin", (2026, 10, 25, 3, 0), "2026-10-25 02:00"),
        ("America/Sao_Paulo", (2018, 11, 4, 0, 0), "2018-11-04 03:00"),  # midnight itself was left out
        ("America/Sao_Paulo", (2018, 11, 4, 0, 59), "2018-11-04 03:00"),
        ("America/Sao_Paulo", (2018, 2, 17, 23, 30), "2018-02-18 01:30"),
        ("America/Sao_Paulo", (2026, 11, 4, 0, 0), "2026-11-04 03:00"),  # the clock is not changed there any more
        ("Australia/Lord_Howe", (2026, 10, 4, 2, 15), "2026-10-03 15:30"),  # by half an hour
        ("Australia/Lord_Howe", (2026, 4, 5, 1, 45), "2026-04-04 14:45"),
        ("Pacific/Apia", (2011, 12, 30, 12, 0), "2011-12-30 10:00"),  # a whole day was left out
    ],
)
def test_a_local_time_is_one_moment(zone: str, when: tuple[int, ...], expected: str) -> None:
    assert utc(at(zone, *when)) == expected


@pytest.mark.parametrize(
    ("timing", "after", "expected"),
    [
        (
            daily("Europe/Berlin", 2026, 3, 1, 2, 30),
            at("Europe/Berlin", 2026, 3, 28, 2, 0),
            ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            daily("Europe/Berlin", 2026, 10, 1, 2, 30),
            at("Europe/Berlin", 2026, 10, 24, 2, 0),
            ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"],
        ),
        (
            daily("Australia/Lord_Howe", 2026, 10, 1, 2, 15),
            at("Australia/Lord_Howe", 2026, 10, 3, 2, 0),
            ["2026-10-02 15:45", "2026-10-03 15:30", "2026-10-04 15:15"],
        ),
        (
            daily("America/Sao_Paulo", 2018, 11, 1, 0, 0),
            at("America/Sao_Paulo", 2018, 11, 2, 12, 0),
            ["2018-11-03 03:00", "2018-11-04 03:00", "2018-11-05 02:00"],
        ),
    ],
)
def test_eight_oclock_stays_eight_oclock(timing: Timing, after: int, expected: list[str]) -> None:
    assert [utc(run) for run in islice(timing.runs(after), 3)] == expected


def test_two_times_in_a_gap_are_one_run_and_an_hour_that_comes_twice_is_one() -> None:
    begins = wall(2026, 3, 29, 0, 0)
    hourly = Timing("Europe/Berlin", 0, "FREQ=HOURLY", begins)
    start = at("Europe/Berlin", 2026, 3, 29, 0, 30)
    assert [utc(run)[11:] for run in islice(hourly.runs(start), 3)] == ["00:00", "01:00", "02:00"]
    start = at("Europe/Berlin", 2026, 10, 25, 1, 30)
    assert [utc(run)[11:] for run in islice(hourly.runs(start), 2)] == ["00:00", "02:00"]


@given(
    zone=st.sampled_from(ZONES),
    local=st.datetimes(wall(2000, 1, 1), wall(2040, 1, 1)).map(lambda one: one.replace(microsecond=0)),
)
def test_moments_are_those_of_dateutil_but_for_times_that_do_not_exist(zone: str, local: datetime) -> None:
    theirs, ours = tz.gettz(zone), ZoneInfo(zone)
    assert theirs is not None
    found = instant(local, ours)
    if tz.datetime_exists(local, theirs):
        assert found == int(local.replace(tzinfo=theirs).timestamp() * 1000)
        assert local_of(found, ours) == local
    else:
        after, before = local_of(found, ours), local_of(found - 1000, ours)
        assert before < local < after, "the clock jumps from before it to behind it"


# --- rules ----------------------------------------------------------------------------------------------------------

_DAYS = st.lists(st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"]), min_size=1, max_size=4, unique=True).map(
    ",".join
)
_NTH = st.tuples(st.sampled_from(["1", "2", "3", "4", "5", "-1"]), st.sampled_from(["MO", "WE", "SU"])).map("".join)
_RULES = st.one_of(
    st.integers(1, 9).map("FREQ=DAILY;INTERVAL={}".format),
    st.tuples(_DAYS, st.integers(1, 4)).map(lambda one: f"FREQ=WEEKLY;BYDAY={one[0]};INTERVAL={one[1]}"),
    _NTH.map("FREQ=MONTHLY;BYDAY={}".format),
    st.integers(1, 31).map("FREQ=MONTHLY;BYMONTHDAY={}".format),
    st.tuples(st.integers(1, 12), st.integers(1, 28)).map(
        lambda one: f"FREQ=YEARLY;BYMONTH={one[0]};BYMONTHDAY={one[1]}"
    ),
    st.tuples(_DAYS, st.sampled_from(["1", "2", "-1"])).map(
        lambda one: f"FREQ=MONTHLY;BYDAY={one[0]};BYSETPOS={one[1]};COUNT=7"
    ),
    st.integers(1, 30).map("FREQ=HOURLY;INTERVAL={}".format),
)
_BEGINS = st.datetimes(wall(2018, 1, 1), wall(2030, 1, 1)).map(lambda one: one.replace(second=0, microsecond=0))


@given(rule=_RULES, begins=_BEGINS, zone=st.sampled_from(ZONES), later=st.integers(-5, 400))
def test_runs_are_those_of_dateutil_in_local_time(rule: str, begins: datetime, zone: str, later: int) -> None:
    ours, theirs = ZoneInfo(zone), tz.gettz(zone)
    checked = checked_rule(rule, ours)
    timing = Timing(zone, instant(begins, ours), checked, begins)
    after = instant(begins, ours) + later * DAY + 1000
    found = list(islice(timing.runs(after), 12))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    expected: list[int] = []
    for local in rrulestr(rule, dtstart=begins):
        while not tz.datetime_exists(local, theirs):
            local += timedelta(minutes=1)  # noqa: PLW2901 - the first moment after the gap
        moment = int(local.replace(tzinfo=theirs).timestamp() * 1000)
        if moment > after and moment not in expected:
            expected.append(moment)
        if len(expected) == 12:
            break
    assert found == expected


@given(rule=_RULES, begins=_BEGINS, zone=st.sampled_from(ZONES))
def test_from_run_to_run_no_run_is_left_out_and_none_comes_twice(rule: str, begins: datetime, zone: str) -> None:
    timing = Timing(zone, instant(begins, ZoneInfo(zone)), checked_rule(rule, ZoneInfo(zone)), begins)
    start = instant(begins, ZoneInfo(zone)) - 1
    whole = list(islice(timing.runs(start), 8))
    walked: list[int] = []
    while len(walked) < len(whole):
        following = timing.next_after(walked[-1] if walked else start)
        assert following is not None
        walked.append(following)
    assert walked == whole


def test_a_time_zone_is_called_as_the_iana_does() -> None:
    assert checked_zone(" europe/berlin ") == "Europe/Berlin"
    for wrong in ("Berlin/Europe", "", "../etc/passwd", "CET+1"):
        with pytest.raises(ValueError, match="no time zone"):
            checked_zone(wrong)


def test_an_appointment_shows_its_next_times_and_never_none() -> None:
    first = wall(2026, 11, 1, 8, 0)
    daily = Appointment("every day at 8", Timing("UTC", at("UTC", 2026, 11, 1, 8, 0), "FREQ=DAILY;COUNT=3", first))
    starts = daily.timing.first
    assert daily.coming(starts - 1, 2) == [starts, starts + DAY]
    assert daily.coming(starts + DAY, 3) == [starts + 2 * DAY]
    once = Appointment("then", Timing("UTC", starts))
    assert once.coming(starts - 1, 3) == once.coming(starts + 1, 3) == [starts]


# --- what becomes of a run ------------------------------------------------------------------------------------------

WEEKLY = Timing("UTC", 0, "FREQ=DAILY", wall(2026, 11, 1, 8, 0))
RUN = at("UTC", 2026, 11, 26, 8, 0)


@pytest.mark.parametrize(
    ("now", "late", "expected"),
    [
        (RUN - 1, Late.SEND, (Fate.WAIT, RUN, 0, RUN)),
        (RUN, Late.SEND, (Fate.SEND, RUN, 0, RUN + DAY)),
        (RUN, Late.SKIP, (Fate.SEND, RUN, 0, RUN + DAY)),
        (RUN + 120_000, Late.SKIP, (Fate.SEND, RUN, 0, RUN + DAY)),
        (RUN + 120_001, Late.SKIP, (Fate.SKIP, RUN, 1, RUN + DAY)),
        (RUN + HOUR, Late.SEND, (Fate.SEND, RUN, 0, RUN + DAY)),
        (RUN + HOUR + 1, Late.SEND, (Fate.SKIP, RUN, 1, RUN + DAY)),
        (RUN + 3 * DAY + 1000, Late.SEND, (Fate.SEND, RUN + 3 * DAY, 3, RUN + 4 * DAY)),
        (RUN + 3 * DAY + 2 * HOUR, Late.SEND, (Fate.SKIP, RUN + 3 * DAY, 4, RUN + 4 * DAY)),
    ],
)
def test_what_is_due_is_sent_late_or_left_out(now: int, late: Late, expected: tuple[object, ...]) -> None:
    found = step(WEEKLY, RUN, now, late=late, grace_ms=HOUR)
    assert (found.fate, found.run, found.missed, found.next_at) == expected


def test_the_last_run_is_the_end() -> None:
    once = Timing("UTC", RUN)
    assert step(once, RUN, RUN, late=Late.SEND, grace_ms=HOUR).next_at is None
    assert step(once, RUN, RUN + 2 * HOUR, late=Late.SEND, grace_ms=HOUR).fate is Fate.SKIP


@given(nows=st.lists(st.integers(-3 * DAY, 5 * DAY), max_size=12), late=st.sampled_from(Late), rule=_RULES)
def test_however_the_clock_jumps_no_run_is_sent_twice(nows: list[int], late: Late, rule: str) -> None:
    begins = wall(2026, 11, 20, 8, 0)
    timing = Timing("Europe/Berlin", 0, checked_rule(rule, UTC), begins)
    next_at = timing.next_after(RUN)
    sent: list[int] = []
    for offset in nows:
        if next_at is None:
            break
        found = step(timing, next_at, RUN + offset, late=late, grace_ms=HOUR)
        if found.fate is Fate.SEND:
            sent.append(found.run)
        next_at = found.next_at
    assert sent == sorted(set(sent))


def test_rules_that_never_come_true_are_found_out_in_no_time() -> None:
    begun = datetime.now(UTC)
    for rule in ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=31", "FREQ=DAILY;BYDAY=MO;BYMONTH=2;UNTIL=20260101"):
        assert Timing("UTC", 0, checked_rule(rule, UTC), wall(2026, 1, 2)).next_after(RUN) is None
    assert datetime.now(UTC) - begun < timedelta(seconds=20)
