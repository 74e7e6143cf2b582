"""Whom announcements reach: groups that let them in, people who carry a tag, and who may announce to whom."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bridge.core.announcements import Audience
from bridge.core.community import Community, Group, Posting, RoomKind, Tag
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.rendering import render
from bridge.features.announcements import PATIENCE_MS
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeRoom
from tests.fakes.scene import Scene

ANN, CID, EDNA, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "cid", "edna", "eve"))
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    members=frozenset({CID, EVE}),
    tags=(Tag("team", frozenset({CID, EVE})), Tag("eve", frozenset({EVE}))),
    groups=(
        Group(CHESS, RoomKind.OPEN, name="Chess club", moderators=frozenset({EDNA}), members=frozenset({CID})),
        Group(BOARD, RoomKind.HIDDEN, name="Board", posting=Posting.MODERATORS, moderators=frozenset({EVE})),
    ),
)
WELCOMING = replace(SCHOOL, groups=(replace(SCHOOL.groups[0], announcements=True), SCHOOL.groups[1]))
EVERYBODY = Audience(everybody=True)


def chats(scene: Scene) -> list[FakeRoom]:
    """The rooms that are none of a community."""
    mark = "org.matrix-communities.room"
    return [room for room in scene.homeserver.rooms.values() if mark not in (room.content("m.room.create") or {})]


async def admit(scene: Scene, key: RoomKeyName, by: UserId | None, *, on: bool = True) -> bool:
    done = await scene.newsroom.admitting.change(SCHOOL, by, key, admit=on, source="$asked")
    scene.watch.look_again(SCHOOL.id)
    await scene.catch_up()
    return done


async def announce(
    scene: Scene, words: Sequence[str], *, by: UserId | None = ANN, source: str = "$one", text: str = "News"
) -> Audience:
    audience = await scene.newsroom.audiences.audience_of(SCHOOL.id, by, words)
    await scene.newsroom.announcements.publish(
        source=source,
        author=by or "operator",
        parts=[render(text)],
        targets=await scene.newsroom.audiences.targets_of(SCHOOL.id, audience),
        audience=audience,
        reply_room=scene.control_room.room_id,
    )
    await settle(scene)
    return audience


async def settle(scene: Scene) -> None:
    """Let the time of all paced jobs come, and do them; not that of what is given up much later."""
    scene.clock.now += 60_000
    await scene.catch_up()


def news(scene: Scene, room: FakeRoom) -> list[str]:
    return [text for text in scene.messenger.said(room.room_id) if text == "News"]


# --- groups that let the announcer in ---------------------------------------------------------------------------------


async def test_a_moderator_lets_announcements_in_and_out_and_the_group_is_told_both_times(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    room = scene.room(CHESS)
    assert await admit(scene, CHESS, EDNA)
    assert room.membership(ANNOUNCER) == "join"
    [hello] = scene.messenger.said(room.room_id)
    assert "could read what is written here" in hello
    assert room.content("m.room.power_levels")["users"].get(ANNOUNCER) is None  # type: ignore[index]
    assert not await admit(scene, CHESS, ANN)
    assert await admit(scene, CHESS, EDNA, on=False)
    assert room.membership(ANNOUNCER) == "leave"
    assert "@edna:example.org ended announcements" in scene.messenger.said(room.room_id)[-1]
    assert (await scene.reconciler.look(SCHOOL)).plan.empty


async def test_where_moderators_alone_post_the_announcer_has_their_level_and_no_more(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await admit(scene, BOARD, ANN)
    room = scene.room(BOARD)
    assert room.level(ANNOUNCER) == 50
    await scene.write(STEWARD, room, "m.room.power_levels", scene.with_users(room, announcements=0))
    await scene.catch_up()
    assert room.level(ANNOUNCER) == 50


async def test_the_file_lets_announcements_in_and_nobody_else_decides_then(scene: Scene) -> None:
    await scene.settle(WELCOMING)
    await scene.catch_up()
    assert scene.room(CHESS).membership(ANNOUNCER) == "join"
    with pytest.raises(Refused, match=r"groups\.chess\.announcements in the configuration"):
        await scene.newsroom.admitting.change(WELCOMING, ANN, CHESS, admit=False, source="$x")
    await scene.come_to_rest(SCHOOL)
    assert scene.room(CHESS).membership(ANNOUNCER) == "leave"


async def test_a_moderator_who_removes_the_announcer_is_understood(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await admit(scene, CHESS, EDNA)
    await scene.move(EDNA, scene.room(CHESS), "kick", ANNOUNCER)
    await scene.catch_up()
    assert scene.room(CHESS).membership(ANNOUNCER) == "leave"
    assert CHESS not in (await scene.known()).admitting
    # declared it is another matter: it comes back
    await scene.come_to_rest(WELCOMING)
    await scene.move(EDNA, scene.room(CHESS), "kick", ANNOUNCER)
    await scene.catch_up()
    assert scene.room(CHESS).membership(ANNOUNCER) == "join"


async def test_an_archived_group_lets_nothing_in(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await admit(scene, CHESS, EDNA)
    archived = replace(SCHOOL, groups=(replace(SCHOOL.groups[0], archived=True), SCHOOL.groups[1]))
    await scene.come_to_rest(archived)
    assert scene.room(CHESS).membership(ANNOUNCER) == "leave"
    with pytest.raises(Refused, match="archived"):
        await scene.newsroom.admitting.change(archived, ANN, CHESS, admit=True, source="$x")
    with pytest.raises(Refused, match="archived"):
        await scene.newsroom.audiences.targets_of(SCHOOL.id, Audience(groups=(CHESS,)))


async def test_who_is_no_moderator_of_it_learns_nothing_of_a_group(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    told = set()
    for key in (BOARD, RoomKeyName("nothing")):
        for by in (CID, EDNA):
            with pytest.raises(Refused) as refusal:
                await scene.newsroom.admitting.change(SCHOOL, by, key, admit=True, source="$x")
            told.add(str(refusal.value))
    assert len(told) == 1
    assert "board" not in told.pop()


# --- who may announce to whom -----------------------------------------------------------------------------------------


async def test_an_announcement_into_a_group_is_there_alone(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    with pytest.raises(Refused, match="does not let announcements in"):
        await announce(scene, ["group:chess"])
    await admit(scene, CHESS, EDNA)
    assert await announce(scene, ["chess"], by=EDNA) == Audience(groups=(CHESS,))
    assert news(scene, scene.room(CHESS)) == ["News"]
    assert news(scene, scene.announcement_room) == []
    assert scene.messenger.said(scene.control_room.room_id)[-1] == "Sent to Chess club. 3 devices can read it."


@pytest.mark.parametrize("words", [[], ["everybody"], ["board"], ["group:chess", "tag:team"], ["tag:team"]])
async def test_a_moderator_announces_into_their_group_and_nowhere_else(scene: Scene, words: list[str]) -> None:
    await scene.settle(WELCOMING)
    with pytest.raises(Refused) as refusal:
        await scene.newsroom.audiences.audience_of(SCHOOL.id, EDNA, words)
    assert "board" not in str(refusal.value).replace("'board'", "")
    with pytest.raises(Refused, match="only owners and admins"):
        await scene.newsroom.audiences.audience_of(SCHOOL.id, CID, [])
    assert await scene.newsroom.audiences.audience_of(SCHOOL.id, EDNA, ["gruppe:chess"]) == Audience(groups=(CHESS,))


async def test_a_moderator_is_shown_what_went_into_their_group_alone(scene: Scene) -> None:
    await scene.settle(WELCOMING)
    await announce(scene, ["chess"])
    await announce(scene, [], source="$two")
    await announce(scene, ["chess", "everybody"], source="$three")
    newsroom = scene.newsroom

    async def seen(by: UserId) -> tuple[list[int], list[int]]:
        right = await newsroom.audiences.right_of(SCHOOL.id, by)
        listed = await newsroom.announcements.listed(SCHOOL.id, 2, which=right)
        figures = await newsroom.reach.latest(SCHOOL.id, 2, which=right)
        return [one.number for one in listed], [one.number for one in figures]

    assert await seen(ANN) == ([3, 2], [3, 2])
    assert await seen(EDNA) == ([1], [1])
    assert await seen(CID) == ([], [])
    [one] = await newsroom.reach.latest(SCHOOL.id, 1, which=await newsroom.audiences.right_of(SCHOOL.id, EDNA))
    assert (one.joined, one.read, one.reacted) == (2, None, None), "of the group, in which no receipts are kept"


async def test_a_group_has_its_copy_quietly_where_everybody_has_one(scene: Scene) -> None:
    await scene.settle(WELCOMING)
    await scene.catch_up()
    await announce(scene, ["everybody", "chess"])
    by_room = {room: content["msgtype"] for room, content in scene.messenger.sent if content["body"] == "News"}
    assert by_room == {scene.announcement_room.room_id: "m.text", scene.room(CHESS).room_id: "m.notice"}
    [told] = [one for one in scene.messenger.said(scene.control_room.room_id) if one.startswith("Sent to")]
    assert told == "Sent to School, Chess club. 6 devices can read it."


# --- tags -------------------------------------------------------------------------------------------------------------


async def test_whoever_carries_a_tag_gets_one_copy_in_a_chat_of_their_own(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await announce(scene, ["tag:team,tag:eve"])
    rooms = {room.creators and next(iter(room.members("invite"))): room for room in chats(scene)}
    assert rooms.keys() == {CID, EVE}
    assert [news(scene, room) for room in rooms.values()] == [[], []]
    control = scene.control_room.room_id
    assert "2 people were invited to chats" in scene.messenger.said(control)[-1]
    await scene.join(CID, rooms[CID])
    await scene.catch_up()
    assert news(scene, rooms[CID]) == ["News"]
    await scene.leave(EVE, rooms[EVE])
    await scene.catch_up()
    assert news(scene, rooms[EVE]) == []
    [listed] = await scene.newsroom.announcements.listed(SCHOOL.id, 5)
    assert (listed.sent, listed.waiting, listed.failed) == (1, 0, 0)
    assert (
        len([one for one in scene.messenger.said(control) if "invited to chats" in one]) == 1
    )  # later comings are no news
    # what it said is forgotten: it lies in the rooms alone
    async with scene.database.transaction() as tx:
        assert await tx.fetch_value("SELECT content FROM announcement") == ""
    # the chat that is there is used again
    await announce(scene, ["tag:team"], source="$two")
    assert news(scene, rooms[CID]) == ["News", "News"]
    assert len(chats(scene)) == 3  # Eve is asked again


async def test_who_is_in_a_room_that_has_it_gets_no_copy_and_who_has_left_none_either(scene: Scene) -> None:
    await scene.settle(WELCOMING)
    await scene.catch_up()
    with contextlib.suppress(Refused):
        await announce(scene, ["everybody", "tag:team"])
    assert chats(scene) == []
    audience = Audience(groups=(CHESS,), tags=("team",))
    targets = await scene.newsroom.audiences.targets_of(SCHOOL.id, audience)
    assert [one.place for one in targets] == ["chess", EVE]
    await scene.leave(EVE, scene.space)
    await scene.catch_up()
    await scene.newsroom.announcements.publish(
        source="$late", author=ANN, parts=[render("News")], targets=targets, audience=audience,
        reply_room=scene.control_room.room_id,
    )  # fmt: skip
    await settle(scene)
    assert chats(scene) == []
    told = [one for one in scene.messenger.said(scene.control_room.room_id) if "Chess club" in one]
    assert told[-1].endswith("Not sent in direct chats: 1 × is in the community no longer.")
    with pytest.raises(Refused, match="nobody to send it to"):
        await announce(scene, ["tag:eve"], source="$three")


async def test_who_lets_the_invitation_lie_is_given_up_in_the_end_and_the_words_are_forgotten(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await announce(scene, ["tag:eve"])
    scene.clock.now += PATIENCE_MS
    await scene.catch_up()
    async with scene.database.transaction() as tx:
        assert await tx.fetch_value("SELECT content FROM announcement") == ""
    [chat] = chats(scene)
    await scene.join(EVE, chat)
    await scene.catch_up()
    assert news(scene, chat) == []


async def test_it_survives_a_kill_at_any_point_and_everybody_has_it_once(new_scene: Callable[..., Any]) -> None:
    point = 0
    while True:
        scene = await new_scene()
        await scene.settle(WELCOMING)
        await scene.catch_up()
        scene.faults.arm(point)
        ended = True
        try:
            await announce(scene, ["chess", "tag:eve"])
            await scene.join(EVE, chats(scene)[0])
            await scene.catch_up()
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        scene.reconciler.declare([WELCOMING])
        await announce(scene, ["chess", "tag:eve"])
        [chat] = [room for room in chats(scene) if room.members("invite", "join") > {ANNOUNCER}]
        if chat.membership(EVE) != "join":
            await scene.join(EVE, chat)
        await scene.catch_up()
        assert news(scene, scene.room(CHESS)) == ["News"], point
        assert news(scene, chat) == ["News"], point
        assert await scene.jobs.waiting(scene.clock.now_ms()) == 0
        await scene.stop()
        if ended:
            break
        point += 9
    assert point > 60
