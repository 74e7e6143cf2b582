"""Threads of announcements in a discussion room: their messages, and the link below an announcement. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import quote

import orjson

from bridge.core import markup
from bridge.core.announcements import Kind, Part, first_words
from bridge.core.files import FILES
from bridge.core.ids import EventId, RoomId

FIELD = "org.matrix-communities.discussion"
"""In the content of an announcement: the link that we put below it, so that it can be told from its words."""
MOST_WORDS = 160
"""Of an announcement, so many characters stand in the message that begins its thread."""
LONGEST_BYTES = 46_000
"""Of an announcement with the link; a longer one goes out without it."""
_FILES = ("m.image", "m.file", "m.audio", "m.video")
_POLL_TEXT = "org.matrix.msc1767.text"


def permalink(room_id: RoomId, event_id: EventId, via: str) -> str:
    """The link of a message (Matrix specification, appendices, "matrix.to navigation").

    Args:
        via: a server that is in the room: ids of rooms of version 12 name none.
    """
    return f"https://matrix.to/#/{quote(room_id)}/{quote(event_id)}?via={quote(via)}"


def with_link(part: Part, said: str, link: str) -> Part:
    """A message with a link in a paragraph below it; of a file that has no words it becomes the caption. The message
    as it is where it would become too long.

    Args:
        said: what stands before the link, in the markup of `core/markup`.
    """
    body = str(part.get("body", ""))
    line = f"{markup.plain(said)} {link}"
    longer: dict[str, Any] = {**part, FIELD: link, "body": f"{body}\n\n{line}"}
    if part.get("msgtype") in _FILES and part.get("filename", body) == body:
        longer |= {"filename": body, "body": line}
    elif isinstance(formatted := part.get("formatted_body"), str):
        shown = escape(markup.plain(said))
        longer["formatted_body"] = f'{formatted}\n<p><a href="{escape(link)}">{shown}</a></p>'
    return longer if len(orjson.dumps(longer)) <= LONGEST_BYTES else part


def carries(part: Part) -> bool:
    """Whether a link of ours stands below a message."""
    return isinstance(part.get(FIELD), str)


def without_link(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The way back from `with_link`."""
    link, body, formatted = content.get(FIELD), content.get("body"), content.get("formatted_body")
    if not isinstance(link, str) or not link or not isinstance(body, str) or not body.endswith(link):
        return content
    bare = {name: value for name, value in content.items() if name != FIELD}
    words, between, _ = body.rpartition("\n\n")
    bare["body"] = words if between else str(content.get("filename", ""))
    if isinstance(formatted, str):
        words, between, last = formatted.rpartition("\n<p>")
        if between and f'href="{escape(link)}"' in last:
            bare["formatted_body"] = words
    return bare


def words_of(content: Mapping[str, Any], kind: Kind = Kind.TEXT) -> str:
    """The first words of an announcement, without its link, and without the files that a quiet copy names below them;
    empty where it has none.

    Of a poll or an event that is its first line: what follows changes with every answer.
    """
    bare = without_link(content)
    body = bare.get("body")
    if not isinstance(body, str):
        said = content.get(_POLL_TEXT)  # a poll that an admin began with their own client
        body = said if isinstance(said, str) else ""
    if isinstance(line := bare.get(FILES), str):
        body = body.removesuffix(f"\n\n{line}")
    if kind in (Kind.POLL, Kind.EVENT):
        body = body.strip().partition("\n")[0]
    return first_words([{"body": body}], MOST_WORDS)


def digest_of_words(words: str) -> str:
    """By which it is known whether a thread has the words of its announcement."""
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def in_thread(part: Part, root: EventId) -> Part:
    """A message in the thread below another one (client-server API, "Threading"); clients without threads show it as a
    reply to that."""
    reply = {"m.in_reply_to": {"event_id": root}, "is_falling_back": True}
    return {**part, "m.relates_to": {"rel_type": "m.thread", "event_id": root, **reply}}
