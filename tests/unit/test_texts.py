"""Every sentence that is shown to people: whole, short enough for a chat, and true to what it is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import texts
from bridge.core.announcements import Missed
from bridge.core.community import Role
from bridge.core.languages import EN, LANGUAGES, Language
from bridge.core.markup import html, plain

TOPICS = sorted(Path(texts.__file__).parent.glob("[!_]*.py"))
SOURCES = Path(texts.__file__).parents[2]
FUNCTIONS = {name: getattr(texts, name) for name in texts.__all__ if inspect.isfunction(getattr(texts, name))}
DEFINED = [name for path in TOPICS for name in re.findall(r"^def ([a-z]\w*)", path.read_text(), re.MULTILINE)]
STATUS: dict[str, Any] = {
    "id": "school",
    "name": "School",
    "rooms": [{}, {}],
    "members": {"owner": 1, "admin": 2, "moderator": 0, "member": 3},
    "drift": [],
    "held": None,
}
LINK: dict[str, Any] = {
    "community": "school",
    "url": "https://join.example.org/join/abc",
    "uses": 5,
    "used": 2,
    "expires_at": 1_790_000_000_000,
    "needs_approval": True,
    "revoked": 1,
}
PERSON: dict[str, Any] = {
    "role": Role.ADMIN,
    "groups": ["chess"],
    "moderates": ["chess"],
    "state": "join",
    "tags": ["teacher"],
    "since": 1_790_000_000_000,
    "how": "link",
    "by": "@ann:example.org",
    "detail": "k3x9",
}
TAG: dict[str, Any] = {"name": "teacher", "people": 2, "declared": True}
ANNOUNCED: dict[str, Any] = {
    "number": 7,
    "at": 1_790_000_000_000,
    "author": "@ann:example.org",
    "waiting": 1,
    "failed": 1,
    "withdrawn_at": 1_790_000_000_000,
}
REACHED: dict[str, Any] = {
    "number": 7,
    "at": 1_790_000_000_000,
    "author": "@ann:example.org",
    "invited": 1,
    "joined": 5,
    "people": 6,
    "delivered": None,
    "read": 3,
    "reacted": 2,
    "reactions": {"👍": 2},
    "read_by": ["@ann:example.org"],
    "reacted_by": {"👍": ["@bea:example.org"]},
    "confirmed": ["@ann:example.org"],
    "waiting": [f"@user-{number}:example.org" for number in range(5)],
    "withdrawn": ["@user-1:example.org"],
    "left": 2,
    "closed": True,
}

SCHEDULED: dict[str, Any] = {
    "number": 3,
    "community": "school",
    "author": "@ann:example.org",
    "words": "every monday at 8",
    "zone": "Europe/Berlin",
    "recurring": True,
    "runs": [1_790_000_000_000, 1_790_600_000_000],
    "beginning": "word",
    "text": "word",
}
HAPPENING: dict[str, Any] = {
    "number": 3,
    "title": "Party",
    "when": "2026-07-04 18:30 CEST",
    "place": "School yard",
    "cancelled": False,
    "coming": 2,
}


POLLED: dict[str, Any] = {
    "number": 3,
    "question": "word",
    "people": 2,
    "hidden": True,
    "open": True,
    "withdrawn": False,
    "native": False,
    "closes": "2026-12-24 18:30",
}


@pytest.mark.parametrize("name", sorted(DEFINED))
def test_every_sentence_is_said_somewhere(name: str) -> None:
    used = re.compile(rf"\btexts\.{name}\b")
    inside = re.compile(rf"[^.\w]{name}\(")
    found = any(used.search(path.read_text()) for path in SOURCES.rglob("*.py"))
    assert found or sum(len(inside.findall(path.read_text())) for path in TOPICS) > 1, f"nobody says {name}"


def test_no_two_sentences_have_one_name() -> None:
    assert len(DEFINED) == len(set(DEFINED))
    assert set(FUNCTIONS) <= set(DEFINED)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_sentences_are_plain(name: str, language: Language) -> None:
    said = _said(FUNCTIONS[name], "word", language)
    assert said == said.strip() != ""
    assert len(said) < 800
    for word in ("power level", "M_", "HTTP", "exception", "megolm", "None", "{", "}"):
        assert word not in said


def test_help_shows_what_there_is() -> None:
    text = texts.help_list([("thaw [community]", "lifts a lock"), ("help", "shows this")], ["school", "club"])
    assert plain(text) == (
        "You can write to me:\n- `thaw [community]` – lifts a lock\n- `help` – shows this\n\n"
        "Write `help` and a command or word of these to see more. Your communities here: school, club."
    )
    assert "<li><code>thaw [community]</code> – lifts a lock</li>" in str(html(text))


def test_status_says_how_it_stands() -> None:
    assert plain(texts.status(STATUS)).splitlines() == [
        "School (school): 6 people (1 owner, 2 admins, 3 members), 2 rooms.",
        "Everything is as it should be.",
    ]
    assert "1 person (1 owner)" in plain(texts.status({**STATUS, "members": {"owner": 1}}))
    assert "0 people," in plain(texts.status({**STATUS, "members": {}}))
    waiting = plain(texts.status({**STATUS, "held": "12ab", "drift": ["space: put back the name"]}))
    assert "`apply school 12ab`" in waiting
    assert "- space: put back the name" in waiting


def test_a_held_plan_can_be_agreed_to_by_copying_the_words() -> None:
    text = plain(texts.plan_held("12ab", ["it removes 12 people"], "school", ["@ann:example.org"]))
    assert text.startswith("@ann:example.org: ")
    assert "!apply school 12ab" in text
    assert "- it removes 12 people" in text


def test_a_link_says_what_it_is_and_how_far_it_is_used() -> None:
    link = {**LINK, "id": "k3x9", "role": Role.MEMBER, "groups": ["chess"]}
    assert plain(texts.link_made({**link, "revoked": 2})).splitlines() == [
        "This link leads into school. I cannot show it again:",
        "https://join.example.org/join/abc",
        "`k3x9` – used by 2 of 5 – until 2026-09-21 14:13 UTC – an admin has to agree – Groups: chess",
        "2 links were taken back.",
    ]
    endless = {**link, "uses": None, "used": 1, "expires_at": None, "needs_approval": False, "groups": []}
    assert plain(texts.link_line({**endless, "role": Role.ADMIN})) == "`k3x9` – used by 1 person – makes people admin"


BERLIN = ZoneInfo("Europe/Berlin")
AT = 1_790_000_000_000
"""14:13 in UTC."""


@pytest.mark.parametrize(
    "told",
    [
        lambda *zone: texts.announcements_listed([{**REACHED, **ANNOUNCED, "at": AT}], *zone),
        lambda *zone: texts.reach_shown({**REACHED, "at": AT}, *zone[1:]),
        lambda *zone: texts.reach_listed([{**REACHED, "at": AT}], *zone),
        lambda *zone: texts.withdraw_caution(1, AT, "operator", 1, *zone[1:]),
        lambda *zone: texts.announcement_pinned(1, AT, *zone[1:]),
        lambda *zone: texts.digest_on("school", AT, *zone[1:]),
        lambda *zone: texts.digest("school", [(1, AT, "Hello", "link")], *zone[1:]),
        lambda *zone: texts.digest_email_on("me@example.org", AT, *zone[1:]),
        lambda *zone: texts.digest_text("school", [(1, AT, "Hello", "link")], "link", *zone[1:]),
        lambda *zone: texts.link_made({**LINK, "id": "k3x9", "groups": [], "role": Role.MEMBER}, *zone[1:]),
        lambda *zone: texts.link_line({**LINK, "id": "k3x9", "groups": [], "role": Role.MEMBER}, *zone[1:]),
        lambda *zone: texts.who({**PERSON, "user": "@bob:example.org", "since": AT}, *zone),
    ],
)
def test_times_are_those_of_the_community(told: Callable[..., str]) -> None:
    assert "2026-09-21 14:13 UTC" in plain(told("school", EN))
    there = plain(told("school", EN, BERLIN))
    assert "2026-09-21 16:13 CEST" in there
    assert "UTC" not in there


def test_one_device_is_one_device() -> None:
    assert plain(texts.announced("school", 1)) == "Sent to school. 1 device can read it."
    assert plain(texts.announced("school", 0)) == "Sent to school. 0 devices can read it."


def _argument(parameter: inspect.Parameter, word: str, language: Language) -> Any:
    return {
        "int": 3,
        "str": word,
        "bool": True,
        "str | None": word,
        "Role": Role.OWNER,
        "Language": language,
        "tzinfo": UTC,
        "Iterable[str]": [word],
        "Sequence[str]": [word],
        "Iterable[tuple[str, str]]": [(word, word)],
        "Sequence[tuple[str, str]]": [(word, word)],
        "Mapping[str, Any] | None": SCHEDULED,
        "Sequence[tuple[Missed, int]]": [(why, 2) for why in Missed],
        "Missed": Missed.DECLINED,
        "Sequence[tuple[int, int, str, str]]": [
            (7, 1_790_000_000_000, word, "https://x/b"),
            (8, 0, "", "https://x/c"),
        ],
        "tuple[int, int, int]": (2, 3, 1),
        "Sequence[tuple[str, str, int]]": [(word, word, 0), (word, word, 1)],
        "Sequence[tuple[str, str, str, bool]]": [(word, word, "open", True)],
        "Sequence[tuple[str, str, bool]]": [("rules", word, False), ("welcome", "", True)],
        "Mapping[str, Any]": {**STATUS, "name": word, **LINK, **PERSON, **REACHED, **SCHEDULED, "user": word},
        "Sequence[Mapping[str, Any]]": [
            {
                **LINK,
                "id": "abc",
                **PERSON,
                **TAG,
                **REACHED,
                **ANNOUNCED,
                **SCHEDULED,
                **POLLED,
                "user": word,
                **HAPPENING,
                "title": word,
                "place": word,
            }
        ],
    }[str(parameter.annotation)]


def _said(function: Callable[..., Any], word: str, language: Language) -> str:
    arguments = [_argument(one, word, language) for one in inspect.signature(function).parameters.values()]
    said = function(*arguments)
    return plain(said.purpose if isinstance(said, texts.Explained) else said)


@given(st.sampled_from(sorted(FUNCTIONS)), st.text(), st.sampled_from(LANGUAGES))
def test_any_words_make_a_sentence(name: str, word: str, language: Language) -> None:
    assert _said(FUNCTIONS[name], word, language).strip() or not word.strip(". ").strip()


@given(st.text(min_size=1))
def test_what_was_not_understood_is_not_repeated_at_length(word: str) -> None:
    assert len(texts.not_understood(word * 1000)) < 150
    assert len(texts.unknown_community(word * 1000, [])) < 200


def test_what_was_found_in_rooms_is_no_markup() -> None:
    text = texts.report(["a room **named** `so` <b>"])
    assert plain(text) == "- a room **named** `so` <b>"
    assert html(text) == "<ul><li>a room **named** `so` &lt;b&gt;</li></ul>"


def test_a_remedy_that_asks_ends_with_its_question_mark() -> None:
    assert plain(texts.refused("", "that is nobody", "did you mean `group:choir`?")).endswith(
        "nobody. Did you mean `group:choir`?"
    )
    assert plain(texts.refused("here", "that is nobody", "name one")) == "here: that is nobody. Name one."
