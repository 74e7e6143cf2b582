"""The languages that we speak, and how a sentence is said in one of them.

Catalogues are part of the program, as its code is: text files of gettext beside this module, read once. English is what
stands in the code.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NewType

from babel.messages.pofile import read_po

from bridge.core.markup import Marked, literal

Language = NewType("Language", str)
"""A language by its code in ISO 639-1."""

EN, DE = Language("en"), Language("de")
LANGUAGES: tuple[Language, ...] = (EN, DE)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The sentences of one language, by the English ones."""

    sentences: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """One form, or as many as the language has for numbers."""
    form: Callable[[int], int] = lambda count: int(count != 1)


@cache
def catalogue(language: Language) -> Catalogue:
    """The catalogue of a language; an empty one for English, and for a language that we do not speak."""
    if language not in LANGUAGES or language == EN:
        return Catalogue()
    with files("bridge.core").joinpath("locale", f"{language}.po").open("rb") as file:
        read = read_po(file, locale=language, abort_invalid=True)
    sentences = {}
    for message in read:
        if message.id and message.string and not message.fuzzy:
            english = message.id if isinstance(message.id, str) else message.id[0]
            said = message.string
            sentences[english] = (said,) if isinstance(said, str) else tuple(said)
    return Catalogue(sentences, gettext.c2py(read.plural_expr))


def say(language: Language, message: str, **words: object) -> Marked:
    """A sentence in a language, with words put into it; texts among them are quoted, unless their markup is ours.

    A sentence that nobody translated is said in English.
    """
    forms = catalogue(language).sentences.get(message)
    return _filled(forms[0] if forms else message, words)


def say_many(language: Language, one: str, many: str, count: int, **words: object) -> Marked:
    """A sentence about a number of things, which `{count}` stands for."""
    own = catalogue(language)
    forms = own.sentences.get(one)
    if forms is None:
        return _filled(one if count == 1 else many, {**words, "count": count})
    return _filled(forms[min(own.form(count), len(forms) - 1)], {**words, "count": count})


def joined(between: str, parts: list[Marked] | list[str]) -> Marked:
    """Several sentences, or words of others, as one text."""
    return Marked(between.join(part if isinstance(part, Marked) else literal(part) for part in parts))


def _filled(message: str, words: Mapping[str, object]) -> Marked:
    return Marked(message.format_map({name: _quoted(word) for name, word in words.items()}))


def _quoted(word: object) -> object:
    return literal(word) if isinstance(word, str) and not isinstance(word, Marked) else word
