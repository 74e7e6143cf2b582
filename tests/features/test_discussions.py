"""Threads in the discussion room: begun once, linked from the announcement, kept to its words, taken back."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from shutil import copy
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.core.announcements import Target
from bridge.core.community import DISCUSSION, Community, Group
from bridge.core.discussions import FIELD, permalink
from bridge.core.errors import Forbidden, MatrixError, Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import EditCopy, Posted, Redacted, WithdrawCopy
from bridge.core.profile import Aspect
from bridge.core.rendering import render
from bridge.core.subcommunities import OwnCommunity, with_own
from bridge.features import discussions
from bridge.store import announcements as store
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeHomeserver, FakeRoom
from tests.fakes.scene import Scene

ANN, CID, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "cid", "eve"))
SCHOOL = Community(
    CommunityId("school"), name="School", owners=frozenset({ANN}), members=frozenset({CID}), discussion=True
)


@pytest.fixture
async def school(scene: Scene) -> Scene:
    await stand_up(scene)
    return scene


async def stand_up(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.catch_up()
    wire(scene)


def wire(scene: Scene) -> None:
    """What is said is read back where the fake messenger put it; all jobs are done as the service does them."""
    scene.newsroom._recall = cast(Any, SimpleNamespace(content=scene.posts.content, original=scene.posts.content))

    async def do(job_id: str, job: Any) -> None:
        async def complete(tx: Any) -> None:
            await scene.jobs.complete(tx, job_id)

        await scene.newsroom.do(job_id, job, complete)

    scene.others = {EditCopy: do, WithdrawCopy: do}


async def publish(scene: Scene, text: str = "No **school** tomorrow", source: str = "$one") -> str:
    return await scene.newsroom.announcements.publish(
        source=source,
        author=ANN,
        parts=[render(text)],
        targets=[Target(SCHOOL.id, scene.announcement_room.room_id)],
    )


async def announce(scene: Scene, text: str = "No **school** tomorrow", source: str = "$one") -> str:
    taken = await publish(scene, text, source)
    await scene.do_jobs()
    return taken


def said(scene: Scene, room: FakeRoom) -> list[tuple[EventId, Any]]:
    """Everything that was sent into a room and stands there."""
    return [
        (event_id, content)
        for event_id, (room_id, content) in scene.messenger.posted.items()
        if room_id == room.room_id and event_id not in scene.posts.redacted
    ]


def quiet(content: Any) -> bool:
    return bool(content["msgtype"] == "m.notice" and content["m.mentions"] == {})


async def human(scene: Scene, body: str, event_id: str = "$human", **fields: Any) -> None:
    """An admin posts with their own client."""
    room = scene.announcement_room
    scene.posts.by_people[EventId(event_id)] = (room.room_id, {"msgtype": "m.text", "body": body})
    event = Posted(EventId(event_id), room.room_id, ANN, scene.clock.now, "m.room.encrypted", False, **fields)
    for _ in range(2):
        await scene.newsroom.posted(SCHOOL.id, event, by_admin=True)


async def edited(scene: Scene, to: EventId, edit: str = "$edit") -> None:
    event = Posted(
        EventId(edit), scene.announcement_room.room_id, ANN, scene.clock.now, "m.room.encrypted", False,
        relation="m.replace", to=to,
    )  # fmt: skip
    for _ in range(2):
        await scene.newsroom.posted(SCHOOL.id, event, by_admin=True)


async def settled(folder: Path) -> FakeHomeserver:
    """A homeserver with everything on it, and beside it the database of the service, which has ended."""
    scene = Scene(f"sqlite:///{folder}/base.db")
    await scene.start()
    await stand_up(scene)
    await scene.stop()
    return scene.homeserver


async def again(base: FakeHomeserver, folder: Path, point: int) -> Scene:
    """The same once more, for one of many ways to die."""
    copy(folder / "base.db", folder / f"{point}.db")
    scene = Scene(f"sqlite:///{folder}/{point}.db", homeserver=deepcopy(base))
    await scene.start()
    scene.reconciler.declare([SCHOOL])
    wire(scene)
    return scene


# --- the room ---------------------------------------------------------------------------------------------------------


async def test_members_are_invited_and_the_announcer_is_in_it_as_one_of_them(school: Scene) -> None:
    room = school.room(DISCUSSION)
    assert [room.membership(user) for user in (ANN, CID, ANNOUNCER)] == ["join"] * 3
    assert room.level(ANNOUNCER) == 0
    assert "the service could read" in (room.content("m.room.topic") or {})["topic"]
    assert school.messenger.said(room.room_id) == []
    await school.move(ANN, room, "kick", ANNOUNCER)
    await school.catch_up()
    assert room.membership(ANNOUNCER) == "join"
    assert (await school.reconciler.look(SCHOOL)).plan.empty


async def test_whoever_leaves_the_community_leaves_it(school: Scene) -> None:
    await school.leave(CID, school.space)
    await school.catch_up()
    assert school.room(DISCUSSION).membership(CID) == "leave"


async def test_turned_off_the_announcer_goes_and_the_room_stays_and_is_the_same_when_it_is_turned_on(
    school: Scene,
) -> None:
    without = replace(SCHOOL, discussion=False)
    await school.come_to_rest(without)
    room = school.room(DISCUSSION)
    assert room.membership(ANNOUNCER) == "leave"
    assert room.membership(CID) == "join"
    await announce(school)
    assert FIELD not in said(school, school.announcement_room)[0][1]
    assert school.messenger.said(room.room_id) == []
    await school.come_to_rest(SCHOOL)
    assert school.room(DISCUSSION).membership(ANNOUNCER) == "join"


async def test_an_admin_turns_it_on_by_command(scene: Scene) -> None:
    quiet_one = replace(SCHOOL, discussion=False)
    await scene.settle(quiet_one)
    await scene.profile.set(quiet_one, ANN, Aspect.DISCUSSION, "yes")
    scene.watch.look_again(SCHOOL.id)
    await scene.catch_up()
    assert scene.room(DISCUSSION).membership(CID) == "invite"


async def test_a_group_that_has_its_key_is_in_its_way(scene: Scene) -> None:
    community = replace(SCHOOL, discussion=False, groups=(Group(DISCUSSION, own=True),))
    await scene.settle(replace(SCHOOL, discussion=False))
    scene.reconciler.declare([community])
    with pytest.raises(Refused, match="a group of the key 'discussion'"):
        await scene.profile.set(community, ANN, Aspect.DISCUSSION, "yes")


async def test_newcomers_are_told_that_the_service_could_read_it(scene: Scene) -> None:
    welcoming = replace(SCHOOL, welcome="Good to have you here!")
    await scene.settle(welcoming)
    await scene.reconciler.memory.bid(SCHOOL.id, EVE)
    scene.watch.look_again(SCHOOL.id)
    for _ in range(3):
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()
    assert scene.room(DISCUSSION).membership(EVE) == "join"
    [welcome] = [text for text in scene.messenger.said() if text.startswith("Welcome to School!")]
    assert "so the service could read what is written there" in welcome


async def test_when_the_community_ends_the_room_goes_on_without_the_service(school: Scene) -> None:
    await school.deactivations.deactivate(SCHOOL, ANN, "School")
    await school.catch_up()
    room = school.room(DISCUSSION)
    assert [room.membership(user) for user in (ANN, CID, STEWARD, ANNOUNCER)] == ["join", "join", "leave", "leave"]
    assert room.level(ANN) == 150


async def test_communities_made_within_one_have_its_habit(school: Scene) -> None:
    own = OwnCommunity(CommunityId("year-1"), SCHOOL.id)
    assert with_own({SCHOOL.id: SCHOOL}, [own])[own.id].discussion


# --- threads ----------------------------------------------------------------------------------------------------------


async def test_an_announcement_carries_the_link_to_its_thread_and_rings_once(school: Scene) -> None:
    await announce(school)
    (event_id, content), *more = said(school, school.announcement_room)
    assert not more
    (root, head), (_, opening) = said(school, school.room(DISCUSSION))
    link = permalink(school.room(DISCUSSION).room_id, root, "example.org")
    assert content["body"] == f"No **school** tomorrow\n\nDiscuss it here: {link}"
    assert content["msgtype"] == "m.text"
    assert head["body"] == "Announced: No **school** tomorrow"
    assert quiet(head)
    assert quiet(opening)
    assert opening["m.relates_to"]["rel_type"] == "m.thread"
    assert opening["m.relates_to"]["event_id"] == root
    assert permalink(school.announcement_room.room_id, event_id, "example.org") in opening["body"]


@pytest.mark.parametrize("error", [Unreachable("HTTP 502"), Forbidden("not in the room")])
async def test_an_announcement_does_not_wait_for_its_thread_and_is_linked_afterwards(
    school: Scene, error: MatrixError
) -> None:
    room = school.room(DISCUSSION)
    school.faults.fail(error, lambda name: name.startswith(f"SEND {room.room_id}"), times=2)
    await publish(school)
    with pytest.raises(Unreachable):  # the worker tries it again
        await school.do_jobs()
    [(event_id, content)] = said(school, school.announcement_room)
    assert content["body"] == "No **school** tomorrow"
    await school.do_jobs()
    (root, _), (_, _) = said(school, room)
    [_, (_, pointer)] = said(school, school.announcement_room)
    assert permalink(room.room_id, root, "example.org") in pointer["body"]
    assert quiet(pointer)
    assert pointer["m.relates_to"]["event_id"] == event_id


async def test_a_discussion_room_that_hangs_holds_nothing_up(school: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discussions, "PATIENCE_SECONDS", 0.01)
    room, send, hangs = school.room(DISCUSSION), school.messenger.send, True

    async def hang(room_id: RoomId, content: Any, **how: Any) -> Any:
        if room_id == room.room_id and hangs:
            await asyncio.Event().wait()
        return await send(room_id, content, **how)

    monkeypatch.setattr(school.messenger, "send", hang)
    job = await school.jobs.find(Target(SCHOOL.id, None).job_of(await publish(school)))
    assert job is not None
    await school.newsroom.do(job.id, cast(Any, decode(job.kind, job.body)), cast(Any, None))
    assert school.messenger.said(school.announcement_room.room_id) == ["No **school** tomorrow"]
    hangs = False
    await school.do_jobs()
    assert len(said(school, room)) == 2


async def test_what_an_admin_posts_by_themselves_is_linked_from_a_quiet_notice_below_it(school: Scene) -> None:
    await human(school, "Coffee at four")
    await school.do_jobs()
    (root, head), (_, opening) = said(school, school.room(DISCUSSION))
    assert head["body"] == "Announced: Coffee at four"
    [(_, pointer)] = said(school, school.announcement_room)
    assert quiet(pointer)
    assert permalink(school.room(DISCUSSION).room_id, root, "example.org") in pointer["body"]
    assert pointer["m.relates_to"]["event_id"] == "$human"
    assert "$human".replace("$", "%24") in opening["body"]
    await human(school, "And cake", "$more", relation="m.thread", to=EventId("$human"))
    await school.do_jobs()
    assert len(said(school, school.room(DISCUSSION))) == 2


async def test_an_edit_keeps_the_link_and_the_thread_follows(school: Scene) -> None:
    taken = await announce(school)
    [(event_id, before)] = said(school, school.announcement_room)
    await school.newsroom.afterwards.edit(
        taken, render("School **is** open"), community=SCHOOL.id, source="$edit", author=ANN
    )
    await school.do_jobs()
    now = await school.posts.content(school.announcement_room.room_id, event_id)
    assert now is not None
    assert now["body"] == f"School **is** open\n\n{before['body'].rpartition(chr(10))[2]}"
    await edited(school, event_id)
    await school.do_jobs()
    assert school.posts.reads(school.room(DISCUSSION).room_id) == ["Announced: School **is** open"]
    sent = len(school.messenger.sent)
    await edited(school, event_id, "$again")  # as polls are edited: its first words are the same
    await school.do_jobs()
    assert len(school.messenger.sent) == sent


async def test_a_withdrawal_takes_the_head_of_the_thread_back_and_leaves_answers(school: Scene) -> None:
    taken = await announce(school)
    [(root, _), (opening, _)] = said(school, school.room(DISCUSSION))
    sent = len(school.messenger.sent)
    await school.newsroom.afterwards.withdraw(taken, community=SCHOOL.id, author=ANN)
    await school.do_jobs()
    assert said(school, school.room(DISCUSSION)) == []
    assert said(school, school.announcement_room) == []
    assert {root, opening} <= school.posts.redacted.keys()
    assert len(school.messenger.sent) == sent


async def test_one_withdrawn_before_it_went_out_leaves_nothing(school: Scene) -> None:
    taken = await publish(school)
    finish = await school.newsroom.discussions.begin(taken, Target(SCHOOL.id, school.announcement_room.room_id))
    assert finish is not None
    await school.newsroom.afterwards.withdraw(taken, community=SCHOOL.id, author=ANN)
    await school.do_jobs()
    assert said(school, school.announcement_room) == []
    assert said(school, school.room(DISCUSSION)) == []


async def test_what_is_redacted_in_a_client_is_taken_back_too(school: Scene) -> None:
    await human(school, "Coffee at four")
    await school.do_jobs()
    school.posts.redacted[EventId("$human")] = False
    event = Redacted(EventId("$gone"), school.announcement_room.room_id, ANN, school.clock.now, EventId("$human"))
    for _ in range(2):
        await school.newsroom.redacted(event)
    await school.do_jobs()
    assert said(school, school.room(DISCUSSION)) == []
    assert said(school, school.announcement_room) == []


async def test_announced_again_or_read_outside_it_is_without_the_link(school: Scene) -> None:
    await announce(school, "Short")
    [(event_id, content)] = said(school, school.announcement_room)
    assert FIELD in content
    assert await school.newsroom.words_of(school.announcement_room.room_id, event_id) == "Short"
    [entry] = await school.newsroom.feeds._entries(SCHOOL.id)
    assert entry.text == "Short"


async def test_an_announcement_that_was_begun_before_there_was_a_room_is_not_said_to_carry_a_link(
    school: Scene,
) -> None:
    taken = await publish(school)
    async with school.database.transaction() as tx:
        await store.begin(tx, taken, SCHOOL.id, "")
    await school.do_jobs()
    assert FIELD not in said(school, school.announcement_room)[0][1]
    assert len(said(school, school.announcement_room)) == 2  # linked below it
    assert len(said(school, school.room(DISCUSSION))) == 2


async def test_the_service_dies_at_every_point_and_there_is_one_thread_with_one_link(
    tmp_path: Path,
) -> None:
    point, linked = 0, 0
    base = await settled(tmp_path)
    while True:
        scene = await again(base, tmp_path, point)
        scene.faults.arm(point)
        try:
            await announce(scene)
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        scene.reconciler.declare([SCHOOL])
        wire(scene)
        await publish(scene)
        await scene.do_jobs()
        news = [body for _, body in said(scene, scene.announcement_room)]
        threads = said(scene, scene.room(DISCUSSION))
        assert len(threads) == 2, point
        assert sum("Discuss it here:" in one["body"] for one in news) == 1, point
        assert len(news) == (1 if FIELD in news[0] else 2), point
        assert scene.messenger.calls(scene.announcement_room.room_id) == [(news[0]["body"], [])], point
        linked += FIELD in news[0]
        assert await scene.jobs.waiting(scene.clock.now_ms()) == 0
        await scene.stop()
        if ended:
            break
        point += 1
    assert point > 30
    assert linked > point / 2


async def test_the_service_dies_while_a_thread_is_taken_back_and_nothing_stays(tmp_path: Path) -> None:
    point = 0
    base = await settled(tmp_path)
    while True:
        scene = await again(base, tmp_path, point)
        taken = await publish(scene)
        scene.faults.arm(point)
        try:
            await scene.do_jobs()
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        scene.reconciler.declare([SCHOOL])
        wire(scene)
        await scene.newsroom.afterwards.withdraw(taken, community=SCHOOL.id, author=ANN)
        await scene.do_jobs()
        assert said(scene, scene.room(DISCUSSION)) == [], point
        assert said(scene, scene.announcement_room) == [], point
        await scene.stop()
        if ended:
            break
        point += 1
