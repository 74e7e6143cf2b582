"""Tags: how they may be called, and who carries which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.community import Tag
from bridge.core.ids import RoomKeyName, UserId
from bridge.core.tags import LONGEST_NAME, carriers, parse_tag, tags_of
from tests.unit.strategies import PEOPLE

ANN, BEA, CID, DAN = PEOPLE[:4]
CHESS = RoomKeyName("chess")
names = st.sampled_from(("teacher", "year-5", "staff"))
some = st.frozensets(st.sampled_from(PEOPLE), max_size=4)
declared_tags = st.lists(
    st.builds(Tag, name=names, users=some, group=st.none() | st.just(CHESS)), max_size=3, unique_by=lambda tag: tag.name
)


@pytest.mark.parametrize(("text", "name"), [
    ("teacher", "teacher"), ("Teacher", "teacher"), ("#year-5", "year-5"), ("Lehrkräfte", "lehrkräfte"),
    ("Lehrkra\u0308fte", "lehrkräfte"), ("a", "a"), ("5b", "5b"), ("x" * LONGEST_NAME, "x" * LONGEST_NAME),
])  # fmt: skip
def test_a_tag_is_kept_in_one_spelling(text: str, name: str) -> None:
    assert parse_tag(text) == name


@pytest.mark.parametrize("text", ["", "#", "two words", "-a", "a-", "_", "owner", "Invited", "a,b", "=1", "x" * 33])
def test_what_is_no_tag(text: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        parse_tag(text)


@given(st.text())
def test_what_is_kept_is_kept_as_it_is(text: str) -> None:
    try:
        name = parse_tag(text)
    except ValueError:
        return
    assert parse_tag(name) == name
    assert len(name) <= LONGEST_NAME


@given(declared_tags, st.dictionaries(names, some), some, some)
def test_nobody_carries_anything_from_outside(
    declared: list[Tag], by_hand: dict[str, frozenset[UserId]], group: frozenset[UserId], there: frozenset[UserId]
) -> None:
    found = carriers(declared, by_hand, {CHESS: group}, there)
    assert all(users <= there for users in found.values())
    assert list(found) == sorted(found)
    for tag in declared:
        assert found[tag.name] == (tag.users | (group if tag.group else frozenset())) & there


def test_a_declared_tag_is_what_is_declared_whatever_was_given_by_hand() -> None:
    declared = [Tag("teacher", frozenset({ANN, DAN})), Tag("year-5", group=CHESS)]
    by_hand = {"teacher": {BEA}, "staff": {CID}, "gone": {DAN}}
    found = carriers(declared, by_hand, {CHESS: {BEA}}, {ANN, BEA, CID})
    assert found == {"staff": {CID}, "teacher": {ANN}, "year-5": {BEA}}
    assert tags_of(BEA, found) == ["year-5"]
