"""One verification by emoji, as a state machine: messages go in, messages come out. Pure: no I/O, clock or randomness.

Follows the specification's "Key verification framework" and "Short Authentication String (SAS) verification"
(`m.key.verification.*`, `m.sas.v1`), over to-device messages and in rooms.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, Protocol

from bridge.e2ee.machine import OlmFailure, canonical_json, is_key

PREFIX = "m.key.verification."
REQUEST = f"{PREFIX}request"
METHOD = "m.sas.v1"
AGREEMENT = "curve25519-hkdf-sha256"
HASH = "sha256"
MAC = "hkdf-hmac-sha256.v2"
SHORT = ("decimal", "emoji")

LONGEST_LIFE_MS = 10 * 60 * 1000
"""A verification that takes longer is cancelled (specification: 10 minutes)."""
FROM_THE_FUTURE_MS = 5 * 60 * 1000
MAX_NAME = 255
MAX_MACS = 50
MAX_REASON = 200
_REFERENCE = "m.reference"

Message = tuple[str, dict[str, Any]]
"""Type and content of what is to be sent to the other side."""


class Secret(Protocol):
    """The ephemeral key pair of one verification."""

    public_key: str

    def agree(self, their_key: str) -> None: ...

    def derive(self, info: str, length: int) -> bytes: ...

    def mac(self, message: str, info: str) -> str: ...


class Stage(StrEnum):
    """How far a verification is."""

    REQUESTED = "requested"
    """They asked; nobody here has answered."""
    ASKING = "asking"
    """We asked; none of their devices has answered."""
    READY = "ready"
    """Both are ready; they begin."""
    STARTING = "starting"
    """We began; they have to accept."""
    EXCHANGING = "exchanging"
    """The method is agreed upon; their key has to come."""
    COMPARING = "comparing"
    """Both see the emoji; somebody here has to compare them."""
    WAITING = "waiting"
    """They match here; the other side has to say so, too."""
    PROVEN = "proven"
    """Their keys are theirs: to be signed."""
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (Stage.DONE, Stage.CANCELLED)


@dataclass(frozen=True, slots=True)
class Party:
    """One side: a user, its device, and its ed25519 keys by key id (`ed25519:DEVICE`, `ed25519:MASTER`)."""

    user_id: str
    device_id: str
    master_key: str
    keys: Mapping[str, str] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Verification:
    """One verification with one user. Methods give what is to be sent to them."""

    me: str
    them: str
    transaction: str
    """The transaction's id; in a room, the id of the request's event."""
    room: str | None
    stage: Stage
    began_at: int
    their_device: str = ""
    """Which device answers; empty while we asked all of them."""
    ours: Party | None = None
    theirs: Party | None = None
    code: str = ""
    reason: str = ""
    """Why it was cancelled."""
    _secret: Secret | None = None
    _start: dict[str, Any] | None = None
    _i_started: bool = False
    _commitment: str = ""
    _their_key: str = ""
    _their_macs: tuple[Mapping[str, str], str] | None = None

    # --- what somebody here does --------------------------------------------------------------------------------------

    def accept(self, secret: Secret, ours: Party, theirs: Party) -> list[Message]:
        """Say that we are ready. `theirs` are the keys that the other side has to prove."""
        if self.stage is not Stage.REQUESTED:
            return []
        self._secret, self.ours, self.theirs = secret, ours, theirs
        self.stage = Stage.READY
        return [self._message("ready", {"from_device": ours.device_id, "methods": [METHOD]})]

    def ask(self, secret: Secret, ours: Party, theirs: Party) -> list[Message]:
        """Ask all devices of the other side, by to-device messages."""
        self._secret, self.ours, self.theirs = secret, ours, theirs
        content = {"from_device": ours.device_id, "methods": [METHOD], "timestamp": self.began_at}
        return [self._message("request", content)]

    def confirm(self) -> list[Message]:
        """Somebody here has compared, and both show the same: vouch for our keys towards the other side."""
        if self.stage is not Stage.COMPARING or self.ours is None or self._secret is None:
            return []
        info = self._mac_info(self.ours, self.their_device)
        macs = {key_id: self._secret.mac(key, info + key_id) for key_id, key in self.ours.keys.items()}
        together = self._secret.mac(",".join(sorted(macs)), info + "KEY_IDS")
        self.stage = Stage.WAITING
        return [self._message("mac", {"mac": macs, "keys": together}), *self._prove()]

    def deny(self) -> list[Message]:
        """Somebody here sees something else than the other side: somebody is in between, or somebody erred."""
        return self.cancel("m.mismatched_sas", "the emoji do not match")

    def signed(self) -> list[Message]:
        """Their keys were signed: over, and well."""
        if self.stage is not Stage.PROVEN:
            return []
        self.stage = Stage.DONE
        return [self._message("done", {})]

    def cancel(self, code: str, reason: str) -> list[Message]:
        if self.stage.over:
            return []
        self._end(code, reason)
        return [self._message("cancel", {"code": code, "reason": reason})]

    def expire(self, now_ms: int) -> list[Message]:
        """Cancel what takes too long; a clock that was put back counts as too long."""
        if -FROM_THE_FUTURE_MS <= now_ms - self.began_at <= LONGEST_LIFE_MS:
            return []
        return self.cancel("m.timeout", "it took too long")

    # --- what both see ------------------------------------------------------------------------------------------------

    @property
    def emoji(self) -> list[tuple[str, str]]:
        """The seven emoji with their names; empty before the keys were exchanged."""
        short = self._short()
        if short is None:
            return []
        number = int.from_bytes(short, "big") >> 6
        return [EMOJI[number >> shift & 63] for shift in range(36, -1, -6)]

    @property
    def decimals(self) -> tuple[int, int, int] | None:
        """The same as three numbers."""
        short = self._short()
        if short is None:
            return None
        number = int.from_bytes(short[:5], "big") >> 1
        first, second, third = (1000 + (number >> shift & 0x1FFF) for shift in (26, 13, 0))
        return first, second, third

    def _short(self) -> bytes | None:
        if not self._their_key or self._secret is None or self.ours is None:
            return None
        mine = f"{self.ours.user_id}|{self.ours.device_id}|{self._secret.public_key}"
        other = f"{self.them}|{self.their_device}|{self._their_key}"
        first, second = (mine, other) if self._i_started else (other, mine)
        return self._secret.derive(f"MATRIX_KEY_VERIFICATION_SAS|{first}|{second}|{self.transaction}", 6)

    # --- what the other side does -------------------------------------------------------------------------------------

    def take(self, kind: str, content: Mapping[str, Any]) -> list[Message]:
        """A message of the other side: `kind` is its type without the prefix."""
        if self.stage.over:
            return []
        if kind == "cancel":
            self._end(_text(content.get("code")) or "m.user", _text(content.get("reason")))
            return []
        steps: dict[str, Callable[[Mapping[str, Any]], list[Message]]] = {
            "ready": self._ready,
            "start": self._started,
            "accept": self._accepted,
            "key": self._key,
            "mac": self._mac,
        }
        step = steps.get(kind)
        if step is None:
            return []  # `done` of the other side, or what a later specification brings
        try:
            return step(content)
        except OlmFailure as error:
            return self.cancel("m.invalid_message", str(error)[:MAX_REASON])

    def _unexpected(self) -> list[Message]:
        return self.cancel("m.unexpected_message", f"not expected while {self.stage.value}")

    def _ready(self, content: Mapping[str, Any]) -> list[Message]:
        if self.stage is not Stage.ASKING:
            return self._unexpected()
        device, methods = content.get("from_device"), content.get("methods")
        assert self.ours is not None
        assert self.theirs is not None
        if f"ed25519:{device}" not in self.theirs.keys or not isinstance(methods, list):
            return self._invalid()
        if METHOD not in methods:
            return self.cancel("m.unknown_method", "only m.sas.v1 is known here")
        self.their_device = str(device)
        self.stage = Stage.STARTING
        self._i_started = True
        start = self._message(
            "start",
            {
                "from_device": self.ours.device_id,
                "method": METHOD,
                "key_agreement_protocols": [AGREEMENT],
                "hashes": [HASH],
                "message_authentication_codes": [MAC],
                "short_authentication_string": list(SHORT),
            },
        )
        self._start = start[1]
        return [start]

    def _started(self, content: Mapping[str, Any]) -> list[Message]:
        if self.stage is Stage.STARTING and min(self.me, self.them) == self.me:
            return []  # both began at once: the smaller user id's start holds
        if self.stage not in (Stage.READY, Stage.STARTING):
            return self._unexpected()
        if content.get("from_device") != self.their_device:
            return self.cancel("m.unexpected_message", "another device answers than the one that began")
        if content.get("method") != METHOD:
            return self.cancel("m.unknown_method", "only m.sas.v1 is known here")
        short = content.get("short_authentication_string")
        if (
            not _has(content, "key_agreement_protocols", AGREEMENT)
            or not _has(content, "hashes", HASH)
            or not _has(content, "message_authentication_codes", MAC)
            or not isinstance(short, list)
        ):
            return self.cancel("m.unknown_method", f"needed are {AGREEMENT}, {HASH} and {MAC}")
        common = [way for way in SHORT if way in short]
        if not common:
            return self._invalid()
        assert self._secret is not None
        self._i_started = False
        self.stage = Stage.EXCHANGING
        answer = {
            "method": METHOD,
            "key_agreement_protocol": AGREEMENT,
            "hash": HASH,
            "message_authentication_code": MAC,
            "short_authentication_string": common,
            "commitment": _commitment(self._secret.public_key, content),
        }
        return [self._message("accept", answer)]

    def _accepted(self, content: Mapping[str, Any]) -> list[Message]:
        if self.stage is not Stage.STARTING or self._secret is None:
            return self._unexpected()
        chosen = (
            content.get("key_agreement_protocol"),
            content.get("hash"),
            content.get("message_authentication_code"),
        )
        commitment = content.get("commitment")
        if chosen != (AGREEMENT, HASH, MAC) or not isinstance(commitment, str):
            return self.cancel("m.unknown_method", "another method was chosen than offered")
        self._commitment = commitment[:MAX_NAME]
        self.stage = Stage.EXCHANGING
        return [self._message("key", {"key": self._secret.public_key})]

    def _key(self, content: Mapping[str, Any]) -> list[Message]:
        key = content.get("key")
        if self.stage is not Stage.EXCHANGING or self._secret is None:
            return self._unexpected()
        if not isinstance(key, str) or not is_key(key) or key == self._secret.public_key:
            return self._invalid()
        if self._i_started:
            assert self._start is not None
            if not hmac.compare_digest(_commitment(key, self._start).encode(), self._commitment.encode()):
                return self.cancel("m.mismatched_commitment", "the key is not the one that was promised")
        self._secret.agree(key)
        self._their_key = key
        self.stage = Stage.COMPARING
        return [] if self._i_started else [self._message("key", {"key": self._secret.public_key})]

    def _mac(self, content: Mapping[str, Any]) -> list[Message]:
        macs, together = content.get("mac"), content.get("keys")
        if self.stage not in (Stage.COMPARING, Stage.WAITING) or self._their_macs is not None:
            return self._unexpected()
        if not isinstance(macs, Mapping) or not 0 < len(macs) <= MAX_MACS or not _is_short(together):
            return self._invalid()
        if not all(is_name(key_id) and _is_short(mac) for key_id, mac in macs.items()):
            return self._invalid()
        self._their_macs = (macs, str(together))
        return self._prove()

    def _prove(self) -> list[Message]:
        """Once both sides have compared: see that the other side's keys are those that the homeserver names."""
        if self.stage is not Stage.WAITING or self._their_macs is None or self._secret is None or self.theirs is None:
            return []
        macs, together = self._their_macs
        info = self._mac_info(Party(self.them, self.their_device, "", {}), self.ours.device_id if self.ours else "")
        if not _same(self._secret.mac(",".join(sorted(macs)), info + "KEY_IDS"), together):
            return self.cancel("m.key_mismatch", "the list of keys is not vouched for")
        known = {key_id: self.theirs.keys[key_id] for key_id in macs if key_id in self.theirs.keys}
        for key_id, key in known.items():
            if not _same(self._secret.mac(key, info + key_id), macs[key_id]):
                return self.cancel("m.key_mismatch", "a key is not the one that the homeserver names")
        if f"ed25519:{self.their_device}" not in known:
            return self.cancel("m.key_mismatch", "the device did not vouch for its own key")
        if f"ed25519:{self.theirs.master_key}" not in known:
            return self.cancel("m.key_mismatch", "the device did not vouch for its user's identity")
        self.stage = Stage.PROVEN
        return []

    def _mac_info(self, sender: Party, to_device: str) -> str:
        to_user = self.them if sender.user_id == self.me else self.me
        return f"MATRIX_KEY_VERIFICATION_MAC{sender.user_id}{sender.device_id}{to_user}{to_device}{self.transaction}"

    # --- within -------------------------------------------------------------------------------------------------------

    def _invalid(self) -> list[Message]:
        return self.cancel("m.invalid_message", "a field is missing or malformed")

    def _end(self, code: str, reason: str) -> None:
        self.stage, self.code, self.reason = Stage.CANCELLED, code, reason
        self._secret = None

    def _message(self, kind: str, content: Mapping[str, Any]) -> Message:
        if self.room is None:
            return PREFIX + kind, {**content, "transaction_id": self.transaction}
        return PREFIX + kind, {**content, "m.relates_to": {"rel_type": _REFERENCE, "event_id": self.transaction}}


def transaction_of(content: Mapping[str, Any], *, in_room: bool) -> str | None:
    """Which verification a message belongs to; a request in a room names none, being one itself."""
    if in_room:
        relation = content.get("m.relates_to")
        named = relation.get("event_id") if isinstance(relation, Mapping) else None
    else:
        named = content.get("transaction_id")
    return str(named) if is_name(named) else None


def is_request(content: Mapping[str, Any]) -> bool:
    """Whether a request is well formed, and knows the method that we know."""
    methods = content.get("methods")
    return is_name(content.get("from_device")) and isinstance(methods, list) and METHOD in methods[:MAX_MACS]


def is_timely(sent_at: object, now_ms: int) -> bool:
    """Whether a request was made lately (specification: older than 10 minutes, or 5 minutes ahead, is ignored)."""
    return isinstance(sent_at, int) and -FROM_THE_FUTURE_MS <= now_ms - sent_at <= LONGEST_LIFE_MS


def is_name(value: object) -> bool:
    """Whether this can be a device, transaction or key id."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and "\x00" not in value


def _has(content: Mapping[str, Any], name: str, wanted: str) -> bool:
    offered = content.get(name)
    return isinstance(offered, list) and wanted in offered[:MAX_MACS]


def _is_short(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME


def _text(value: object) -> str:
    return value[:MAX_REASON] if isinstance(value, str) else ""


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.rstrip("=").encode(), other.rstrip("=").encode("utf-8", "replace"))


def _commitment(key: str, start: Mapping[str, Any]) -> str:
    digest = sha256(key.encode() + canonical_json(start)).digest()
    return b64encode(digest).decode().rstrip("=")


_ROWS = (
    "🐶Dog 🐱Cat 🦁Lion 🐎Horse 🦄Unicorn 🐷Pig 🐘Elephant 🐰Rabbit 🐼Panda 🐓Rooster 🐧Penguin 🐢Turtle 🐟Fish "
    "🐙Octopus 🦋Butterfly 🌷Flower 🌳Tree 🌵Cactus 🍄Mushroom 🌏Globe 🌙Moon ☁️Cloud 🔥Fire 🍌Banana 🍎Apple "
    "🍓Strawberry 🌽Corn 🍕Pizza 🎂Cake ❤️Heart 😀Smiley 🤖Robot 🎩Hat 👓Glasses 🔧Spanner 🎅Santa 👍Thumbs_Up "
    "☂️Umbrella ⌛Hourglass ⏰Clock 🎁Gift 💡Light_Bulb 📕Book ✏️Pencil 📎Paperclip ✂️Scissors 🔒Lock 🔑Key 🔨Hammer "
    "☎️Telephone 🏁Flag 🚂Train 🚲Bicycle ✈️Aeroplane 🚀Rocket 🏆Trophy ⚽Ball 🎸Guitar 🎺Trumpet 🔔Bell ⚓Anchor "
    "🎧Headphones 📁Folder 📌Pin"
)


def _emoji(cell: str) -> tuple[str, str]:
    first = next(at for at, sign in enumerate(cell) if sign.isascii())
    return cell[:first], cell[first:].replace("_", " ")


EMOJI = tuple(_emoji(cell) for cell in _ROWS.split())
"""The specification's table: 64 emoji and their English names."""
