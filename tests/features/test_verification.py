"""How many verifications people can open, and what happens to those that nobody takes up."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import Refused
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Verifying
from bridge.e2ee.keys import Keys
from bridge.e2ee.sas import LONGEST_LIFE_MS, METHOD
from bridge.e2ee.verification import MAX_AT_ONCE, MAX_OPEN, MAX_OPEN_OF_ONE_USER
from tests.harness.key_world import ANNOUNCER, KeyWorld, StillClock

ANN = "@ann:example.org"


def request(keys: Keys, user: str, transaction: str, **change: Any) -> tuple[UserId, str, dict[str, Any]]:
    at = keys.verifications._clock.now_ms()
    content = {"from_device": "PHONE", "methods": [METHOD], "timestamp": at, "transaction_id": transaction, **change}
    return UserId(user), "m.key.verification.request", content


async def open_of(keys: Keys) -> list[str]:
    return [one["user_id"] for one in await keys.verifications.open()]


async def test_a_request_that_comes_by_sync_waits_for_somebody(world: KeyWorld, keys: Keys) -> None:
    sender, kind, content = request(keys, ANN, "one")
    world.inbox.append({"sender": sender, "type": kind, "content": content})
    world.inbox.append({"sender": sender, "type": kind, "content": [content]})
    await keys.sync_once()
    [found] = await keys.verifications.open()
    assert (found["user_id"], found["device_id"], found["stage"], found["emoji"]) == (ANN, "PHONE", "requested", [])
    assert not world.sent  # nothing is answered before somebody here says so


async def test_one_user_opens_few_and_makes_us_say_nothing(world: KeyWorld, keys: Keys) -> None:
    await keys.verifications.take([request(keys, ANN, str(number)) for number in range(20)])
    assert await open_of(keys) == [ANN] * MAX_OPEN_OF_ONE_USER
    assert not world.sent


async def test_many_users_push_out_the_oldest_and_never_the_newest(keys: Keys) -> None:
    crowd = [f"@bob{number}:example.org" for number in range(MAX_OPEN)]
    for user in crowd:
        await keys.verifications.take([request(keys, user, "one"), request(keys, user, "two")])
    await keys.verifications.take([request(keys, ANN, "one")])
    found = await open_of(keys)
    assert len(found) == MAX_OPEN
    assert found[-1] == ANN


async def test_a_flood_in_one_sync_is_cut_off(keys: Keys) -> None:
    flood = [request(keys, f"@bob{number}:example.org", "one", methods=[]) for number in range(MAX_AT_ONCE)]
    await keys.verifications.take([*flood, request(keys, ANN, "one")])
    assert await open_of(keys) == []


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": 1},
        {"timestamp": "now"},
        {"timestamp": 2**60},
        {"methods": ["m.qr_code.show.v1"]},
        {"from_device": ""},
        {"from_device": "x" * 10_000},
        {"transaction_id": "x" * 10_000},
    ],
)
async def test_a_request_that_is_old_or_odd_is_ignored(keys: Keys, change: dict[str, Any]) -> None:
    await keys.verifications.take([request(keys, ANN, "one", **change)])
    assert await open_of(keys) == []


async def test_steps_of_unknown_verifications_are_not_answered(world: KeyWorld, keys: Keys) -> None:
    for kind in ("start", "key", "mac", "ready", "accept", "cancel", "done"):
        await keys.verifications.take(
            [(UserId(ANN), f"m.key.verification.{kind}", {"transaction_id": "x", "from_device": "PHONE"})]
        )
    assert not world.sent


async def test_nobody_goes_on_with_the_verification_of_somebody_else(keys: Keys) -> None:
    await keys.verifications.take([request(keys, ANN, "one")])
    stranger = UserId("@mallory:example.org")
    await keys.verifications.take([(stranger, "m.key.verification.cancel", {"transaction_id": "one"})])
    assert await open_of(keys) == [ANN]


async def test_a_request_in_a_room_must_be_meant_for_the_announcer(keys: Keys) -> None:
    room, now = RoomId("!room:example.org"), keys.verifications._clock.now_ms()

    async def speak(*_: Any) -> None:
        return

    keys.verifications.speak = speak
    for to in ("@homer:example.org", ANNOUNCER):
        content = {"from_device": "PHONE", "methods": [METHOD], "to": to, "msgtype": "m.key.verification.request"}
        await keys.verifications.take_in_room(
            Verifying(EventId(f"$of{to}"), room, UserId(ANN), now, "m.room.message", content)
        )
    assert [one["room_id"] for one in await keys.verifications.open()] == [room]


async def test_what_nobody_takes_up_ends_by_itself(world: KeyWorld, keys: Keys) -> None:
    await keys.verifications.take([request(keys, ANN, "one")])
    clock = keys.verifications._clock
    assert isinstance(clock, StillClock)
    clock.now += LONGEST_LIFE_MS + 1
    assert await open_of(keys) == []
    [messages] = world.sent.values()
    assert messages[ANN]["PHONE"]["code"] == "m.timeout"


async def test_somebody_without_an_identity_cannot_be_verified(world: KeyWorld, keys: Keys) -> None:
    world.add(ANN, "PHONE")
    with pytest.raises(Refused, match="identity"):
        await keys.verifications.ask(UserId(ANN))
    await keys.verifications.take([request(keys, ANN, "one")])
    [found] = await keys.verifications.open()
    with pytest.raises(Refused, match="identity"):
        await keys.verifications.accept(found["id"])
    assert await open_of(keys) == []


async def test_a_number_that_nobody_has_is_refused(keys: Keys) -> None:
    for step in (keys.verifications.look, keys.verifications.accept, keys.verifications.cancel):
        with pytest.raises(Refused):
            await step(17)
