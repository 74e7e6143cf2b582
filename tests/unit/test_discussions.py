"""The link below an announcement, put there and taken off; and the words that a thread begins with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcements import Kind, named
from bridge.core.discussions import LONGEST_BYTES, MOST_WORDS, carries, permalink, with_link, without_link, words_of
from bridge.core.files import quiet
from bridge.core.ids import EventId, RoomId
from bridge.core.rendering import render
from bridge.core.texts import discuss_here

ROOM, EVENT = RoomId("!Th3_room-id"), EventId("$the_event-id")
LINK = permalink(ROOM, EVENT, "example.org")
PICTURE = {"msgtype": "m.image", "body": "map.png", "filename": "map.png", "file": {"url": "mxc://a/b"}}


@given(st.text(max_size=400))
def test_what_was_put_below_comes_off_again(text: str) -> None:
    before = render(f"News {text}")
    after = with_link(before, discuss_here(), LINK)
    assert carries(after)
    assert LINK in after["body"]
    assert without_link(after) == before
    assert without_link(before) == before


@pytest.mark.parametrize("caption", ["", "Where we meet"])
def test_of_a_file_it_is_the_caption_or_stands_below_it(caption: str) -> None:
    before = {**PICTURE, **({"body": caption} if caption else {})}
    after = with_link(before, discuss_here(), LINK)
    assert after["filename"] == "map.png"
    assert after["body"].startswith(caption or "Discuss it here:")
    assert without_link(after) == before


def test_it_is_a_link_in_the_formatted_words_and_mentions_nobody() -> None:
    after = with_link(render("**News**"), discuss_here(), LINK)
    assert f'<a href="{LINK}">Discuss it here:</a>' in after["formatted_body"]
    assert after["m.mentions"] == {}


def test_what_would_be_too_long_stays_without() -> None:
    before = {"msgtype": "m.text", "body": "x" * (LONGEST_BYTES - 100)}
    assert with_link(before, discuss_here(), LINK) == before


@pytest.mark.parametrize(
    "content", [{"org.matrix-communities.discussion": 5, "body": "a"}, {"org.matrix-communities.discussion": LINK}, {}]
)
def test_nonsense_is_left_alone(content: dict[str, Any]) -> None:
    assert without_link(content) == content


def test_a_link_names_the_message_and_a_server() -> None:
    found = named(LINK)
    assert found is not None
    assert (found.room_id, found.event_id) == (ROOM, EVENT)
    assert LINK.endswith("?via=example.org")


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        ({"body": "No  school\ntomorrow"}, Kind.TEXT, "No school tomorrow"),
        (with_link({"body": "Short"}, discuss_here(), LINK), Kind.TEXT, "Short"),
        ({"body": "When?\n1 Monday – 3"}, Kind.POLL, "When?"),
        ({"body": "Party\n20 seats"}, Kind.EVENT, "Party"),
        ({"org.matrix.msc1767.text": "Tea or coffee?"}, Kind.TEXT, "Tea or coffee?"),
        (with_link(quiet([PICTURE, {"body": "Come!"}], ROOM)[0], discuss_here(), LINK), Kind.TEXT, "Come!"),
        ({"offer": {}}, Kind.TEXT, ""),
    ],
)
def test_a_thread_begins_with_the_first_words(content: dict[str, Any], kind: Kind, words: str) -> None:
    assert words_of(content, kind) == words


def test_long_words_are_cut() -> None:
    assert len(words_of({"body": "word " * 100})) <= MOST_WORDS
