"""The announcer's cross-signing identity, made from one secret.

The three keys of the specification's cross-signing module are derived from a seed in the configuration (HKDF-SHA256,
RFC 5869). So the identity is the same after every restart, in every new device and after the loss of the database, and
no secret has to be stored on the homeserver.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from bridge.core.errors import ConfigError
from bridge.e2ee.machine import Account, Signer, verify_json

MIN_SEED_BYTES = 16
_SALT = b"matrix-communities cross-signing"


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869)."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


class Identity:
    """The three cross-signing keys of one user."""

    def __init__(self, user_id: str, seed: bytes) -> None:
        """Derive the keys.

        Raises:
            ConfigError: the seed is too short to be a secret.
        """
        if len(seed) < MIN_SEED_BYTES:
            raise ConfigError([f"the identity seed has less than {MIN_SEED_BYTES} bytes"])
        self.user_id = user_id
        self._master = self._derive(seed, b"master")
        self._self_signing = self._derive(seed, b"self_signing")
        self._keys = {
            "master": self._master,
            "self_signing": self._self_signing,
            "user_signing": self._derive(seed, b"user_signing"),
        }

    def _derive(self, seed: bytes, usage: bytes) -> Signer:
        return Signer(hkdf_sha256(seed, salt=_SALT, info=usage + b" " + self.user_id.encode()))

    @property
    def master_key(self) -> str:
        """The public master key: what people compare."""
        return self._master.public_key

    @property
    def user_signing_key(self) -> str:
        """The public key under which we sign the identities of people whom we have verified."""
        return self._keys["user_signing"].public_key

    def belongs_to_another(self, answer: Mapping[str, Any]) -> bool:
        """Whether a `/keys/query` answer shows an identity that was not made from this seed."""
        master = _part(answer, "master_keys", self.user_id)
        return bool(master) and not _is_key(master, self._master)

    def to_publish(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The body of `/keys/device_signing/upload` for what a `/keys/query` answer does not show; empty where it
        shows all.

        Only what is missing: Synapse fails on a key that it has, and stores the three one after the other.
        """
        if self.belongs_to_another(answer):
            answer = {}
        return {
            f"{usage}_key": self._signed(self._public(usage, key), self._master)
            for usage, key in self._keys.items()
            if not _is_key(_part(answer, f"{usage}_keys", self.user_id), key)
        }

    def has_signed(self, device_keys: Mapping[str, Any]) -> bool:
        """Whether a device carries our self-signing key's signature."""
        key = self._self_signing.public_key
        return verify_json(device_keys, user_id=self.user_id, key_id=key, key=key)

    def is_signed_by(self, answer: Mapping[str, Any], account: Account) -> bool:
        """Whether the published master key carries the device's signature."""
        master = _part(answer, "master_keys", self.user_id)
        return verify_json(master, user_id=self.user_id, key_id=account.device_id, key=account.ed25519)

    def signatures(self, account: Account) -> dict[str, Any]:
        """The body of `/keys/signatures/upload`: the device signed by us, and the master key by the device."""
        device = account.device_keys()
        master = self._public("master", self._master)
        return {
            self.user_id: {
                account.device_id: self._signed(device, self._self_signing),
                self.master_key: account.signed(master),
            }
        }

    def vouch(self, master_key: Mapping[str, Any]) -> dict[str, Any]:
        """The body of `/keys/signatures/upload` that says that somebody's identity is theirs.

        Args:
            master_key: the identity as `/keys/query` gives it, whose key was compared.
        """
        user_id = str(master_key["user_id"])
        clean = {name: part for name, part in master_key.items() if name not in ("signatures", "unsigned")}
        public = next(iter(master_key["keys"].values()))
        return {user_id: {public: self._signed(clean, self._keys["user_signing"])}}

    def _public(self, usage: str, key: Signer) -> dict[str, Any]:
        return {
            "user_id": self.user_id,
            "usage": [usage],
            "keys": {f"ed25519:{key.public_key}": key.public_key},
        }

    def _signed(self, value: Mapping[str, Any], by: Signer) -> dict[str, Any]:
        return {**value, "signatures": {self.user_id: {f"ed25519:{by.public_key}": by.sign(value)}}}


def _part(answer: Mapping[str, Any], kind: str, user_id: str) -> Mapping[str, Any]:
    every = answer.get(kind)
    part = every.get(user_id) if isinstance(every, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _is_key(published: Mapping[str, Any], key: Signer) -> bool:
    return published.get("keys") == {f"ed25519:{key.public_key}": key.public_key}
