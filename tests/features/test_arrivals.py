"""One welcome for whoever joins, in a direct chat that is made once, whatever is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.core.community import SPACE, Community, Group, RoomKind
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import DE
from bridge.core.messages import Reacted, SayWelcome
from bridge.store import arrivals
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, FakeRoom
from tests.fakes.scene import Scene

ANN, CID, EVE, FAY = (UserId(f"@{name}:example.org") for name in ("ann", "cid", "eve", "fay"))
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    members=frozenset({CID}),
    welcome="Good to have you here!",
    rules="Be kind.",
    groups=(
        Group(RoomKeyName("chess"), RoomKind.OPEN, name="Chess club"),
        Group(RoomKeyName("board"), RoomKind.HIDDEN, name="Board"),
    ),
)


def chats(scene: Scene) -> list[FakeRoom]:
    """The rooms that are none of a community."""
    mark = "org.matrix-communities.room"
    return [room for room in scene.homeserver.rooms.values() if mark not in (room.content("m.room.create") or {})]


async def bring(scene: Scene, *people: UserId) -> None:
    """Bid people in, and let everybody accept what they are invited to."""
    for user in people:
        await scene.reconciler.memory.bid(SCHOOL.id, user)
    scene.watch.look_again(SCHOOL.id)
    for _ in range(3):
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()


def welcomes(scene: Scene, room_id: RoomId | None = None) -> list[str]:
    return [text for text in scene.messenger.said(room_id) if text.startswith("Welcome to School!")]


async def test_whoever_joins_is_welcomed_once_where_they_can_read_it(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    assert welcomes(scene) == []  # whom the file names, the operator tells
    await scene.reconciler.memory.bid(SCHOOL.id, EVE)
    scene.watch.look_again(SCHOOL.id)
    await scene.catch_up()
    await scene.join(EVE, scene.space)
    await scene.catch_up()
    [chat] = chats(scene)
    assert chat.content("m.room.encryption") is not None
    assert chat.members("join", "invite") == {ANNOUNCER, EVE}
    assert scene.homeserver.aliases == {}
    assert welcomes(scene) == []  # they are not in the chat yet, and would get no key
    await scene.join(EVE, chat)
    await scene.catch_up()
    [text] = welcomes(scene, chat.room_id)
    assert "Good to have you here!" in text
    assert "Be kind." in text
    assert "Chess club" in text
    assert "Board" not in text
    await scene.leave(EVE, scene.space)
    await scene.catch_up()
    await bring(scene, EVE)
    assert scene.room(SPACE).membership(EVE) == "join"
    assert len(welcomes(scene)) == 1
    assert len(chats(scene)) == 1


async def test_how_to_keep_quiet_is_said_once_however_many_communities_welcome_somebody(scene: Scene) -> None:
    hint = "choose “All messages”; in groups choose “Mentions and keywords”"
    await scene.settle(SCHOOL)
    await bring(scene, EVE)
    assert [hint in text for text in welcomes(scene)] == [True]
    club = replace(SCHOOL, id=CommunityId("club"), name="Club", rules=None, language=DE)
    async with scene.database.transaction() as tx:
        await arrivals.add(tx, club.id, EVE, scene.clock.now_ms())
    scene.reconciler.declare([SCHOOL, club])
    [chat] = chats(scene)
    for user in (EVE, FAY):
        await scene.arrivals.do(f"welcome {user}", SayWelcome(club.id, user, chat.room_id))
    [to_eve, to_fay] = [text for text in scene.messenger.said(chat.room_id) if text.startswith("Willkommen bei")]
    assert "Benachrichtigungen" not in to_eve
    assert "„Alle Nachrichten“; in Gruppen „Erwähnungen und Schlüsselwörter“" in to_fay
    assert all(content["m.mentions"] == {} for _, content in scene.messenger.sent)


async def test_without_a_text_nobody_is_welcomed(scene: Scene) -> None:
    quiet = Community(SCHOOL.id, name="School", owners=SCHOOL.owners)
    await scene.settle(quiet)
    await bring(scene, EVE)
    assert chats(scene) == []


async def test_a_welcome_survives_a_kill_at_any_point(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await new_scene()
        await scene.settle(SCHOOL)
        read = scene._read
        scene.faults.arm(point)
        with contextlib.suppress(Crash):
            await bring(scene, EVE, FAY)
        survived = not scene.faults.dead
        if not survived:
            await scene.die()
            scene.faults.arm(None)
            await scene.start()
            scene.reconciler.declare([SCHOOL])
        scene.faults.arm(None)
        scene._read = read  # the homeserver sends again what was not taken in
        await bring(scene, EVE, FAY)
        there = [chat for chat in chats(scene) if chat.membership(ANNOUNCER) == "join"]
        assert sorted(user for chat in there for user in chat.members("join")) == [ANNOUNCER, ANNOUNCER, EVE, FAY]
        assert all(chat.content("m.room.encryption") for chat in there), f"killed at {point}"
        assert len(welcomes(scene)) == 2, f"killed at {point}"
        assert scene.homeserver.aliases == {}
        if survived:
            assert point > 20
            return
        point += 5


STRICT = replace(SCHOOL, rules_required=True)


async def test_general_and_groups_open_after_the_agreement(scene: Scene) -> None:
    await scene.settle(STRICT)
    await scene.reconciler.memory.bid(SCHOOL.id, EVE, [RoomKeyName("board")])
    await bring(scene, EVE)
    assert scene.announcement_room.membership(EVE) == "join"
    assert [scene.room(key).membership(EVE) for key in ("general", "chess", "board")] == ["", "", ""]
    [chat] = chats(scene)
    [(message, key)] = scene.messenger.reactions
    assert key == "✅"
    assert "react with ✅" in welcomes(scene, chat.room_id)[0]

    await scene.join(EVE, scene.room("chess"))  # open to the space, and not yet to them
    await scene.catch_up()
    assert scene.room("chess").membership(EVE) == "leave"

    async def react(by: UserId, to: EventId, key: str) -> None:
        await scene.arrivals.reacted(Reacted(EventId(f"${by}{key}"), chat.room_id, by, 1, to, key))
        await scene.catch_up()
        await scene.accept_all()
        await scene.catch_up()

    for by, to, other in ((FAY, message, "✅"), (EVE, EventId("$other"), "✅"), (EVE, message, "❌")):
        await react(by, to, other)
    assert scene.room("general").membership(EVE) == ""
    for _ in range(2):
        await react(EVE, message, "✅\ufe0f")
    assert [scene.room(key).membership(EVE) for key in ("general", "board")] == ["join", "join"]
    assert len([text for text in scene.messenger.said(chat.room_id) if "Thank you" in text]) == 1
    await scene.join(EVE, scene.room("chess"))
    await scene.catch_up()
    assert scene.room("chess").membership(EVE) == "join"
    await scene.restart()
    scene.reconciler.declare([STRICT])
    assert (await scene.known()).waiting == frozenset()


async def test_who_was_there_before_need_not_agree(scene: Scene) -> None:
    quiet = replace(SCHOOL, welcome=None, rules=None)
    await scene.settle(quiet)
    scene.reconciler.declare([quiet])
    await bring(scene, EVE)
    scene.reconciler.declare([STRICT])
    await bring(scene, FAY)
    assert scene.room("general").membership(EVE) == "join"
    assert scene.room("general").membership(FAY) == ""
