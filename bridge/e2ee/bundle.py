"""Room keys of others in one encrypted file (MSC4268), which is an encrypted attachment like any other.

Follows MSC4268 and the specification's "Sending encrypted attachments".
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from typing import Any

import orjson
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from bridge.e2ee.machine import MEGOLM, OlmFailure, export_room_key
from bridge.store.keys import InboundRow

ROOM_KEY_BUNDLE = "m.room_key_bundle"


def bundle_of(keys: Iterable[tuple[InboundRow, int]], pickle_key: str) -> bytes | None:
    """The bundle of these keys, each from its index on; None where not one of them can be given.

    A client takes a bundle as a whole or not at all, so each key is read back first, and left out where it is broken.
    """
    found = []
    for row, index in keys:
        try:
            exported = export_room_key(row.pickle, pickle_key, index, row.session_id)
        except OlmFailure:
            continue
        found.append(
            {
                "algorithm": MEGOLM,
                "room_id": row.room_id,
                "sender_key": row.curve25519,
                "sender_claimed_keys": {"ed25519": row.ed25519},
                "session_id": row.session_id,
                "session_key": exported,
            }
        )
    return orjson.dumps({"room_keys": found, "withheld": []}) if found else None


def encrypted(plain: bytes) -> tuple[bytes, dict[str, Any]]:
    """The file as it is uploaded, and its `EncryptedFile` without the `url` (AES-CTR with 256 bits, version 2)."""
    key, start = os.urandom(32), os.urandom(8) + bytes(8)
    encryptor = Cipher(AES(key), CTR(start)).encryptor()
    data = encryptor.update(plain) + encryptor.finalize()
    return data, {
        "v": "v2",
        "key": {
            "kty": "oct",
            "alg": "A256CTR",
            "ext": True,
            "key_ops": ["encrypt", "decrypt"],
            "k": base64.urlsafe_b64encode(key).decode().rstrip("="),
        },
        "iv": base64.b64encode(start).decode().rstrip("="),
        "hashes": {"sha256": base64.b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")},
    }
