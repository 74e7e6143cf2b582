"""What a poll asks, and how votes are counted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcements import type_of
from bridge.core.ids import UserId
from bridge.core.moments import moment, shown
from bridge.core.polls import (
    FIELD,
    KEYS,
    MOST,
    Ballot,
    Tally,
    Vote,
    as_table,
    ballot_of,
    ballot_with,
    native,
    option_of,
    tally,
)

people = st.sampled_from([UserId(f"@{name}:example.org") for name in ("ann", "bea", "cem", "eve")])
votes = st.lists(
    st.builds(Vote, people, st.integers(0, 12), st.integers(0, 5), st.uuids().map(str)),
    max_size=30,
    unique_by=lambda vote: vote.event,
)


@pytest.mark.parametrize(
    "text",
    [
        "When? | Monday | Tuesday",
        "When?\nMonday\nTuesday",
        " When?\n\n- Monday\n-  Tuesday\n",
        "When?|\n1. Monday|2) Tuesday |",
    ],
)
def test_options_stand_behind_or_below_the_question(text: str) -> None:
    assert ballot_of(text) == Ballot("When?", ("Monday", "Tuesday"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "2 to 10 options, and this one has 0"),
        ("When? | Monday", "has 1"),
        ("When?" + "| x" * 11, "has 11"),
        ("When? | monday | Monday", "the same"),
        ("x" * 501 + "| a | b", "500"),
        ("When? | a | " + "b" * 201, "200"),
    ],
)
def test_what_is_no_poll_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ballot_of(text)


@given(st.text())
def test_whatever_is_written_is_a_ballot_or_refused(text: str) -> None:
    try:
        ballot = ballot_of(text)
    except ValueError:
        return
    assert 2 <= len(ballot.options) <= MOST
    assert Ballot.within({FIELD: ballot.as_json()}) == ballot


@pytest.mark.parametrize(
    "content", [{}, {FIELD: 1}, {FIELD: {"question": "a"}}, {FIELD: {"question": "a", "options": [1]}}]
)
def test_a_message_without_a_whole_ballot_has_none(content: dict[str, object]) -> None:
    assert Ballot.within(content) is None


def test_signs_are_known_with_and_without_their_variation_selector() -> None:
    assert [option_of(key) for key in KEYS] == list(range(1, 11))
    assert [option_of(key.replace("\ufe0f", "")) for key in KEYS] == list(range(1, 11))
    assert [option_of(key) for key in ("👍", "1", "", "0\ufe0f\u20e3", "11")] == [None] * 5


@given(votes, st.integers(2, 10), st.booleans(), st.randoms())
def test_the_count_does_not_depend_on_the_order_and_nobody_counts_twice(
    cast: list[Vote], options: int, multiple: bool, chance: st.DataObject
) -> None:
    found = tally(cast, options, multiple=multiple)
    shuffled = [*cast, *cast]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tally(shuffled, options, multiple=multiple) == found
    valid = {vote.user for vote in cast if 1 <= vote.option <= options}
    assert found.people == len(valid)
    assert len(found.counts) == options
    if multiple:
        assert found.counts == tuple(
            len({vote.user for vote in cast if vote.option == n}) for n in range(1, options + 1)
        )
    else:
        assert sum(found.counts) == len(valid)
        last = {
            vote.user: vote for vote in sorted(cast, key=lambda one: (one.at, one.event)) if 1 <= vote.option <= options
        }
        assert Counter(vote.option for vote in last.values()) == {
            n: count for n, count in enumerate(found.counts, start=1) if count
        }


@given(votes, st.integers(2, 10), st.booleans())
def test_taking_a_vote_back_is_as_if_it_was_never_given(cast: list[Vote], options: int, multiple: bool) -> None:
    for at in range(len(cast)):
        without = [*cast[:at], *cast[at + 1 :]]
        assert tally(without, options, multiple=multiple).people <= tally(cast, options, multiple=multiple).people


def test_a_second_choice_replaces_the_first_and_when_it_is_taken_back_the_first_counts_again() -> None:
    ann = UserId("@ann:example.org")
    first, second = Vote(ann, 1, 10, "$a"), Vote(ann, 2, 20, "$b")
    assert tally([second, first], 2, multiple=False) == Tally((0, 1), 1)
    assert tally([first], 2, multiple=False) == Tally((1, 0), 1)
    assert tally([first, second], 2, multiple=True) == Tally((1, 1), 1)


def test_who_leads() -> None:
    assert Tally((1, 3, 3), 5).leading == (2, 3)
    assert Tally((0, 0), 0).leading == ()


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - the zone is put in
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]),
)
def test_moments_are_those_of_the_place(local: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    local = local.replace(second=0, microsecond=0)
    at = moment(local.strftime("%Y-%m-%d %H:%M"), zone)
    assert at == moment(local.strftime("%d.%m.%Y %H:%M"), zone)
    if local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local:  # it exists
        assert shown(at, zone).startswith(local.strftime("%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-13-01 10:00",
        "2026-02-30 10:00",
        "2026-12-24 25:00",
        "0001-01-01 0:00",
        "9999-12-31 23:59",
        "2026-12-24",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        moment(text, ZoneInfo("America/St_Johns"))


def test_counts_are_a_table_without_formulas() -> None:
    ballot = ballot_with("When?", ["=1+1", "Monday, early"])
    assert as_table(ballot, Tally((2, 0), 2)).splitlines() == ["option,votes", "'=1+1,2", '"Monday, early",0']


def test_options_that_are_given_one_by_one_may_hold_what_else_stands_between_them() -> None:
    assert ballot_with("A | B?", ["a|b", "- c"]).options == ("a|b", "- c")
    for options in (["a", ""], ["a", " "]):
        with pytest.raises(ValueError, match="empty"):
            ballot_with("When?", options)
    with pytest.raises(ValueError, match="empty"):
        ballot_with(" ", ["a", "b"])


def test_a_poll_of_the_clients_says_how_many_may_be_chosen_and_whether_votes_show() -> None:
    ballot = ballot_of("When? | Monday | Tuesday | Never")
    several = native(ballot, multiple=True, hidden=True)
    start = several[type_of(several)]
    assert type_of(several) == "org.matrix.msc3381.poll.start"
    assert (start["max_selections"], start["kind"]) == (3, "org.matrix.msc3381.poll.undisclosed")
    assert native(ballot, multiple=False, hidden=False)[type_of(several)]["max_selections"] == 1
    assert several["body"] == "When?\n1. Monday\n2. Tuesday\n3. Never"
    assert type_of({"msgtype": "m.text", "body": "org.matrix.msc3381.poll.start"}) == "m.room.message"
