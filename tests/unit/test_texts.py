"""Every sentence that is shown to people: whole, short enough for a chat, and true to what it is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import texts
from bridge.core.access import Deed

SOURCES = Path(texts.__file__).parents[1]
SENTENCES = {name: value for name, value in vars(texts).items() if name.isupper() and isinstance(value, str)}
FUNCTIONS = {
    name: function
    for name, function in vars(texts).items()
    if inspect.isfunction(function) and function.__module__ == texts.__name__ and not name.startswith("_")
}
STATUS: dict[str, Any] = {
    "id": "school",
    "name": "School",
    "rooms": [{}, {}],
    "members": {"owner": 1, "admin": 2, "moderator": 0, "member": 3},
    "drift": [],
    "held": None,
}


@pytest.mark.parametrize("name", sorted(SENTENCES.keys() | FUNCTIONS.keys()))
def test_every_sentence_is_said_somewhere(name: str) -> None:
    used = re.compile(rf"\btexts\.{name}\b")
    assert any(used.search(path.read_text()) for path in SOURCES.rglob("*.py")), f"nobody says {name}"


@pytest.mark.parametrize("sentence", sorted(SENTENCES.values()))
def test_sentences_are_plain(sentence: str) -> None:
    assert sentence == sentence.strip()
    assert len(sentence) < 400
    for word in ("power level", "M_", "HTTP", "exception", "megolm", "None"):
        assert word not in sentence


def test_help_shows_every_deed_to_whoever_may_announce() -> None:
    text = texts.help_text(["school", "club"])
    for deed in set(Deed) - {Deed.MAKE_LINKS}:  # which the operator does by command, as yet
        assert f"`{deed.value}" in text
    assert "school, club" in text


def test_help_is_honest_to_whoever_may_nothing() -> None:
    assert "`announce" not in texts.help_text([])


def test_status_says_how_it_stands() -> None:
    assert texts.status(STATUS).splitlines() == [
        "School (school): 6 people (1 owner, 2 admins, 3 members), 2 rooms.",
        "Everything is as it should be.",
    ]
    assert "1 person (1 owner)" in texts.status({**STATUS, "members": {"owner": 1}})
    assert "0 people," in texts.status({**STATUS, "members": {}})
    waiting = texts.status({**STATUS, "held": "12ab", "drift": ["space: put back the name"]})
    assert "`apply school 12ab`" in waiting
    assert "- space: put back the name" in waiting


def test_a_held_plan_can_be_agreed_to_by_copying_the_words() -> None:
    text = texts.plan_held("12ab", ["it removes 12 people"], "school", ["@ann:example.org"])
    assert text.startswith("@ann:example.org: ")
    assert "!apply school 12ab" in text
    assert "- it removes 12 people" in text


def test_one_device_is_one_device() -> None:
    assert texts.announced("school", 1) == "Sent to school. 1 device can read it."
    assert texts.announced("school", 0) == "Sent to school. 0 devices can read it."


def _argument(parameter: inspect.Parameter, word: str) -> Any:
    return {"int": 3, "str": word, "Iterable[str]": [word], "Mapping[str, Any]": {**STATUS, "name": word}}[
        str(parameter.annotation)
    ]


@given(st.sampled_from(sorted(FUNCTIONS.items())), st.text())
def test_any_words_make_a_sentence(one: tuple[str, Callable[..., str]], word: str) -> None:
    _, function = one
    arguments = [_argument(parameter, word) for parameter in inspect.signature(function).parameters.values()]
    assert function(*arguments).strip()


@given(st.text(min_size=1))
def test_what_was_not_understood_is_not_repeated_at_length(word: str) -> None:
    assert len(texts.not_understood(word * 1000)) < 150
    assert len(texts.unknown_community(word * 1000, [])) < 200
