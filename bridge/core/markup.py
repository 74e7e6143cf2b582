"""The small markup of our own sentences: lists, `code` and **bold**, and words of others that are none of it. Pure.

A sentence is one text. `plain` makes the body of a message of it, `html` its formatted twin (client-server API, section
"m.room.message msgtypes"). What others wrote stands in it between two signs that Unicode has for quoting (first strong
isolate, pop directional isolate), and comes out as it was written, whatever it looks like.
"""

from __future__ import annotations

import re
from html import escape
from itertools import groupby
from urllib.parse import quote

OPEN, CLOSE = "\u2068", "\u2069"
PERSON = "\u2066"
"""Opens a user id, which clients show as the person's name."""

_LITERAL = re.compile(f"([{OPEN}{PERSON}])([^{OPEN}{PERSON}{CLOSE}]*){CLOSE}")
_HOLE = re.compile(f"{OPEN}([0-9]+){CLOSE}")
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")
_SIGNS = re.compile(f"[{OPEN}{PERSON}{CLOSE}]")
_ITEM = "- "


class Marked(str):
    """A text whose markup is ours: it may stand in another sentence without being quoted."""

    __slots__ = ()


def literal(text: str) -> Marked:
    """Words of others, to stand in a sentence of ours: no sign in them is markup."""
    return Marked(f"{OPEN}{_SIGNS.sub('', text)}{CLOSE}")


def mention(user: str) -> Marked:
    """A user id as a link to whom it belongs (client-server API, section "User and room mentions"); notifies nobody."""
    return Marked(f"{PERSON}{_SIGNS.sub('', user)}{CLOSE}")


def plain(text: str) -> str:
    """The body of a message: lists and `code` are readable as they are written, bold has no signs."""
    pieces = []
    at = 0
    for found in _LITERAL.finditer(text):
        pieces += [text[at : found.start()].replace("**", ""), found[2]]
        at = found.end()
    pieces.append(text[at:].replace("**", ""))
    return _SIGNS.sub("", "".join(pieces))


def html(text: str) -> str | None:
    """The formatted twin of a body; None where the text has no markup, so that the body says it all."""
    words: list[tuple[str, str]] = []

    def hole(found: re.Match[str]) -> str:
        words.append((found[1], found[2]))
        return f"{OPEN}{len(words) - 1}{CLOSE}"

    frame = _LITERAL.sub(hole, text)
    lines = frame.split("\n")
    people = any(kind == PERSON for kind, _ in words)
    if not people and not any(line.startswith(_ITEM) for line in lines) and not _INLINE.search(frame):
        return None
    blocks = []
    for is_item, some in groupby(lines, key=lambda line: line.startswith(_ITEM)):
        block = [_inline(line.removeprefix(_ITEM) if is_item else line) for line in some]
        if is_item:
            blocks.append("<ul>" + "".join(f"<li>{line}</li>" for line in block) + "</ul>")
        else:
            paragraphs = "\n".join(block).strip("\n").split("\n\n")
            blocks += [f"<p>{part.strip(chr(10)).replace(chr(10), '<br>')}</p>" for part in paragraphs if part.strip()]
    return _SIGNS.sub("", _HOLE.sub(lambda found: _said(*words[int(found[1])]), "".join(blocks)))


def _said(kind: str, words: str) -> str:
    shown = escape(words).replace("\n", "<br>")
    if kind != PERSON:
        return shown
    words = quote(words, errors="replace")
    return f'<a href="https://matrix.to/#/{words}">{shown}</a>'


def _inline(line: str) -> str:
    return _INLINE.sub(
        lambda found: f"<code>{found[1]}</code>" if found[1] else f"<strong>{found[2]}</strong>", escape(line)
    )
