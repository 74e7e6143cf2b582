"""Templates of announcements: texts with fields, and what people write into them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.core.errors import Refused

MOST_TEMPLATES = 100
_FIELD = re.compile(r"\{([^\W\d][\w-]{0,40})\}")
_GIVEN = re.compile(r"(?:(?<=\s)|\A)([^\W\d][\w-]{0,40})=")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»"}


@dataclass(frozen=True, slots=True)
class Template:
    """A text with fields: `{day}`. Other braces are text."""

    name: str
    text: str

    @property
    def fields(self) -> tuple[str, ...]:
        """What has to be filled in, in the order of the text."""
        return tuple(dict.fromkeys(found[1] for found in _FIELD.finditer(self.text)))

    def filled(self, words: str) -> str:
        """The text with its fields filled in, by what somebody wrote: `day=Monday reason=heavy snow`.

        A value goes on to the next field's name, so it may have spaces; in quotes it may have anything.

        Raises:
            Refused: a field is missing, unknown or there twice, or what is written is no field at all.
        """
        given = _read(words)
        known = self.fields
        missing = [name for name in known if name not in given]
        unknown = [name for name in given if name not in known]
        if unknown or missing:
            said = [f"no field {name}" for name in unknown] + [f"{name} is missing" for name in missing]
            raise Refused("; ".join(said), where=f"template {self.name}", remedy=_remedy(self.name, known))
        return _FIELD.sub(lambda found: given[found[1]], self.text)


def _remedy(name: str, fields: tuple[str, ...]) -> str:
    if not fields:
        return "it has no fields: write nothing behind its name"
    return f"write announce --template {name} " + " ".join(f"{field}=…" for field in fields)


def _read(words: str) -> Mapping[str, str]:
    given: dict[str, str] = {}
    at = 0
    words = words.strip()
    while at < len(words):
        found = _GIVEN.match(words, at)
        if found is None:
            raise Refused(f"{words[at : at + 60]!r} is no field", remedy="write the name of a field, = and its value")
        if found[1] in given:
            raise Refused(f"the field {found[1]} is there twice", remedy="write it once")
        given[found[1]], at = _value(words, found.end())
    return given


def _value(words: str, at: int) -> tuple[str, int]:
    """The value that begins there, and where the next field does."""
    closing = _QUOTES.get(words[at : at + 1])
    if closing is not None:
        ends = re.compile(rf"{closing}(?=\s*\Z|\s+[^\W\d][\w-]{{0,40}}=)").search(words, at + 1)
        if ends is not None:
            return words[at + 1 : ends.start()], len(words) - len(words[ends.end() :].lstrip())
    following = _GIVEN.search(words, at)
    end = len(words) if following is None else following.start()
    return words[at:end].strip(), end


def template_of(templates: tuple[Template, ...], name: str) -> Template:
    """The template of that name.

    Raises:
        Refused: there is none; says which there are.
    """
    for template in templates:
        if template.name == name:
            return template
    known = ", ".join(template.name for template in templates) or "none"
    raise Refused(f"there is no template {name[:60]!r}", remedy=f"the configuration has: {known}")
