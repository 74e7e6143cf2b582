"""Reading and writing JSON that was made to be unreadable.

A member can nest an event so deep that a decoder refuses it, and with it the whole transaction that it travels in. The
homeserver would send that transaction again and again, and nothing else. So what cannot be decoded is taken apart: the
events around it are read as ever, and of itself the members that can be read.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

import orjson

log = logging.getLogger(__name__)

LEVELS = 4
"""Transaction, list of events, event, content: what lies below is not ours to save."""

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)
_LOOKS_LIKE_JSON = re.compile(rb'[\[{"\-0-9]')
_OPEN = b"[{"


class _Lost:
    """Stands for a value that cannot be read."""


LOST: Final = _Lost()


class NotJson(ValueError):
    """Not a JSON object at all."""


def loads(raw: bytes) -> dict[str, Any]:
    """Decode a JSON object, leaving out what no decoder can read.

    Raises:
        NotJson: with a sentence that says what it is instead.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        try:
            value = _salvage(raw.strip(), LEVELS)
        except NotJson:
            raise NotJson(f"the body is not JSON: {error}") from error
        log.warning("part of a transaction cannot be decoded and was left out: %s", error)
    if not isinstance(value, dict):
        raise NotJson("the body is not a JSON object")
    return value


def dumps(event: dict[str, Any]) -> bytes:
    """Encode an event, leaving out the members that the encoder refuses (it nests less deep than the decoder)."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return orjson.dumps({key: kept for key, value in event.items() if (kept := _encodable(value)) is not LOST})


def _encodable(value: Any) -> Any:
    if _encodes([value]):
        return value
    if isinstance(value, dict):
        return {key: member for key, member in value.items() if _encodes([{key: member}])}
    return LOST


def _encodes(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _salvage(raw: bytes, levels: int) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        if not _LOOKS_LIKE_JSON.match(raw):
            raise NotJson from None
    if levels == 0 or raw[0] not in _OPEN:
        return LOST
    if raw[0] == ord("["):
        items = (_salvage(part, levels - 1) for part in _split(raw))
        return [item for item in items if item is not LOST]
    members = {}
    for part in _split(raw):
        key, value = _member(part, levels)
        if key is not LOST and value is not LOST:
            members[key] = value
    return members


def _member(part: bytes, levels: int) -> tuple[Any, Any]:
    token = _TOKEN.match(part)
    if token is None or token[0][0] != ord('"'):
        raise NotJson
    colon = part[token.end() :].lstrip()
    if not colon.startswith(b":"):
        raise NotJson
    return _salvage(token[0], 0), _salvage(colon[1:].strip(), levels - 1)


def _split(raw: bytes) -> list[bytes]:
    """The comma-separated parts of an object or a list, which has to close where it ends."""
    parts = []
    depth = 0
    begin = 1
    for token in _TOKEN.finditer(raw):
        mark = token[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth == 0 and token.end() != len(raw):
                raise NotJson
        elif mark == b"," and depth == 1:
            parts.append(raw[begin : token.start()].strip())
            begin = token.end()
    if depth != 0:
        raise NotJson
    last = raw[begin:-1].strip()
    return [*parts, last] if last or parts else []
