"""Announcements after they were sent: each copy is edited and withdrawn once, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.core import texts
from bridge.core.announcements import Kind, Named, Target
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.markup import plain
from bridge.core.messages import Announce, DeliverAnnouncement, EditCopy, Pill, PostAgain, Posted
from bridge.core.rendering import render
from bridge.features.afterwards import job_of_edit, job_of_withdrawal
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
CHAT, EVES = RoomId("!chat:example.org"), RoomId("!eve:example.org")
ROOMS = [RoomId("!school:example.org"), RoomId("!club:example.org")]
TARGETS = [Target(SCHOOL, ROOMS[0]), Target(CLUB, ROOMS[1])]
EVE = Target(SCHOOL, EVES, "@eve:example.org")
ANN = "@ann:example.org"


async def publish(scene: Scene, *parts: str, targets: Sequence[Target] = tuple(TARGETS), source: str = "$one") -> str:
    return await scene.announcements.publish(
        source=source, author=ANN, parts=[render(part) for part in parts or ("Hello",)], targets=targets
    )


async def edit(scene: Scene, announcement: str, text: str, source: str = "$edit") -> str:
    scene.clock.now += 1
    return await scene.afterwards.edit(
        announcement, render(text), community=SCHOOL, source=source, author=ANN, reply_room=CHAT
    )


async def withdraw(scene: Scene, announcement: str) -> str:
    return await scene.afterwards.withdraw(announcement, community=SCHOOL, author=ANN, reply_room=CHAT)


def reads(scene: Scene) -> list[list[str]]:
    return [scene.posts.reads(room) for room in ROOMS]


async def stored_words(scene: Scene) -> str:
    async with scene.database.transaction() as tx:
        words = await tx.fetch_value("SELECT COALESCE(MAX(content), '') FROM announcement")
        more = await tx.fetch_value("SELECT COALESCE(MAX(content), '') FROM announcement_change")
    return str(words) + str(more)


async def audit(scene: Scene) -> list[tuple[str, str]]:
    async with scene.database.transaction() as tx:
        return [(row["actor"], row["what"]) for row in await tx.fetch("SELECT actor, what FROM audit ORDER BY seq")]


# --- edits ------------------------------------------------------------------------------------------------------------


async def test_an_edit_reaches_every_copy_and_whoever_asked_is_told_once(scene: Scene) -> None:
    taken = await publish(scene, "Hello", "second", targets=[*TARGETS, EVE])
    await scene.do_jobs()
    await edit(scene, taken, "Good **morning**")
    await edit(scene, taken, "Good **morning**")  # the same message came again
    await scene.do_jobs()
    assert [*reads(scene), scene.posts.reads(EVES)] == [["Good **morning**", "second"]] * 3
    assert scene.messenger.said(CHAT) == ["#1 has its new text in 3 rooms and chats."]
    [sent] = [content for room, content in scene.messenger.sent if room == EVES and "m.new_content" in content]
    assert sent["body"] == "* Good **morning**"
    assert sent["formatted_body"] == "* <p>Good <strong>morning</strong></p>"
    assert sent["m.new_content"] == render("Good **morning**")
    assert await stored_words(scene) == ""
    assert (ANN, "edited") in await audit(scene)


async def test_who_left_is_told_nothing_new_and_loses_what_is_withdrawn(scene: Scene) -> None:
    taken = await publish(scene, targets=[TARGETS[0], EVE])
    await scene.do_jobs()
    scene.left.add((SCHOOL, UserId(EVE.place)))
    await edit(scene, taken, "Good morning")
    await scene.do_jobs()
    assert [scene.posts.reads(room) for room in (ROOMS[0], EVES)] == [["Good morning"], ["Hello"]]
    await withdraw(scene, taken)
    await scene.do_jobs()
    assert [scene.posts.reads(room) for room in (ROOMS[0], EVES)] == [[], []]


async def test_the_last_of_several_edits_is_what_is_read(scene: Scene) -> None:
    taken = await publish(scene)
    await scene.do_jobs()
    first = await edit(scene, taken, "one", "$a")
    await edit(scene, taken, "two", "$b")
    # the first is given up in one room, and tried again when the second is there
    job = job_of_edit(first, TARGETS[0])
    await scene.jobs.park(job, "no key")
    await scene.afterwards.failed(EditCopy(first, taken, SCHOOL, ""), job, "no key")
    await scene.do_jobs()
    assert await scene.afterwards.retry(taken, community=SCHOOL, author=ANN) == 1
    await scene.do_jobs()
    assert reads(scene) == [["two"], ["two"]]


async def test_what_has_not_gone_out_goes_out_with_the_new_words_and_without_an_edit(scene: Scene) -> None:
    taken = await publish(scene, "Hello", "second")
    await edit(scene, taken, "Good morning")
    await scene.do_jobs()
    assert reads(scene) == [["Good morning", "second"]] * 2
    assert not [content for _, content in scene.messenger.sent if "m.new_content" in content]


async def test_a_file_keeps_itself_and_gets_another_caption(scene: Scene) -> None:
    picture: dict[str, Any] = {
        "msgtype": "m.image", "body": "before", "filename": "a.png", "file": {"url": "mxc://x/y", "key": {"k": "z"}},
    }  # fmt: skip
    taken = await scene.announcements.publish(source="$p", author=ANN, parts=[picture], targets=TARGETS[:1])
    await scene.do_jobs()
    await edit(scene, taken, "after")
    await scene.do_jobs()
    now = scene.messenger.sent[-2][1]["m.new_content"]
    assert (now["msgtype"], now["body"], now["filename"], now["file"]) == (
        "m.image", "after", "a.png", picture["file"],
    )  # fmt: skip


async def test_what_is_to_be_confirmed_is_edited_and_goes_on_asking_for_it(scene: Scene) -> None:
    taken = await scene.announcements.publish(
        source="$ack", author=ANN, parts=[render("The trp")], targets=TARGETS, kind=Kind.ACKNOWLEDGE
    )
    asks = plain(texts.please_acknowledge())
    await edit(scene, taken, "The tripp", "$early")
    await scene.do_jobs()
    assert reads(scene) == [[f"The tripp\n\n{asks}"]] * 2
    await edit(scene, taken, "The **trip**")
    await scene.do_jobs()
    assert reads(scene) == [[f"The **trip**\n\n{asks}"]] * 2
    [sent, _] = [content for _, content in scene.messenger.sent if "m.new_content" in content]
    assert sent["m.new_content"]["formatted_body"] == f"<p>The <strong>trip</strong></p>\n<p>{asks}</p>"


async def test_an_edit_notifies_only_whom_it_mentions_anew(scene: Scene) -> None:
    pills = {name: Pill(name, UserId(f"@{name}:example.org")) for name in ("eve", "bea")}
    taken = await scene.announcements.publish(
        source="$one", author=ANN, parts=[render("Ask eve", [pills["eve"]], ring=True)], targets=TARGETS[:1]
    )
    await scene.do_jobs()
    words = render("Ask eve or bea", pills.values())
    await scene.afterwards.edit(taken, words, community=SCHOOL, source="$edit", author=ANN)
    await scene.do_jobs()
    [sent] = [content for _, content in scene.messenger.sent if "m.new_content" in content]
    assert sent["m.mentions"] == {"user_ids": [pills["bea"].user]}
    assert sent["m.new_content"]["m.mentions"] == {"user_ids": [pills["eve"].user, pills["bea"].user]}


async def test_what_cannot_be_edited_is_refused(scene: Scene) -> None:
    human = Posted(EventId("$human"), ROOMS[0], UserId(ANN), 5, "m.room.encrypted", False)
    await scene.announcements.noticed(SCHOOL, human)
    found = await scene.announcements.find(SCHOOL, Named(number=1))
    assert found is not None
    with pytest.raises(Refused, match="only its author can edit it"):
        await edit(scene, found.id, "no")
    poll = await scene.announcements.publish(
        source="$poll", author=ANN, parts=[render("?")], targets=TARGETS, kind=Kind.POLL
    )
    with pytest.raises(Refused, match="only texts"):
        await edit(scene, poll, "no")
    gone = await publish(scene)
    await withdraw(scene, gone)
    with pytest.raises(Refused, match="withdrawn"):
        await edit(scene, gone, "no")


# --- withdrawals ------------------------------------------------------------------------------------------------------


async def test_a_withdrawal_redacts_every_copy_with_its_parts_and_edits(scene: Scene) -> None:
    taken = await publish(scene, "Hello", "second", targets=[*TARGETS, EVE])
    await scene.do_jobs()
    await edit(scene, taken, "Good morning")
    await scene.do_jobs()
    sent = {event for event, (room, _) in scene.messenger.posted.items() if room != CHAT}
    assert len(sent) == 9
    for _ in range(2):
        await withdraw(scene, taken)
        await scene.do_jobs()
    assert scene.posts.redacted.keys() == sent
    in_chat = {event for event, (room, _) in scene.messenger.posted.items() if room == EVES}
    assert {event for event, by_announcer in scene.posts.redacted.items() if by_announcer} == in_chat
    assert scene.messenger.said(CHAT)[1:] == ["#1 is withdrawn from 3 rooms and chats."]
    assert (ANN, "withdrew") in await audit(scene)
    [listed] = await scene.announcements.listed(SCHOOL, 5)
    assert listed.announcement.withdrawn_at is not None


async def test_a_quiet_copy_stays_quiet_goes_on_naming_its_files_and_is_not_what_is_announced_again(
    scene: Scene,
) -> None:
    file = {"msgtype": "m.file", "body": "Read", "filename": "a.pdf", "url": "mxc://x/y"}
    group = Target(CommunityId("a-year"), ROOMS[0])  # listed before the one that rings
    taken = await scene.announcements.publish(source="$one", author=ANN, parts=[file], targets=[group, TARGETS[1]])
    job = DeliverAnnouncement(taken, group.community, ROOMS[0], "")
    await scene.announcements.deliver(group.job_of(taken), job, heard_in=ROOMS[1])
    await scene.do_jobs()
    await edit(scene, taken, "Read *this*")
    await scene.do_jobs()
    line = "📎 a.pdf: https://matrix.to/#/%21club%3Aexample.org"
    assert reads(scene) == [[f"Read *this*\n\n{line}"], ["Read *this*"]]
    [sent] = [content for room, content in scene.messenger.sent if room == ROOMS[0] and "m.new_content" in content]
    assert sent["m.new_content"]["msgtype"] == "m.notice"
    again = PostAgain(taken, 1, SCHOOL, ("everybody",), "$again", ANN, CHAT)
    job_id = await scene.reposts.ask(again)
    await scene.reposts.do(again, lambda tx: scene.jobs.complete(tx, job_id))
    [asked] = await scene.jobs.of_kind(Announce)
    announce = decode(asked.kind, asked.body)
    assert isinstance(announce, Announce)
    assert [(part["msgtype"], part["body"]) for part in announce.parts] == [("m.file", "Read *this*")]


async def test_a_post_of_a_human_admin_is_redacted_as_well(scene: Scene) -> None:
    await scene.announcements.noticed(
        SCHOOL, Posted(EventId("$human"), ROOMS[0], UserId(ANN), 5, "m.room.encrypted", False)
    )
    scene.posts.by_people[EventId("$human")] = ROOMS[0], render("Hello")
    found = await scene.announcements.find(SCHOOL, Named(number=1))
    assert found is not None
    await withdraw(scene, found.id)
    await scene.do_jobs()
    assert scene.posts.redacted == {EventId("$human"): False}


async def test_what_waits_is_never_sent(scene: Scene) -> None:
    taken = await publish(scene)
    job = TARGETS[0].job_of(taken)
    await scene.jobs.park(job, "no key")
    await withdraw(scene, taken)
    await scene.do_jobs()
    assert scene.messenger.said(ROOMS[0]) == scene.messenger.said(ROOMS[1]) == []
    assert await scene.jobs.find(job) is None
    assert await scene.announcements.copies_of(taken) == []
    assert await stored_words(scene) == ""


async def test_what_is_withdrawn_is_not_delivered_when_it_is_asked_for_again(scene: Scene) -> None:
    taken = await publish(scene)
    await withdraw(scene, taken)
    await scene.do_jobs()
    await publish(scene)  # whoever was not answered asks again
    await scene.do_jobs()
    assert reads(scene) == [[], []]
    [listed] = await scene.announcements.listed(SCHOOL, 5)
    assert (listed.sent, listed.waiting, listed.failed) == (0, 0, 0)


async def test_what_is_on_its_way_when_it_is_withdrawn_goes_too(scene: Scene) -> None:
    lost = 0
    for point in range(24):
        scene.faults.arm(point, instead=Unreachable("no answer"))
        taken = await publish(scene, "Hello", "second", source=f"$at{point}", targets=TARGETS[:1])
        try:
            await scene.do_jobs()
        except Unreachable:
            lost += 1  # it may have arrived, and nobody knows
        scene.faults.arm(None)
        await withdraw(scene, taken)
        await scene.do_jobs()
        assert scene.posts.reads(ROOMS[0]) == [], point
        assert await scene.jobs.waiting() == 0
        assert await scene.jobs.parked() == []
    assert lost == 4, "before and after each part"


async def test_the_service_dies_at_every_point_of_an_edit_and_a_withdrawal(tmp_path: Path) -> None:
    point = 0
    while True:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        taken = await publish(scene, "Hello", "second", targets=[EVE])
        await scene.do_jobs()
        scene.faults.arm(point)
        try:
            await edit(scene, taken, "Good morning")
            await scene.do_jobs()
            await withdraw(scene, taken)
            await scene.do_jobs()
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        if not scene.posts.redacted and scene.posts.reads(EVES)[0] == "Hello":
            await edit(scene, taken, "Good morning")
            await scene.do_jobs()
        await scene.do_jobs()
        edits = [content for room, content in scene.messenger.sent if room == EVES and "m.new_content" in content]
        assert len(edits) == 1, point
        await withdraw(scene, taken)
        await scene.do_jobs()
        left = {
            event for event, (room, _) in scene.messenger.posted.items() if room != CHAT
        } - scene.posts.redacted.keys()
        assert not left, point
        assert scene.messenger.said(CHAT) == [
            "#1 has its new text in 1 room or chat.", "#1 is withdrawn from 1 room or chat.",
        ], point  # fmt: skip
        assert await scene.jobs.waiting(scene.clock.now_ms()) == 0
        await scene.stop()
        if ended:
            break
        point += 1
    assert point > 30


async def test_an_edit_that_was_under_way_when_it_was_withdrawn_is_redacted(scene: Scene) -> None:
    taken = await publish(scene, targets=TARGETS[:1])
    await scene.do_jobs()
    change = await edit(scene, taken, "Good morning")
    # it landed, and nobody was told so; the withdrawal, which waits for nobody, did not see it
    scene.faults.fail(Unreachable("no answer"), lambda name: name.startswith("READ"))
    stored = await scene.jobs.find(job_of_edit(change, TARGETS[0]))
    assert stored is not None
    job = decode(stored.kind, stored.body)
    assert isinstance(job, EditCopy)
    async with scene.database.transaction() as tx:
        await tx.execute("UPDATE announcement_change_copy SET begun = 1")
    await withdraw(scene, taken)
    await scene.messenger.send(ROOMS[0], {"body": "Good morning", "msgtype": "m.text"}, txn_id=stored.id)
    await scene.do_jobs()
    shown = {event for event, (room, _) in scene.messenger.posted.items() if room == ROOMS[0]}
    assert scene.posts.redacted.keys() == shown
    assert len(shown) == 2


async def test_what_fails_is_told_can_be_tried_again_and_is_told_when_it_is_done(scene: Scene) -> None:
    taken = await publish(scene)
    await scene.do_jobs()
    await withdraw(scene, taken)
    job_id = job_of_withdrawal(taken, TARGETS[1])
    stored = await scene.jobs.find(job_id)
    assert stored is not None
    await scene.jobs.park(job_id, "forbidden")
    job: Any = decode(stored.kind, stored.body)
    await scene.afterwards.failed(job, job_id, "forbidden")
    await scene.do_jobs()
    assert reads(scene) == [[], ["Hello"]]
    [(text, mentioned)] = scene.messenger.calls(CHAT)
    assert "can still be read there: forbidden" in text
    assert mentioned == [ANN]
    assert await scene.afterwards.retry(taken, community=SCHOOL, author=ANN) == 1
    await scene.do_jobs()
    assert reads(scene) == [[], []]
    assert scene.messenger.said(CHAT)[-1] == "#1 is withdrawn from 2 rooms and chats."
    assert await scene.afterwards.retry(taken, community=SCHOOL, author=ANN) == 0


async def test_a_delivery_that_failed_is_tried_again(scene: Scene) -> None:
    taken = await publish(scene)
    job_id = TARGETS[0].job_of(taken)
    stored = await scene.jobs.find(job_id)
    assert stored is not None
    await scene.jobs.park(job_id, "no key")
    job: Any = decode(stored.kind, stored.body)
    await scene.announcements.failed(job, job_id, "no key")
    await scene.do_jobs()
    [listed] = await scene.announcements.listed(SCHOOL, 5)
    assert (listed.sent, listed.failed) == (1, 1)
    assert await scene.afterwards.retry(taken, community=SCHOOL, author=ANN) == 1
    await scene.do_jobs()
    assert reads(scene) == [["Hello"], ["Hello"]]


# --- answers, and once more -------------------------------------------------------------------------------------------


async def test_an_answer_names_its_announcement_in_its_own_community_alone(scene: Scene) -> None:
    taken = await scene.announcements.publish(
        source="$one", author=ANN, parts=[render("Hello")], targets=TARGETS[:1], reply_room=CHAT
    )
    await scene.do_jobs()
    [told] = [event for event, (room, _) in scene.messenger.posted.items() if room == CHAT]
    found = await scene.announcements.find(SCHOOL, Named(room_id=CHAT, event_id=told))
    assert found is not None
    assert found.id == taken
    assert await scene.announcements.find(CLUB, Named(room_id=CHAT, event_id=told)) is None
    assert await scene.announcements.find(SCHOOL, Named(room_id=ROOMS[0], event_id=told)) is None


async def test_what_is_announced_again_says_what_it_says_now_and_mentions_nobody(scene: Scene) -> None:
    file: dict[str, Any] = {
        "msgtype": "m.file",
        "body": "a",
        "file": {"url": "mxc://x/y"},
        "m.mentions": {"room": True},
    }
    taken = await scene.announcements.publish(
        source="$p", author=ANN, parts=[render("Hello"), file], targets=[EVE, TARGETS[0]]
    )
    job = PostAgain(taken, 1, CLUB, ("everybody",), "$again", ANN, CHAT)
    with pytest.raises(Refused, match="not arrived"):
        await scene.reposts.ask(job)
    await scene.do_jobs()
    await edit(scene, taken, "Good morning")
    await scene.do_jobs()
    job_id = await scene.reposts.ask(job)
    assert await scene.reposts.ask(job) == job_id
    stored = await scene.jobs.find(job_id)
    assert stored is not None
    done: list[str] = []

    async def complete(tx: Any) -> None:
        done.append(job_id)
        await scene.jobs.complete(tx, job_id)

    await scene.reposts.do(job, complete)
    assert done
    [asked] = await scene.jobs.of_kind(Announce)
    again = decode(asked.kind, asked.body)
    assert isinstance(again, Announce)
    assert [part["body"] for part in again.parts] == ["Good morning", "a"]
    assert again.parts[1]["file"] == {"url": "mxc://x/y"}
    assert all(part["m.mentions"] == {} for part in again.parts)
    assert (again.community, again.audience, again.source) == (CLUB, ("everybody",), "$again")
    await withdraw(scene, taken)
    with pytest.raises(Refused, match="withdrawn"):
        await scene.reposts.ask(job)
