"""A text in Markdown as the content of a message: what an announcement says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import unescape
from typing import Any
from urllib.parse import quote, unquote

import orjson
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bridge.core.errors import Refused
from bridge.core.ids import UserId, parse_user_id
from bridge.core.messages import Pill

LONGEST_TEXT_BYTES = 40_000
"""A body and its formatted twin, as JSON, have to fit an encrypted event of 64 KiB, in base64."""
RING = "@room"
"""What a text says that rings everybody: older clients go by it, newer ones by `m.mentions`."""

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True})
_PERSON_LINK = re.compile(r'<a href="https://matrix\.to/#/([^"?]{1,600})(?:\?[^"]*)?"')


def render(text: str, pills: Iterable[Pill] = (), *, ring: bool = False) -> dict[str, Any]:
    """The message content of a Markdown text: plain body, and where it has any markup its HTML.

    Raw HTML in the text stays text, so nothing but what Markdown makes reaches `formatted_body`. What no database and
    no homeserver takes (NUL, half characters) is left out or replaced. Whoever is linked to by `matrix.to` is mentioned
    (client-server API, "User and room mentions"), and nobody else: `@room` rings nobody by itself.

    Args:
        pills: the people whom its author mentioned; their names in the text become links to them.
        ring: whether everybody is to be notified, by `m.mentions` and by `@room` in the text.

    Raises:
        Refused: empty, or too long for one encrypted event.
    """
    body = text.replace("\0", "").encode(errors="replace").decode().strip()
    if not body:
        raise Refused("there is no text to announce", remedy="write the text behind the name of the community")
    _must_fit(len(body.encode()))
    if ring and RING not in body:
        body = f"{RING} {body}" if body[0].isalpha() else f"{RING}\n\n{body}"  # a list stays a list
    pills = list(pills)
    html = _html(body, pills)
    people = dict.fromkeys([*(pill.user for pill in pills), *_linked_people(html)])
    content: dict[str, Any] = {"msgtype": "m.text", "body": body, "m.mentions": _mentions(list(people), ring=ring)}
    if html != f"<p>{_escaped(body)}</p>":
        content |= {"format": "org.matrix.custom.html", "formatted_body": html}
    _must_fit(len(orjson.dumps(content)))
    return content


def _mentions(people: list[UserId], *, ring: bool) -> dict[str, Any]:
    return {**({"user_ids": people} if people else {}), **({"room": True} if ring else {})}


def _must_fit(size: int) -> None:
    if size > LONGEST_TEXT_BYTES:
        raise Refused(
            f"the text is too long: {size:,} bytes with its formatting, and {LONGEST_TEXT_BYTES:,} fit one message",
            remedy="shorten it, or send it in parts",
        )


def _html(body: str, pills: list[Pill]) -> str:
    tokens = _MARKDOWN.parse(body)
    waiting = list(pills)
    for token in tokens:
        if token.type == "inline" and token.children and waiting:
            token.children = list(_with_links(token.children, waiting))
    html: str = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return html.strip()


def _with_links(tokens: Iterable[Token], waiting: list[Pill]) -> Iterable[Token]:
    """The same text, with links in the place of the names of those who are mentioned; none within another link."""
    depth = 0
    for token in tokens:
        depth += {"link_open": 1, "link_close": -1}.get(token.type, 0)
        if token.type == "text" and depth == 0:
            yield from _split(token.content, waiting)
        else:
            yield token


def _split(text: str, waiting: list[Pill]) -> Iterable[Token]:
    for pill in list(waiting):
        found = _name_in(text, pill)
        if found is not None:
            waiting.remove(pill)
            link = f'<a href="https://matrix.to/#/{quote(pill.user)}">{_escaped(pill.text)}</a>'
            yield Token("text", "", 0, content=text[: found.start()])
            yield Token("html_inline", "", 0, content=link)
            text = text[found.end() :]
    yield Token("text", "", 0, content=text)


def _name_in(text: str, pill: Pill) -> re.Match[str] | None:
    """Where somebody's name stands in a text as a word of its own; clients write their name or their id."""
    for name in (pill.text, str(pill.user)):
        found = re.search(rf"(?<![\w/.:@-]){re.escape(name)}(?![\w/])", text)
        if name and found is not None:
            return found
    return None


def _linked_people(html: str) -> Iterable[UserId]:
    for found in _PERSON_LINK.finditer(html):
        try:
            yield parse_user_id(unquote(unescape(found[1])))
        except ValueError:
            continue  # a link to a room


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
