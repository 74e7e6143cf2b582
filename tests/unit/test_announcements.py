"""Whom announcements are meant for, and how people name them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcements import Audience, Named, Target, first_words, named
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName

WORDS = st.from_regex(r"[a-z0-9-]{1,12}", fullmatch=True)
AUDIENCES = st.builds(
    Audience,
    st.booleans(),
    st.lists(WORDS.map(RoomKeyName), unique=True).map(tuple),
    st.lists(WORDS.map(CommunityId), unique=True).map(tuple),
    st.lists(WORDS, unique=True).map(tuple),
)


@given(AUDIENCES)
def test_an_audience_comes_back_from_its_words(audience: Audience) -> None:
    assert Audience.of_words(audience.as_words()) == audience
    assert audience.empty == (not audience.as_words())


@pytest.mark.parametrize("word", ["", "all", "group:", "tag:", "community", "everybody:x", "@bea:x"])
def test_other_words_are_no_audience(word: str) -> None:
    with pytest.raises(ValueError, match="no audience"):
        Audience.of_words([word])


ROOM, EVENT = RoomId("!abc:example.org"), EventId("$Ev-e_nt")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("7", Named(number=7)),
        ("#12", Named(number=12)),
        ("https://matrix.to/#/!abc:example.org/$Ev-e_nt", Named(None, ROOM, EVENT)),
        ("https://matrix.to/#/!abc:example.org/$Ev-e_nt?via=example.org&via=x", Named(None, ROOM, EVENT)),
        ("https://matrix.to/#/%21abc%3Aexample.org/%24Ev-e_nt", Named(None, ROOM, EVENT)),
        ("matrix:roomid/abc:example.org/e/Ev-e_nt?via=example.org", Named(None, ROOM, EVENT)),
        ("https://matrix.to/#/!v12-has-no-domain/$e", Named(None, RoomId("!v12-has-no-domain"), EventId("$e"))),
        ("0", None),
        ("#", None),
        ("12a", None),
        ("1234567890", None),
        ("https://matrix.to/#/@bea:example.org", None),
        ("https://example.org/!a:x/$b", None),
        ("", None),
    ],
)
def test_how_people_name_an_announcement(word: str, meant: Named | None) -> None:
    assert named(word) == meant


def test_jobs_of_other_places_are_other_jobs() -> None:
    school = CommunityId("school")
    places: list[Any] = ["", "chess", "@bea:example.org"]
    assert len({Target(school, ROOM, place).job_of("a") for place in places}) == 3
    assert Target(school, ROOM).job_of("a") == "announce-a-school"


def test_the_first_words_stand_on_one_line() -> None:
    assert first_words([]) == ""
    assert first_words([{"body": "School\n\nis  closed"}]) == "School is closed"
    shown = first_words([{"body": "word " * 40}])
    assert len(shown) <= 60
    assert shown.endswith("…")
