"""What becomes of an announcement that was sent: the contents of its edits and repeats, and which pins stay. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from bridge.core.announcements import Part, first_words, with_line
from bridge.core.files import FILES
from bridge.core.ids import EventId
from bridge.core.markup import literal

LONGEST_EDIT_BYTES = 46_000
"""An edit says everything twice, for clients that know no edits; beyond this length it says it once."""

PIN_SECONDS = 7 * 86_400
"""For how long an announcement is pinned where nobody says."""
LONGEST_PIN_SECONDS = 366 * 86_400

_FILES = frozenset({"m.image", "m.file", "m.audio", "m.video"})
_TEXT = ("body", "format", "formatted_body")
_KEPT = (
    "msgtype", "body", "format", "formatted_body", "file", "url", "info", "filename", "geo_uri",
    "org.matrix.msc1767.audio", "org.matrix.msc3245.voice",
)  # fmt: skip
"""What is taken over of a message that is announced again. Not what it mentions, answers or replaces."""


def reworded(before: Mapping[str, Any], words: Part) -> dict[str, Any]:
    """A message with other words: a text becomes them, a file keeps itself and has them as its caption
    (client-server API, "Media captions"). A copy that rings nobody goes on doing so, and on naming its files.
    """
    if before.get("msgtype") == "m.notice":
        line = before.get(FILES)
        quiet = {**words, "msgtype": "m.notice", "m.mentions": {}}
        return {**with_line(quiet, literal(line)), FILES: line} if isinstance(line, str) else quiet
    if before.get("msgtype") not in _FILES:
        return dict(words)
    kept = {name: value for name, value in before.items() if name not in (*_TEXT, "m.relates_to", "m.new_content")}
    name = before.get("filename", before.get("body", ""))
    said = {name: words[name] for name in _TEXT if name in words}
    return {**kept, "filename": name, **said, "m.mentions": words.get("m.mentions", {})}


def replacement(event_id: EventId, content: Part, before: Part | None = None) -> dict[str, Any]:
    """The content that puts `content` in the place of a message (client-server API, "Event replacements"). It notifies
    whom it mentions and the message did not ("Mentioning the replacement").

    Args:
        before: what the message says by now.

    Clients that know no edits show its fallback: all of it, or its first words where twice the text would not fit one
    encrypted event.
    """
    relation = {"m.new_content": dict(content), "m.relates_to": {"rel_type": "m.replace", "event_id": event_id}}
    mentions = _newly_mentioned(content, before or {})
    whole = {**content, "body": f"* {content['body']}", "m.mentions": mentions, **relation}
    if "formatted_body" in content:
        whole["formatted_body"] = f"* {content['formatted_body']}"
    if len(orjson.dumps(whole)) <= LONGEST_EDIT_BYTES:
        return whole
    return {"msgtype": "m.text", "body": f"* {first_words([content], 200)}", "m.mentions": mentions, **relation}


def _newly_mentioned(content: Part, before: Part) -> dict[str, Any]:
    now, then = _mentions(content), _mentions(before)
    people = [user for user in _people(now) if user not in _people(then)]
    room = now.get("room") is True and then.get("room") is not True
    return {**({"user_ids": people} if people else {}), **({"room": True} if room else {})}


def _mentions(content: Part) -> Mapping[str, Any]:
    mentions = content.get("m.mentions")
    return mentions if isinstance(mentions, Mapping) else {}


def _people(mentions: Mapping[str, Any]) -> list[Any]:
    people = mentions.get("user_ids")
    return people if isinstance(people, list) else []


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two messages say the same."""
    return all(one.get(name) == other.get(name) for name in _KEPT)


def repeated(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """A message as it can be announced once more: with its file and that file's key, and mentioning nobody.

    None for what is no message that says anything by itself.
    """
    if not isinstance(content.get("msgtype"), str) or not isinstance(content.get("body"), str):
        return None
    return {**{name: content[name] for name in _KEPT if name in content}, "m.mentions": {}}


class Stage(StrEnum):
    """How far one of our pins has come."""

    WANTED = "wanted"
    PLACING = "placing"
    """It is about to be written, or was."""
    PLACED = "placed"
    LEAVING = "leaving"
    """It is to be taken away, by whomever it was pinned."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A message that is to be pinned in a room."""

    event_id: EventId
    until: int
    """In milliseconds since 1970."""
    at: int
    """When it was asked for."""
    stage: Stage


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a room's pinned messages should be, and what is to be noted of ours."""

    events: tuple[EventId, ...]
    placing: tuple[EventId, ...]
    """To be noted as `PLACING` before they are written, and as `PLACED` afterwards."""
    gone: tuple[EventId, ...]
    """To be forgotten once it is written."""


def pinned(now: Sequence[EventId], ours: Sequence[Pin], at: int, most: int) -> Pinned:
    """The list with our pins in it that still hold, and without those that do not.

    What others pinned stays, also if it is what we were asked to pin; what they took away stays away. Of ours the
    newest `most` stay.

    Args:
        now: the room's `m.room.pinned_events`.
        at: the time, in milliseconds since 1970.
    """
    others = {pin.event_id for pin in ours if pin.stage is Stage.WANTED and pin.event_id in now}
    removed = {pin.event_id for pin in ours if pin.stage is Stage.PLACED and pin.event_id not in now}
    alive = [
        pin
        for pin in ours
        if pin.event_id not in others | removed and pin.stage is not Stage.LEAVING and pin.until > at
    ]
    stay = {pin.event_id for pin in sorted(alive, key=lambda pin: (pin.at, pin.event_id))[-most:] if most}
    gone = tuple(pin.event_id for pin in ours if pin.event_id not in stay)
    away = set(gone) - others
    new = tuple(pin.event_id for pin in ours if pin.event_id in stay and pin.stage is not Stage.PLACED)
    events = [event for event in now if event not in away]
    return Pinned((*events, *(event for event in new if event not in events)), new, gone)
