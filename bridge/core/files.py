"""Files within messages: which message carries one, and the same file in a message of ours. Pure.

What others wrote about a file is taken over field by field, so that nothing goes out that nobody looked at.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bridge.core.announcements import Part, with_line
from bridge.core.ids import RoomId
from bridge.core.markup import literal
from bridge.core.messages import Pill
from bridge.core.rendering import RING, render

KINDS = ("m.image", "m.file", "m.audio", "m.video")
MOST_FILES = 10
"""In one announcement."""
TOGETHER_MS = 60_000
"""Files that somebody sent one after the other, no longer apart than this, belong together."""
LONGEST_NAME = 200
FILES = "org.matrix-communities.files"
"""In a quiet copy of an announcement: the line below its text that names its files and says where they are."""
_SAID = ("body", "format", "formatted_body")
_VOICE, _AUDIO = "org.matrix.msc3245.voice", "org.matrix.msc1767.audio"
_NUMBERS = ("w", "h", "duration")
_WORDS = ("mimetype", "xyz.amorgan.blurhash")
_MOST_WAVES, _LONGEST_WORD = 1_000, 200


@dataclass(frozen=True, slots=True)
class Address:
    """Where a file lies, and how it is opened where it is encrypted (client-server API, `EncryptedFile`)."""

    url: str
    file: Mapping[str, Any] | None = None


def is_file(content: Mapping[str, Any]) -> bool:
    """Whether the content of an `m.room.message` is that of a file of some kind, and says where it lies."""
    return content.get("msgtype") in KINDS and address_of(content) is not None


def address_of(content: Mapping[str, Any], name: str = "") -> Address | None:
    """Where a file lies, by the content or the `info` that speaks of it.

    Args:
        name: what stands before `file` and `url`: `thumbnail_` for the preview of a picture.
    """
    file, url = content.get(f"{name}file"), content.get(f"{name}url")
    if isinstance(file, Mapping):
        url = file.get("url")
    if not isinstance(url, str) or len(url) > LONGEST_NAME * 2:
        return None
    return Address(url, file if isinstance(file, Mapping) else None)


def thumbnail_of(content: Mapping[str, Any]) -> Address | None:
    """Where the small picture of a file lies, where it has one."""
    return address_of(_object(content.get("info")), "thumbnail_")


def caption_of(content: Mapping[str, Any]) -> str:
    """What somebody wrote under a file, empty where nothing (client-server API, section "Media captions")."""
    name, body = content.get("filename"), content.get("body")
    return body if isinstance(name, str) and isinstance(body, str) and body != name else ""


def name_of(content: Mapping[str, Any]) -> str:
    """What a file is called, as something that can be a file's name."""
    name = content.get("filename", content.get("body"))
    kept = "".join(sign for sign in str(name) if unicodedata.category(sign)[0] != "C" and sign not in "/\\").strip()
    return kept[-LONGEST_NAME:] if isinstance(name, str) and kept else "file"


def as_part(
    content: Mapping[str, Any],
    file: Mapping[str, Any],
    size: int,
    thumbnail: tuple[Mapping[str, Any], int] | None = None,
) -> Part:
    """A message of ours with the same file, without words under it.

    Args:
        content: what its sender said about it.
        file: the `EncryptedFile` of our copy, with its `url`.
        size: of the file, in bytes.
        thumbnail: the same of its small picture.
    """
    said = _object(content.get("info"))
    info = {**_facts(said), "size": size}
    if thumbnail is not None:
        own, own_size = thumbnail
        info["thumbnail_file"] = dict(own)
        info["thumbnail_info"] = {**_facts(_object(said.get("thumbnail_info"))), "size": own_size}
    name = name_of(content)
    part = {"msgtype": content["msgtype"], "body": name, "filename": name, "file": dict(file), "info": info}
    if content["msgtype"] == "m.audio":
        part |= _voice(content)
    return {**part, "m.mentions": {}}


def _facts(said: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: said[key] for key in _NUMBERS if type(said.get(key)) is int and 0 <= said[key] < 2**31}
    words = {key: said[key] for key in _WORDS if isinstance(said.get(key), str) and len(said[key]) <= _LONGEST_WORD}
    return {**numbers, **words}


def _voice(content: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a sound a voice message (MSC3245), and how it looks (MSC1767)."""
    found: dict[str, Any] = {_VOICE: {}} if isinstance(content.get(_VOICE), Mapping) else {}
    about = content.get(_AUDIO)
    if isinstance(about, Mapping):
        waves = about.get("waveform")
        found[_AUDIO] = {key: value for key, value in _facts(about).items() if key == "duration"}
        if isinstance(waves, list) and len(waves) <= _MOST_WAVES:
            found[_AUDIO]["waveform"] = [wave for wave in waves if type(wave) is int and 0 <= wave <= 1024]
    return found


def worded(parts: Sequence[Part], text: str, pills: Sequence[Pill] = (), *, ring: bool = False) -> tuple[Part, ...]:
    """The parts of an announcement with these words: under the first file, or as the text that it is.

    Args:
        parts: what there is already; of a text nothing stays.
        text: empty leaves files without words, but for `@room` where it rings.

    Raises:
        Refused: there is nothing to say, or too much.
    """
    first = next(iter(parts), None)
    if first is None or not is_file(first):
        return (render(text, pills, ring=ring), *parts[1:])
    bare = {key: value for key, value in first.items() if key not in ("format", "formatted_body")}
    plain: Part = {**bare, "body": first["filename"], "m.mentions": {}}
    if not text.strip() and not ring:
        return (plain, *parts[1:])
    caption = render(text if text.strip() else RING, pills, ring=ring)
    return ({**plain, **caption, "msgtype": first["msgtype"]}, *parts[1:])


def quiet(parts: Sequence[Part], heard_in: RoomId) -> list[Part]:
    """An announcement as it stands in a room in which it lets no phone ring: as notices, which the push rule
    `.m.rule.suppress_notices` mutes (client-server API, "Push notifications"), and mentioning nobody.

    No push rule mutes a file. So files are named there, with a link to the room in which everybody has them.
    """
    files, words = [part for part in parts if is_file(part)], [part for part in parts if not is_file(part)]
    if not files:
        return [_notice(part) for part in words]
    line = f"📎 {', '.join(name_of(part) for part in files)}: https://matrix.to/#/{quote(heard_in)}"
    if not words and not caption_of(files[0]):
        return [{"msgtype": "m.notice", "body": line, "m.mentions": {}, FILES: line}]
    first, *more = words or files[:1]
    return [{**with_line(_notice(first), literal(line)), FILES: line}, *map(_notice, more)]


def _notice(part: Part) -> Part:
    return {"msgtype": "m.notice", **{name: part[name] for name in _SAID if name in part}, "m.mentions": {}}


def rings(parts: Sequence[Part]) -> bool:
    """Whether an announcement notifies everybody."""
    return any(_object(part.get("m.mentions")).get("room") is True for part in parts)


def silent(part: Part) -> Part:
    """The same without anybody being notified, as it is shown to whoever writes it."""
    return {**part, "m.mentions": {}}


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
