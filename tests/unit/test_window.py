"""What of the past somebody is given: against a model that looks at every message by itself."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bridge.e2ee.window import DAY_MS, Absence, Move, Spoken, Stay, Window, absences, dated, openings, stay

NOW = 1_000 * DAY_MS
DAYS = 10
WINDOW = Window(announcements=5, days=DAYS)
S, T = ("s", "@announcements:example.org"), ("t", "@office:example.org")

moves = st.lists(
    st.builds(Move, st.integers(0, 40), st.sampled_from(["join", "leave", "ban", "invite"]), st.text("abc", max_size=3))
)


@st.composite
def talks(draw: st.DrawFn) -> list[Spoken]:
    """Messages of a few sessions, each session's in its order."""
    times = sorted(draw(st.lists(st.integers(NOW - 12 * DAY_MS, NOW), unique=True, max_size=20)))
    next_index = {S: 0, T: 0}
    found = []
    for at in times:
        session = draw(st.sampled_from([S, T]))
        found.append(Spoken(session, next_index[session], at))
        next_index[session] += draw(st.integers(1, 2))  # of some messages nothing was heard
    return found


gaps = st.lists(
    st.tuples(st.integers(NOW - 12 * DAY_MS, NOW), st.integers(0, DAY_MS)).map(lambda gap: (gap[0], sum(gap))),
    max_size=3,
)
windows = st.builds(Window, st.integers(0, 12), st.integers(1, 12), st.booleans())


def is_for(one: Spoken, spoken: Sequence[Spoken], window: Window, away: Sequence[Absence]) -> bool:
    """Whether a message is meant for somebody: young enough, among the last, and not said while they were outside."""
    later = sum(1 for other in spoken if other.at > one.at)
    outside = any(left <= one.at <= back for left, back in away)
    return one.at >= NOW - window.days * DAY_MS and later < window.announcements and (window.while_away or not outside)


@given(talks(), windows, gaps)
def test_nobody_reads_what_is_not_for_them(spoken: list[Spoken], window: Window, away: list[Absence]) -> None:
    opened = openings(spoken, window, away, now_ms=NOW)
    for one in spoken:
        if one.session in opened and one.index >= opened[one.session]:
            assert is_for(one, spoken, window, away)


@given(talks(), windows, gaps)
def test_nothing_is_kept_back_that_can_be_given_alone(
    spoken: list[Spoken], window: Window, away: list[Absence]
) -> None:
    opened = openings(spoken, window, away, now_ms=NOW)
    for one in spoken:
        if is_for(one, spoken, window, away):
            after = [other for other in spoken if other.session == one.session and other.index >= one.index]
            alone = all(is_for(other, spoken, window, away) for other in after)
            assert not alone or (one.session in opened and opened[one.session] <= one.index)


@given(talks(), windows, gaps, st.randoms(use_true_random=False))
def test_the_order_in_which_it_was_heard_does_not_matter(
    spoken: list[Spoken], window: Window, away: list[Absence], random: object
) -> None:
    shuffled = list(spoken)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert openings(shuffled, window, away, now_ms=NOW) == openings(spoken, window, away, now_ms=NOW)


@given(moves)
def test_who_is_inside_and_when_they_were_outside_agree(history: list[Move]) -> None:
    here, away = stay(history), absences(history)
    assert all(left <= back for left, back in away)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(away)), "they do not overlap"
    if here is not None:
        assert here.first_at <= here.came_at
        assert not away or away[-1][1] <= here.came_at
        assert (here.first_at == here.came_at) or here.came_at in {back for _, back in away}


@given(moves, st.randoms(use_true_random=False))
def test_the_order_in_which_moves_are_told_does_not_matter(history: list[Move], random: object) -> None:
    distinct = list({(move.at, move.membership): move for move in history}.values())
    shuffled = list(distinct)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert stay(shuffled) == stay(distinct)
    assert absences(shuffled) == absences(distinct)


@given(moves, st.lists(st.integers(0, 3)))
def test_moves_are_dated_in_the_order_in_which_they_are_told(told: list[Move], pauses: list[int]) -> None:
    known: list[Move] = []
    inside, now, waited = False, 10, itertools.chain(pauses, itertools.repeat(1))
    left: int | None = None
    away: list[tuple[int, int]] = []
    for number, move in enumerate(told):
        now += next(waited)
        at = dated(move, known, told_at=now)
        assert not known or at > known[-1].at
        known.append(Move(at, move.membership, str(number)))
        if move.membership == "join":
            if left is not None:
                away.append((left, now))
            inside, left = True, None
        elif inside and move.membership != "invite":
            inside, left = False, now
    found = absences(known)
    assert len(found) == len(away)
    assert all(
        begin <= left + len(told) and back <= end for (begin, end), (left, back) in zip(found, away, strict=True)
    )
    assert (stay(known) is not None) == inside


def test_a_time_is_believed_as_far_as_it_takes_nothing_away() -> None:
    here = [Move(100, "join", "$a")]
    assert dated(Move(50, "join"), [], told_at=100) == 50
    assert dated(Move(150, "join"), [], told_at=100) == 100, "not in the future"
    assert dated(Move(150, "leave"), here, told_at=200) == 150, "it was told late"
    assert dated(Move(250, "leave"), here, told_at=200) == 200
    assert dated(Move(50, "ban"), here, told_at=200) == 101
    assert dated(Move(50, "join", "$new name"), here, told_at=200) == 101
    gone = [*here, Move(150, "leave", "$b")]
    assert dated(Move(151, "join"), gone, told_at=200) == 200
    assert dated(Move(151, "join"), [*gone, Move(160, "invite")], told_at=200) == 200


def test_a_newcomer_was_never_away() -> None:
    history = [Move(5, "invite", "$i", "@announcements:example.org"), Move(7, "join", "$j")]
    assert stay(history) == Stay("$j", 7, 7, "@announcements:example.org")
    assert absences(history) == ()


def test_a_new_name_is_no_return() -> None:
    history = [Move(7, "join", "$a"), Move(9, "join", "$b")]
    assert stay(history) == Stay("$b", 7, 7, None)
    assert absences(history) == ()


def test_who_returns_was_away_until_they_joined() -> None:
    history = [
        Move(1, "join", "$a"),
        Move(3, "leave", "$b"),
        Move(4, "invite", "$c", "@office:example.org"),
        Move(6, "join", "$d"),
    ]
    assert stay(history) == Stay("$d", 1, 6, "@office:example.org")
    assert absences(history) == ((3, 6),)
    assert stay(history[:3]) is None


def test_a_session_that_was_used_while_somebody_was_away_begins_behind_that() -> None:
    spoken = [Spoken(S, index, NOW - 100 + 10 * index) for index in range(5)]
    assert openings(spoken, WINDOW, [(NOW - 91, NOW - 75)], now_ms=NOW) == {S: 3}
    assert openings(spoken, WINDOW, [(NOW - 65, NOW - 55)], now_ms=NOW) == {}, "nothing comes behind it"
    assert openings(spoken, Window(5, DAYS, while_away=True), [(NOW - 91, NOW - 75)], now_ms=NOW) == {S: 0}


def test_a_session_that_reaches_over_the_edge_of_the_window_begins_at_the_edge() -> None:
    spoken = [Spoken(S, index, NOW - 100 + index) for index in range(9)]
    assert openings(spoken, WINDOW, [], now_ms=NOW) == {S: 4}
    spoken = [Spoken(S, 0, NOW - DAYS * DAY_MS - 1), Spoken(S, 1, NOW - DAYS * DAY_MS)]
    assert openings(spoken, WINDOW, [], now_ms=NOW) == {S: 1}
