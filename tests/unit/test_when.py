"""When people mean something to happen, in English and German."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import Refused
from bridge.core.schedule import local_of
from bridge.core.when import read_when

ZONE = "Europe/Berlin"
NOW = int(datetime(2026, 11, 26, 9, 0, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
"""A Thursday."""


def local(at: int) -> str:
    return f"{local_of(at, ZoneInfo(ZONE)):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


@pytest.mark.parametrize(
    ("words", "when"),
    [
        ("tomorrow 8:00", "2026-11-27 08:00"),
        ("8:00 tomorrow", "2026-11-27 08:00"),
        ("Morgen um 8", "2026-11-27 08:00"),
        ("morgen um 8 Uhr 15", "2026-11-27 08:15"),
        ("heute um 23:59", "2026-11-26 23:59"),
        ("übermorgen um 6", "2026-11-28 06:00"),
        ("the day after tomorrow at noon", "2026-11-28 12:00"),
        ("on 24 december at 18:30", "2026-12-24 18:30"),
        ("am 24. Dezember um 18:30", "2026-12-24 18:30"),
        ("december 24th at 6:30 pm", "2026-12-24 18:30"),
        ("24.12. 18:30", "2026-12-24 18:30"),
        ("24.12.2027 18.30", "2027-12-24 18:30"),
        ("2027-01-02 07:15", "2027-01-02 07:15"),
        ("1 march at 8", "2027-03-01 08:00"),  # this year's is over
        ("29 february at 8", "2028-02-29 08:00"),
        ("in 2 hours", "2026-11-26 11:00"),
        ("in zwei Stunden", "2026-11-26 11:00"),
        ("in einer halben Stunde", "2026-11-26 09:30"),
        ("in 10 seconds", "2026-11-26 09:00:10"),
        ("in 3 days at 8", "2026-11-29 08:00"),
        ("in 2 Wochen", "2026-12-10 09:00"),
        ("in 3 months", "2027-02-26 09:00"),
        ("8am", "2026-11-27 08:00"),
        ("10", None),
        ("at 10", "2026-11-26 10:00"),
        ("12 am", "2026-11-27 00:00"),
        ("um 12 am Montag", "2026-11-30 12:00"),  # a German `am` is no hour
        ("um 20 Uhr am Montag", "2026-11-30 20:00"),
        ("monday 8", "2026-11-30 08:00"),
        ("tues at 8", "2026-12-01 08:00"),
        ("next friday at 6pm", "2026-11-27 18:00"),
        ("thursday at 8", "2026-12-03 08:00"),
        ("on thursday at 10", "2026-11-26 10:00"),
        ("next thursday at 10", "2026-12-03 10:00"),
    ],
)
def test_once(words: str, when: str | None) -> None:
    if when is None:
        with pytest.raises(Refused):
            read_when(words, NOW, ZONE)
        return
    timing = read_when(words, NOW, ZONE)
    assert (local(timing.check(NOW)), timing.rule) == (when, "")


@pytest.mark.parametrize(
    ("words", "rule", "runs"),
    [
        ("every monday at 8", "FREQ=WEEKLY;BYDAY=MO", ["2026-11-30 08:00", "2026-12-07 08:00"]),
        ("jeden Montag um 8", "FREQ=WEEKLY;BYDAY=MO", ["2026-11-30 08:00", "2026-12-07 08:00"]),
        ("every monday 8", "FREQ=WEEKLY;BYDAY=MO", ["2026-11-30 08:00", "2026-12-07 08:00"]),
        ("mondays and thursdays at 7:30", "FREQ=WEEKLY;BYDAY=MO,TH", ["2026-11-30 07:30", "2026-12-03 07:30"]),
        ("montags und mittwochs um 7 Uhr", "FREQ=WEEKLY;BYDAY=MO,WE", ["2026-11-30 07:00", "2026-12-02 07:00"]),
        ("every monday, wednesday and friday at 10am", "FREQ=WEEKLY;BYDAY=MO,WE,FR", ["2026-11-27 10:00"]),
        ("every weekday at 7:45", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", ["2026-11-27 07:45", "2026-11-30 07:45"]),
        ("werktags um 7:45", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", ["2026-11-27 07:45", "2026-11-30 07:45"]),
        ("every other tuesday at noon", "FREQ=WEEKLY;BYDAY=TU;INTERVAL=2", ["2026-12-01 12:00", "2026-12-15 12:00"]),
        ("jeden zweiten Dienstag um 12", "FREQ=WEEKLY;BYDAY=TU;INTERVAL=2", ["2026-12-01 12:00", "2026-12-15 12:00"]),
        ("jeden zweiten Dienstag im Monat um 12", "FREQ=MONTHLY;BYDAY=2TU", ["2026-12-08 12:00", "2027-01-12 12:00"]),
        ("alle 2 Wochen am Montag um 8", "FREQ=WEEKLY;BYDAY=MO;INTERVAL=2", ["2026-11-30 08:00", "2026-12-14 08:00"]),
        ("every week at 10", "FREQ=WEEKLY", ["2026-11-26 10:00", "2026-12-03 10:00"]),
        ("daily at 8", "FREQ=DAILY", ["2026-11-27 08:00", "2026-11-28 08:00"]),
        ("jeden Tag um 8", "FREQ=DAILY", ["2026-11-27 08:00", "2026-11-28 08:00"]),
        ("every 3 days at 8", "FREQ=DAILY;INTERVAL=3", ["2026-11-27 08:00", "2026-11-30 08:00"]),
        ("every first monday of the month at 9", "FREQ=MONTHLY;BYDAY=1MO", ["2026-12-07 09:00", "2027-01-04 09:00"]),
        ("jeden ersten Montag im Monat um 9", "FREQ=MONTHLY;BYDAY=1MO", ["2026-12-07 09:00", "2027-01-04 09:00"]),
        ("every last friday of the month at 5 pm", "FREQ=MONTHLY;BYDAY=-1FR", ["2026-11-27 17:00", "2026-12-25 17:00"]),
        ("every month on the 15th at 9", "FREQ=MONTHLY;BYMONTHDAY=15", ["2026-12-15 09:00", "2027-01-15 09:00"]),
        ("am 15. jedes Monats um 9", "FREQ=MONTHLY;BYMONTHDAY=15", ["2026-12-15 09:00", "2027-01-15 09:00"]),
        ("am letzten Tag des Monats um 9", "FREQ=MONTHLY;BYMONTHDAY=-1", ["2026-11-30 09:00", "2026-12-31 09:00"]),
        ("every year on 24 december at 18:30", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24", ["2026-12-24 18:30"]),
        ("jedes Jahr am 24. Dezember um 18:30", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24", ["2026-12-24 18:30"]),
        ("every hour", "FREQ=HOURLY;INTERVAL=1", ["2026-11-26 10:00", "2026-11-26 11:00"]),
        ("alle 30 Minuten", "FREQ=MINUTELY;INTERVAL=30", ["2026-11-26 09:30", "2026-11-26 10:00"]),
        ("every monday at 8, 5 times", "FREQ=WEEKLY;BYDAY=MO;COUNT=5", ["2026-11-30 08:00"]),
        ("daily at 8 until 28 november", "FREQ=DAILY;UNTIL=20261128T235959", ["2026-11-27 08:00", "2026-11-28 08:00"]),
        (
            "jeden Montag um 8 ab 1. Februar bis 1. April",
            "FREQ=WEEKLY;BYDAY=MO;UNTIL=20270401T235959",
            ["2027-02-01 08:00", "2027-02-08 08:00"],
        ),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=8;BYMINUTE=0", "FREQ=WEEKLY;BYDAY=MO;BYHOUR=8;BYMINUTE=0", ["2026-11-30 08:00"]),
        ("RRULE:FREQ=DAILY;INTERVAL=2;COUNT=3 at 8:00", "FREQ=DAILY;INTERVAL=2;COUNT=3", ["2026-11-27 08:00"]),
        ("FREQ=DAILY;UNTIL=20261127T230000Z at 8", "FREQ=DAILY;UNTIL=20261128T000000", ["2026-11-27 08:00"]),
    ],
)
def test_again_and_again(words: str, rule: str, runs: list[str]) -> None:
    timing = read_when(words, NOW, ZONE)
    assert timing.rule == rule
    found = [timing.check(NOW)]
    while len(found) < len(runs):
        found.append(timing.next_after(found[-1]) or 0)
    assert [local(at) for at in found] == runs


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "not clear"),
        ("soon", "not clear"),
        ("yesterday at 8", "not clear"),
        ("every blue moon at 8", "not clear"),
        ("tomorrow 8:00 or so", "not clear"),
        ("31 february at 8", "not clear"),
        ("monday", "time of day is missing"),
        ("every monday", "time of day is missing"),
        ("at 25:00", "no time 25:00"),
        ("at 13 pm", "no 13 pm"),
        ("today at 8", "in the past"),
        ("2026-11-25 8:00", "in the past"),
        ("2032-01-01 8:00", "five years"),
        ("every 5 minutes", "too often"),
        ("every 0 days at 8", "INTERVAL is from 1"),
        ("daily at 8 until 1.1.2020", "never comes"),
        ("FREQ=HOURLY;BYMINUTE=0,10", "too often"),
        ("FREQ=SECONDLY", "its FREQ is"),
        ("FREQ=WEEKLY;BYEASTER=0 at 8", "BYEASTER is not taken"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30 at 8", "no such month has that day"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=TU at 8", "takes no days"),
        ("FREQ=MONTHLY;BYDAY=6MO at 8", "no 6MO"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20270101 at 8", "do not go together"),
        ("FREQ=DAILY;UNTIL=20271301T000000 at 8", "no time that there is"),
        ("FREQ=DAILY;FREQ=DAILY at 8", "twice"),
    ],
)
def test_what_is_not_taken_says_why(words: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        read_when(words, NOW, ZONE).check(NOW)
    assert refused.value.remedy


_SOME = (
    "every each jeden alle monday montags mon 8 8:00 at um am on the first last 1. 15th of month monats in 2 zwei "
    "hours tagen until bis from ab 24.12. december 2027 5 times , und and freq=daily noon pm uhr heute tomorrow 99 0"
)
_WORDS = st.sampled_from(_SOME.split(" "))


@given(st.lists(_WORDS, max_size=8).map(" ".join) | st.text(max_size=60))
def test_whatever_is_written_is_a_time_to_come_or_refused(words: str) -> None:
    try:
        timing = read_when(words, NOW, ZONE)
        at = timing.check(NOW)
    except Refused:
        return
    assert at > NOW
    following = timing.next_after(at)
    assert following is None or following > at
