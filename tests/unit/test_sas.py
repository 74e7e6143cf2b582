"""Verification by emoji without a homeserver: two sides, and everything that one of them can do wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.e2ee import sas
from bridge.e2ee.machine import Sas
from bridge.e2ee.sas import LONGEST_LIFE_MS, PREFIX, Party, Stage, Verification

NOW = 1_700_000_000_000
KEY = {name: (name * 43)[:43] for name in "abcdmn"}
ANN = Party("@ann:example.org", "PHONE", KEY["m"], {"ed25519:PHONE": KEY["a"], f"ed25519:{KEY['m']}": KEY["m"]})
US = Party("@us:example.org", "DEVICE", KEY["n"], {"ed25519:DEVICE": KEY["b"], f"ed25519:{KEY['n']}": KEY["n"]})
Tamper = Callable[[str, dict[str, Any]], dict[str, Any]]


def side(me: Party, them: Party, stage: Stage, room: str | None = None) -> Verification:
    device = them.device_id if stage is Stage.REQUESTED else ""
    return Verification(
        me=me.user_id,
        them=them.user_id,
        transaction="$transaction",
        room=room,
        stage=stage,
        began_at=NOW,
        their_device=device,
    )


class Pair:
    """Ann, who asks, and us."""

    def __init__(self, tamper: Tamper = lambda _, content: content, room: str | None = None) -> None:
        self.ann = side(ANN, US, Stage.ASKING, room)
        self.us = side(US, ANN, Stage.REQUESTED, room)
        self._tamper = tamper

    def deliver(self, to: Verification, messages: list[sas.Message]) -> None:
        other = self.us if to is self.ann else self.ann
        for event_type, content in messages:
            kind = event_type.removeprefix(PREFIX)
            self.deliver(other, to.take(kind, self._tamper(kind, content) if to is self.us else content))

    def begin(self) -> None:
        self.ann.ask(Sas(), ANN, US)
        self.deliver(self.ann, self.us.accept(Sas(), US, ANN))

    def compare(self) -> None:
        self.begin()
        assert (self.us.stage, self.ann.stage) == (Stage.COMPARING, Stage.COMPARING)

    def agree(self) -> None:
        self.compare()
        self.deliver(self.us, self.ann.confirm())
        self.deliver(self.ann, self.us.confirm())


@pytest.mark.parametrize("room", [None, "!room:example.org"])
def test_both_sides_see_the_same_and_prove_their_keys(room: str | None) -> None:
    pair = Pair(room=room)
    pair.compare()
    assert pair.us.emoji == pair.ann.emoji
    assert len(pair.us.emoji) == 7
    assert pair.us.decimals == pair.ann.decimals
    assert all(1000 <= number <= 9191 for number in pair.us.decimals or ())
    pair.deliver(pair.us, pair.ann.confirm())
    before = pair.us.stage
    assert before is Stage.COMPARING, "nothing is believed before somebody here has compared"
    pair.deliver(pair.ann, pair.us.confirm())
    assert (pair.us.stage, pair.ann.stage) == (Stage.PROVEN, Stage.PROVEN)
    pair.deliver(pair.ann, pair.us.signed())
    assert pair.us.stage is Stage.DONE


def test_the_emoji_are_those_of_the_specification() -> None:
    assert len(sas.EMOJI) == len(set(sas.EMOJI)) == 64
    assert sas.EMOJI[0] == ("🐶", "Dog")
    assert sas.EMOJI[21] == ("☁️", "Cloud")
    assert sas.EMOJI[63] == ("📌", "Pin")


def test_another_key_in_between_shows_other_emoji() -> None:
    other = Sas()
    pair = Pair(lambda kind, content: {**content, "key": other.public_key} if kind == "key" else content)
    pair.begin()
    assert pair.us.emoji != pair.ann.emoji


def forged(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "mac": dict.fromkeys(content["mac"], "A" * 43)} if kind == "mac" else content


def forged_list(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "keys": "A" * 43} if kind == "mac" else content


def left_out(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {**content, "mac": {"ed25519:PHONE": content["mac"]["ed25519:PHONE"]}} if kind == "mac" else content


@pytest.mark.parametrize("tamper", [forged, forged_list, left_out])
def test_macs_that_do_not_fit_cancel(tamper: Tamper) -> None:
    pair = Pair(tamper)
    pair.agree()
    assert (pair.us.stage, pair.us.code) == (Stage.CANCELLED, "m.key_mismatch")
    assert pair.ann.stage is Stage.CANCELLED
    assert pair.us.signed() == []


@pytest.mark.parametrize("key_id", ["ed25519:PHONE", f"ed25519:{KEY['m']}"])
def test_another_key_at_the_homeserver_than_the_other_side_has_cancels(key_id: str) -> None:
    pair = Pair()
    pair.ann.ask(Sas(), ANN, US)
    believed = Party(ANN.user_id, ANN.device_id, ANN.master_key, {**ANN.keys, key_id: KEY["c"]})
    pair.deliver(pair.ann, pair.us.accept(Sas(), US, believed))
    pair.deliver(pair.us, pair.ann.confirm())
    pair.deliver(pair.ann, pair.us.confirm())
    assert (pair.us.stage, pair.us.code) == (Stage.CANCELLED, "m.key_mismatch")


def test_the_side_that_began_refuses_a_key_that_was_not_promised() -> None:
    pair = Pair()
    pair.ann.ask(Sas(), ANN, US)
    [(_, ready)] = pair.us.accept(Sas(), US, ANN)
    [(_, start)] = pair.ann.take("ready", ready)
    [(_, accept)] = pair.us.take("start", start)
    pair.ann.take("accept", accept)
    [(_, cancel)] = pair.ann.take("key", {"key": Sas().public_key})
    assert cancel["code"] == "m.mismatched_commitment"


def test_a_no_here_is_told_there() -> None:
    pair = Pair()
    pair.compare()
    pair.deliver(pair.ann, pair.us.deny())
    assert (pair.ann.stage, pair.ann.code) == (Stage.CANCELLED, "m.mismatched_sas")


@pytest.mark.parametrize("kind", ["start", "key", "mac", "accept", "ready"])
def test_a_step_out_of_order_cancels(kind: str) -> None:
    us = side(US, ANN, Stage.REQUESTED)
    [(event_type, content)] = us.take(kind, {})
    assert event_type == f"{PREFIX}cancel"
    assert content["code"] == "m.unexpected_message"
    assert us.take(kind, {}) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"method": "m.reciprocate.v1"}, "m.unknown_method"),
        ({"hashes": ["md5"]}, "m.unknown_method"),
        ({"key_agreement_protocols": "curve25519-hkdf-sha256"}, "m.unknown_method"),
        ({"message_authentication_codes": ["hkdf-hmac-sha256"]}, "m.unknown_method"),
        ({"short_authentication_string": ["songs"]}, "m.invalid_message"),
        ({"from_device": "OTHER"}, "m.unexpected_message"),
        ({"number": 2**70}, "m.invalid_message"),
    ],
)
def test_a_start_that_does_not_fit_cancels(change: dict[str, Any], code: str) -> None:
    pair = Pair(lambda kind, content: {**content, **change} if kind == "start" else content)
    pair.begin()
    assert (pair.us.stage, pair.us.code) == (Stage.CANCELLED, code)


def test_when_both_begin_the_smaller_user_ids_start_holds() -> None:
    us, ann = side(US, ANN, Stage.ASKING), side(ANN, US, Stage.ASKING)
    us.ask(Sas(), US, ANN)
    ann.ask(Sas(), ANN, US)
    [(_, ours)] = us.take("ready", {"from_device": "PHONE", "methods": [sas.METHOD]})
    [(_, hers)] = ann.take("ready", {"from_device": "DEVICE", "methods": [sas.METHOD]})
    assert ann.take("start", ours) == []
    [(event_type, accept)] = us.take("start", hers)
    assert event_type == f"{PREFIX}accept"
    pair = Pair()
    pair.us, pair.ann = us, ann
    pair.deliver(ann, [(event_type, accept)])
    assert us.emoji == ann.emoji != []


@pytest.mark.parametrize("passed", [LONGEST_LIFE_MS + 1, -LONGEST_LIFE_MS])
def test_what_takes_too_long_is_cancelled_and_a_clock_put_back_as_well(passed: int) -> None:
    us = side(US, ANN, Stage.REQUESTED)
    assert us.expire(NOW + LONGEST_LIFE_MS) == []
    [(_, content)] = us.expire(NOW + passed)
    assert content["code"] == "m.timeout"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*KEY.values()]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["from_device", "methods", "key", "mac", "keys", "code", "reason", "commitment", "method", "hashes", "hash"]


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["ready", "start", "accept", "key", "mac", "done", "cancel", "nonsense"]),
            st.dictionaries(st.sampled_from(FIELDS), json, max_size=4),
        ),
        max_size=4,
    ),
    begun=st.booleans(),
)
def test_nothing_that_is_sent_raises_or_proves_anything(steps: list[tuple[str, dict[str, Any]]], begun: bool) -> None:
    pair = Pair()
    if begun:
        pair.compare()
        pair.us.confirm()
    for kind, content in steps:
        assert len(pair.us.take(kind, content)) <= 1
    assert pair.us.stage not in (Stage.PROVEN, Stage.DONE)
