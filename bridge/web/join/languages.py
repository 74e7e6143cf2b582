"""The languages of the page: catalogues of gettext, read from `locale/*.po` at start."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FOLDER = Path(__file__).parent / "locale"
FALLBACK = "en"
NAMES = {"en": "English", "de": "Deutsch"}
"""Each language's own name for itself, by its code."""


def catalogues() -> dict[str, NullTranslations]:
    """All languages; the sentences in the code are English."""
    found: dict[str, NullTranslations] = {FALLBACK: NullTranslations()}
    for path in sorted(FOLDER.glob("*.po")):
        compiled = io.BytesIO()
        with path.open("rb") as file:
            write_mo(compiled, read_po(file, locale=path.stem, abort_invalid=True))
        compiled.seek(0)
        found[path.stem] = GNUTranslations(compiled)
    return found


def choose(asked: str | None, accepted: str, known: Iterable[str]) -> str:
    """The language to answer in: the one that was asked for, else the best of `Accept-Language`, else English."""
    offered = set(known)
    if asked in offered:
        return str(asked)
    weighed = sorted(_weighed(accepted).items(), key=lambda item: -item[1])
    for tag, weight in weighed:
        language = tag.partition("-")[0].lower()
        if weight > 0 and language in offered:
            return language
    return FALLBACK


def _weighed(header: str) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for part in header.split(",")[:20]:
        tag, _, rest = part.strip().partition(";")
        name, _, value = rest.strip().partition("=")
        try:
            found.setdefault(tag.strip(), float(value) if name.strip() == "q" else 1.0)
        except ValueError:
            continue
    return found
