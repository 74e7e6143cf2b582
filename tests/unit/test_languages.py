"""Every sentence is said in every language, about the same things; and words of others are no markup."""

from __future__ import annotations

import re
import string
from html import unescape
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import languages, texts
from bridge.core.languages import DE, EN, LANGUAGES, Language, joined, say, say_many
from bridge.core.markup import CLOSE, OPEN, PERSON, html, literal, mention, plain

OTHERS = [language for language in LANGUAGES if language != EN]
LOCALE = Path(languages.__file__).parent / "locale"
TOPICS = sorted(Path(texts.__file__).parent.glob("*.py"))


def found_in_the_code() -> list[str | tuple[str, ...]]:
    """Every sentence of the code, as often as it is said."""
    keywords = {"say": (2,), "say_many": (2, 3)}
    return [
        message for path in TOPICS for _, message, _, _ in extract_from_file("python", str(path), keywords=keywords)
    ]


def sentences() -> set[tuple[str, ...]]:
    """Every sentence of the code, one form or two."""
    return {forms(message) for message in found_in_the_code()}


def catalogue(language: Language) -> Catalog:
    with (LOCALE / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def forms(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_sentence_is_said_by_its_words_and_nothing_else() -> None:
    """`say` with a sentence that is put together would not be found, and not be translated."""
    source = "".join(path.read_text() for path in TOPICS)
    assert len(re.findall(r"\bsay(?:_many)?\(", source)) == len(found_in_the_code())


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_has_a_translation_and_no_other_has(language: Language) -> None:
    translated = {forms(message.id) for message in catalogue(language) if message.id}
    assert translated == sentences()


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_is_about_the_same_things(language: Language) -> None:
    for message in catalogue(language):
        if not message.id:
            continue
        assert not message.fuzzy
        said = forms(message.string)
        assert len(said) == (1 if isinstance(message.id, str) else catalogue(language).num_plurals), message.id
        for form in said:
            assert form.strip() == form != "", message.id
            assert placeholders(form) == placeholders(forms(message.id)[0]), message.id
            assert form.count("`") == forms(message.id)[0].count("`"), message.id


def test_a_language_is_spoken() -> None:
    assert say(DE, "The lock is lifted.") == "Die Sperre ist aufgehoben."
    assert say(EN, "The lock is lifted.") == "The lock is lifted."
    assert plain(say_many(DE, "{count} room", "{count} rooms", 1)) == "1 Raum"
    assert plain(say_many(DE, "{count} room", "{count} rooms", 0)) == "0 Räume"
    assert say(DE, "Nobody translated {this}.", this=1) == "Nobody translated 1."
    assert texts.thawed(DE) != texts.thawed()


# --- markup -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "body", "formatted"), [
    ("Just words", "Just words", None),
    ("Write `help` now", "Write `help` now", "<p>Write <code>help</code> now</p>"),
    ("**Bold** words", "Bold words", "<p><strong>Bold</strong> words</p>"),
    ("Two:\n- a\n- b\n\nEnd", "Two:\n- a\n- b\n\nEnd", "<p>Two:</p><ul><li>a</li><li>b</li></ul><p>End</p>"),
    ("`a`\nb\n\nc", "`a`\nb\n\nc", "<p><code>a</code><br>b</p><p>c</p>"),
    ("`a` < & b", "`a` < & b", "<p><code>a</code> &lt; &amp; b</p>"),
    (f"`x` {literal('**no** `no` <b>')}", "`x` **no** `no` <b>", "<p><code>x</code> **no** `no` &lt;b&gt;</p>"),
    ("- " + literal("a\n- b"), "- a\n- b", "<ul><li>a<br>- b</li></ul>"),
    (
        f"Hi {mention('@a/b:c.org')}", "Hi @a/b:c.org",
        '<p>Hi <a href="https://matrix.to/#/%40a/b%3Ac.org">@a/b:c.org</a></p>',
    ),
])  # fmt: skip
def test_markup(text: str, body: str, formatted: str | None) -> None:
    assert plain(text) == body
    assert html(text) == formatted


NASTY = st.text(st.sampled_from(f"*`-<>&\"' \nab\\{OPEN}{CLOSE}{PERSON}\ue000\ue0011")) | st.text()


@given(NASTY)
def test_words_of_others_come_out_as_they_were_written(word: str) -> None:
    kept = re.sub(f"[{OPEN}{CLOSE}{PERSON}]", "", word)
    text = joined(" ", [say(EN, "`x` says {word} **y**", word=word)])
    assert plain(text) == f"`x` says {kept} y"
    formatted = html(text)
    assert formatted is not None
    start, end = "<p><code>x</code> says ", " <strong>y</strong></p>"
    assert formatted.startswith(start)
    assert formatted.endswith(end)
    inside = formatted.removeprefix(start).removesuffix(end)
    assert not re.search(r"<(?!br>)", inside)
    assert unescape(inside.replace("<br>", "\n")) == kept


@given(NASTY)
def test_any_text_can_be_shown(text: str) -> None:
    assert not re.search(f"[{OPEN}{CLOSE}{PERSON}]", plain(text))
    formatted = html(text)
    if formatted is not None:
        pairs = "p|ul|li|code|strong|a"
        known = rf'</?(?:{pairs})>|<br>|<a href="https://matrix\.to/#/[^"<>]*">'
        assert not [tag for tag in re.findall(r"<[^>]*>", formatted) if not re.fullmatch(known, tag)]
