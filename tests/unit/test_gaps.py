"""A transaction that the homeserver passed over is asked for, and nothing else is held up by that."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from bridge.intake.gaps import EXPECTED_MS, Gaps


def recover(stored: list[int], gaps: Gaps, taken: list[int]) -> None:
    """What the homeserver does while it recovers: the oldest first, until one is refused or nothing is left."""
    while stored:
        if gaps.before(str(stored[0]), 0):
            return
        taken.append(stored.pop(0))


@given(passed_over=st.sets(st.integers(2, 9), max_size=3))
def test_whatever_was_passed_over_comes_in_the_end(passed_over: set[int]) -> None:
    gaps, lying = Gaps(), sorted(passed_over)
    taken: list[int] = []
    gaps.expect(0)
    for number in range(1, 12):
        if number in passed_over:
            continue
        stored = [number]
        if gaps.before(str(number), 0):  # refused: the recovery that follows begins with the oldest
            stored = sorted([*(one for one in lying if one < number), number])
            lying = [one for one in lying if one > number]
            recover(stored, gaps, taken)
        else:
            taken.append(stored.pop())
        assert not stored, "a transaction was refused twice"
    assert taken == list(range(1, 12))


def test_other_services_of_the_homeserver_cost_one_repeat() -> None:
    gaps = Gaps()
    gaps.expect(0)
    refused = 0
    for number in range(0, 100, 3):  # two of three numbers go to others
        if gaps.before(str(number), 1):
            refused += 1
            assert not gaps.before(str(number), 1)
    assert refused == 1


def test_a_gap_is_looked_for_after_a_recovery_alone() -> None:
    gaps = Gaps()
    assert not any(gaps.before(number, 0) for number in ("1", "5"))
    gaps.expect(0)
    assert not gaps.before("9", EXPECTED_MS)
    assert gaps.before("12", EXPECTED_MS - 1)


def test_repeats_and_other_kinds_of_ids_are_taken() -> None:
    gaps, numbers = Gaps(), count(1)
    gaps.expect(0)
    assert not any(gaps.before(str(next(numbers)), 0) for _ in range(5))
    for txn_id in ("3", "5", "abc", "", "-7", "٣٤", "9" * 5000 + "x"):
        assert not gaps.before(txn_id, 0)
