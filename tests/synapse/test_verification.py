"""Verification by emoji between the announcer and Element Web's library, on a real homeserver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.errors import CannotDecrypt, Refused
from bridge.core.ids import EventId, RoomId, UserId
from bridge.core.messages import Verifying
from bridge.e2ee.recipients import Trust
from bridge.matrix.client import path
from tests.harness.announcer import ANNOUNCER, Stage
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.wait import eventually


@pytest.fixture
async def ann(homeserver: PrivateSynapse, stage: Stage) -> AsyncIterator[JsPerson]:
    """Somebody with a chat with the announcer, from which their client knows its devices."""
    crowd = People(homeserver)
    ann = await crowd.js("ann", cross_sign=True)
    room = RoomId(await ann.create_dm(ANNOUNCER))
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})
    await ann.wait_joined(room, ANNOUNCER)
    await ann.send(room, "hello")
    yield ann
    await crowd.close()


async def asked(stage: Stage, person: JsPerson) -> int:
    async def look() -> Any:
        found = [one for one in await stage.keys.verifications.open() if one["user_id"] == person.user_id]
        return found[-1]["id"] if found else None

    return int(await eventually(look, what="a request to be verified"))


async def at_stage(stage: Stage, number: int, wanted: str) -> dict[str, Any]:
    async def look() -> Any:
        now = await stage.keys.verifications.look(number)
        assert now["stage"] in (wanted, "ready", "starting", "asking", "exchanging", "comparing", "waiting"), now
        return now if now["stage"] == wanted else None

    return dict(await eventually(look, what=f"a verification to be {wanted}"))


async def in_phase(person: JsPerson, wanted: int) -> dict[str, Any]:
    async def look() -> Any:
        now = await person.verification()
        return now if now["phase"] == wanted else None

    return dict(await eventually(look, what=f"their verification to be in phase {wanted}"))


async def both_see_the_same(stage: Stage, number: int, person: JsPerson) -> None:
    here = await at_stage(stage, number, "comparing")

    async def shown() -> Any:
        now = await person.verification()
        return now if now["emoji"] else None

    there = await eventually(shown, what="their emoji")
    assert [sign for sign, _ in here["emoji"]] == [sign for sign, _ in there["emoji"]]
    assert list(here["decimals"]) == there["decimals"]


async def is_signed_by_us(stage: Stage, user: str) -> bool:
    answer = await stage.server.query_keys([UserId(user), ANNOUNCER])
    ours = next(iter(answer["user_signing_keys"][ANNOUNCER]["keys"]))
    return ours in answer["master_keys"][user].get("signatures", {}).get(ANNOUNCER, {})


async def finish(stage: Stage, number: int, person: JsPerson) -> None:
    await both_see_the_same(stage, number, person)
    await person.answer_verification(matches=True)
    await stage.keys.verifications.answer(number, matches=True)
    await at_stage(stage, number, "done")
    await in_phase(person, 6)
    assert await eventually(lambda: person.verified(ANNOUNCER), what="the announcer to be verified")
    assert await is_signed_by_us(stage, person.user_id)
    async with stage.database.transaction() as tx:
        rows = await tx.fetch("SELECT verified FROM crypto_device WHERE user_id = $1", person.user_id)
    assert [row["verified"] for row in rows] == [1]


async def test_somebody_verifies_the_announcers_device(stage: Stage, ann: JsPerson) -> None:
    await ann.request_verification(ANNOUNCER, device_id=(await stage.keys.describe()).device_id)
    number = await asked(stage, ann)
    await stage.keys.verifications.accept(number)
    await finish(stage, number, ann)


async def test_nothing_but_a_verification_goes_into_a_chat_in_the_clear(stage: Stage, ann: JsPerson) -> None:
    room = RoomId(await ann.create_dm(ANNOUNCER))
    with pytest.raises(Refused):
        await stage.sender.send_verification(room, "m.room.message", {"body": "x"}, encrypted=False, txn_id="1")
    with pytest.raises(Refused):  # the stage's rooms have to be encrypted, as a community's
        await stage.sender.send_verification(room, "m.key.verification.done", {}, encrypted=False, txn_id="2")


async def test_the_announcer_asks_somebody(stage: Stage, ann: JsPerson) -> None:
    await ann.accept_verifications()
    number = (await stage.keys.verifications.ask(UserId(ann.user_id)))["id"]
    await finish(stage, number, ann)


async def test_a_rotation_ends_what_is_open_and_does_not_wait_for_itself(stage: Stage, ann: JsPerson) -> None:
    room = RoomId(await ann.create_dm(ANNOUNCER))
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})

    async def speak(room_id: RoomId, event_type: str, content: Mapping[str, Any], encrypted: bool) -> None:
        await stage.sender.send_verification(room_id, event_type, content, encrypted=encrypted, txn_id=event_type)

    stage.keys.verifications.speak = speak
    content = {"from_device": "X", "methods": ["m.sas.v1"], "to": ANNOUNCER}
    request = Verifying(
        EventId("$request"), room, UserId(ann.user_id), stage.clock.now_ms(), "m.room.message", content, encrypted=True
    )
    await stage.keys.verifications.take_in_room(request)
    assert await asked(stage, ann)
    async with asyncio.timeout(30):
        await stage.keys.rotate()
    assert await stage.keys.verifications.open() == []
    assert (await stage.keys.health()).receives_to_device


async def test_with_trust_verified_only_the_verified_read(
    homeserver: PrivateSynapse, stage: Stage, ann: JsPerson
) -> None:
    await stage.close()
    stage.trust = Trust.VERIFIED
    await stage.start()
    crowd = People(homeserver)
    other = await crowd.js("other", cross_sign=True)
    room = await stage.create_room()
    for person in (ann, other):
        await stage.change(room, "invite", person.user_id)
        await person.join(room)
    assert (await stage.say(room, "before"))[1] == 0
    await ann.request_verification(ANNOUNCER, device_id=(await stage.keys.describe()).device_id)
    number = await asked(stage, ann)
    await stage.keys.verifications.accept(number)
    await finish(stage, number, ann)
    assert (await stage.say(room, "after"))[1] == 1
    assert (await ann.wait_text(room, "after")).decrypted
    await eventually(lambda: len(other.undecryptable(room)) == 2, what="the other one to read neither")
    assert [one.text for one in ann.messages(room)] == ["after"]
    # what she writes is read now, and what the other one writes is not
    event = await stage.raw(room, await ann.send(room, "mine"))
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    assert (await stage.keys.decrypt(event))["content"]["body"] == "mine"
    event = await stage.raw(room, await other.send(room, "theirs"))
    assert await stage.keys.wait_for_key(room, event["content"]["session_id"], 10)
    with pytest.raises(CannotDecrypt, match="not trusted"):
        await stage.keys.decrypt(event)
    # with another identity of hers, the word given for the old one counts no more
    await ann.cross_sign()
    assert await eventually(lambda: says_to_nobody(stage, room), 20, "the new identity to be noticed")
    await crowd.close()


async def says_to_nobody(stage: Stage, room: RoomId) -> bool:
    return (await stage.say(room, "anybody?"))[1] == 0


async def test_somebody_who_says_that_the_emoji_differ_verifies_nobody(stage: Stage, ann: JsPerson) -> None:
    await ann.request_verification(ANNOUNCER, device_id=(await stage.keys.describe()).device_id)
    number = await asked(stage, ann)
    await stage.keys.verifications.accept(number)
    await both_see_the_same(stage, number, ann)
    await ann.answer_verification(matches=False)

    async def cancelled() -> bool:
        return bool((await stage.keys.verifications.look(number))["code"] == "m.mismatched_sas")

    await eventually(cancelled, what="the verification to be cancelled")
    assert not await is_signed_by_us(stage, ann.user_id)


async def test_an_operator_who_says_that_the_emoji_differ_verifies_nobody(stage: Stage, ann: JsPerson) -> None:
    await ann.request_verification(ANNOUNCER, device_id=(await stage.keys.describe()).device_id)
    number = await asked(stage, ann)
    await stage.keys.verifications.accept(number)
    await both_see_the_same(stage, number, ann)
    await ann.answer_verification(matches=True)
    await stage.keys.verifications.answer(number, matches=False)
    assert (await in_phase(ann, 5))["code"] == "m.mismatched_sas"
    assert not await ann.verified(ANNOUNCER)
    assert not await is_signed_by_us(stage, ann.user_id)
