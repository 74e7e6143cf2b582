"""Raw JSON → Event or Ignored. Pure, and never raises: whoever is in a room chooses what stands in its events."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from html import unescape
from itertools import islice
from typing import Any
from urllib.parse import unquote

from bridge.core.files import caption_of, is_file
from bridge.core.ids import EventId, RoomId, UserId, parse_user_id
from bridge.core.messages import (
    Event,
    Ignored,
    Invited,
    MembershipChanged,
    Picture,
    Pill,
    Posted,
    Reacted,
    Redacted,
    Said,
    StateChanged,
    Unreadable,
    Verifying,
)
from bridge.intake.interest import MAX_ID_LENGTH, Interest, is_id

MAX_TEXT_BYTES = 64 * 1024
"""The specification's limit of a whole event: more did not come from a homeserver that keeps to it."""
MAX_TIMESTAMP = 2**53 - 1
_VERIFICATION = "m.key.verification."
_VERIFICATION_REQUEST = "m.key.verification.request"
_ENVELOPE = frozenset({"event_id", "room_id", "sender", "type", "origin_server_ts", "state_key", "redacts"})
_CONTENT = frozenset({"membership", "redacts", "m.relates_to"})
_KEPT_WHOLE = frozenset(
    {
        "m.room.power_levels", "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access",
        "m.room.encryption", "m.room.server_acl", "m.space.parent", "m.reaction",
    }
)  # fmt: skip
"""Settings of rooms, whose content is compared with what it should be; and reactions, which are judged as a whole."""
LONGEST_REACTION = 32
_REACTION_FIELDS = frozenset({"m.relates_to", "shortcode", "com.beeper.reaction.shortcode", "m.mentions"})
_REDACTION_FIELDS = frozenset(
    {"redacts", "reason", "m.mentions", "with_rel_types", "org.matrix.msc3912.with_relations"}
)  # fmt: skip
_RELATIONS = frozenset({"*", "m.annotation", "m.reference", "m.replace", "m.thread"})
KNOCK = "knock"
LONGEST_WORDS = 1000
"""How much of what somebody writes when they knock is kept, in characters."""
MOST_PILLS = 50
# Bounded on all sides: whoever writes chooses how it ends, and what does not end would be searched from every start.
_PILL = re.compile(r'<a href="https://matrix\.to/#/([^"<>/]{1,600})"[^<>]{0,100}>([^<>]{1,300})</a>')
MEMBERSHIPS = frozenset({"invite", "join", "knock", "leave", "ban"})
HEAD = 16
"""So many characters of a ciphertext hold its index."""
_MALFORMED = Ignored("malformed")

_Head = tuple[EventId, RoomId, UserId, int]
"""What every event begins with: event, room, sender, time."""


def parse(
    raw: object,
    *,
    interest: Interest | None,
    accounts: Collection[UserId],
    clear: Mapping[str, Any] | None = None,
) -> Event | Ignored:
    """Say what an event means to us.

    Args:
        raw: the event as the homeserver sent it (client-server API, section "Room event format").
        interest: why its room matters; None for a room that is not ours.
        accounts: the user ids of the steward and of the announcer.
        clear: the same event with its decrypted `type` and `content`; None where it could not be decrypted.

    An invite to one of our accounts is `Invited` in whatever room; `MembershipChanged` are all others, and `invite` of
    other people, in rooms that we know.
    """
    if not isinstance(raw, dict):
        return _MALFORMED
    event_id: Any = raw.get("event_id")
    room_id: Any = raw.get("room_id")
    sender: Any = raw.get("sender")
    kind: Any = raw.get("type")
    if not (is_id(event_id) and is_id(room_id) and _is_user(sender) and is_id(kind)):
        return _MALFORMED
    head: _Head = (event_id, room_id, sender, _time(raw.get("origin_server_ts")))
    content = _object(raw.get("content"))
    if "state_key" in raw:
        return _state(head, kind, raw, content, interest, accounts)
    if interest is None:
        return Ignored("not our room")
    if kind == "m.room.redaction":
        found = _redaction(head, raw, content)
        if found is not _MALFORMED or interest is not Interest.ANNOUNCEMENTS:
            return found  # else it redacts nothing, and is a post like any other
    if interest is Interest.ANNOUNCEMENTS:
        return _posted(head, kind, content)
    if not interest.is_read:
        return _posted(head, kind, content) if kind == "m.reaction" else Ignored("a message of a group")
    return _to_us(head, kind, content, clear)


def _to_us(head: _Head, kind: str, content: Mapping[str, Any], clear: Mapping[str, Any] | None) -> Event | Ignored:
    """What is sent into a chat with the announcer or a control room."""
    if is_verification(kind) or content.get("msgtype") == _VERIFICATION_REQUEST:
        return Verifying(*head, type=kind, content=content, encrypted=False)
    if kind == "m.room.message":
        return _said(head, content, content, encrypted=False)
    if kind == "m.room.encrypted":
        return _decrypted(head, content, clear)
    if kind == "m.reaction":
        return _reacted(head, content)
    return Ignored("not a message")


def is_verification(kind: object) -> bool:
    """Whether a type is that of a step of a verification. Clients send these in the clear, also in encrypted rooms."""
    return isinstance(kind, str) and kind.startswith(_VERIFICATION)


def essence(raw: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a state event, a redaction or a post as `parse` reads: what need not be kept of people is not kept."""
    kept = {key: value for key, value in raw.items() if key in _ENVELOPE}
    content = raw.get("content")
    kind = raw.get("type")
    if isinstance(content, dict) and isinstance(kind, str) and kind in _KEPT_WHOLE:
        kept["content"] = content
    elif isinstance(content, dict):
        kept["content"] = {key: value for key, value in content.items() if key in _CONTENT}
        if kind == "m.room.redaction" and _is_wordy(content, _redacted(raw, content)):
            kept["content"]["reason"] = "…" * (LONGEST_REACTION + 1)  # it is judged, and not read
        if kind == "m.room.encrypted":
            kept["content"] |= _place(content)
        if kind == "m.room.member" and content.get("membership") == KNOCK:
            kept["content"] |= {field: _short(content.get(field)) for field in ("displayname", "reason")}
    unsigned = _object(raw.get("unsigned"))
    if isinstance(stripped := unsigned.get("invite_room_state"), list):
        kept["unsigned"] = {"invite_room_state": [piece for piece in stripped if _is_encryption(piece)]}
    if kind == "m.room.member" and (before := _before(raw)) is not None:
        kept.setdefault("unsigned", {})["prev_content"] = {"membership": before}
    return kept


def _before(raw: Mapping[str, Any]) -> str | None:
    """Somebody's membership before this event, where the homeserver says it (`unsigned.prev_content`)."""
    before = _object(_object(raw.get("unsigned")).get("prev_content")).get("membership")
    return before if isinstance(before, str) and before in MEMBERSHIPS else None


def _state(
    head: _Head,
    kind: str,
    raw: Mapping[str, Any],
    content: Mapping[str, Any],
    interest: Interest | None,
    accounts: Collection[UserId],
) -> Event | Ignored:
    state_key = raw["state_key"]
    if state_key != "" and not is_id(state_key):
        return _MALFORMED
    if kind == "m.room.member":
        return _membership(head, raw, content, interest, accounts)
    if interest is None:
        return Ignored("not our room")
    return StateChanged(*head, type=kind, state_key=state_key, content=content)


def _membership(
    head: _Head,
    raw: Mapping[str, Any],
    content: Mapping[str, Any],
    interest: Interest | None,
    accounts: Collection[UserId],
) -> Event | Ignored:
    user, membership = raw["state_key"], content.get("membership")
    if not _is_user(user) or not isinstance(membership, str) or membership not in MEMBERSHIPS:
        return _MALFORMED
    if membership == "invite" and user in accounts:
        return Invited(*head, user=UserId(user), encrypted=_says_encrypted(raw))
    if interest is None:
        return Ignored("not our room")
    if membership != KNOCK:
        return MembershipChanged(*head, user=UserId(user), membership=membership, before=_before(raw))
    name, reason = _short(content.get("displayname")), _short(content.get("reason"))
    return MembershipChanged(
        *head, user=UserId(user), membership=membership, name=name, reason=reason, before=_before(raw)
    )


def _short(value: object) -> str:
    """What somebody wrote about themselves, as much of it as is shown; empty for nonsense."""
    return _storable(value[:LONGEST_WORDS]) if isinstance(value, str) else ""


def _reacted(head: _Head, content: Mapping[str, Any]) -> Event | Ignored:
    relation = _object(content.get("m.relates_to"))
    target, key = relation.get("event_id"), relation.get("key")
    if relation.get("rel_type") != "m.annotation" or not is_id(target) or not isinstance(key, str):
        return _MALFORMED
    return Reacted(*head, to=EventId(str(target)), key=_storable(key[:LONGEST_REACTION]))


def _posted(head: _Head, kind: str, content: Mapping[str, Any]) -> Posted:
    session_id, index = content.get("session_id"), None
    if kind == "m.room.encrypted" and is_id(session_id):
        index = message_index(content.get("ciphertext"))
    relation = _object(content.get("m.relates_to"))
    rel_type, to = relation.get("rel_type"), relation.get("event_id")
    related = isinstance(rel_type, str) and is_id(rel_type) and is_id(to)
    short = kind == "m.reaction" and _is_short_reaction(content)
    return Posted(
        *head,
        type=kind,
        short_reaction=short,
        session_id="" if index is None else str(session_id),
        message_index=index or 0,
        relation=_storable(str(rel_type)) if related else "",
        to=EventId(str(to)) if related else EventId(""),
        key=_storable(str(relation["key"])) if short else "",
    )


def _place(content: Mapping[str, Any]) -> dict[str, Any]:
    """As much of an encrypted message as tells its session and its place in it."""
    session_id, ciphertext = content.get("session_id"), content.get("ciphertext")
    if not isinstance(session_id, str) or not isinstance(ciphertext, str):
        return {}
    return {"session_id": session_id[: MAX_ID_LENGTH + 1], "ciphertext": ciphertext[:HEAD]}


def message_index(ciphertext: object) -> int | None:
    """The index that a Megolm message says it has (its format, version 3); None where it says nothing."""
    if not isinstance(ciphertext, str) or not ciphertext.isascii():
        return None
    head = ciphertext[:HEAD].rstrip("=")
    try:
        raw = base64.b64decode(head[: len(head) // 4 * 4], validate=True)
    except binascii.Error:
        return None
    if raw[:2] != b"\x03\x08":
        return None
    index = 0
    for place, byte in enumerate(raw[2:7]):
        index |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return index
    return None


def _redaction(head: _Head, raw: Mapping[str, Any], content: Mapping[str, Any]) -> Event | Ignored:
    # From room version 11 on `redacts` stands in the content; homeservers give both to application services.
    target = _redacted(raw, content)
    if target is None:
        return _MALFORMED
    return Redacted(*head, redacts=EventId(target), wordy=_is_wordy(content, target))


def _redacted(raw: Mapping[str, Any], content: Mapping[str, Any]) -> str | None:
    """What a redaction redacts: beside the content up to room version 10, and within it since."""
    return next((str(target) for target in (raw.get("redacts"), content.get("redacts")) if is_id(target)), None)


def _decrypted(head: _Head, wire: Mapping[str, Any], clear: Mapping[str, Any] | None) -> Event | Ignored:
    if clear is None:
        return Unreadable(*head)
    kind, content = clear.get("type"), _object(clear.get("content"))
    if isinstance(kind, str) and (is_verification(kind) or content.get("msgtype") == _VERIFICATION_REQUEST):
        return Verifying(*head, type=kind, content=content, encrypted=True)
    if kind != "m.room.message":
        return Ignored("not a message")
    return _said(head, content, wire, encrypted=True)


def _said(head: _Head, content: Mapping[str, Any], wire: Mapping[str, Any], *, encrypted: bool) -> Event | Ignored:
    """A message; `wire` is the content that is not encrypted, where relations stand too."""
    relations = (_object(content.get("m.relates_to")), _object(wire.get("m.relates_to")))
    edits = next((relation for relation in relations if relation.get("rel_type") == "m.replace"), None)
    if edits is not None:
        content = _object(content.get("m.new_content"))
        if not is_id(edits.get("event_id")):
            return _MALFORMED
    file = is_file(content)
    if content.get("msgtype") != "m.text" and not (file and caption_of(content)):
        return Ignored("not a text")
    body = content.get("body")
    if not isinstance(body, str):
        return _MALFORMED
    if len(body.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        return Ignored("longer than 64 KiB")
    text = _storable(body)
    if any("m.in_reply_to" in relation for relation in relations):
        text = _without_fallback(text)
    replies = [_object(relation.get("m.in_reply_to")).get("event_id") for relation in relations]
    reply_to = next((EventId(str(target)) for target in replies if is_id(target)), None)
    return Said(
        *head,
        text=text,
        encrypted=encrypted,
        pills=pills_of(content),
        picture=picture_of(content),
        reply_to=reply_to,
        file=file,
        edits=None if edits is None else EventId(str(edits["event_id"])),
    )


def picture_of(content: Mapping[str, Any]) -> Picture | None:
    """The picture of an `m.image`, None for any other message (client-server API, section "m.image")."""
    if content.get("msgtype") != "m.image":
        return None
    file = content.get("file")
    url = file.get("url") if isinstance(file, Mapping) else content.get("url")
    if not isinstance(url, str) or len(url) > LONGEST_WORDS:
        return None
    return Picture(url, file if isinstance(file, Mapping) else None)


def pills_of(content: Mapping[str, Any]) -> tuple[Pill, ...]:
    """Whom a message mentions by links to them in its formatted body (client-server API, "User and room mentions")."""
    formatted = content.get("formatted_body")
    if not isinstance(formatted, str) or len(formatted) > MAX_TEXT_BYTES:
        return ()
    found = []
    for link in islice(_PILL.finditer(formatted), MOST_PILLS):
        target, text = unquote(link[1]).partition("?")[0], unescape(link[2])
        try:
            found.append(Pill(_storable(text), parse_user_id(target)))
        except ValueError:
            continue  # a link to a room
    return tuple(found)


def words_of(content: Mapping[str, Any]) -> str:
    """What a text message says, without the quote of what it answers; empty for any other message."""
    body = content.get("body")
    if content.get("msgtype") not in ("m.text", "m.notice", "m.emote") or not isinstance(body, str):
        return ""
    text = _storable(body)
    return _without_fallback(text) if "m.in_reply_to" in _object(content.get("m.relates_to")) else text


def _without_fallback(body: str) -> str:
    """Take off the quote that older clients put before a reply (client-server API 1.12, "Rich replies")."""
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    first = next((at for at, line in enumerate(lines) if not line.startswith("> ")), len(lines))
    if first < len(lines) and not lines[first]:
        first += 1
    return "\n".join(lines[first:])


def _says_encrypted(raw: Mapping[str, Any]) -> bool:
    """Whether the stripped state that comes with an invite names an encryption algorithm."""
    stripped = _object(raw.get("unsigned")).get("invite_room_state")
    if not isinstance(stripped, list):
        return False
    return any(map(_is_encryption, stripped))


def _is_encryption(piece: object) -> bool:
    return (
        isinstance(piece, dict)
        and piece.get("type") == "m.room.encryption"
        and piece.get("state_key") == ""
        and isinstance(_object(piece.get("content")).get("algorithm"), str)
    )


def _is_short_reaction(content: Mapping[str, Any]) -> bool:
    """Whether a reaction is an annotation with a short key and nothing else (client-server API, `m.annotation`).

    Reactions go in the clear, and everybody may react: what carries more than that is a text in disguise.
    """
    relation = _object(content.get("m.relates_to"))
    shown = [relation.get("key"), content.get("shortcode", ""), content.get("com.beeper.reaction.shortcode", "")]
    return (
        content.keys() <= _REACTION_FIELDS
        and relation.keys() == {"rel_type", "event_id", "key"}
        and relation["rel_type"] == "m.annotation"
        and is_id(relation["event_id"])
        and all(isinstance(text, str) and len(text) <= LONGEST_REACTION for text in shown)
        and content.get("m.mentions", {}) == {}
    )


def _is_wordy(content: Mapping[str, Any], target: str | None) -> bool:
    """Whether a redaction carries more than what it redacts and a short reason (and relations, MSC3912): a text."""
    reason = content.get("reason")
    kinds = (content.get("with_rel_types", []), content.get("org.matrix.msc3912.with_relations", []))
    return not (
        content.keys() <= _REDACTION_FIELDS
        and (target is None or content.get("redacts", target) == target)
        and (reason is None or (isinstance(reason, str) and len(reason) <= LONGEST_REACTION))
        and content.get("m.mentions", {}) == {}
        and all(isinstance(some, list) and len(some) <= len(_RELATIONS) for some in kinds)
        and all(isinstance(one, str) and one in _RELATIONS for some in kinds for one in some)
    )


def _storable(text: str) -> str:
    """`text` as every database and JSON encoder takes it: no NUL, no half of a surrogate pair."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: object) -> int:
    """Milliseconds since 1970; 0 for nonsense, which must not be a way of going unnoticed."""
    return value if type(value) is int and 0 <= value <= MAX_TIMESTAMP else 0


def _is_user(value: object) -> bool:
    """A user id in the widest historical grammar: whoever has one must not go unnoticed."""
    if not isinstance(value, str) or not is_id(value) or value[0] != "@":
        return False
    _, colon, domain = value.partition(":")
    return bool(colon and domain)
