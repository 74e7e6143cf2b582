"""libolm and nothing else: no store, no network, no clock. With `bulk` the only file that knows which library does it.

Everything takes and gives pickles (libolm's own encrypted form), so that no ratchet lives anywhere but in the database.
Calls are blocking and let go of the GIL inside libolm: many of them belong into a thread.

Follows the specification's end-to-end encryption module (`m.olm.v1.curve25519-aes-sha2`, `m.megolm.v1.aes-sha2`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import orjson
from _libolm import ffi, lib
from olm.account import Account as LibAccount
from olm.account import OlmAccountError
from olm.group_session import InboundGroupSession, OlmGroupSessionError, OutboundGroupSession
from olm.pk import PkSigning
from olm.sas import OlmSasError
from olm.sas import Sas as LibSas
from olm.session import InboundSession, OlmMessage, OlmPreKeyMessage, OlmSessionError, OutboundSession, Session

OLM = "m.olm.v1.curve25519-aes-sha2"
MEGOLM = "m.megolm.v1.aes-sha2"
ONE_TIME_KEY = "signed_curve25519"
PRE_KEY = 0
MESSAGE = 1

_KEY = re.compile(r"[A-Za-z0-9+/]{43}\Z")
_SIGNATURE = re.compile(r"[A-Za-z0-9+/]{86}(?:==)?\Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_FAILURES = (
    OlmAccountError,
    OlmGroupSessionError,
    OlmSasError,
    OlmSessionError,
    ValueError,
)
_R = TypeVar("_R")


class OlmFailure(Exception):
    """libolm refuses: a wrong key, a forged or damaged message, an index that is not there."""


def is_key(value: object) -> bool:
    """Whether `value` looks like a public curve25519 or ed25519 key (unpadded base64 of 32 bytes)."""
    return isinstance(value, str) and _KEY.match(value) is not None


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON (specification, appendix 3.1).

    Raises:
        OlmFailure: numbers or strings that canonical JSON does not know.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError) as error:
        raise OlmFailure(f"not canonical JSON: {error}") from error


def _signed_bytes(value: Mapping[str, Any]) -> bytes:
    return canonical_json({key: part for key, part in value.items() if key not in ("signatures", "unsigned")})


def verify_json(value: Mapping[str, Any], *, user_id: str, key_id: str, key: str) -> bool:
    """Whether `user_id` signed this object with the ed25519 `key`, published as `ed25519:{key_id}` (appendix 3.3)."""
    signatures = value.get("signatures")
    of_user = signatures.get(user_id) if isinstance(signatures, Mapping) else None
    signature = of_user.get(f"ed25519:{key_id}") if isinstance(of_user, Mapping) else None
    if not isinstance(signature, str) or _SIGNATURE.match(signature) is None or not is_key(key):
        return False
    try:
        message = _signed_bytes(value)
    except OlmFailure:
        return False
    return _verified(key.encode(), message, signature.rstrip("=").encode())


_UTILITY_MEMORY = ffi.new("char[]", lib.olm_utility_size())
_UTILITY = lib.olm_utility(_UTILITY_MEMORY)


def _verified(key: bytes, message: bytes, signature: bytes) -> bool:
    # python-olm's own function wipes a copy of the message, byte by byte: an eighth more for what is public anyway
    copy = ffi.new("char[]", signature)  # libolm decodes it in place
    result = lib.olm_ed25519_verify(_UTILITY, key, len(key), message, len(message), copy, len(signature))
    return bool(result != lib.olm_error())


def _guard(work: Callable[[], _R]) -> _R:
    try:
        return work()
    except _FAILURES as error:
        raise OlmFailure(str(error)) from error


# --- cross-signing ----------------------------------------------------------------------------------------------------


class Signer:
    """An ed25519 key made from a seed: one of the three cross-signing keys."""

    def __init__(self, seed: bytes) -> None:
        self._inner = PkSigning(seed)
        self.public_key: str = self._inner.public_key

    def sign(self, value: Mapping[str, Any]) -> str:
        return str(self._inner.sign(_signed_bytes(value).decode()))


# --- the device -------------------------------------------------------------------------------------------------------


class Account:
    """Our device's identity and one-time keys."""

    def __init__(self, inner: Any, user_id: str, device_id: str) -> None:
        self._inner = inner
        self.user_id = user_id
        self.device_id = device_id
        keys = inner.identity_keys
        self.curve25519: str = keys["curve25519"]
        self.ed25519: str = keys["ed25519"]

    @property
    def handle(self) -> Any:
        """libolm's own account, for calls of its C interface."""
        return self._inner._account

    @classmethod
    def create(cls, user_id: str, device_id: str) -> Account:
        return cls(LibAccount(), user_id, device_id)

    @classmethod
    def load(cls, pickle: bytes, pickle_key: str, user_id: str, device_id: str) -> Account:
        """Raises OlmFailure where the pickle key is wrong."""
        return cls(_guard(lambda: LibAccount.from_pickle(pickle, pickle_key)), user_id, device_id)

    def pickle(self, pickle_key: str) -> bytes:
        return bytes(self._inner.pickle(pickle_key))

    def sign(self, value: Mapping[str, Any]) -> str:
        return str(self._inner.sign(_signed_bytes(value)))

    def signed(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The object with this device's signature added."""
        return {**value, "signatures": {self.user_id: {f"ed25519:{self.device_id}": self.sign(value)}}}

    def device_keys(self) -> dict[str, Any]:
        """What `/keys/upload` takes as `device_keys`."""
        return self.signed(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": [OLM, MEGOLM],
                "keys": {f"curve25519:{self.device_id}": self.curve25519, f"ed25519:{self.device_id}": self.ed25519},
            }
        )

    @property
    def unpublished(self) -> int:
        """How many one-time keys were made but not yet published."""
        return len(self._inner.one_time_keys["curve25519"])

    def make_one_time_keys(self, count: int) -> None:
        if count > 0:
            self._inner.generate_one_time_keys(count)

    def make_fallback_key(self) -> None:
        self._inner.generate_fallback_key()

    def forget_old_fallback_key(self) -> None:
        self._inner.forget_old_fallback_key()

    def keys_to_publish(self) -> dict[str, Any]:
        """The unpublished one-time keys and fallback key, as `/keys/upload` takes them; empty where there are none."""
        body: dict[str, Any] = {}
        if one_time := self._inner.one_time_keys["curve25519"]:
            body["one_time_keys"] = {
                f"{ONE_TIME_KEY}:{key_id}": self.signed({"key": key}) for key_id, key in one_time.items()
            }
        if fallback := self._inner.fallback_key["curve25519"]:
            body["fallback_keys"] = {
                f"{ONE_TIME_KEY}:{key_id}": self.signed({"key": key, "fallback": True})
                for key_id, key in fallback.items()
            }
        return body

    def mark_published(self) -> None:
        self._inner.mark_keys_as_published()

    def open_outbound(self, curve25519: str, one_time_key: str) -> OlmSession:
        """A new Olm session towards a device."""
        return OlmSession(
            _guard(lambda: OutboundSession(self._inner, curve25519.rstrip("="), one_time_key.rstrip("=")))
        )

    def open_inbound(self, sender_key: str, body: str) -> tuple[OlmSession, str]:
        """A new Olm session from a pre-key message, and its plaintext; the one-time key is used up.

        Nothing changes where the message does not decrypt.
        """

        def work() -> tuple[OlmSession, str]:
            message = OlmPreKeyMessage(body)
            session = InboundSession(self._inner, message, sender_key.rstrip("="))
            text = str(session.decrypt(message))
            self._inner.remove_one_time_keys(session)
            return OlmSession(session), text

        _must_be_base64(body)
        return _guard(work)


class OlmSession:
    """A ratchet between our device and another."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @classmethod
    def load(cls, pickle: bytes, pickle_key: str) -> OlmSession:
        return cls(_guard(lambda: Session.from_pickle(pickle, pickle_key)))

    @property
    def id(self) -> str:
        return str(self._inner.id)

    def pickle(self, pickle_key: str) -> bytes:
        return bytes(self._inner.pickle(pickle_key))

    def encrypt(self, text: str) -> dict[str, Any]:
        message = _guard(lambda: self._inner.encrypt(text))
        return {"type": MESSAGE if isinstance(message, OlmMessage) else PRE_KEY, "body": message.ciphertext}

    def matches(self, sender_key: str, body: str) -> bool:
        """Whether a pre-key message belongs to this session."""
        _must_be_base64(body)
        return bool(_guard(lambda: self._inner.matches(OlmPreKeyMessage(body), sender_key.rstrip("="))))

    def decrypt(self, kind: int, body: str) -> str:
        _must_be_base64(body)
        wrap = OlmPreKeyMessage if kind == PRE_KEY else OlmMessage
        return str(_guard(lambda: self._inner.decrypt(wrap(body))))


def _must_be_base64(text: str) -> None:
    if _BASE64.match(text) is None:
        raise OlmFailure("not base64")


class Ratchet(NamedTuple):
    """An Olm session as it is stored."""

    session_id: str
    pickle: bytes


class Peer(NamedTuple):
    """A device to encrypt to: its session, or a verified one-time key to begin one."""

    user_id: str
    device_id: str
    curve25519: str
    ed25519: str
    session: Ratchet | None = None
    one_time_key: str | None = None


class Sealed(NamedTuple):
    """An Olm message for one device, and its session's new state."""

    peer: Peer
    session_id: str
    pickle: bytes
    content: orjson.Fragment
    """The content of the `m.room.encrypted` to-device event, serialised."""


# --- room keys --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupKey:
    """An inbound Megolm session."""

    session_id: str
    first_index: int
    pickle: bytes


def import_room_key(session_key: str, pickle_key: str) -> GroupKey:
    """Take the `session_key` of an `m.room_key` (self-signed by the session, which libolm verifies).

    Raises:
        OlmFailure: damaged, or not signed by the session itself.
    """
    _must_be_base64(session_key)
    session = _guard(lambda: InboundGroupSession(session_key))
    return GroupKey(str(session.id), int(session.first_known_index), bytes(session.pickle(pickle_key)))


def decrypt_group(pickle: bytes, pickle_key: str, ciphertext: str) -> tuple[str, int]:
    """The plaintext of a Megolm message, and its index in the session."""
    _must_be_base64(ciphertext)

    def work() -> tuple[str, int]:
        text, index = InboundGroupSession.from_pickle(pickle, pickle_key).decrypt(ciphertext)
        return str(text), int(index)

    return _guard(work)


@dataclass(frozen=True, slots=True)
class OutboundGroup:
    """An outbound Megolm session as it stands: `index` is the one of the next message, `session_key` begins there."""

    session_id: str
    pickle: bytes
    session_key: str
    index: int


def new_group(pickle_key: str) -> OutboundGroup:
    return _outbound(OutboundGroupSession(), pickle_key)


def load_group(pickle: bytes, pickle_key: str) -> OutboundGroup:
    return _outbound(_guard(lambda: OutboundGroupSession.from_pickle(pickle, pickle_key)), pickle_key)


def encrypt_group(pickle: bytes, pickle_key: str, plaintext: str) -> tuple[str, OutboundGroup]:
    """The ciphertext of the next message, and the session after it: to be stored before the ciphertext leaves."""

    def work() -> tuple[str, Any]:
        session = OutboundGroupSession.from_pickle(pickle, pickle_key)
        return str(session.encrypt(plaintext)), session

    ciphertext, session = _guard(work)
    return ciphertext, _outbound(session, pickle_key)


def _outbound(session: Any, pickle_key: str) -> OutboundGroup:
    return OutboundGroup(
        str(session.id), bytes(session.pickle(pickle_key)), str(session.session_key), int(session.message_index)
    )


# --- room keys of the past --------------------------------------------------------------------------------------------


def session_key_at(original: bytes, pickle_key: str, index: int) -> str:
    """The `session_key` of our own session from that message on, made from the session as it was before its first."""

    def work() -> str:
        session = OutboundGroupSession.from_pickle(original, pickle_key)
        while session.message_index < index:
            session.encrypt("")
        return str(session.session_key)

    return _guard(work)


def export_room_key(pickle: bytes, pickle_key: str, index: int, session_id: str) -> str:
    """A room key in the format of key exports (version 1), from that message on; read back before it is given.

    Raises:
        OlmFailure: it begins later, or is not the key of that session.
    """

    def work() -> str:
        exported = str(InboundGroupSession.from_pickle(pickle, pickle_key).export_session(index))
        if str(InboundGroupSession.import_session(exported).id) != session_id:
            raise ValueError("not the key of this session")
        return exported

    return _guard(work)


def repickled(kind: str, pickle: bytes, old_key: str, new_key: str) -> bytes:
    """The same account, Olm session, or outbound or inbound Megolm session, encrypted under another key.

    Args:
        kind: `account`, `olm`, `outbound` or `inbound`.

    Raises:
        OlmFailure: it is not encrypted under `old_key`.
    """
    library: dict[str, Any] = {
        "account": LibAccount,
        "olm": Session,
        "outbound": OutboundGroupSession,
        "inbound": InboundGroupSession,
    }
    return bytes(_guard(lambda: library[kind].from_pickle(pickle, old_key).pickle(new_key)))


# --- verification by emoji --------------------------------------------------------------------------------------------


class Sas:
    """The ephemeral key pair of one verification by emoji (specification: `m.sas.v1`). Implements `sas.Secret`."""

    def __init__(self) -> None:
        self._inner = LibSas()
        self.public_key: str = self._inner.pubkey

    def agree(self, their_key: str) -> None:
        _guard(lambda: self._inner.set_their_pubkey(their_key.rstrip("=")))

    def derive(self, info: str, length: int) -> bytes:
        """Bytes that only both sides know (`curve25519-hkdf-sha256`)."""
        return bytes(_guard(lambda: self._inner.generate_bytes(info, length)))

    def mac(self, message: str, info: str) -> str:
        """`hkdf-hmac-sha256.v2`: libolm's first encoding of it was broken, and has another name."""
        return str(_guard(lambda: self._inner.calculate_mac_fixed_base64(message, info)))
