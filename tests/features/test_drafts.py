"""Announcements as they are written: shown to their author first, decided once, and told to nobody else before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.app.house import House
from bridge.app.operations import Operations
from bridge.commands.door import ChatDoor
from bridge.core import texts
from bridge.core.announcement_templates import Template
from bridge.core.announcements import EVERYBODY, Kind
from bridge.core.community import Community, Role, Tag
from bridge.core.errors import CannotDecrypt, Unreachable
from bridge.core.files import Address
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.markup import plain
from bridge.core.messages import Pill, Reacted, Said
from bridge.features.conversations import Conversations
from bridge.features.drafts import WORDS_MS
from bridge.store import communities
from bridge.store.schedules import Scheduled
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER
from tests.fakes.scene import ACCOUNTS, Scene, url_in

ANN, BEA, CID = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid"))
CHAT = RoomId("!chat:example.org")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID}),
    announcement_templates=(Template("snow", "No school on {day}: {reason}."), Template("bell", "It rings.")),
)
HOUR = 3_600_000


class FakeFiles:
    """A room's timeline as clients sent it, and a media repository."""

    def __init__(self) -> None:
        self.timeline: list[dict[str, Any]] = []
        self.sealed: list[Address] = []
        self.error: Exception | None = None

    def send(self, sender: UserId, content: Mapping[str, Any], at: int = 0, kind: str = "m.room.encrypted") -> EventId:
        event_id = EventId(f"$m{len(self.timeline)}")
        self.timeline.append(
            {"event_id": event_id, "sender": sender, "type": kind, "origin_server_ts": at, "content": dict(content)}
        )
        return event_id

    async def around(self, room_id: RoomId, event_id: EventId) -> tuple[list[dict[str, Any]], int]:
        events = [{**event, "room_id": room_id} for event in self.timeline]
        return events, next(at for at, event in enumerate(events) if event["event_id"] == event_id)

    async def again(self, address: Address) -> tuple[dict[str, Any], int]:
        if self.error is not None:
            raise self.error
        self.sealed.append(address)
        return {"v": "v2", "url": f"mxc://ours/{len(self.sealed)}"}, 1000 + len(self.sealed)

    async def decrypt(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if "secret" in event["content"]:
            raise CannotDecrypt("its key has not come")
        return {**event, "type": "m.room.message"}


def picture(name: str, **more: Any) -> dict[str, Any]:
    """A picture as a client sends it, with things in it that nobody asked for."""
    return {
        "msgtype": "m.image",
        "body": name,
        "filename": name,
        "file": {"url": f"mxc://theirs/{name}", "v": "v2", "key": "theirs"},
        "info": {"mimetype": "image/png", "w": 4, "h": 3, "size": 5, "strange": "x", "thumbnail_info": {"w": 1}},
        "strange": "x",
        **more,
    }


class Desk:
    """The chat door upon a scene. Every message and reaction comes twice, as after a crash."""

    def __init__(self, scene: Scene, files: FakeFiles | None = None, *, twice: bool = True) -> None:
        self.scene = scene
        self.files = files or FakeFiles()
        house = SimpleNamespace(
            newsroom=scene.newsroom,
            conversations=Conversations(scene.database, scene.clock),
            files=self.files,
            keys=self.files,
            accounts=ACCOUNTS,
            reconciler=scene.reconciler,
            deactivations=scene.deactivations,
            members=scene.members,
        )
        self.operations = Operations(cast(House, house))
        self.door = ChatDoor(self.operations, scene.chats.say, scene.clock)
        self.times = 2 if twice else 1
        self.count = 0

    async def says(
        self, text: str, *pills: Pill, by: UserId = ANN, room: RoomId | None = CHAT, event_id: str = "", **more: Any
    ) -> EventId:
        """Somebody writes a message; None for the room is the control room."""
        self.count += 1
        place = room or self.scene.control_room.room_id
        event = Said(
            EventId(event_id or f"$says-{self.count}"), place, by, self.scene.clock.now, text, True, pills, **more
        )
        for _ in range(self.times):
            await self.door.said(event, control_of=SCHOOL.id if room is None else None)
        await self.scene.do_jobs()
        return event.event_id

    async def reacts(self, key: str, *, to: EventId | None = None, by: UserId = ANN, room: RoomId = CHAT) -> None:
        self.count += 1
        event = Reacted(EventId(f"$reacts-{self.count}"), room, by, self.scene.clock.now, to or self.card(), key)
        for _ in range(self.times):
            await self.scene.newsroom.reacted(event)
        await self.scene.do_jobs()

    def card(self) -> EventId:
        """What was shown last to be decided, by its reactions."""
        return self.scene.messenger.reactions[-1][0]

    def shown(self, room: RoomId | None = CHAT) -> list[Mapping[str, Any]]:
        """Everything that was sent into a chat, the newest wording of each message."""
        place = room or self.scene.control_room.room_id
        return [content for room_id, content in self.scene.messenger.sent if room_id == place]

    def last(self, room: RoomId | None = CHAT) -> str:
        content = self.shown(room)[-1]
        return str(content.get("m.new_content", content)["body"])

    def announced(self) -> list[Mapping[str, Any]]:
        return [
            content for room_id, content in self.scene.messenger.sent if room_id == self.scene.announcement_room.room_id
        ]

    async def scheduled(self) -> list[Scheduled]:
        return await self.scene.newsroom.schedules.listed(SCHOOL.id)

    async def rows(self, what: str = "state") -> list[Any]:
        async with self.scene.database.transaction() as tx:
            return [row[what] for row in await tx.fetch(f"SELECT {what} FROM draft ORDER BY at, id")]


async def open_chat(scene: Scene, user: UserId = ANN) -> None:
    async with scene.database.transaction() as tx:
        await communities.open_chat(tx, CHAT, user, scene.clock.now)
    scene.index.chats[CHAT] = user


@pytest.fixture
async def desk(scene: Scene) -> Desk:
    await scene.settle(SCHOOL)
    await scene.catch_up()
    await open_chat(scene)
    scene.messenger.sent.clear()
    scene.messenger.reactions.clear()
    return Desk(scene)


# --- shown, and decided -----------------------------------------------------------------------------------------------


async def test_an_announcement_is_shown_as_members_see_it_and_goes_out_at_its_authors_word(desk: Desk) -> None:
    await desk.says("announce **School** is closed, says Bea", Pill("Bea", BEA))
    shown, below = desk.shown()
    assert shown["formatted_body"] == (
        '<p><strong>School</strong> is closed, says <a href="https://matrix.to/#/%40bea%3Aexample.org">Bea</a></p>'
    )
    assert shown["m.mentions"] == {}, "a preview notifies nobody"
    assert below["body"].splitlines() == [
        "That is how members will see it:",
        "- to everybody in School",
        "- at once, when you agree",
        "- reaches 3 people now; 0 devices have its key",
        "",
        "Its author decides: ✅ (or `yes`) sends it, ✏️ changes the text, ❌ (or `no`) drops it. It lapses after 24 h.",
    ]
    assert [key for _, key in desk.scene.messenger.reactions] == ["✅", "✏️", "❌"]
    assert desk.announced() == []

    await desk.reacts("✅️")  # clients write it with a variation selector, or without
    assert desk.announced() == [{**shown, "m.mentions": {"user_ids": [BEA]}}]
    said = [str(content.get("m.new_content", content)["body"]) for content in desk.shown()[2:]]
    assert said == [plain(texts.draft_sent()), "Sent to School. 3 devices can read it."]
    assert await desk.rows("content") == [""], "what it says is kept no longer than it has to be"
    await desk.reacts("✅")
    await desk.says("yes")
    assert desk.last() == plain(texts.nothing_to_confirm())
    assert len(desk.announced()) == 1


@pytest.mark.parametrize(("word", "sent"), [("yes", 1), ("Ja!", 1), ("no", 0), ("nein", 0)])
async def test_a_word_decides_as_well(desk: Desk, word: str, sent: int) -> None:
    await desk.says("announce News")
    await desk.says(word)
    assert len(desk.announced()) == sent
    assert plain(texts.draft_sent() if sent else texts.draft_dropped()) in [
        str(content.get("m.new_content", {}).get("body")) for content in desk.shown()
    ]
    assert await desk.rows("content") == [""]


async def test_a_yes_is_about_what_was_asked_last_and_has_been_seen(desk: Desk) -> None:
    await desk.says("transfer @bea:example.org")
    await desk.says("announce News")
    await desk.says("yes")
    assert [content["body"] for content in desk.announced()] == ["News"]
    await desk.says("yes")
    assert desk.last() == plain(texts.nothing_to_confirm()), "the question before was dropped"
    assert await desk.scene.reconciler.role_of(SCHOOL.id, BEA) is Role.ADMIN

    desk.scene.faults.fail(Unreachable("HTTP 502"), lambda name: "draft-" in name and "SEND" in name)
    with pytest.raises(Unreachable):
        await desk.says("announce Not seen")
    unseen = Said(EventId("$unseen"), CHAT, ANN, 1, "yes", True)
    await desk.door.said(unseen, control_of=None)
    assert len(desk.announced()) == 1
    await desk.scene.do_jobs()
    assert plain(texts.draft_not_shown()) in desk.scene.messenger.said(CHAT)
    assert len(desk.announced()) == 1
    await desk.says("yes")
    assert [content["body"] for content in desk.announced()] == ["News", "Not seen"]


async def test_a_second_yes_sends_nothing_that_was_written_before(desk: Desk) -> None:
    await desk.says("announce Not thought of any more")
    old = desk.card()
    desk.scene.clock.now += 1
    await desk.says("announce News")
    await desk.says("yes")
    await desk.says("yes")
    assert [content["body"] for content in desk.announced()] == ["News"]
    assert desk.last() == "an earlier announcement still waits. Send it with ✅ or drop it with ❌ below it."
    await desk.reacts("✅", to=old)
    assert [content["body"] for content in desk.announced()] == ["News", "Not thought of any more"]


async def test_in_the_control_room_each_admin_has_drafts_and_nobody_else_decides_them(desk: Desk) -> None:
    control = desk.scene.control_room.room_id
    await desk.says("!announce From Ann", room=None)
    of_ann = desk.card()
    await desk.says("!announce From Bea", by=BEA, room=None)
    of_bea = desk.card()
    assert "`!yes`" in desk.last(None)
    for key in ("✅", "❌", "✏️"):
        await desk.reacts(key, to=of_ann, by=BEA, room=control)
        await desk.reacts(key, to=of_ann, by=CID, room=control)
    assert desk.announced() == []
    await desk.says("!yes", by=BEA, room=None)
    await desk.reacts("❌", to=of_ann, room=control)
    assert [content["body"] for content in desk.announced()] == ["From Bea"]
    await desk.reacts("✅", to=of_bea, by=BEA, room=control)
    assert len(desk.announced()) == 1


async def test_who_lost_their_role_meanwhile_sends_nothing(desk: Desk) -> None:
    await desk.says("!announce News", by=BEA, room=None)
    desk.scene.reconciler.declare([replace(SCHOOL, admins=frozenset())])
    await desk.scene.reconciler.apply(replace(SCHOOL, admins=frozenset()))
    await desk.reacts("✅", by=BEA, room=desk.scene.control_room.room_id)
    assert desk.announced() == []
    assert "only owners and admins of the community announce" in desk.last(None)
    assert await desk.rows() == ["dropped"]


async def test_a_draft_lapses_over_restarts_and_its_text_is_forgotten(desk: Desk) -> None:
    await desk.says("announce News")
    card = desk.card()
    await desk.scene.restart()
    desk.scene.reconciler.declare([SCHOOL])
    later = Desk(desk.scene)
    desk.scene.clock.now += 24 * HOUR - 1
    await desk.scene.do_jobs()
    assert await later.rows() == ["open"]
    desk.scene.clock.now += 1
    await desk.scene.do_jobs()
    assert (await later.rows(), await later.rows("content")) == (["expired"], [""])
    assert later.last() == plain(texts.draft_lapsed())
    await later.reacts("✅", to=card)
    assert later.announced() == []


async def test_where_no_preview_is_wanted_it_goes_out_at_once(desk: Desk) -> None:
    desk.scene.reconciler.declare([replace(SCHOOL, preview=False)])
    await desk.says("announce --ring News")
    [content] = desk.announced()
    assert (content["body"], content["m.mentions"]) == ("@room News", {"room": True})
    assert desk.last() == "Sent to School. 3 devices can read it."


async def test_it_goes_to_whom_it_names_and_asks_to_be_confirmed_where_that_is_shown(desk: Desk) -> None:
    """An edit of the command says anew whom it is for, and whether it is to be confirmed."""
    tagged = replace(SCHOOL, tags=(Tag("team", frozenset({BEA, CID})),))
    await desk.scene.come_to_rest(tagged)
    source = await desk.says("announce --to tag:team --ack News")
    asks = plain(texts.please_acknowledge())
    assert asks in str(desk.shown()[-2]["body"])
    assert "- to everybody with the tag team" in desk.last()
    assert "- reaches 2 people now; 0 devices have its key" in desk.last()
    assert "- it asks everybody to confirm it with ✅" in desk.last()
    assert await desk.rows("kind") == ["acknowledge"]
    await desk.says("announce --to everybody,tag:team News", edits=source)
    below = str(desk.shown()[-2]["body"])
    assert "- to everybody in School, everybody with the tag team\n" in below
    assert "- reaches 3 people now" in below, "each is counted once"
    assert "confirm" not in below
    await desk.says("announce --ack News", edits=source)
    await desk.reacts("✅")
    assert [str(content["body"]) for content in desk.announced()] == [f"News\n\n{asks}"]
    [listed] = await desk.scene.newsroom.announcements.listed(SCHOOL.id, 5)
    assert (listed.announcement.kind, listed.announcement.audience) == (Kind.ACKNOWLEDGE, EVERYBODY)


@pytest.mark.parametrize("command", ["announce --at in 2 hours:", "schedule in 2 hours:"])
async def test_what_is_for_later_is_shown_with_its_time_and_scheduled_at_its_authors_word(
    desk: Desk, command: str
) -> None:
    begun = desk.scene.clock.now
    await desk.says(f"{command} --ring --ack News")
    shown, below = desk.shown()
    assert (shown["body"], shown["m.mentions"]) == (f"@room News\n\n{plain(texts.please_acknowledge())}", {})
    assert below["body"].splitlines()[1:5] == [
        "- to everybody in School",
        "- on Thu 1 Jan 1970 02:16 (UTC), when you agree",
        "- reaches 3 people now; 0 devices have its key",
        "- it notifies everybody, with `@room`",
    ]
    assert await desk.scheduled() == [], "nothing waits for its time before its author agrees"

    desk.scene.clock.now += HOUR
    await desk.reacts("✅")
    [one] = await desk.scheduled()
    assert (one.next_at, one.words, one.author) == (begun + 2 * HOUR, "in 2 hours", ANN), (
        "as it was when it was written"
    )
    assert (one.kind, one.audience, one.parts[0]["m.mentions"]) == (Kind.ACKNOWLEDGE, EVERYBODY, {"room": True})
    said = [str(content.get("m.new_content", content)["body"]) for content in desk.shown()[2:]]
    assert said == [
        plain(texts.draft_planned()),
        "Scheduled as number 1 in school: Thu 1 Jan 1970 02:16 (UTC).",
    ]
    assert (await desk.rows(), await desk.rows("content")) == (["sent"], [""])
    assert desk.announced() == []
    desk.scene.clock.now += HOUR
    await desk.scene.do_jobs()
    assert [content["body"] for content in desk.announced()] == [shown["body"]]
    await desk.says("yes")
    assert len(await desk.scheduled()) == 0
    assert len(desk.announced()) == 1


async def test_what_comes_again_is_shown_with_its_next_times_in_the_communitys_zone(desk: Desk) -> None:
    desk.scene.reconciler.declare([replace(SCHOOL, timezone="Europe/Berlin")])
    await desk.says("schedule every monday at 8: Menu")
    assert (
        "- on Mon 5 Jan 1970 08:00 (Europe/Berlin), when you agree. "
        "Then: Mon 12 Jan 1970 08:00; Mon 19 Jan 1970 08:00, …\n"
    ) in desk.last()
    await desk.says("yes")
    [one] = await desk.scheduled()
    assert (one.words, one.timing.zone, one.timing.rule != "") == ("every monday at 8", "Europe/Berlin", True)


async def test_what_is_for_later_is_dropped_like_any_other(desk: Desk) -> None:
    await desk.says("schedule in 2 hours: News")
    await desk.reacts("❌")
    assert desk.last() == plain(texts.draft_dropped())
    assert await desk.rows() == ["dropped"]
    assert await desk.scheduled() == []


async def test_a_time_that_passed_meanwhile_is_refused_and_the_draft_stays_until_it_has_another(desk: Desk) -> None:
    source = await desk.says("schedule in 2 hours: News")
    await desk.scene.restart()
    desk.scene.reconciler.declare([SCHOOL])
    desk = Desk(desk.scene)
    desk.count = 10
    desk.scene.clock.now += 2 * HOUR
    await desk.reacts("✅")
    assert desk.last() == plain(texts.draft_too_late())
    assert await desk.rows() == ["open"]
    await desk.says("schedule in the past: News", edits=source)
    assert "It is not clear when".casefold() in desk.last().casefold()
    await desk.says("announce --at in 3 hours: News", edits=source)
    await desk.says("yes")
    assert [one.next_at for one in await desk.scheduled()] == [desk.scene.clock.now + 3 * HOUR]
    assert desk.announced() == []


async def test_a_message_that_comes_again_when_its_time_has_passed_is_the_same_draft(desk: Desk) -> None:
    await desk.says("schedule in 2 hours: News", event_id="$twice")
    desk.scene.clock.now += 3 * HOUR
    await desk.says("schedule on 1 january 1970 at 2:00: News", event_id="$twice")
    assert "in the past" not in " ".join(desk.scene.messenger.said(CHAT))
    assert await desk.rows() == ["open"]
    await desk.says("announce --at on 1 january 1970 at 2:00: News")
    assert "in the past" in desk.last()
    assert await desk.rows() == ["open"]


async def test_a_draft_for_later_is_worded_anew_and_keeps_its_time(desk: Desk) -> None:
    desk.files.send(ANN, picture("a.png"))
    source = desk.files.send(ANN, picture("b.png", body="schedule …"))
    await desk.says("schedule in 2 hours: Frist", event_id=source, file=True)
    due = desk.scene.clock.now + 2 * HOUR
    await desk.reacts("✏️")
    await desk.says("First")
    assert "02:16 (UTC), when you agree" in str(desk.shown()[-2]["body"])
    await desk.reacts("✅")
    [one] = await desk.scheduled()
    assert (one.next_at, one.parts[0]["body"]) == (due, "First")
    assert [part["filename"] for part in one.parts] == ["a.png", "b.png"], "files go along"


async def test_an_edit_of_the_command_says_anew_when_it_goes_out(desk: Desk) -> None:
    source = await desk.says("announce News")
    await desk.says("schedule in 2 hours: News", edits=source)
    assert "02:16 (UTC), when you agree" in str(desk.shown()[-2]["body"])
    await desk.says("announce Now", edits=source)
    assert "- at once, when you agree" in str(desk.shown()[-2]["body"])
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == ["Now"]
    assert await desk.scheduled() == []


async def test_where_no_more_may_wait_that_is_said_and_the_draft_stays(desk: Desk) -> None:
    await desk.says("schedule in 2 hours: First")
    desk.scene.newsroom.schedules.rules = replace(desk.scene.newsroom.schedules.rules, most=0)
    await desk.reacts("✅")
    assert "0 announcements wait here already" in desk.last()
    assert (await desk.rows(), await desk.scheduled()) == (["open"], [])
    await desk.says("schedule in 2 hours: Second")
    assert "0 announcements wait here already" in desk.last()
    assert await desk.rows() == ["open"]
    desk.scene.newsroom.schedules.rules = replace(desk.scene.newsroom.schedules.rules, most=1)
    await desk.reacts("✅")
    assert [one.parts[0]["body"] for one in await desk.scheduled()] == ["First"]


async def test_who_lost_their_role_meanwhile_schedules_nothing(desk: Desk) -> None:
    await desk.says("!schedule in 2 hours: News", by=BEA, room=None)
    desk.scene.reconciler.declare([replace(SCHOOL, admins=frozenset())])
    await desk.scene.reconciler.apply(replace(SCHOOL, admins=frozenset()))
    await desk.reacts("✅", by=BEA, room=desk.scene.control_room.room_id)
    assert (await desk.rows(), await desk.scheduled()) == (["dropped"], [])


async def test_where_no_preview_is_wanted_it_is_scheduled_at_once(desk: Desk) -> None:
    desk.scene.reconciler.declare([replace(SCHOOL, preview=False)])
    await desk.says("schedule in 2 hours: --ring News")
    assert desk.last().startswith("Scheduled as number 1")
    assert [one.parts[0]["m.mentions"] for one in await desk.scheduled()] == [{"room": True}]
    assert await desk.rows() == []


async def test_everybody_is_rung_only_where_that_is_asked_for_and_it_is_shown(desk: Desk) -> None:
    await desk.says("announce @room is a word")
    assert "notifies everybody" not in desk.last()
    await desk.reacts("✅")
    await desk.says("announce --ring - a list")
    assert "notifies everybody" in desk.last()
    await desk.reacts("✏️")
    await desk.says("Other words")
    await desk.reacts("✅")
    assert [(content["body"], content["m.mentions"]) for content in desk.announced()] == [
        ("@room is a word", {}),
        ("@room Other words", {"room": True}),
    ]


# --- other words ------------------------------------------------------------------------------------------------------


async def test_the_next_message_after_the_pencil_is_the_text(desk: Desk) -> None:
    control = desk.scene.control_room.room_id
    await desk.says("!announce Wrong", room=None)
    first = desk.card()
    await desk.reacts("✏", room=control)
    assert "within 10 minutes" in desk.last(None)
    await desk.says("of somebody else", by=BEA, room=None)
    await desk.says("Right, *at last*", room=None)
    await desk.says("this is talk again", room=None)
    assert desk.card() != first
    await desk.reacts("✅", to=first, room=control)
    assert desk.announced() == [], "what was shown under that is not what would be sent"
    newer = [str(content["m.new_content"]["body"]) for content in desk.shown(None) if "m.new_content" in content]
    assert newer == [plain(texts.draft_reworded())]
    await desk.reacts("✅", room=control)
    assert [content["formatted_body"] for content in desk.announced()] == ["<p>Right, <em>at last</em></p>"]


async def test_the_text_may_stay_and_a_command_may_be_written_anew(desk: Desk) -> None:
    await desk.says("announce First")
    await desk.reacts("✏️")
    await desk.says("no")
    assert desk.last() == plain(texts.draft_words_stay())
    await desk.reacts("✏️")
    await desk.says("Melden ist kein Befehl")
    await desk.reacts("✏️")
    await desk.says("announce school: Second")
    await desk.reacts("✏️")
    desk.scene.clock.now += WORDS_MS + 1
    await desk.says("too late")
    assert "I do not know “too”" in desk.last()
    await desk.says("yes")
    assert [content["body"] for content in desk.announced()] == ["Second"]
    assert "Melden ist kein Befehl" in [content["body"] for content in desk.shown()]


async def test_editing_ones_own_message_edits_the_draft(desk: Desk) -> None:
    source = await desk.says("announce Frist")
    await desk.says("announce First", edits=source)
    await desk.says("announce by another", by=BEA, edits=source)
    await desk.says("help", edits=source)
    assert [content["body"] for content in desk.shown() if content["msgtype"] == "m.text"] == ["Frist", "First"]
    await desk.reacts("✅")
    await desk.says("announce Too late", edits=source)
    assert [content["body"] for content in desk.announced()] == ["First"]


async def test_a_text_too_long_is_refused_and_the_draft_stays(desk: Desk) -> None:
    await desk.says("announce Short")
    await desk.reacts("✏️")
    await desk.says("x" * 50_000)
    assert "50,000 bytes" in desk.last()
    assert "40,000 fit" in desk.last()
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == ["Short"]


# --- what is sent along, and what is answered -------------------------------------------------------------------------


async def test_files_sent_together_are_one_announcement_sealed_anew(desk: Desk) -> None:
    files = desk.files
    files.send(ANN, picture("old.png"), at=0)
    files.send(ANN, picture("a.png", body="From the *trip*"), at=100_000)
    files.send(BEA, {"m.relates_to": {}}, at=100_500, kind="m.reaction")
    files.send(ANNOUNCER, {"secret": "of the announcer"}, at=100_600)
    thumbnail = {"thumbnail_file": {"url": "mxc://theirs/small"}, "thumbnail_info": {"w": 1, "x": "y"}}
    middle = files.send(ANN, picture("b.png", info={"w": 4, **thumbnail}), at=110_000)
    voice = {
        "org.matrix.msc3245.voice": {},
        "org.matrix.msc1767.audio": {"duration": 7, "waveform": [1, -1, 1024, "x"]},
    }
    files.send(ANN, picture("c.ogg", msgtype="m.audio", **voice), at=120_000)
    files.send(ANN, picture("next.png", body="of another"), at=121_000)
    await desk.says("announce", reply_to=middle)
    first, second, third, _ = desk.shown()
    await desk.reacts("✅")
    assert desk.announced() == [first, second, third]
    assert first == {
        "msgtype": "m.image",
        "filename": "a.png",
        "body": "From the *trip*",
        "format": "org.matrix.custom.html",
        "formatted_body": "<p>From the <em>trip</em></p>",
        "file": {"v": "v2", "url": "mxc://ours/1"},
        "info": {"mimetype": "image/png", "w": 4, "h": 3, "size": 1001},
        "m.mentions": {},
    }
    assert second["info"] == {
        "w": 4, "size": 1002, "thumbnail_file": {"v": "v2", "url": "mxc://ours/3"},
        "thumbnail_info": {"w": 1, "size": 1003},
    }  # fmt: skip
    assert third["org.matrix.msc3245.voice"] == {}
    assert third["org.matrix.msc1767.audio"] == {"duration": 7, "waveform": [1, 1024]}
    assert "theirs" not in str(desk.announced())


@pytest.mark.parametrize(("command", "names", "caption"), [
    ("announce", ["a.png", "b.png"], "b.png"), ("announce --single", ["b.png"], "b.png"),
    ("announce Look!", ["a.png", "b.png"], "Look!"), ("announce --ring --single", ["b.png"], "@room"),
])  # fmt: skip
async def test_words_of_the_command_stand_under_the_first_file(
    desk: Desk, command: str, names: Sequence[str], caption: str
) -> None:
    desk.files.send(ANN, picture("a.png"))
    last = desk.files.send(ANN, picture("b.png"))
    await desk.says(command, reply_to=last)
    await desk.reacts("✅")
    assert [content["filename"] for content in desk.announced()] == names
    assert desk.announced()[0]["body"] == (names[0] if caption == "b.png" else caption)


async def test_a_command_under_a_file_takes_it_along(desk: Desk) -> None:
    desk.files.send(ANN, picture("a.png", body="announce An older one"))
    desk.files.send(ANN, picture("b.png"))
    source = desk.files.send(ANN, picture("c.png", body="announce Look"))
    await desk.says("announce Look", event_id=source, file=True)
    await desk.reacts("✏️")
    await desk.says("Look here")
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == ["Look here", "c.png"]


async def test_another_text_of_what_is_scheduled_keeps_its_files_and_all_that_it_asks_for(desk: Desk) -> None:
    desk.files.send(ANN, picture("a.png"))
    source = desk.files.send(ANN, picture("b.png", body="announce --at …"))
    await desk.says("announce --at in 2 hours: --ring --ack Old *words*", Pill("Cid", CID), event_id=source, file=True)
    await desk.reacts("✅")
    [before] = await desk.scene.newsroom.schedules.listed(SCHOOL.id)
    await desk.says("schedule edit 1 text New words for Bea", Pill("Bea", BEA))
    assert desk.last().startswith("Scheduled as number 1")
    [after] = await desk.scene.newsroom.schedules.listed(SCHOOL.id)
    assert [(part["msgtype"], part["file"], part["info"]) for part in after.parts] == [
        (part["msgtype"], part["file"], part["info"]) for part in before.parts
    ]
    assert [part["filename"] for part in after.parts] == ["a.png", "b.png"]
    first, second = after.parts
    assert first["body"] == "@room New words for Bea"
    assert (first["m.mentions"], second) == ({"user_ids": [BEA], "room": True}, before.parts[1])
    assert (after.kind, after.audience, after.reply_room) == (Kind.ACKNOWLEDGE, EVERYBODY, CHAT)
    await desk.says("schedule edit 1 at in 3 hours")
    [later] = await desk.scene.newsroom.schedules.listed(SCHOOL.id)
    assert later.parts == after.parts


async def test_whom_a_scheduled_text_mentions_is_mentioned(desk: Desk) -> None:
    await desk.says("schedule in 2 hours: Ask Bea", Pill("Bea", BEA))
    await desk.reacts("✅")
    [one] = await desk.scene.newsroom.schedules.listed(SCHOOL.id)
    assert one.parts[0]["m.mentions"] == {"user_ids": [BEA]}


async def test_what_came_after_a_file_with_the_command_is_taken_by_an_answer(desk: Desk) -> None:
    source = desk.files.send(ANN, picture("a.png", body="announce Look"))
    await desk.says("announce Look", event_id=source, file=True)
    late = desk.files.send(ANN, picture("b.png"))
    await desk.says("announce Look at both", reply_to=late)
    await desk.says("announce", reply_to=late)
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == ["a.png", "b.png"], "a command is no caption"
    await desk.says("yes")
    assert [content["body"] for content in desk.announced()[2:]] == ["Look at both", "b.png"]


async def test_the_text_of_another_message_is_announced_and_follows_its_authors_edits(desk: Desk) -> None:
    text = {"msgtype": "m.text", "body": "> <@x:y> quote\n\nBea knows", "m.relates_to": {"m.in_reply_to": {}}}
    pill = '<a href="https://matrix.to/#/@bea:example.org">Bea</a> knows'
    answered = desk.files.send(ANN, {**text, "formatted_body": pill})
    await desk.says("announce", reply_to=answered)
    await desk.says("announce: Bea knew", Pill("Bea", BEA), edits=answered)
    await desk.reacts("✅")
    [content] = desk.announced()
    assert (content["body"], content["m.mentions"]) == ("announce: Bea knew", {"user_ids": [BEA]})

    of_bea = desk.files.send(BEA, {"msgtype": "m.text", "body": "hers"})
    await desk.says("announce", reply_to=of_bea)
    await desk.says("changed", by=BEA, edits=of_bea)
    await desk.reacts("✅")
    assert desk.announced()[-1]["body"] == "hers", "who announces says what"


@pytest.mark.parametrize(("content", "sender", "said"), [
    ({"msgtype": "m.text", "body": "mine"}, ANNOUNCER, "that message is mine"),
    ({"msgtype": "m.location", "body": "there"}, ANN, "neither a text nor a file"),
    ({}, ANN, "neither a text nor a file"),
    ({"secret": 1}, BEA, "its key has not come"),
])  # fmt: skip
async def test_what_cannot_be_announced_is_refused(
    desk: Desk, content: dict[str, Any], sender: UserId, said: str
) -> None:
    answered = desk.files.send(sender, content)
    await desk.says("announce", reply_to=answered)
    assert said in desk.last()
    assert await desk.rows() == []


async def test_an_answer_to_us_with_a_text_announces_the_text(desk: Desk) -> None:
    answered = desk.files.send(ANNOUNCER, {"msgtype": "m.notice", "body": "Sent to school."})
    await desk.says("announce The next one", reply_to=answered)
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == ["The next one"]


async def test_too_many_files_are_refused(desk: Desk) -> None:
    for number in range(12):
        last = desk.files.send(ANN, picture(f"{number}.png"))
    await desk.says("announce", reply_to=last)
    assert "12 files; 10 fit" in desk.last()
    assert desk.files.sealed == []


# --- templates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "text"), [
    ("announce --template snow day=Monday reason=heavy snow", "No school on Monday: heavy snow."),
    ('announce --template snow reason="wind = rain" day=Monday', "No school on Monday: wind = rain."),
    ("announce --template bell", "It rings."),
])  # fmt: skip
async def test_a_template_is_filled_in(desk: Desk, command: str, text: str) -> None:
    await desk.says(command)
    await desk.reacts("✅")
    assert [content["body"] for content in desk.announced()] == [text]


@pytest.mark.parametrize(("command", "said"), [
    ("announce --template snow day=Monday", "reason is missing. Write announce --template snow day=… reason=…"),
    ("announce --template snow day=Monday reason=x time=8", "no field time"),
    ("announce --template storm day=Monday", "there is no template 'storm'. The configuration has: snow, bell"),
    ("announce --template snow Monday", "'Monday' is no field"),
    ("announce --to nobody News", "'nobody' is nobody to announce to"),
    ("announce --to community:club News", "'community:club' is nobody to announce to"),
])  # fmt: skip
async def test_what_is_not_understood_is_refused_with_what_there_is(desk: Desk, command: str, said: str) -> None:
    await desk.says(command)
    assert said in desk.last()
    assert await desk.rows() == []


# --- whatever happens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["announce", "schedule in 2 hours:"])
@pytest.mark.parametrize("apart", [7, pytest.param(1, marks=pytest.mark.soak)])
async def test_the_service_dies_at_any_point_and_it_is_sent_once(tmp_path: Path, apart: int, command: str) -> None:
    """From the command over the pencil to the yes: each is repeated until it is done, as intake does."""
    point = 0
    while True:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(url_in(folder))
        await scene.start()
        await scene.settle(SCHOOL)
        await open_chat(scene)
        scene.messenger.sent.clear()
        scene.messenger.reactions.clear()
        scene.faults.arm(point)
        died, begun = False, scene.clock.now
        steps = [f"{command} Frist", "✏️", "First", "yes", "later"]
        while steps:
            desk = Desk(scene, twice=False)
            desk.count = 10 - len(steps)
            try:
                if steps[0] == "✏️":
                    await desk.reacts("✏️")
                elif steps[0] == "later":
                    scene.clock.now = begun + 2 * HOUR
                    await scene.do_jobs()
                else:
                    await desk.says(steps[0])
                steps.pop(0)
            except Crash:
                died = True
                await scene.die()
                await scene.start()
                scene.reconciler.declare([SCHOOL])
        scene.faults.arm(None)
        assert [content["body"] for content in desk.announced()] == ["First"], f"killed at {point}"
        assert [content["body"] for content in desk.shown() if content["msgtype"] == "m.text"] == ["Frist", "First"]
        assert await desk.rows("content") == [""]
        assert await scene.jobs.waiting(scene.clock.now_ms()) == 0
        await scene.stop()
        if not died:
            break
        point += apart
    assert point > 100
