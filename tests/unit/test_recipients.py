"""Rules of who gets a room key, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.core.ids import EventId, UserId
from bridge.e2ee.recipients import (
    CHUNK_BYTES,
    CHUNK_DEVICES,
    MAX_AGE_MS,
    MAX_MESSAGES,
    MIN_AGE_MS,
    Decision,
    Device,
    Missing,
    Room,
    Rotation,
    Session,
    Share,
    ShareState,
    Trust,
    body_bytes,
    chunks,
    decide,
)
from bridge.ports import Member

ME = UserId("@announcements:example.org")
ANN = UserId("@ann:example.org")
BOB = UserId("@bob:example.org")
NOW = 1_700_000_000_000
ROOM = Room({"history_visibility": "shared"}, {"algorithm": "m.megolm.v1.aes-sha2"})


def member(user: UserId, number: int = 1) -> Member:
    return Member(user, EventId(f"${user}-{number}"))


def device(user: UserId, name: str = "A", keys: str = "1") -> Device:
    return Device(user, name, f"curve-{user}-{name}-{keys}", f"ed-{user}-{name}-{keys}")


def share(of: Device, state: ShareState = ShareState.HELD, number: int = 1, txn_id: str = "") -> Share:
    event = f"${of.user_id}-{number}"
    return Share(of.user_id, of.device_id, of.curve25519, of.ed25519, event, state, txn_id)


def session(*, created_at: int = NOW, messages: int = 3, room: Room = ROOM) -> Session:
    return Session("session", created_at, messages, room.digest)


def judge(
    joined: list[Member],
    devices: list[Device],
    shares: list[Share] | None = None,
    *,
    of: Session | None = None,
    room: Room = ROOM,
    now_ms: int = NOW,
) -> Decision:
    by_user: dict[UserId, list[Device]] = {}
    for one in devices:
        by_user.setdefault(one.user_id, []).append(one)
    return decide(
        announcer=ME,
        joined=joined,
        devices=by_user,
        session=of,
        shares=shares or [],
        room=room,
        trust=Trust.ALL,
        now_ms=now_ms,
    )


def missing(decision: Decision) -> list[Device]:
    return [one.device for one in decision.missing]


def test_without_a_session_everybody_misses_a_new_one() -> None:
    decision = judge([member(ANN), member(BOB)], [device(ANN), device(BOB), device(BOB, "B")])
    assert decision.rotation is Rotation.NO_SESSION
    assert missing(decision) == [device(ANN), device(BOB), device(BOB, "B")]


def test_our_own_devices_never_get_a_key() -> None:
    decision = judge([member(ME), member(ANN)], [device(ME), device(ME, "B"), device(ANN)])
    assert missing(decision) == [device(ANN)]


def test_devices_of_people_outside_are_ignored() -> None:
    assert missing(judge([member(ANN)], [device(ANN), device(BOB)])) == [device(ANN)]


def test_a_device_listed_under_another_user_is_ignored() -> None:
    decision = decide(
        announcer=ME,
        joined=[member(ANN)],
        devices={ANN: [device(BOB)]},
        session=None,
        shares=[],
        room=ROOM,
        trust=Trust.ALL,
        now_ms=NOW,
    )
    assert not decision.missing


def test_nothing_to_do_where_everybody_holds_it() -> None:
    decision = judge([member(ANN)], [device(ANN)], [share(device(ANN))], of=session())
    assert decision == Decision(None, (), ())


def test_a_newcomer_gets_the_current_session() -> None:
    decision = judge([member(ANN), member(BOB)], [device(ANN), device(BOB)], [share(device(ANN))], of=session())
    assert decision.rotation is None
    assert missing(decision) == [device(BOB)]


def test_a_new_device_gets_the_current_session() -> None:
    decision = judge([member(ANN)], [device(ANN), device(ANN, "B")], [share(device(ANN))], of=session())
    assert decision.rotation is None
    assert missing(decision) == [device(ANN, "B")]


@pytest.mark.parametrize("state", [ShareState.HELD, ShareState.PENDING])
def test_whoever_left_ends_the_session(state: ShareState) -> None:
    shares = [share(device(ANN)), share(device(BOB), state)]
    decision = judge([member(ANN)], [device(ANN), device(BOB)], shares, of=session())
    assert decision.rotation is Rotation.MEMBER_LEFT
    assert missing(decision) == [device(ANN)]


@pytest.mark.parametrize("state", [ShareState.NO_OLM, ShareState.WITHHELD])
def test_whoever_left_without_the_key_changes_nothing(state: ShareState) -> None:
    shares = [share(device(ANN)), share(device(BOB), state)]
    assert judge([member(ANN)], [device(ANN)], shares, of=session()).rotation is None


def test_whoever_left_and_returned_ends_the_session() -> None:
    shares = [share(device(ANN)), share(device(BOB), number=1)]
    decision = judge([member(ANN), member(BOB, 2)], [device(ANN), device(BOB)], shares, of=session())
    assert decision.rotation is Rotation.MEMBER_LEFT
    assert missing(decision) == [device(ANN), device(BOB)]


def test_a_device_that_is_gone_ends_the_session() -> None:
    shares = [share(device(ANN)), share(device(ANN, "B"))]
    assert judge([member(ANN)], [device(ANN)], shares, of=session()).rotation is Rotation.DEVICE_GONE


def test_a_device_whose_keys_changed_ends_the_session() -> None:
    decision = judge([member(ANN)], [device(ANN, keys="2")], [share(device(ANN, keys="1"))], of=session())
    assert decision.rotation is Rotation.DEVICE_GONE
    assert missing(decision) == [device(ANN, keys="2")]


@pytest.mark.parametrize(
    "room",
    [
        Room({"history_visibility": "joined"}, ROOM.encryption),
        Room(ROOM.history_visibility, {}),
        Room(ROOM.history_visibility, None),
        Room(ROOM.history_visibility, {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 5}),
    ],
)
def test_other_rules_of_the_room_end_the_session(room: Room) -> None:
    decision = judge([member(ANN)], [device(ANN)], [share(device(ANN))], of=session(), room=room)
    assert decision.rotation is Rotation.AUDIENCE_CHANGED


def test_a_session_ends_after_its_messages() -> None:
    shares = [share(device(ANN))]
    assert judge([member(ANN)], [device(ANN)], shares, of=session(messages=MAX_MESSAGES - 1)).rotation is None
    decision = judge([member(ANN)], [device(ANN)], shares, of=session(messages=MAX_MESSAGES))
    assert decision.rotation is Rotation.TOO_MANY_MESSAGES


@pytest.mark.parametrize(
    ("age", "ends"), [(MAX_AGE_MS - 1, False), (MAX_AGE_MS, True), (-1000, False), (-MAX_AGE_MS, True)]
)
def test_a_session_ends_with_age_or_when_the_clock_was_set_back(age: int, ends: bool) -> None:
    decision = judge([member(ANN)], [device(ANN)], [share(device(ANN))], of=session(created_at=NOW - age))
    assert (decision.rotation is Rotation.TOO_OLD) is ends


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"algorithm": 5},
        {"rotation_period_msgs": "x", "rotation_period_ms": None},
        {"rotation_period_msgs": True, "rotation_period_ms": [1]},
        {"rotation_period_msgs": 10**30, "rotation_period_ms": 10**30},
        {"rotation_period_msgs": 1.5},
    ],
)
def test_nonsense_in_the_encryption_settings_means_the_defaults(content: Mapping[str, Any] | None) -> None:
    room = Room({"history_visibility": ["nonsense"]}, content)
    assert (room.max_messages, room.max_age_ms) == (MAX_MESSAGES, MAX_AGE_MS)
    assert room.visibility == "shared"
    assert judge([member(ANN)], [device(ANN)], room=room).missing


def test_settings_can_only_make_sessions_shorter_and_never_endlessly_short() -> None:
    room = Room(None, {"rotation_period_msgs": 0, "rotation_period_ms": -5})
    assert (room.max_messages, room.max_age_ms) == (1, MIN_AGE_MS)


@pytest.mark.parametrize(
    ("visibility", "shares"),
    [("shared", True), ("world_readable", True), ("joined", False), ("invited", False), (None, True)],
)
def test_newcomers_may_read_what_is_said_only_where_the_room_says_so(visibility: str | None, shares: bool) -> None:
    content = None if visibility is None else {"history_visibility": visibility}
    assert Room(content, None).shares_history is shares


def test_an_unanswered_share_is_repeated_under_its_own_id_and_as_it_was() -> None:
    first, second, third = device(ANN), device(ANN, "B"), device(BOB)
    shares = [share(first, ShareState.PENDING, txn_id="t1"), share(third, ShareState.PENDING, txn_id="t1")]
    decision = judge([member(ANN), member(BOB)], [first, second, third], shares, of=session())
    assert decision.rotation is None
    pieces = [[one.device for one in piece] for piece in chunks(decision.missing, payload_bytes=500)]
    assert pieces == [[first, third], [second]]


def test_a_device_without_one_time_keys_is_tried_again_and_told_once() -> None:
    decision = judge([member(ANN)], [device(ANN)], [share(device(ANN), ShareState.NO_OLM)], of=session())
    assert decision.rotation is None
    assert [(one.device, one.told) for one in decision.missing] == [(device(ANN), True)]


def test_chunks_are_bounded_in_devices_and_bytes() -> None:
    people = [Missing(device(UserId(f"@{number}:example.org")), "$e") for number in range(1001)]
    pieces = list(chunks(people, payload_bytes=300))
    assert [len(piece) for piece in pieces] == [CHUNK_DEVICES, 1001 - CHUNK_DEVICES]
    long = [Missing(Device(UserId(f"@{'x' * 240}{n}:e"), "D" * 250, "c", "e"), "$e") for n in range(600)]
    pieces = list(chunks(long, payload_bytes=2000))
    assert [one for piece in pieces for one in piece] == long
    assert all(sum(body_bytes(one.device, 2000) for one in piece) <= CHUNK_BYTES for piece in pieces)
