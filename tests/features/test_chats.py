"""The announcer's direct chats: encrypted, of two, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Forbidden, Unreachable
from bridge.core.ids import CommunityId, EventId, UserId
from bridge.core.markup import plain
from bridge.core.messages import Invited
from bridge.matrix.client import path
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeRoom
from tests.fakes.scene import Scene

ALICE, BOB = (UserId(f"@{name}:example.org") for name in ("alice", "bob"))
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


async def chat(scene: Scene, *others: UserId, encrypted: bool = True) -> FakeRoom:
    """Alice invites the announcer, and perhaps others before it."""
    body: dict[str, Any] = {
        "preset": "private_chat",
        "invite": [*others, ANNOUNCER],
        "initial_state": [ENCRYPTION] if encrypted else [],
    }
    made = await scene.homeserver.client(ALICE).request("POST", path("v3", "createRoom"), body=body)
    return scene.homeserver.room(made["room_id"])


async def test_an_encrypted_chat_of_two_is_entered_and_greeted_once(scene: Scene) -> None:
    room = await chat(scene)
    await scene.hear()
    await scene.do_jobs()
    assert room.membership(ANNOUNCER) == "join"
    assert scene.index.chats == {room.room_id: ALICE}
    assert scene.messenger.said(room.room_id) == [plain(texts.greeting())]
    await scene.restart()
    assert scene.index.chats == {room.room_id: ALICE}


async def test_a_chat_without_encryption_is_declined_in_words(scene: Scene) -> None:
    room = await chat(scene, encrypted=False)
    await scene.hear()
    await scene.do_jobs()
    event = room.state["m.room.member", ANNOUNCER]
    assert event["content"] == {"membership": "leave", "reason": texts.encrypted_only()}
    assert scene.index.chats == {}
    assert scene.messenger.said() == []


async def test_a_chat_with_a_third_is_left(scene: Scene) -> None:
    room = await chat(scene, BOB)
    await scene.hear()
    await scene.do_jobs()
    assert room.membership(ANNOUNCER) == "leave"
    assert room.state["m.room.member", ANNOUNCER]["content"]["reason"] == texts.two_only()
    assert scene.index.chats == {}
    assert scene.messenger.said() == []


async def test_a_room_that_only_claims_to_be_encrypted_is_left(scene: Scene) -> None:
    room = await chat(scene, encrypted=False)
    await scene.chats.invited(Invited(EventId("$i"), room.room_id, ALICE, 1, ANNOUNCER, encrypted=True))
    assert room.membership(ANNOUNCER) == "leave"
    assert scene.index.chats == {}


@pytest.mark.parametrize("how", ["invite", "join"])
async def test_a_third_who_is_brought_in_later_ends_it(scene: Scene, how: str) -> None:
    room = await chat(scene)
    await scene.hear()
    await scene.move(ALICE, room, "invite", BOB)
    if how == "join":
        await scene.join(BOB, room)
    await scene.hear()
    assert room.membership(ANNOUNCER) == "leave"
    assert scene.index.chats == {}


@pytest.mark.parametrize("how", ["leave", "kicked", "banned"])
async def test_it_is_over_when_its_partner_or_the_announcer_is_gone(scene: Scene, how: str) -> None:
    room = await chat(scene)
    await scene.hear()
    if how == "leave":
        await scene.leave(ALICE, room)
    else:
        await scene.move(ALICE, room, {"kicked": "kick", "banned": "ban"}[how], ANNOUNCER)
    await scene.hear()
    assert room.membership(ANNOUNCER) in ("leave", "ban")
    assert scene.index.chats == {}
    await scene.restart()
    assert scene.index.chats == {}


async def test_whoever_knocks_is_no_third(scene: Scene) -> None:
    room = await chat(scene)
    await scene.hear()
    await scene.write(ALICE, room, "m.room.join_rules", {"join_rule": "knock"})
    await scene.do(BOB, "POST", "knock", room.room_id)
    await scene.hear()
    assert room.membership(ANNOUNCER) == "join"


async def test_our_own_rooms_are_the_reconcilers(scene: Scene) -> None:
    community = Community(CommunityId("school"), owners=frozenset({ALICE}))
    await scene.settle(community)
    assert scene.index.chats == {}
    assert scene.announcement_room.membership(ANNOUNCER) == "join"


async def test_the_steward_is_invited_to_no_chat(scene: Scene) -> None:
    await scene.chats.invited(Invited(EventId("$i"), (await chat(scene)).room_id, ALICE, 1, STEWARD, encrypted=True))
    assert scene.index.chats == {}


async def test_an_invite_that_was_taken_back_is_no_error(scene: Scene) -> None:
    room = await chat(scene)
    await scene.move(ALICE, room, "kick", ANNOUNCER)
    await scene.hear()
    assert scene.index.chats == {}
    with pytest.raises(Forbidden):
        await scene.executor.join_as_announcer(room.room_id)


async def test_a_homeserver_that_is_away_is_asked_again(scene: Scene) -> None:
    room = await chat(scene)
    scene.faults.fail(Unreachable("HTTP 502"), lambda name: "/join/" in name)
    with pytest.raises(Unreachable):
        await scene.hear()
    scene._read -= 1  # the event stays in the inbox
    await scene.hear()
    await scene.do_jobs()
    assert room.membership(ANNOUNCER) == "join"
    assert scene.messenger.said(room.room_id) == [plain(texts.greeting())]


async def test_the_service_dies_at_every_point_of_entering(scene: Scene) -> None:
    point = 0
    while True:
        room = await chat(scene)
        scene.faults.arm(point)
        begun = scene._read
        try:
            await scene.hear()
            await scene.do_jobs()
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        scene._read = begun  # what was not handled is in the inbox still; what was handled comes again
        await scene.hear()
        await scene.do_jobs()
        assert room.membership(ANNOUNCER) == "join"
        assert scene.index.chats[room.room_id] == ALICE
        assert scene.messenger.said(room.room_id) == [plain(texts.greeting())], point
        if ended:
            break
        point += 1
    assert point > 10


async def test_whatever_is_told_comes_in_the_chat_that_somebody_began_last(scene: Scene) -> None:
    made = await scene.direct_chats.chat_with(ALICE)
    assert await scene.direct_chats.chat_with(ALICE) == made
    own = await chat(scene)
    await scene.chats.invited(Invited(EventId("$invited"), own.room_id, ALICE, 1, user=ANNOUNCER, encrypted=True))
    for _ in range(2):
        assert await scene.direct_chats.chat_with(ALICE) == scene.index.chat_of(ALICE) == own.room_id
        await scene.restart()
