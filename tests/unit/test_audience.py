"""How people say whom an announcement is for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcements import Audience, Target
from bridge.core.audience import Nameable, heard_in, read_audience
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName

CHESS, CHOIR = RoomKeyName("chess"), RoomKeyName("choir")
SCHOOL, YEAR, CLASS = CommunityId("school"), CommunityId("year-5"), CommunityId("class-5a")
THERE = Nameable((CHESS, CHOIR), (YEAR, CLASS), {"team", "choir"})


@pytest.mark.parametrize(("words", "meant"), [
    ([], ["everybody"]),
    ([" , "], ["everybody"]),
    (["Alle"], ["everybody"]),
    (["group:chess"], ["group:chess"]),
    (["Gruppe:Chess, markierung:team"], ["group:chess", "tag:team"]),
    (["chess", "#team", "year-5"], ["group:chess", "community:year-5", "tag:team"]),
    (["tag:choir"], ["tag:choir"]),
    (["darunter"], ["community:year-5", "community:class-5a"]),
    (["community:*"], ["community:year-5", "community:class-5a"]),
    (["everybody", "everyone", "chess", "group:chess"], ["everybody", "group:chess"]),
])  # fmt: skip
def test_words_mean_people(words: list[str], meant: list[str]) -> None:
    assert list(read_audience(words, THERE).as_words()) == meant


@pytest.mark.parametrize(("word", "part"), [
    ("choir", "say which: group:choir, tag:choir"),
    ("ches", "did you mean `group:chess`?"),
    ("group:ches", "did you mean `group:chess`?"),
    ("tag:chess", "did you mean"),
    ("evrybody", "did you mean `everybody`?"),
    ("xyzzy", "there are: everybody, below, group:chess"),
    (":", "there are: everybody"),
])  # fmt: skip
def test_what_is_not_understood_is_named_with_what_is_there(word: str, part: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_audience([word], THERE)
    assert part in refusal.value.remedy


def test_nothing_is_shown_of_what_somebody_may_not_know() -> None:
    with pytest.raises(Refused) as refusal:
        read_audience(["group:board"], Nameable((CHESS,)))
    assert refusal.value.remedy == "there are: everybody, group:chess"
    with pytest.raises(Refused, match="no community within"):
        read_audience(["below"], Nameable((CHESS,)))


@given(st.lists(st.text(max_size=12) | st.sampled_from(THERE.words), max_size=4))
def test_any_words_mean_somebody_or_are_refused_and_mean_the_same_again(words: list[str]) -> None:
    try:
        found = read_audience(words, THERE)
    except Refused:
        return
    assert not found.empty
    assert read_audience(found.as_words(), THERE) == found == Audience.of_words(found.as_words())


@pytest.mark.parametrize(("target", "others", "above", "heard"), [
    ((SCHOOL, ""), [(YEAR, "")], [], None),
    ((YEAR, ""), [(SCHOOL, "")], [SCHOOL], SCHOOL),
    ((CLASS, ""), [(SCHOOL, "")], [YEAR, SCHOOL], SCHOOL),
    ((CLASS, ""), [(YEAR, ""), (SCHOOL, "")], [YEAR, SCHOOL], SCHOOL),
    ((SCHOOL, "chess"), [(SCHOOL, "")], [], SCHOOL),
    ((SCHOOL, "chess"), [(SCHOOL, "choir")], [], None),
    ((YEAR, "chess"), [(SCHOOL, "")], [SCHOOL], SCHOOL),
    ((YEAR, "chess"), [(YEAR, ""), (SCHOOL, "")], [SCHOOL], SCHOOL),
    ((SCHOOL, "@ann:x"), [(SCHOOL, "")], [], None),
])  # fmt: skip
def test_a_copy_rings_where_nobody_has_another(
    target: tuple[str, str], others: list[tuple[str, str]], above: list[CommunityId], heard: CommunityId | None
) -> None:
    def place(one: tuple[str, str]) -> Target:
        return Target(CommunityId(one[0]), RoomId("!a:x"), one[1])

    found = heard_in(place(target), [place(target), *map(place, others)], above)
    assert (None if found is None else (found.community, found.place)) == (None if heard is None else (heard, ""))
