"""Files as encrypted attachments, opened by an independent client's code, and hostile descriptions of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nio.crypto import decrypt_attachment, encrypt_attachment

from bridge.core.errors import CannotDecrypt
from bridge.e2ee.attachments import decrypt, encrypt

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary(max_size=5_000))
def test_another_client_opens_what_we_encrypted(plain: bytes) -> None:
    data, info = encrypt(plain)
    assert decrypt_attachment(data, info["key"]["k"], info["hashes"]["sha256"], info["iv"]) == plain
    assert decrypt(data, info) == plain


@given(st.binary(max_size=5_000))
def test_we_open_what_another_client_encrypted(plain: bytes) -> None:
    data, info = encrypt_attachment(plain)
    assert decrypt(data, info) == plain


def test_each_file_has_a_key_of_its_own() -> None:
    first, second = encrypt(b"the same"), encrypt(b"the same")
    assert first[0] != second[0]
    assert first[1]["key"]["k"] != second[1]["key"]["k"]


def test_a_file_that_was_changed_on_its_way_is_refused() -> None:
    data, info = encrypt(b"attend on Monday")
    with pytest.raises(CannotDecrypt, match="hash"):
        decrypt(bytes([data[0] ^ 1]) + data[1:], info)


@given(st.sampled_from(["v", "key", "iv", "hashes"]), anything)
def test_whatever_stands_in_a_description_is_refused_with_a_sentence(name: str, value: object) -> None:
    data, info = encrypt(b"attend on Monday")
    changed: dict[str, Any] = {**info, name: value}
    if changed != info:
        with pytest.raises(CannotDecrypt):
            decrypt(data, changed)


@given(st.sampled_from(["kty", "alg", "k"]), anything)
def test_whatever_stands_in_the_key_is_refused_with_a_sentence(name: str, value: object) -> None:
    data, info = encrypt(b"attend on Monday")
    with pytest.raises(CannotDecrypt):
        decrypt(data, {**info, "key": {**info["key"], name: value}})
