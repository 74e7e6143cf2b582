"""Reading power levels as the specification reads them, and judging changes by the authorisation rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from bridge.core.power_levels import (
    CREATOR,
    Denied,
    as_level,
    creators_outrank,
    denied,
    level_of,
    needed_for,
    threshold,
    users_of,
    without_users,
)
from tests.unit import strategies as some

MAKER = frozenset({"@maker:a"})


@pytest.mark.parametrize("version", ["12", "13", "100", "org.matrix.hydra.11", "org.matrix.msc9999.12"])
def test_creators_outrank_everybody_from_version_12_on(version: str) -> None:
    assert creators_outrank(version)


@pytest.mark.parametrize(
    "version", ["", "1", "9", "10", "11", "org.matrix.msc3757.11", "²", "١٢", "-12", "12a", "9" * 5000, "unknown"]
)
def test_creators_do_not_outrank_in_other_versions_nor_in_unknown_ones(version: str) -> None:
    assert not creators_outrank(version)


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (0, 0), (-5, -5), (2**70, 2**70), ("50", 50), (" 7 ", 7),
        (True, None), (False, None), (50.0, None), ("high", None), ("", None), ("9" * 5000, None), (None, None),
        ([50], None), ({"level": 50}, None),
    ],
)  # fmt: skip
def test_what_is_a_level(value: object, level: int | None) -> None:
    assert as_level(value) == level


DEFAULTS = [
    ("users_default", 0), ("events_default", 0), ("state_default", 50), ("ban", 50), ("kick", 50), ("redact", 50),
    ("invite", 0),
]  # fmt: skip


@pytest.mark.parametrize(("key", "default"), DEFAULTS)
@pytest.mark.parametrize("content", [{}, {"invite": None, "ban": "x", "state_default": True, "kick": [1]}])
def test_absent_and_senseless_keys_have_the_defaults_of_the_specification(
    key: str, default: int, content: dict[str, Any]
) -> None:
    assert threshold(content, key) == default


def test_a_room_without_levels_lets_anybody_write_state_and_its_maker_is_an_admin() -> None:
    assert needed_for(None, "m.room.name", state=True) == 0
    assert needed_for({}, "m.room.name", state=True) == 50
    assert level_of(None, "@maker:a", creators=MAKER, room_version="11") == 100
    assert level_of(None, "@other:a", creators=MAKER, room_version="11") == 0


def test_empty_levels_take_even_the_makers_power_before_version_12() -> None:
    assert level_of({}, "@maker:a", creators=MAKER, room_version="11") == 0
    assert level_of({}, "@maker:a", creators=MAKER, room_version="12") == CREATOR


def test_a_creators_entry_counts_before_version_12_and_never_after() -> None:
    content = {"users": {"@maker:a": 7}}
    assert level_of(content, "@maker:a", creators=MAKER, room_version="11") == 7
    assert level_of(content, "@maker:a", creators=MAKER, room_version="12") == CREATOR


def test_events_are_read_before_defaults() -> None:
    content = {"events": {"m.reaction": 0, "m.room.name": "x"}, "events_default": 100, "state_default": 200}
    assert needed_for(content, "m.reaction", state=False) == 0
    assert needed_for(content, "m.room.encrypted", state=False) == 100
    assert needed_for(content, "m.room.name", state=True) == 200


def test_users_and_thresholds_are_told_apart() -> None:
    content = {"users": {"@a:b": 5, "@c:d": "x"}, "kick": 1}
    assert users_of(content) == {"@a:b": 5}
    assert without_users(content) == {"kick": 1}
    assert users_of({"users": ["@a:b"]}) == {}


FULL = {"users": {"@us:a": 200, "@peer:a": 200, "@low:a": 150}, "kick": 100, "events": {"m.room.name": 50}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, Denied((), ())),
        ({"kick": 0}, Denied((), ())),
        ({"kick": 201}, Denied((), ("kick",))),
        ({"events": {"m.room.name": 300}}, Denied((), ("events.m.room.name",))),
        ({"events": {}}, Denied((), ())),
        ({"notifications": {"room": 201}}, Denied((), ("notifications.room",))),
        ({"users": {"@us:a": 200, "@peer:a": 200}}, Denied((), ())),
        ({"users": {"@us:a": 200}}, Denied(("@peer:a",), ())),
        ({"users": {"@us:a": 200, "@peer:a": 300}}, Denied(("@peer:a",), ())),
        ({"users": {"@us:a": 0, "@peer:a": 200}}, Denied((), ())),
        ({"users": {"@us:a": 300, "@peer:a": 200}}, Denied((), ("users.@us:a",))),
        ({"users": {**FULL["users"], "@new:a": 201}}, Denied((), ("users.@new:a",))),  # type: ignore[dict-item]
    ],
)
def test_what_the_authorisation_rules_deny(change: dict[str, Any], expected: Denied) -> None:
    assert denied(FULL, {**FULL, **change}, sender="@us:a", own=200) == expected


def test_a_threshold_above_the_sender_cannot_be_lowered() -> None:
    assert denied({"ban": 201}, {"ban": 100}, sender="@us:a", own=200) == Denied((), ("ban",))
    assert denied({"ban": 201}, {}, sender="@us:a", own=200) == Denied((), ("ban",))


def test_the_first_levels_of_a_room_are_anybodys_who_may_write_them() -> None:
    assert denied(None, {"ban": 10**6}, sender="@us:a", own=100) == Denied((), ())


@given(some.nonsense, some.nonsense)
def test_nonsense_is_read_without_an_error(before: dict[str, Any], after: dict[str, Any]) -> None:
    for key, _ in DEFAULTS:
        threshold(before, key)
    needed_for(before, "m.room.name", state=True)
    level_of(before, "@a:b", creators=MAKER, room_version="11")
    denied(before, after, sender="@a:b", own=100)
