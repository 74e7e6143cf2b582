"""Many Olm messages at once, by libolm's C interface as python-olm's extension module has it.

python-olm's own classes cost about as much again as the cryptography of a message on a session that exists: they wipe
each copied text byte by byte in Python, and track every object for its end. Here each session lives for one call.
Everything else that is done with libolm goes through `machine`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from _libolm import ffi, lib

from bridge.e2ee.machine import MESSAGE, OLM, PRE_KEY, Account, OlmFailure, Peer, Sealed, is_key

_SESSION_BYTES = lib.olm_session_size()
_ERROR = lib.olm_error()


def seal(
    account: Account,
    pickle_key: str,
    peers: Iterable[Peer],
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
    key = pickle_key.encode()
    sealed: list[Sealed] = []
    failed: list[Peer] = []
    for peer in peers:
        try:
            session_id, pickle, kind, body = _seal_one(account, key, peer, _payload(head, peer.user_id, peer.ed25519))
        except OlmFailure:
            failed.append(peer)
            continue
        wire = b'%b"%b":{"type":%d,"body":"%b"}}}' % (envelope, peer.curve25519.encode(), kind, body)
        sealed.append(Sealed(peer, session_id, pickle, orjson.Fragment(wire)))
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


def _seal_one(account: Account, key: bytes, peer: Peer, text: bytes) -> tuple[str, bytes, int, bytes]:
    """The session's id, its new pickle, and the message: its type and its body."""
    if not is_key(peer.ed25519) or not is_key(peer.curve25519):
        raise OlmFailure("not a key")
    memory = ffi.new("char[]", _SESSION_BYTES)
    session = lib.olm_session(memory)
    try:
        if peer.pickle is not None:
            _load(session, key, peer.pickle)
        elif peer.one_time_key is not None:
            _begin(session, account, peer.curve25519.encode(), peer.one_time_key.encode())
        else:
            raise OlmFailure("no session and no one-time key")
        kind, body = _encrypt(session, text)
        return _id(session), _pickle(session, key), kind, body
    finally:
        lib.olm_clear_session(session)


def _checked(result: int, session: Any) -> int:
    if result == _ERROR:
        raise OlmFailure(ffi.string(lib.olm_session_last_error(session)).decode())
    return result


def _load(session: Any, key: bytes, pickle: bytes) -> None:
    copy = ffi.new("char[]", pickle)  # libolm decodes it in place
    _checked(lib.olm_unpickle_session(session, key, len(key), copy, len(pickle)), session)


def _begin(session: Any, account: Account, identity_key: bytes, one_time_key: bytes) -> None:
    size = lib.olm_create_outbound_session_random_length(session)
    random = ffi.from_buffer(bytearray(os.urandom(size)))  # libolm wipes it
    result = lib.olm_create_outbound_session(
        session, account.handle, identity_key, len(identity_key), one_time_key, len(one_time_key), random, size
    )
    _checked(result, session)


def _encrypt(session: Any, text: bytes) -> tuple[int, bytes]:
    kind = _checked(lib.olm_encrypt_message_type(session), session)
    size = lib.olm_encrypt_random_length(session)
    random = ffi.from_buffer(bytearray(os.urandom(size)))
    length = _checked(lib.olm_encrypt_message_length(session, len(text)), session)
    message = ffi.new("char[]", length)
    length = _checked(lib.olm_encrypt(session, text, len(text), random, size, message, length), session)
    return PRE_KEY if kind == lib.OLM_MESSAGE_TYPE_PRE_KEY else MESSAGE, bytes(ffi.unpack(message, length))


def _id(session: Any) -> str:
    length = lib.olm_session_id_length(session)
    buffer = ffi.new("char[]", length)
    return str(ffi.unpack(buffer, _checked(lib.olm_session_id(session, buffer, length), session)).decode())


def _pickle(session: Any, key: bytes) -> bytes:
    length = lib.olm_pickle_session_length(session)
    buffer = ffi.new("char[]", length)
    length = _checked(lib.olm_pickle_session(session, key, len(key), buffer, length), session)
    return bytes(ffi.unpack(buffer, length))
