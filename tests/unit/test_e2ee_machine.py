"""The thin layer over libolm: canonical JSON, signatures, keys from seeds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from canonicaljson import encode_canonical_json
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.errors import ConfigError
from bridge.core.ids import UserId
from bridge.e2ee.bulk import payload_bytes, seal
from bridge.e2ee.identity import Identity, hkdf_sha256
from bridge.e2ee.machine import (
    Account,
    OlmFailure,
    Peer,
    Signer,
    canonical_json,
    import_room_key,
    is_key,
    load_group,
    new_group,
    verify_json,
)
from bridge.e2ee.recipients import Device, body_bytes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)


@given(OBJECTS)
def test_canonical_json_is_what_synapse_signs(value: dict[str, Any]) -> None:
    assert canonical_json(value) == encode_canonical_json(value)


@given(OBJECTS, TEXT)
def test_a_signature_covers_everything_but_itself(value: dict[str, Any], change: str) -> None:
    account = Account.create("@ann:example.org", "A")
    signed = account.signed({key: part for key, part in value.items() if key not in ("signatures", "unsigned")})

    def verified(of: dict[str, Any]) -> bool:
        return verify_json(of, user_id="@ann:example.org", key_id="A", key=account.ed25519)

    assert verified(signed)
    assert verified({**signed, "unsigned": {"age": 5}})
    assert not verified({**signed, "another": change})
    assert not verify_json(signed, user_id="@bob:example.org", key_id="A", key=account.ed25519)
    assert not verify_json(signed, user_id="@ann:example.org", key_id="B", key=account.ed25519)
    assert not verify_json(signed, user_id="@ann:example.org", key_id="A", key=account.curve25519)


@given(VALUES)
def test_nonsense_in_place_of_a_signature_verifies_nothing(nonsense: Any) -> None:
    key = Account.create("@ann:example.org", "A").ed25519
    for signatures in (nonsense, {"@ann:example.org": nonsense}, {"@ann:example.org": {"ed25519:A": nonsense}}):
        assert not verify_json({"signatures": signatures}, user_id="@ann:example.org", key_id="A", key=key)
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"deeper": deep}
    signed = {**deep, "signatures": {"@ann:example.org": {"ed25519:A": "a" * 86}}}
    assert not verify_json(signed, user_id="@ann:example.org", key_id="A", key=key)


def test_hkdf_is_that_of_the_rfc() -> None:
    # RFC 5869, appendix A.1, first 32 bytes
    made = hkdf_sha256(bytes([0x0B] * 22), salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)))
    assert made.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_an_identity_comes_from_its_seed_and_user_alone() -> None:
    def made(user: str, seed: bytes) -> dict[str, Any]:
        return Identity(user, seed).to_publish({})

    first = made("@a:example.org", b"x" * 32)
    assert first == made("@a:example.org", b"x" * 32)
    assert first != made("@a:example.org", b"y" * 32)
    assert first["master_key"]["keys"] != made("@b:example.org", b"x" * 32)["master_key"]["keys"]
    publics = {key for part in first.values() for key in part["keys"].values()}
    assert len(publics) == 3
    # an identity must never change: this is the public master key of this seed for ever
    assert Identity("@a:example.org", b"x" * 32).master_key == MASTER_KEY


MASTER_KEY = "eF+PwClmpdEdCrWJ+eaTSFL4glgnDRRd8bX1BTjy5vo"


def test_a_seed_that_is_no_secret_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 bytes"):
        Identity("@a:example.org", b"short")


def test_what_is_not_a_key_is_told() -> None:
    assert is_key(Signer(b"s" * 32).public_key)
    for nonsense in (None, 5, "", "a" * 42, "a" * 44, "a" * 43 + "\n", "é" * 43, "a" * 43 + "="):
        assert not is_key(nonsense)


def test_a_wrong_pickle_key_opens_nothing() -> None:
    account = Account.create("@ann:example.org", "A")
    with pytest.raises(OlmFailure):
        Account.load(account.pickle("one"), "two", "@ann:example.org", "A")
    with pytest.raises(OlmFailure):
        load_group(new_group("one").pickle, "two")


def test_the_original_key_of_a_session_can_be_had_for_ever() -> None:
    group = new_group("key")
    again = load_group(group.pickle, "key")
    assert (again.session_key, again.index) == (group.session_key, 0)
    assert import_room_key(again.session_key, "key").session_id == group.session_id


@settings(max_examples=40)
@given(user=st.text(st.characters(exclude_categories=["Cs"]), max_size=80), name=TEXT, payload=st.integers(0, 900))
def test_a_piece_is_never_larger_than_reckoned(user: str, name: str, payload: int) -> None:
    ours, theirs = Account.create("@announcements:example.org", "OURDEVICE1"), Account.create(user, name)
    theirs.make_one_time_keys(1)
    one_time = next(iter(theirs.keys_to_publish()["one_time_keys"].values()))["key"]
    peer = Peer(user, name, theirs.curve25519, theirs.ed25519, None, one_time)
    content = {"filler": "x" * payload}
    (sealed,), failed = seal(ours, "a pickle key", [peer], "m.room_key", content)
    assert not failed
    body = orjson.dumps({user: {name: sealed.content}})
    wire = orjson.loads(body)[user][name]
    device = Device(UserId(user), name, theirs.curve25519, theirs.ed25519)
    assert len(body) <= body_bytes(device, payload_bytes(ours, "m.room_key", content))
    _, text = theirs.open_inbound(ours.curve25519, wire["ciphertext"][theirs.curve25519]["body"])
    assert orjson.loads(text) == {
        "type": "m.room_key",
        "content": content,
        "sender": "@announcements:example.org",
        "keys": {"ed25519": ours.ed25519},
        "recipient": user,
        "recipient_keys": {"ed25519": theirs.ed25519},
    }
