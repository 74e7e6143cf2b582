"""Texts as messages, files as ours, and templates: for any words."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcement_templates import Template
from bridge.core.errors import Refused
from bridge.core.files import address_of, as_part, caption_of, is_file, name_of, rings, silent, worded
from bridge.core.ids import UserId
from bridge.core.messages import Pill
from bridge.core.rendering import render

ANN, BEA = UserId("@ann:example.org"), UserId("@bea:example.org")
LINK = '<a href="https://matrix.to/#/%40ann%3Aexample.org">Ann</a>'


@pytest.mark.parametrize(("text", "formatted"), [
    ("Ask Ann.", f"<p>Ask {LINK}.</p>"),
    ("Anna, ask **Ann**", f"<p>Anna, ask <strong>{LINK}</strong></p>"),
    ("[Ann](https://example.org), Ann", f'<p><a href="https://example.org">Ann</a>, {LINK}</p>'),
    ("`Ann` https://example.org/Ann", "<p><code>Ann</code> https://example.org/Ann</p>"),
    ("ask @ann:example.org", f"<p>ask {LINK}</p>"),
])  # fmt: skip
def test_whom_a_client_mentions_is_linked_and_mentioned(text: str, formatted: str) -> None:
    content = render(text, [Pill("Ann", ANN)])
    assert content["formatted_body"] == formatted
    assert content["body"] == text
    assert content["m.mentions"] == {"user_ids": [ANN]}


def test_a_link_to_somebody_mentions_them_and_one_to_a_room_nobody() -> None:
    text = (
        "[B](https://matrix.to/#/@bea:example.org?via=x) [r](https://matrix.to/#/!r:x) [w](https://x.org/#/@ann:x.org)"
    )
    assert render(text, [Pill("Ann", ANN)])["m.mentions"] == {"user_ids": [ANN, BEA]}


@given(st.text(), st.lists(st.builds(Pill, st.text(min_size=1), st.sampled_from([ANN, BEA])), max_size=4))
def test_nothing_but_links_comes_of_mentions(text: str, pills: list[Pill]) -> None:
    try:
        with_them, without = render(text, pills), render(text)
    except Refused:
        return
    plain = unescape(re.sub(r"<[^>]*>", "", str(with_them.get("formatted_body", ""))))
    if "formatted_body" in without and "formatted_body" in with_them:
        names = len(plain) - len(unescape(re.sub(r"<[^>]*>", "", str(without["formatted_body"]))))
        assert abs(names) <= sum(max(len(pill.text), len(pill.user)) for pill in pills)
    opened = re.findall(r"<a href=\"([^\"]*)\"", str(with_them.get("formatted_body", "")))
    assert len(opened) <= len(re.findall(r"<a href", str(without.get("formatted_body", "")))) + len(pills)
    assert with_them["body"] == without["body"]


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.dictionaries(st.text(), st.integers()), max_size=8))
def test_whatever_a_client_says_of_a_file_only_known_things_go_along(said: dict[str, Any]) -> None:
    content = {**said, "msgtype": "m.image", "url": "mxc://x/y", "info": said}
    part = as_part(content, {"url": "mxc://ours/1"}, 7)
    assert part.keys() == {"msgtype", "body", "filename", "file", "info", "m.mentions"}
    assert set(part["info"]) <= {"w", "h", "duration", "mimetype", "xyz.amorgan.blurhash", "size"}
    assert part["info"]["size"] == 7
    assert is_file(part)
    assert caption_of(part) == ""
    again = worded([part], "words", ring=True)
    assert caption_of(again[0]) == "@room words"
    assert rings(again)
    assert not rings([silent(again[0])])
    assert worded(again, "")[0] == part


@pytest.mark.parametrize(("content", "name"), [
    ({"body": "a.png"}, "a.png"), ({"body": "words", "filename": "a.png"}, "a.png"), ({}, "file"),
    ({"filename": 7}, "file"), ({"filename": "../../etc/passwd\n"}, "....etcpasswd"), ({"body": "\u202e"}, "file"),
    ({"body": "x" * 500 + ".pdf"}, "x" * 196 + ".pdf"),
])  # fmt: skip
def test_what_a_file_is_called(content: dict[str, Any], name: str) -> None:
    assert name_of(content) == name


@pytest.mark.parametrize("content", [
    {"msgtype": "m.image"}, {"msgtype": "m.image", "file": {}}, {"msgtype": "m.image", "url": 7},
    {"msgtype": "m.text", "url": "mxc://x/y"}, {"msgtype": ["m.image"], "url": "mxc://x/y"},
    {"msgtype": "m.file", "url": "x" * 1000}, {"msgtype": "m.image", "file": {}, "url": "mxc://x/y"},
])  # fmt: skip
def test_what_is_no_file(content: dict[str, Any]) -> None:
    assert not is_file(content)
    assert address_of({"thumbnail_url": "mxc://x/y"}, "thumbnail_") is not None


NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\"“”„«»='", exclude_categories=["Cs", "Cc"])).map(str.strip)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=5), st.booleans())
def test_a_template_is_filled_with_what_was_written(given_: dict[str, str], quoted: bool) -> None:
    template = Template("t", " | ".join(f"{{{name}}}" for name in given_))
    sign = '"' if quoted else ""
    words = " ".join(f"{name}={sign}{value}{sign}" for name, value in given_.items())
    assert template.filled(words) == " | ".join(given_.values())


@pytest.mark.parametrize(("words", "said"), [
    ("", "day is missing"), ("day=1 day=2", "there twice"), ("day=1 hour=2", "no field hour"), ("Monday", "no field"),
])  # fmt: skip
def test_fields_that_are_not_the_templates_are_refused(words: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        Template("t", "On {day}, {not a field}, {}").filled(words)
