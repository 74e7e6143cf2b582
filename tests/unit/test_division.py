"""What is refused as a whole is asked in parts: whatever is not taken then, the rest goes through, and soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.errors import BadRequest, DeviceUnknown, Forbidden, MatrixError, NotFound, RateLimited, Unreachable
from bridge.e2ee import division
from bridge.e2ee.division import Refusal, in_parts

Thing = tuple[int, int]
"""A person and a device of theirs."""


def error_503() -> MatrixError:
    return Unreachable("HTTP 503", status=503)


class Homeserver:
    """Refuses requests for some things, and remembers what it took."""

    def __init__(self, poison: set[Thing], *, most: int = 10**6) -> None:
        self.poison = poison
        self.most = most
        self.taken: list[Thing] = []
        self.requests: list[Sequence[Thing]] = []
        self.probes = 0
        self.error: Callable[[], MatrixError] = lambda: BadRequest("too large", status=413)
        self.takes_nothing = False

    async def ask(self, things: Sequence[Thing]) -> None:
        self.requests.append(things)
        if self.takes_nothing or len(things) > self.most or self.poison.intersection(things):
            raise self.error()
        self.taken += things

    async def probe(self) -> None:
        self.probes += 1
        if self.takes_nothing:
            raise self.error()

    def give(self, things: Sequence[Thing]) -> Refusal[Thing]:
        return asyncio.run(in_parts(things, self.ask, owner=lambda thing: str(thing[0]), probe=self.probe))


def people(count: int, devices: int = 2) -> list[Thing]:
    return [(person, device) for person in range(count) for device in range(devices)]


@given(
    count=st.integers(1, 40),
    devices=st.integers(1, 5),
    poison=st.sets(st.tuples(st.integers(0, 39), st.integers(0, 4))),
)
def test_everything_but_what_is_refused_alone_is_taken_once(count: int, devices: int, poison: set[Thing]) -> None:
    things = people(count, devices)
    bad = sorted(poison.intersection(things))[:8]
    homeserver = Homeserver(set(bad))
    refused = homeserver.give(things)
    assert sorted(refused.things) == bad
    assert sorted(homeserver.taken) == sorted(set(things) - set(bad))
    assert refused.reason == ("too large" if bad else "")


def test_what_nobody_refuses_is_one_request() -> None:
    homeserver = Homeserver(set())
    homeserver.give(people(300))
    assert (len(homeserver.requests), homeserver.probes) == (1, 0)


def test_one_among_hundreds_is_found_with_few_requests() -> None:
    homeserver = Homeserver({(123, 1)})
    assert homeserver.give(people(300)).things == [(123, 1)]
    assert len(homeserver.requests) <= 21


def test_a_request_that_is_too_large_is_cut_until_it_fits() -> None:
    homeserver = Homeserver(set(), most=100)
    assert not homeserver.give(people(300)).things
    assert len(homeserver.taken) == 600
    assert len(homeserver.requests) == 7 + 8


def test_one_person_with_hundreds_of_such_devices_takes_nothing_from_others() -> None:
    mallory = {(150, device) for device in range(500)}
    homeserver = Homeserver(mallory)
    refused = homeserver.give(sorted({*people(300), *mallory}))
    assert set(refused.things) == mallory
    assert sorted(homeserver.taken) == [thing for thing in people(300) if thing[0] != 150]
    assert len(homeserver.requests) <= 3 * division.MOST_REFUSALS


def test_a_conspiracy_costs_a_bounded_number_of_requests_and_less_is_left_each_time() -> None:
    things = people(300)
    bad = {thing for thing in things if thing[0] % 10 == 0}
    left = [len(things)]
    while left[-1] > len(bad):
        homeserver = Homeserver(bad)
        things = list(homeserver.give(things).things)
        assert len(homeserver.requests) <= 3 * division.MOST_REFUSALS
        left.append(len(things))
        assert bad <= set(things)
    assert all(after < before for before, after in pairwise(left))
    assert len(left) <= 6


@pytest.mark.parametrize("kind", [BadRequest, Forbidden, NotFound])
def test_where_nothing_at_all_is_taken_nobody_is_to_blame(kind: type[MatrixError]) -> None:
    homeserver = Homeserver(set())
    homeserver.takes_nothing, homeserver.error = True, lambda: kind("the token is unknown", status=401)
    with pytest.raises(kind, match="the token is unknown"):
        homeserver.give(people(300))
    assert len(homeserver.requests) == homeserver.probes == 1


@pytest.mark.parametrize(
    "error",
    [Unreachable("no answer within 60 s"), RateLimited("slow down", status=429), DeviceUnknown("gone", status=401)],
)
def test_what_says_nothing_about_the_content_is_raised(error: MatrixError) -> None:
    homeserver = Homeserver({(3, 0)})
    homeserver.error = lambda: error
    with pytest.raises(type(error)):
        homeserver.give(people(300))
    assert len(homeserver.requests) == 1


def test_an_answer_of_502_to_504_that_persists_is_cut_too() -> None:
    homeserver = Homeserver({(3, 0)})
    homeserver.error = error_503
    assert homeserver.give(people(300)).things == [(3, 0)]


@pytest.mark.parametrize("error", [error_503(), BadRequest("too large", status=413)])
def test_a_homeserver_that_goes_away_meanwhile_is_no_refusal(error: MatrixError) -> None:
    homeserver = Homeserver({(3, 0)})
    homeserver.error = lambda: error

    async def away() -> None:
        raise Unreachable("cannot be reached")

    with pytest.raises(Unreachable, match="cannot be reached"):
        asyncio.run(in_parts(people(300), homeserver.ask, owner=lambda thing: str(thing[0]), probe=away))
    assert len(homeserver.requests) == 1


def test_where_an_outage_must_not_be_taken_for_a_refusal_it_is_raised() -> None:
    homeserver = Homeserver({(3, 0)})
    homeserver.error = error_503
    with pytest.raises(Unreachable):
        asyncio.run(
            in_parts(people(9), homeserver.ask, owner=lambda thing: "", probe=homeserver.probe, outlasting=False)
        )


def test_slow_refusals_are_not_cut_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "LONGEST_SECONDS", -1.0)
    homeserver = Homeserver({(3, 0)})
    assert len(homeserver.give(people(300)).things) == 600
    assert len(homeserver.requests) == 1
