"""To-device messages: opened, checked, sorted. What a sync brings becomes one `Batch`, to be stored at once.

Nothing that a stranger sends raises, and each message costs a bounded amount of work.
Follows the specification's `m.olm.v1.curve25519-aes-sha2` (validation of an Olm payload) and `m.room_key`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from bridge.core.ids import UserId
from bridge.e2ee.machine import (
    MEGOLM,
    MESSAGE,
    OLM,
    PRE_KEY,
    Account,
    OlmFailure,
    OlmSession,
    import_room_key,
    is_key,
)
from bridge.e2ee.recipients import Trust, admits
from bridge.e2ee.sas import PREFIX as VERIFICATION
from bridge.store.keys import MAX_OLM_SESSIONS, DeviceRow, InboundRow, OlmRow

log = logging.getLogger(__name__)

PROBE = "org.matrix-communities.probe"
"""To-device type that the announcer sends to itself, to see that to-device messages arrive."""

MAX_BODY = 100_000
SHARED_HISTORY = ("shared_history", "org.matrix.msc3061.shared_history", "m.shared_history")
_ROOM_ID = re.compile(r"![!-~]{1,254}\Z")
_USER_ID = re.compile(r"@[!-~]{1,254}\Z")


@dataclass(frozen=True, slots=True)
class Envelope:
    """An Olm-encrypted to-device message for us."""

    sender: UserId
    sender_key: str
    kind: int
    body: str


@dataclass(slots=True)
class Batch:
    """What a number of to-device messages changes."""

    account: bytes | None = None
    """The account's new pickle, where one-time keys were used up."""
    sessions: dict[str, OlmRow] = field(default_factory=dict)
    room_keys: list[InboundRow] = field(default_factory=list)
    broken: set[tuple[UserId, str]] = field(default_factory=set)
    """User and curve25519 key of devices whose message no session could open."""
    unknown: set[UserId] = field(default_factory=set)
    """Users who sent from a device that is not in their list as we have it."""
    probes: set[str] = field(default_factory=set)
    verifications: list[tuple[UserId, str, Mapping[str, Any]]] = field(default_factory=list)
    """Sender, type and content of messages of verifications that came encrypted."""


def events_of(answer: Mapping[str, Any]) -> list[Any]:
    """The to-device messages in the answer of a `/sync`."""
    to_device = answer.get("to_device")
    events = to_device.get("events") if isinstance(to_device, Mapping) else None
    return events if isinstance(events, list) else []


def envelope(event: object, our_key: str) -> Envelope | None:
    """The Olm message in a to-device event; None for everything else, and for what is malformed."""
    if not isinstance(event, Mapping) or event.get("type") != "m.room.encrypted":
        return None
    sender, content = event.get("sender"), event.get("content")
    if not isinstance(sender, str) or not isinstance(content, Mapping) or content.get("algorithm") != OLM:
        return None
    sender_key, ciphertexts = content.get("sender_key"), content.get("ciphertext")
    ours = ciphertexts.get(our_key) if isinstance(ciphertexts, Mapping) else None
    if not isinstance(ours, Mapping) or not isinstance(sender_key, str) or not is_key(sender_key):
        return None
    kind, body = ours.get("type"), ours.get("body")
    if isinstance(kind, bool) or kind not in (PRE_KEY, MESSAGE) or not isinstance(body, str):
        return None
    if not body or len(body) > MAX_BODY or not is_user_id(sender):
        return None
    return Envelope(UserId(sender), sender_key, kind, body)


def is_user_id(name: object) -> bool:
    """Whether this can be a user id: printable ASCII, of bounded length."""
    return isinstance(name, str) and _USER_ID.match(name) is not None


def probe_of(event: object, me: UserId) -> str | None:
    """The nonce of a probe that we sent to ourselves."""
    if not isinstance(event, Mapping) or event.get("type") != PROBE or event.get("sender") != me:
        return None
    content = event.get("content")
    nonce = content.get("nonce") if isinstance(content, Mapping) else None
    return nonce if isinstance(nonce, str) else None


def verification_of(event: object) -> tuple[UserId, str, Mapping[str, Any]] | None:
    """Sender, type and content of a message of a verification that came in the clear, as they do."""
    if not isinstance(event, Mapping):
        return None
    kind, sender, content = event.get("type"), event.get("sender"), event.get("content")
    if not isinstance(kind, str) or not kind.startswith(VERIFICATION) or not isinstance(content, Mapping):
        return None
    return (UserId(str(sender)), kind, content) if is_user_id(sender) else None


class Opener:
    """Opens Olm messages with the sessions and device lists that were loaded for them. Blocking."""

    def __init__(
        self,
        account: Account,
        pickle_key: str,
        sessions: Mapping[str, Iterable[OlmRow]],
        devices: Mapping[UserId, Iterable[DeviceRow]],
        *,
        trust: Trust,
        now_ms: int,
    ) -> None:
        self._trust = trust
        self._account = account
        self._pickle_key = pickle_key
        self._sessions = {key: list(rows) for key, rows in sessions.items()}
        self._devices = {user: list(rows) for user, rows in devices.items()}
        self._now = now_ms
        self._batch = Batch()

    def open_all(self, envelopes: Iterable[Envelope]) -> Batch:
        for one in envelopes:
            try:
                self._open(one)
            except OlmFailure as error:
                log.info("a to-device message of %s cannot be opened: %s", one.sender, error)
                self._batch.broken.add((one.sender, one.sender_key))
            except Exception:
                # Whatever a stranger has found: it must not keep everybody else's keys from us.
                log.exception("a to-device message of %s is dropped", one.sender)
        return self._batch

    def _open(self, one: Envelope) -> None:
        row, text = self._decrypt(one)
        ed25519, event_type, content = self._checked(one, row, text)
        self._remember(row)
        if ed25519 is None:
            return
        device = self._device(one.sender, one.sender_key, ed25519)
        known = device is not None
        if known and not row.ed25519:
            self._remember(_with(row, ed25519=ed25519))
        if not known:
            self._batch.unknown.add(one.sender)
        if event_type == "m.room_key":
            trusted = device is not None and admits(
                self._trust, cross_signed=device.cross_signed, verified=device.verified
            )
            self._take_room_key(one, ed25519, content, verified=trusted)
        elif event_type.startswith(VERIFICATION):
            self._batch.verifications.append((one.sender, event_type, content))

    def _decrypt(self, one: Envelope) -> tuple[OlmRow, str]:
        for row in self._sessions.get(one.sender_key, ())[:MAX_OLM_SESSIONS]:
            session = OlmSession.load(row.pickle, self._pickle_key)
            if one.kind == PRE_KEY:
                if session.matches(one.sender_key, one.body):
                    return self._advanced(row, session, session.decrypt(one.kind, one.body))
                continue
            try:
                return self._advanced(row, session, session.decrypt(one.kind, one.body))
            except OlmFailure:
                continue
        if one.kind != PRE_KEY:
            raise OlmFailure("no session opens it")
        session, text = self._account.open_inbound(one.sender_key, one.body)
        self._batch.account = self._account.pickle(self._pickle_key)
        row = OlmRow(session.id, one.sender_key, "", b"", self._now, self._now)
        return self._advanced(row, session, text)

    def _advanced(self, row: OlmRow, session: OlmSession, text: str) -> tuple[OlmRow, str]:
        return _with(row, pickle=session.pickle(self._pickle_key), used_at=self._now), text

    def _remember(self, row: OlmRow) -> None:
        others = [one for one in self._sessions.get(row.curve25519, ()) if one.session_id != row.session_id]
        self._sessions[row.curve25519] = [row, *others]
        self._batch.sessions[row.session_id] = row

    def _checked(self, one: Envelope, row: OlmRow, text: str) -> tuple[str | None, str, Mapping[str, Any]]:
        """The payload's signing key, type and content; no key where the payload is not meant as it came."""
        nothing: tuple[None, str, Mapping[str, Any]] = (None, "", {})
        try:
            payload = orjson.loads(text)
        except orjson.JSONDecodeError:
            return nothing
        if not isinstance(payload, dict):
            return nothing
        keys, ours = payload.get("keys"), payload.get("recipient_keys")
        ed25519 = keys.get("ed25519") if isinstance(keys, dict) else None
        event_type, content = payload.get("type"), payload.get("content")
        if (
            payload.get("sender") != one.sender
            or payload.get("recipient") != self._account.user_id
            or not isinstance(ours, dict)
            or ours.get("ed25519") != self._account.ed25519
            or not isinstance(ed25519, str)
            or not is_key(ed25519)
            or row.ed25519 not in ("", ed25519)
            or not isinstance(event_type, str)
            or not isinstance(content, dict)
        ):
            log.warning("an Olm message of %s is not what it says: dropped", one.sender)
            return nothing
        return ed25519, event_type, content

    def _device(self, user: UserId, curve25519: str, ed25519: str) -> DeviceRow | None:
        """The sender's device that has these keys, as it stands in their list."""
        devices = self._devices.get(user, ())
        return next((one for one in devices if (one.curve25519, one.ed25519) == (curve25519, ed25519)), None)

    def _take_room_key(self, one: Envelope, ed25519: str, content: Mapping[str, Any], *, verified: bool) -> None:
        room_id, session_id, session_key = (content.get(key) for key in ("room_id", "session_id", "session_key"))
        if content.get("algorithm") != MEGOLM or not isinstance(session_key, str):
            return
        if not isinstance(room_id, str) or _ROOM_ID.match(room_id) is None or not is_key(session_id):
            return
        try:
            key = import_room_key(session_key, self._pickle_key)
        except OlmFailure as error:
            log.info("a room key of %s is damaged: %s", one.sender, error)
            return
        if key.session_id != session_id:
            return
        shared = any(content.get(name) is True for name in SHARED_HISTORY)
        self._batch.room_keys.append(
            InboundRow(
                room_id,
                key.session_id,
                one.sender,
                one.sender_key,
                ed25519,
                verified,
                shared,
                key.first_index,
                key.pickle,
            )
        )


def _with(
    row: OlmRow, *, pickle: bytes | None = None, ed25519: str | None = None, used_at: int | None = None
) -> OlmRow:
    return OlmRow(
        row.session_id,
        row.curve25519,
        row.ed25519 if ed25519 is None else ed25519,
        row.pickle if pickle is None else pickle,
        row.created_at,
        row.used_at if used_at is None else used_at,
    )
