"""What an event says, who has a seat, and what calendar programs read of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.calendar import Entry, calendar_of, file_of, token_of
from bridge.core.errors import Refused
from bridge.core.events import (
    FIELD,
    SIGNS,
    Answer,
    Happening,
    Reply,
    Standing,
    answer_of,
    guest_list,
    happening,
    happening_of,
    standing,
)
from bridge.core.ids import CommunityId, UserId
from tests.harness.calendars import calendar_in, events_in

BERLIN = "Europe/Berlin"
NOW = 1_783_000_000_000
ANN, BEA = UserId("@ann:example.org"), UserId("@bea:example.org")
people = st.sampled_from([UserId(f"@{name}:example.org") for name in "abcdef"])
replies = st.lists(
    st.builds(
        Reply, people, st.sampled_from(Answer), st.integers(0, 3), st.integers(0, 9), st.integers(0, 9),
        st.uuids().map(str),
    ),
    max_size=20,
    unique_by=lambda reply: reply.event,
)  # fmt: skip


def test_an_event_is_written_with_semicolons_or_below_each_other() -> None:
    told = happening_of("Party; 2026-07-04 18:30 - 22:00; School yard; Bring a cake; Come early; 80", NOW, BERLIN)
    assert told == Happening("Party", 1783182600000, 1783195200000, "School yard", "Bring a cake\nCome early", 80)
    assert (
        happening_of("Party\n04.07.2026 18:30 - 22:00\nSchool yard\n\nBring a cake\nCome early\n80", NOW, BERLIN)
        == told
    )
    assert happening_of("Party; 2026-07-04 18:30", NOW, BERLIN) == Happening("Party", 1783182600000)
    assert Happening("…", 0).with_words({FIELD: told.words()}).words() == told.words()
    assert told.with_words({FIELD: {"title": 1}}) == told
    assert told.with_words({}) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Party",
        "; 2026-07-04 18:30",
        "Party; tomorrow",
        "x" * 201 + "; 2026-07-04 18:30",
        "Party; 2026-07-04 18:30; a; 0",
    ],
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"."):
        happening_of(text, NOW, "UTC")


@given(st.text())
def test_whatever_is_written_is_an_event_or_refused(text: str) -> None:
    try:
        found = happening_of(text, NOW, BERLIN)
    except Refused:
        return
    assert found.title


def test_signs() -> None:
    assert [answer_of(sign) for sign in SIGNS.values()] == list(SIGNS)
    assert answer_of("❓\ufe0f") is Answer.MAYBE
    assert answer_of("👍") is None


@given(replies, st.one_of(st.none(), st.integers(1, 8)), st.randoms(use_true_random=False))
def test_seats_are_given_in_order_and_never_more_than_there_are(
    given_: list[Reply], capacity: int | None, chance: st.DataObject
) -> None:
    found = standing(given_, capacity)
    shuffled = list(given_)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert standing(shuffled, capacity) == found
    coming = [*found.going, *found.waiting]
    assert len({reply.user for reply in coming}) == len(coming)
    assert coming == sorted(coming, key=lambda reply: (reply.taken, reply.event)), "nobody overtakes"
    assert len(coming) + found.maybe + found.no == len({reply.user for reply in given_})
    if capacity is None:
        assert found.waiting == ()
    else:
        assert found.seats <= capacity
        assert not found.waiting or found.seats + 1 + found.waiting[0].guests > capacity


@given(replies, st.integers(1, 8), people)
def test_who_leaves_makes_nobody_lose_a_seat(given_: list[Reply], capacity: int, leaver: UserId) -> None:
    before = {reply.user for reply in standing(given_, capacity).going} - {leaver}
    after = standing([reply for reply in given_ if reply.user != leaver], capacity)
    assert before <= {reply.user for reply in after.going}


@given(replies, st.integers(1, 8), people, st.integers(0, 3))
def test_who_comes_later_takes_nobodys_seat(given_: list[Reply], capacity: int, user: UserId, guests: int) -> None:
    before = {reply.user for reply in standing(given_, capacity).going} - {user}
    late = Reply(user, Answer.GOING, guests, 99, 99, "late")
    assert before <= {reply.user for reply in standing([*given_, late], capacity).going}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.booleans(), st.integers(0, 9))
def test_calendar_programs_read_it(words: str, cancelled: bool, sequence: int) -> None:
    what = Happening(words, 1783182600000, 1783195200000, words, f"{words}\nmore; and, \\", 80)
    entry = Entry("a@b", sequence, cancelled, what, 1_000)
    [event] = events_in(file_of(entry))
    assert events_in(calendar_of(words, [entry])) == [event], "the same in the file and in the calendar"
    assert (str(event["SUMMARY"]), str(event["LOCATION"])) == (words, words)
    assert str(event["DESCRIPTION"]) == f"{words}\nmore; and, \\"
    assert event["DTSTART"].dt == datetime(2026, 7, 4, 16, 30, tzinfo=UTC)
    assert event["DTEND"].dt == datetime(2026, 7, 4, 20, 0, tzinfo=UTC)
    assert (str(event["UID"]), int(event["SEQUENCE"])) == ("a@b", sequence)
    assert str(event["STATUS"]) == ("CANCELLED" if cancelled else "CONFIRMED")


def test_a_short_event_has_no_more_than_it_says() -> None:
    [event] = events_in(file_of(Entry("a@b", 0, False, Happening("Party", 0), 0)))
    assert not {"DTEND", "LOCATION", "DESCRIPTION", "URL"} & set(event)


@pytest.mark.parametrize(("cancelled", "method"), [(False, "PUBLISH"), (True, "CANCEL")])
def test_a_file_says_what_it_is_for(cancelled: bool, method: str) -> None:
    file = calendar_in(file_of(Entry("a@b", 1, cancelled, Happening("Party", 0), 5_000)))
    assert str(file["METHOD"]) == method
    [event] = file.walk("VEVENT")
    assert event["DTSTAMP"].dt == event["LAST-MODIFIED"].dt == datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)


def test_a_calendar_says_its_name_and_how_often_to_look_and_is_the_same_for_the_same_events() -> None:
    one, two = (
        Entry(f"{name}@b", 0, False, Happening(name, at), 0, "https://x/#/!a") for name, at in (("a", 9), ("b", 5))
    )
    data = calendar_of("School\r\nBEGIN:VEVENT", [one, two])
    assert data == calendar_of("School\r\nBEGIN:VEVENT", [two, one])
    found = calendar_in(data)
    assert str(found["NAME"]) == str(found["X-WR-CALNAME"]) == "School BEGIN:VEVENT"
    assert found["REFRESH-INTERVAL"].dt == timedelta(hours=1)
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT1H\r\n" in data
    assert b"X-PUBLISHED-TTL:PT1H\r\n" in data
    assert "METHOD" not in found
    assert [(str(event["SUMMARY"]), str(event["URL"])) for event in found.walk("VEVENT")] == [
        ("b", "https://x/#/!a"), ("a", "https://x/#/!a"),
    ]  # fmt: skip


def test_control_characters_in_words_of_others_break_no_line() -> None:
    what = Happening("a\r\nBEGIN:VALARM", 0, place="x\x07y", description="one\r\ntwo\x00\tthree")
    [event] = events_in(file_of(Entry("a@b", 0, False, what, 0)))
    assert (str(event["LOCATION"]), str(event["DESCRIPTION"])) == ("xy", "one\ntwo\tthree")
    assert event.subcomponents == []
    assert str(event["SUMMARY"]) == "a\nBEGIN:VALARM"


def test_an_address_is_made_of_who_asked_where_and_by_what() -> None:
    asked = [(name, user, source) for name in ("a", "b") for user in (ANN, BEA) for source in ("$1", "$2")]
    tokens = {token_of(b"secret", CommunityId(name), user, source) for name, user, source in asked}
    assert len(tokens) == len(asked)
    assert all(len(token) == 32 and token.isascii() for token in tokens)
    assert token_of(b"other", CommunityId("a"), ANN, "$1") not in tokens


def test_an_event_in_parts_is_the_same_as_in_one_text() -> None:
    told = happening_of("Party; 2026-07-04 18:30 - 22:00; School yard; Bring a cake; 80", NOW, BERLIN)
    parts = {"place": "School\nyard", "description": "Bring a cake", "seats": "80"}
    assert happening("Party", "4.7.2026 18:30 to 22:00", NOW, BERLIN, **parts) == told
    for seats in ("0", "", "x", "1000000", "٣"):
        with pytest.raises(Refused, match="seats"):
            happening("Party", "tomorrow 18:30", NOW, BERLIN, seats=seats)


def test_who_comes_is_a_table_without_formulas() -> None:
    going = Reply(ANN, Answer.GOING, 2, 1, 60_000, "$1")
    waiting = Reply(UserId("=cmd()"), Answer.GOING, 0, 1, 120_000, "$2")
    table = guest_list(Standing((going,), (waiting,), 3, 4))
    assert table.splitlines()[:2] == ["user,state,guests,since", "@ann:example.org,coming,2,1970-01-01 00:01 UTC"]
    assert table.splitlines()[2].startswith("'=cmd(),waiting,0,")
