"""Files as encrypted attachments; bytes in, bytes out, and nothing is kept.

Follows the specification's "Sending encrypted attachments" (client-server API, `EncryptedFile`, version 2): AES-CTR
with a key of 256 bits, a start of which the second half is zero, and the SHA-256 of the ciphertext.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from bridge.core.errors import CannotDecrypt

_KEY_BYTES = 32
_START_BYTES = 16


def encrypt(plain: bytes) -> tuple[bytes, dict[str, Any]]:
    """The file as it is uploaded, and its `EncryptedFile` without the `url`. Each time under a new key."""
    key, start = os.urandom(_KEY_BYTES), os.urandom(_START_BYTES // 2) + bytes(_START_BYTES // 2)
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
        "iv": _unpadded(start),
        "hashes": {"sha256": _unpadded(hashlib.sha256(data).digest())},
    }


def decrypt(data: bytes, info: Mapping[str, Any]) -> bytes:
    """The file that somebody encrypted, by its `EncryptedFile`, which may say anything.

    Raises:
        CannotDecrypt: `info` is none of version 2, or the file is not the one that it speaks of.
    """
    key, hashes = info.get("key"), info.get("hashes")
    if info.get("v") != "v2" or not isinstance(key, Mapping) or not isinstance(hashes, Mapping):
        raise _refused("it is not described as an encrypted file of version 2")
    if key.get("kty") != "oct" or key.get("alg") != "A256CTR":
        raise _refused("it is encrypted in another way than AES-CTR")
    secret, start = _bytes(key.get("k"), _KEY_BYTES, "key"), _bytes(info.get("iv"), _START_BYTES, "iv")
    if not hmac.compare_digest(hashlib.sha256(data).digest(), _bytes(hashes.get("sha256"), 32, "hash")):
        raise _refused("it is not the file that was sent: its hash is another one")
    decryptor = Cipher(AES(secret), CTR(start)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _unpadded(raw: bytes) -> str:
    return base64.b64encode(raw).decode().rstrip("=")


def _bytes(said: object, length: int, what: str) -> bytes:
    """Unpadded base64 in either alphabet, of which some clients write the one and some the other."""
    if isinstance(said, str):
        text = said.rstrip("=").translate(str.maketrans("-_", "+/"))
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) == length:
            return raw
    raise _refused(f"its {what} is garbled")


def _refused(why: str) -> CannotDecrypt:
    return CannotDecrypt(why, where="encrypted file", remedy="have it sent again")
