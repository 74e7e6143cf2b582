"""Many Olm messages at once, by libolm's C interface as python-olm's extension module has it.

python-olm's own classes cost about as much again as the cryptography of a message on a session that exists: they wipe
each copied text byte by byte in Python, and track every object for its end. Here each session lives for one call.
Everything else that is done with libolm goes through `machine`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from _libolm import ffi, lib

from bridge.e2ee.machine import MESSAGE, OLM, PRE_KEY, Account, OlmFailure, Peer, Sealed, is_key

_SESSION_BYTES = lib.olm_session_size()
_ERROR = lib.olm_error()
_RATCHET_RANDOM = 32
"""Bytes: a new ratchet key, which a message needs after the other side has answered."""
_ENVELOPE_BYTES = 512
"""More than what libolm adds to a text, in base64."""
_PICKLE_BYTES = 16 * 1024
"""More than a session's pickle can be: it keeps 5 receiving chains and 40 skipped keys at most."""


def seal(
    account: Account,
    pickle_key: str,
    peers: Sequence[Peer],
    event_type: str,
    content: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> tuple[list[Sealed], list[Peer]]:
    """Encrypt one event for many devices (specification: `m.olm.v1.curve25519-aes-sha2`).

    Blocking, with Python's lock let go inside libolm: about 0.1 ms a device, 1 ms where a session has to be made.

    Args:
        more: what else stands in the plaintext, beside type and content.

    Returns:
        What was sealed, and the devices for which it was not possible.
    """
    head = _head(account, event_type, content, more)
    envelope = orjson.dumps({"algorithm": OLM, "sender_key": account.curve25519, "ciphertext": {}}).removesuffix(b"}}")
    sealed: list[Sealed] = []
    failed: list[Peer] = []
    longest = max((len(orjson.dumps(peer.user_id)) for peer in peers), default=0)
    bench = _Bench(pickle_key.encode(), len(peers), len(_payload(head, "", account.ed25519)) + longest)
    try:
        for peer in peers:
            try:
                session_id, pickle, kind, body = bench.seal(account, peer, _payload(head, peer.user_id, peer.ed25519))
            except OlmFailure:
                failed.append(peer)
                continue
            wire = b'%b"%b":{"type":%d,"body":"%b"}}}' % (envelope, peer.curve25519.encode(), kind, body)
            sealed.append(Sealed(peer, session_id, pickle, orjson.Fragment(wire)))
    finally:
        bench.wipe()
    return sealed, failed


def payload_bytes(
    account: Account, event_type: str, content: Mapping[str, Any], more: Mapping[str, Any] | None = None
) -> int:
    """How long the plaintext for each device is, its owner's name not counted."""
    return len(_payload(_head(account, event_type, content, more), "", account.ed25519))


def _head(account: Account, event_type: str, content: Mapping[str, Any], more: Mapping[str, Any] | None) -> bytes:
    """The part of an Olm payload that is the same for all devices."""
    payload = {
        **(more or {}),
        "type": event_type,
        "content": content,
        "sender": account.user_id,
        "keys": {"ed25519": account.ed25519},
        "recipient": "",
    }
    return orjson.dumps(payload).removesuffix(b'""}')


def _payload(head: bytes, user_id: str, ed25519: str) -> bytes:
    return b'%b%b,"recipient_keys":{"ed25519":"%b"}}' % (head, orjson.dumps(user_id), ed25519.encode())


class _Bench:
    """The memory in which one thread seals, used again for each device and wiped at the end.

    Every call of libolm lets go of Python's lock, and with other threads at work to take it again costs as much as the
    short calls do that only ask for a length. So there are no more calls than needed: buffers are large enough for what
    comes out, and a session is made ready by copying an empty one over what the last left there.
    """

    def __init__(self, key: bytes, devices: int, text_bytes: int) -> None:
        self._key = key
        self._memory = ffi.new("char[]", _SESSION_BYTES)
        self._session = lib.olm_session(self._memory)
        self._empty = bytes(ffi.buffer(self._memory))
        self._random = ffi.from_buffer(bytearray(os.urandom(_RATCHET_RANDOM * devices)))  # libolm wipes what it uses
        self._used = 0
        self._message_bytes = text_bytes * 4 // 3 + _ENVELOPE_BYTES
        self._message = ffi.new("char[]", self._message_bytes)
        self._pickle = ffi.new("char[]", _PICKLE_BYTES)

    def seal(self, account: Account, peer: Peer, text: bytes) -> tuple[str, bytes, int, bytes]:
        """The session's id, its new pickle, and the message: its type and its body."""
        if not is_key(peer.ed25519) or not is_key(peer.curve25519):
            raise OlmFailure("not a key")
        ffi.memmove(self._memory, self._empty, _SESSION_BYTES)
        if peer.session is not None:
            session_id = peer.session.session_id
            self._load(peer.session.pickle)
        elif peer.one_time_key is not None:
            self._begin(account, peer.curve25519.encode(), peer.one_time_key.encode())
            session_id = self._id()
        else:
            raise OlmFailure("no session and no one-time key")
        kind, body = self._encrypt(text)
        return session_id, self._stored(), kind, body

    def wipe(self) -> None:
        lib.olm_clear_session(self._session)

    def _checked(self, result: int) -> int:
        if result == _ERROR:
            raise OlmFailure(ffi.string(lib.olm_session_last_error(self._session)).decode())
        return result

    def _load(self, pickle: bytes) -> None:
        copy = ffi.new("char[]", pickle)  # libolm decodes it in place
        self._checked(lib.olm_unpickle_session(self._session, self._key, len(self._key), copy, len(pickle)))

    def _begin(self, account: Account, identity_key: bytes, one_time_key: bytes) -> None:
        size = lib.olm_create_outbound_session_random_length(self._session)
        random = ffi.from_buffer(bytearray(os.urandom(size)))  # libolm wipes it
        result = lib.olm_create_outbound_session(
            self._session,
            account.handle,
            identity_key,
            len(identity_key),
            one_time_key,
            len(one_time_key),
            random,
            size,
        )
        self._checked(result)

    def _encrypt(self, text: bytes) -> tuple[int, bytes]:
        kind = self._checked(lib.olm_encrypt_message_type(self._session))
        random = self._random + self._used
        self._used += _RATCHET_RANDOM
        length = self._checked(
            lib.olm_encrypt(self._session, text, len(text), random, _RATCHET_RANDOM, self._message, self._message_bytes)
        )
        return PRE_KEY if kind == lib.OLM_MESSAGE_TYPE_PRE_KEY else MESSAGE, ffi.buffer(self._message, length)[:]

    def _id(self) -> str:
        length = lib.olm_session_id_length(self._session)
        buffer = ffi.new("char[]", length)
        return str(ffi.unpack(buffer, self._checked(lib.olm_session_id(self._session, buffer, length))).decode())

    def _stored(self) -> bytes:
        length = lib.olm_pickle_session(self._session, self._key, len(self._key), self._pickle, _PICKLE_BYTES)
        return bytes(ffi.buffer(self._pickle, self._checked(length))[:])
