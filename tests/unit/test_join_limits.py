"""Who is counted as whom, and how often they may come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.join.languages import catalogues, choose
from bridge.web.join.limits import Buckets
from bridge.web.join.visitors import Visitors

TIMES = st.lists(st.floats(0, 100), min_size=1, max_size=60).map(sorted)


@given(TIMES, st.integers(1, 5), st.sampled_from([0.5, 1.0, 3.0]))
def test_no_more_are_let_through_than_burst_and_rate_allow(times: list[float], burst: int, rate: float) -> None:
    buckets = Buckets(burst, rate)
    passed = [now for now in times if buckets.take("one", now) == 0]
    assert passed[0] == times[0]
    for index, begin in enumerate(passed):
        for end in passed[index:]:
            count = sum(begin <= now <= end for now in passed)
            assert count <= burst + (end - begin) * rate + 1e-6


@given(TIMES)
def test_whoever_waits_as_long_as_they_are_told_gets_through(times: list[float]) -> None:
    buckets = Buckets(2, 0.5)
    for now in times:
        wait = buckets.take("one", now)
        if wait:
            assert Buckets.take(buckets, "one", now + wait + 1e-6) == 0
            return


def test_one_does_not_pay_for_another() -> None:
    buckets = Buckets(1, 1)
    assert buckets.take("one", 0) == 0
    assert buckets.take("one", 0) > 0
    assert buckets.take("other", 0) == 0


def test_memory_is_bounded_and_who_comes_all_the_time_is_not_forgotten() -> None:
    buckets = Buckets(2, 0.001, most=10)
    for number in range(1000):
        buckets.take("busy", 0)
        buckets.take(f"other {number}", 0)
    assert len(buckets) == 10
    assert buckets.take("busy", 0) > 0


PROXY = "10.0.0.1"


@pytest.mark.parametrize(("peer", "forwarded", "key"), [
    ("203.0.113.5", [], "203.0.113.5"),
    ("203.0.113.5", ["198.51.100.7"], "203.0.113.5"),
    (PROXY, ["198.51.100.7"], "198.51.100.7"),
    (PROXY, ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),
    (PROXY, ["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
    (PROXY, ["198.51.100.7, 10.0.0.2"], "198.51.100.7"),
    (PROXY, ["nonsense"], PROXY),
    (PROXY, [], PROXY),
    (PROXY, ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
    ("::ffff:203.0.113.5", [], "203.0.113.5"),
    (None, [], "unknown"),
])  # fmt: skip
def test_a_visitor_is_who_the_trusted_proxies_say(peer: str | None, forwarded: list[str], key: str) -> None:
    assert Visitors(["10.0.0.0/8"]).key(peer, forwarded) == key


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=30), max_size=5))
def test_nobody_outside_chooses_whom_they_are_counted_as(forwarded: list[str]) -> None:
    assert Visitors(["10.0.0.0/8"]).key("203.0.113.5", forwarded) == "203.0.113.5"
    through_proxy = [*forwarded, "203.0.113.5"]
    assert Visitors(["10.0.0.0/8"]).key(PROXY, through_proxy) == "203.0.113.5"


@pytest.mark.parametrize(("asked", "accepted", "language"), [
    ("de", "en", "de"),
    (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
    (None, "fr, de;q=0.5, en;q=0.7", "en"),
    (None, "de;q=0, en;q=0.1", "en"),
    (None, "", "en"),
    ("xx", "q=;;;,,,", "en"),
])  # fmt: skip
def test_the_language_is_the_one_that_is_asked_for(asked: str | None, accepted: str, language: str) -> None:
    assert choose(asked, accepted, catalogues()) == language
