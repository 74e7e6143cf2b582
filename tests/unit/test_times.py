"""A moment, and from when to when, as people write it in numbers and in words, in English and German."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands import arguments
from bridge.commands.arguments import Setting, Unfit, Words
from bridge.core.errors import Refused
from bridge.core.schedule import local_of
from bridge.core.times import is_moment, read_moment, read_time

ZONE = "Europe/Berlin"
NOW = int(datetime(2026, 11, 26, 9, 0, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
"""A Thursday."""


def local(at: int) -> str:
    return f"{local_of(at, ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(("text", "hours"), [
    ("2026-07-04 18:30 - 20:30", 2), ("2026-07-04 18:30 to 01:30", 7), ("2026-07-04 18:30 – 2026-07-05 18:30", 24),
    ("2026-10-24 18:30 - 2026-10-25 18:30", 25),
])  # fmt: skip
def test_an_end_is_a_clock_or_a_date(text: str, hours: int) -> None:
    begins_at, ends_at = read_time(text, NOW, ZONE)
    assert ends_at is not None
    assert ends_at - begins_at == hours * 3_600_000


@pytest.mark.parametrize(
    "text", ["2026-07-04 18:30 x", "2026-07-04 18:30 - 25:00", "2026-07-04 18:30 - 2026-07-04 18:00"]
)
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"."):
        read_time(text, NOW, ZONE)


@pytest.mark.parametrize(("text", "begin", "end"), [
    ("tomorrow 18:30", "2026-11-27 18:30", None),
    ("morgen um 18 Uhr", "2026-11-27 18:00", None),
    ("“tomorrow 18:30”", "2026-11-27 18:30", None),
    ("2026-12-04T18:30", "2026-12-04 18:30", None),
    ("4.12.2026 18.30 bis 20.00", "2026-12-04 18:30", "2026-12-04 20:00"),
    ("next friday 19:00 to 22:00", "2026-11-27 19:00", "2026-11-27 22:00"),
    ("friday 19:00-22:00", "2026-11-27 19:00", "2026-11-27 22:00"),
    ("friday from 7 pm to 10 pm", "2026-11-27 19:00", "2026-11-27 22:00"),
    ("friday 7 to 10 pm", "2026-11-27 19:00", "2026-11-27 22:00"),
    ("friday 7pm–10pm", "2026-11-27 19:00", "2026-11-27 22:00"),
    ("friday 11 am to 2 pm", "2026-11-27 11:00", "2026-11-27 14:00"),
    ("am Freitag von 18 bis 20 Uhr", "2026-11-27 18:00", "2026-11-27 20:00"),
    ("Freitag 18 Uhr bis 20 Uhr", "2026-11-27 18:00", "2026-11-27 20:00"),
    ("nächsten Freitag um 19 Uhr", "2026-11-27 19:00", None),
    ("10 bis 12 Uhr", "2026-11-26 10:00", "2026-11-26 12:00"),
    ("on 24 december at 22:00 until 2:00", "2026-12-24 22:00", "2026-12-25 02:00"),
    ("am 24. Dezember um 18 Uhr", "2026-12-24 18:00", None),
    ("friday 20:00 to saturday 2:00", "2026-11-27 20:00", "2026-11-28 02:00"),
    ("friday 20:00 to wednesday 12:00", "2026-11-27 20:00", "2026-12-02 12:00"),
    ("tomorrow 18:00 to the day after tomorrow 12:00", "2026-11-27 18:00", "2026-11-28 12:00"),
    ("saturday 10:00 for 2 hours", "2026-11-28 10:00", "2026-11-28 12:00"),
    ("samstag um 10 für zwei Stunden", "2026-11-28 10:00", "2026-11-28 12:00"),
    ("saturday 10:00 for 90 min", "2026-11-28 10:00", "2026-11-28 11:30"),
    ("in 2 hours", "2026-11-26 11:00", None),
    ("on 2026-12-27 from 6:30 to 10 pm", "2026-12-27 18:30", "2026-12-27 22:00"),
    ("in 20 days at 18:30 for 2 hours", "2026-12-16 18:30", "2026-12-16 20:30"),
])  # fmt: skip
def test_a_time_in_words(text: str, begin: str, end: str | None) -> None:
    begins_at, ends_at = read_time(text, NOW, ZONE)
    assert (local(begins_at), None if ends_at is None else local(ends_at)) == (begin, end)


@pytest.mark.parametrize(("text", "when"), [
    ("friday 18:00", "2026-11-27 18:00"),
    ("3 days", "2026-11-29 09:00"),
    ("drei Tage", "2026-11-29 09:00"),
    ("2h", "2026-11-26 11:00"),
    ("90 min", "2026-11-26 10:30"),
    ("1w", "2026-12-03 09:00"),
    ("24.12.2026 18:30", "2026-12-24 18:30"),
])  # fmt: skip
def test_a_moment_in_words(text: str, when: str) -> None:
    assert local(read_moment(text, NOW, ZONE)) == when
    assert is_moment(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "sometime", "friday", "tomorrow", "every monday at 8", "2026-13-01 8:00", "9000-01-01 25:00",
        "friday 18:00 to", "friday 18:00 to noonish", "to friday 18:00", "x" * 5_000, "- " * 500, "1" * 300,
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(Refused) as refused:
        read_time(text, NOW, ZONE)
    assert refused.value.remedy
    assert not is_moment(text)


def test_an_end_before_the_begin_is_said_so() -> None:
    with pytest.raises(Refused, match="end before it begins"):
        read_time("2026-12-24 18:00 to 2026-12-23 18:00", NOW, ZONE)


@given(st.text(st.sampled_from("0123456789:.-– friduntlbsmoaephy"), max_size=60))
def test_whatever_is_written_is_a_time_or_refused(text: str) -> None:
    try:
        begins_at, ends_at = read_time(text, NOW, ZONE)
    except Refused:
        return
    assert ends_at is None or ends_at > begins_at


@pytest.mark.parametrize(("text", "value", "rest"), [
    ("2026-12-24 18:30 When? | a", "2026-12-24 18:30", "When? | a"),
    ('"friday 18:00" 8 or 9? | 8 | 9', "friday 18:00", "8 or 9? | 8 | 9"),
    ("„Freitag um 18 Uhr“ Wann?", "Freitag um 18 Uhr", "Wann?"),
    ("friday 18:00 Which day? | Monday", "friday 18:00", "Which day? | Monday"),
    ("3 days Monday or Tuesday? | Monday", "3 days", "Monday or Tuesday? | Monday"),
    ("in 2 hours What?\nTea | Coffee", "in 2 hours", "What?\nTea | Coffee"),
    ("tomorrow 8:00", "tomorrow 8:00", ""),
])  # fmt: skip
def test_a_moment_is_read_out_of_a_command_as_far_as_it_goes(text: str, value: str, rest: str) -> None:
    until = arguments.moment("until")
    read, after = until.read(Words(text), Setting())
    assert (read, after.rest) == (value, rest)
    again, end = until.read(Words(f"{until.show(read)} more"), Setting())
    assert (again, end.rest) == (value, "more"), "what is remembered until a yes reads as it did"


@pytest.mark.parametrize("text", ["", "soon What? | a", '"soon" What?', "friday What?", "every monday at 8 What?"])
def test_what_is_no_moment_is_unfit(text: str) -> None:
    with pytest.raises(Unfit):
        arguments.moment("until").read(Words(text), Setting())
