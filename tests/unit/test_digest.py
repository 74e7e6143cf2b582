"""When the weekly summary comes, and what stands in it."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.digest import MOST_ITEMS, WEEK_MS, Item, next_due, of_week
from bridge.core.ids import EventId, RoomId

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(ZONES))
def test_it_comes_every_monday_at_eight_where_the_community_lives(now: int, name: str) -> None:
    zone = ZoneInfo(name)
    due = next_due(now, zone)
    local = datetime.fromtimestamp(due / 1000, zone)
    assert (local.weekday(), local.hour, local.minute) == (0, 8, 0)
    assert now < due <= now + WEEK_MS + 24 * 3_600_000, "a zone may skip a day, or set its clocks back"
    assert next_due(due - 1, zone) == due
    assert next_due(due, zone) > due


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-23T07:59:59+00:00", "2026-11-23T08:00:00+00:00"),
        ("2026-11-23T08:00:00+00:00", "2026-11-30T08:00:00+00:00"),
        ("2026-11-26T12:00:00+00:00", "2026-11-30T08:00:00+00:00"),
    ],
)
def test_the_next_monday(now: str, due: str) -> None:
    assert next_due(_ms(now), UTC) == _ms(due)


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def _item(number: int, at: int) -> Item:
    return Item(number, at, RoomId("!a:x"), EventId(f"${number}"), "words")


def test_a_week_is_its_own_and_no_other() -> None:
    end = 10 * WEEK_MS
    items = [_item(number, at) for number, at in enumerate((end - WEEK_MS - 1, end - WEEK_MS, end - 1, end))]
    assert [one.number for one in of_week(reversed(items), end)] == [1, 2]
    assert [one.number for one in of_week(items, end, since=end - 5)] == [2]


def test_of_too_many_the_newest_are_shown() -> None:
    items = [_item(number, number) for number in range(MOST_ITEMS + 7)]
    assert [one.number for one in of_week(items, WEEK_MS)] == list(range(7, MOST_ITEMS + 7))
