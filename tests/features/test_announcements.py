"""Announcements: taken once, delivered once, told to their author once, and never more than Markdown makes of them."""

from __future__ import annotations

import html.parser
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.announcements import Named, Target
from bridge.core.errors import CannotEncrypt, Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import DeliverAnnouncement, Posted
from bridge.core.rendering import LONGEST_TEXT_BYTES, render
from bridge.store.database import Transaction
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
CHAT = RoomId("!chat:example.org")
TARGETS = [Target(SCHOOL, RoomId("!school:example.org")), Target(CLUB, RoomId("!club:example.org"))]


async def publish(scene: Scene, text: str = "Hello **all**", source: str = "$one", *, told: bool = True) -> str:
    return await scene.announcements.publish(
        source=source,
        author="@ann:example.org",
        parts=[render(text)],
        targets=TARGETS,
        reply_room=CHAT if told else None,
    )


# --- once -----------------------------------------------------------------------------------------------------------


async def test_it_reaches_each_room_once_and_its_author_is_told_once_for_all(scene: Scene) -> None:
    taken = await publish(scene)
    assert scene.woken == 1
    await scene.do_jobs()
    for target in TARGETS:
        assert scene.messenger.said(target.room_id) == ["Hello **all**"]
    assert scene.messenger.said(CHAT) == ["Sent to club, school. 6 devices can read it."]
    outcomes = await scene.announcements.outcomes(taken, TARGETS)
    assert [(one["community"], one["devices"], one["failed"]) for one in outcomes] == [
        (SCHOOL, 3, None),
        (CLUB, 3, None),
    ]
    assert all(one["event_id"] for one in outcomes)


async def test_the_same_source_again_is_the_same_announcement(scene: Scene) -> None:
    first = await publish(scene)
    assert await publish(scene) == first
    await scene.do_jobs()
    assert await publish(scene, "Other words") == first
    await scene.do_jobs()
    assert len(scene.messenger.said()) == 3
    assert await publish(scene, source="$two") != first


async def test_nobody_is_told_who_has_no_chat(scene: Scene) -> None:
    await publish(scene, told=False)
    await scene.do_jobs()
    assert scene.messenger.said(CHAT) == []


async def test_the_service_dies_at_every_point_and_everything_arrives_once(tmp_path: Path) -> None:
    point = 0
    while True:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        scene.faults.arm(point)
        try:
            await publish(scene)
            await scene.do_jobs()
            ended = True
        except Crash:
            ended = False
        await scene.die()
        await scene.start()
        await publish(scene)  # whoever was not answered asks again: the pump from the inbox, the operator by hand
        await scene.do_jobs()
        assert [scene.messenger.said(target.room_id) for target in TARGETS] == [["Hello **all**"]] * 2, point
        assert len(scene.messenger.said(CHAT)) == 1, point
        assert await scene.jobs.waiting() == 0
        await scene.stop()
        if ended:
            break
        point += 1
    assert point > 20


async def test_a_failure_leaves_the_announcement_to_be_tried_again(scene: Scene) -> None:
    scene.faults.fail(Unreachable("HTTP 502"), lambda name: name.startswith("SEND !school"))
    await publish(scene)
    with pytest.raises(Unreachable):
        await scene.do_jobs()
    assert scene.messenger.said(TARGETS[0].room_id) == []
    await scene.do_jobs()
    assert scene.messenger.said(TARGETS[0].room_id) == ["Hello **all**"]


async def test_an_announcement_that_was_given_up_is_told_and_so_is_its_arrival_later(scene: Scene) -> None:
    taken = await publish(scene)
    job_id = TARGETS[0].job_of(taken)
    stored = await scene.jobs.find(job_id)
    assert stored is not None
    job = decode(stored.kind, stored.body)
    assert isinstance(job, DeliverAnnouncement)

    async def park(tx: Transaction) -> bool:
        return await scene.jobs.park_within(tx, job_id, "no key")

    for _ in range(2):
        await scene.announcements.failed(job, job_id, "CannotEncrypt: no key", park)
        await scene.do_jobs()
    await scene.do_jobs()
    [(text, mentioned)] = scene.messenger.calls(CHAT)
    assert "Sent to club." in text
    assert "It did not reach:\n- school: CannotEncrypt: no key" in text
    assert mentioned == ["@ann:example.org"]
    [outcome, _] = await scene.announcements.outcomes(taken, TARGETS)
    assert (outcome["event_id"], outcome["failed"]) == (None, "CannotEncrypt: no key")
    await scene.announcements.released(job)
    assert await scene.jobs.release(job_id, scene.clock.now_ms())
    [listed] = await scene.announcements.listed(SCHOOL, 10)
    assert (listed.sent, listed.waiting, listed.failed) == (1, 1, 0)
    await scene.do_jobs()
    assert scene.messenger.said(CHAT)[1:] == ["Sent to club, school. 6 devices can read it."]
    [outcome] = await scene.announcements.outcomes(taken, TARGETS[:1])
    assert outcome["failed"] is None


async def test_a_copy_that_is_not_to_ring_is_a_notice_and_mentions_nobody(scene: Scene) -> None:
    text = {**render("Hi **all**"), "m.mentions": {"room": True}}
    file = {"msgtype": "m.file", "body": "a.pdf", "filename": "a.pdf", "url": "mxc://x/y", "m.mentions": {"room": True}}
    for source, parts, body in [
        ("$a", [text], "Hi **all**"),
        (
            "$b",
            [{**file, "body": "Read it"}, file],
            "Read it\n\n📎 a.pdf, a.pdf: https://matrix.to/#/%21all%3Aexample.org",
        ),
        ("$c", [file], "📎 a.pdf: https://matrix.to/#/%21all%3Aexample.org"),
    ]:
        target = TARGETS[0]
        taken = await scene.announcements.publish(source=source, author="operator", parts=parts, targets=[target])
        job = DeliverAnnouncement(taken, SCHOOL, target.room_id, "")
        for _ in range(2):
            await scene.announcements.deliver(target.job_of(taken), job, heard_in=RoomId("!all:example.org"))
        sent = scene.messenger.sent[-1][1]
        assert (sent["msgtype"], sent["m.mentions"], sent["body"]) == ("m.notice", {}, body)
    assert len(scene.messenger.sent) == 3


async def test_a_community_called_like_a_group_of_another_gets_a_copy_of_its_own(scene: Scene) -> None:
    group, community = RoomId("!group:example.org"), RoomId("!community:example.org")
    targets = [Target(CommunityId("school"), group, "chess"), Target(CommunityId("school-chess"), community)]
    await scene.announcements.publish(source="$x", author="operator", parts=[render("Hi")], targets=targets)
    await scene.do_jobs()
    assert (scene.messenger.said(group), scene.messenger.said(community)) == (["Hi"], ["Hi"])


async def test_a_community_may_have_dashes_in_its_name(scene: Scene) -> None:
    target = Target(CommunityId("year-7-north"), RoomId("!n:example.org"))
    taken = await scene.announcements.publish(source="$x", author="operator", parts=[render("Hi")], targets=[target])
    await scene.do_jobs()
    [outcome] = await scene.announcements.outcomes(taken, [target])
    assert (outcome["community"], bool(outcome["event_id"])) == ("year-7-north", True)


async def test_every_part_is_sent_once_and_in_order_and_the_first_is_the_announcement(scene: Scene) -> None:
    scene.faults.fail(Unreachable("HTTP 502"), lambda name: name.endswith("part~2"), times=1)
    taken = await scene.announcements.publish(
        source="$x", author="operator", parts=[render("one"), render("two"), render("three")], targets=TARGETS[:1]
    )
    with pytest.raises(Unreachable):
        await scene.do_jobs()
    await scene.do_jobs()
    assert scene.messenger.said() == ["one", "two", "three"]
    [copy] = await scene.announcements.copies_of(taken)
    assert [copy.event_id, *copy.others] == ["$sent-1", "$sent-2", "$sent-3"]


async def test_a_text_of_before_there_were_parts_is_sent_as_it_is(scene: Scene) -> None:
    for number, text in enumerate(("[] is empty", "{", "7", "Hello")):
        taken = await publish(scene, source=f"$old{number}", told=False)
        async with scene.database.transaction() as tx:
            await tx.execute("UPDATE announcement SET content = $1 WHERE id = $2", text, taken)
    await scene.do_jobs()
    assert scene.messenger.said(TARGETS[0].room_id) == ["[] is empty", "{", "7", "Hello"]


# --- what is listed -------------------------------------------------------------------------------------------------


async def test_each_community_counts_its_announcements_and_finds_them_again(scene: Scene) -> None:
    first = await publish(scene)
    await scene.announcements.publish(source="$b", author="operator", parts=[render("b")], targets=TARGETS[1:])
    third = await publish(scene, source="$c")
    await scene.do_jobs()
    assert [(one.number, one.announcement.id) for one in await scene.announcements.listed(SCHOOL, 10)] == [
        (2, third),
        (1, first),
    ]
    assert [one.number for one in await scene.announcements.listed(CLUB, 2)] == [3, 2]
    assert [one.number for one in await scene.announcements.listed(CLUB, 2, before=2)] == [1]
    [copy, _] = await scene.announcements.copies_of(third)
    for named in (Named(number=3), Named(room_id=copy.target.room_id, event_id=copy.event_id)):
        found = await scene.announcements.find(CLUB, named)
        assert found is not None
        assert found.id == third
    assert await scene.announcements.find(SCHOOL, Named(number=3)) is None


async def test_what_an_admin_posts_with_their_own_client_is_an_announcement_once(scene: Scene) -> None:
    room = TARGETS[0].room_id
    assert room is not None
    post = Posted(EventId("$human"), room, UserId("@ann:example.org"), 5, "m.room.encrypted", False)
    edit = replace(post, event_id=EventId("$edit"), relation="m.replace", to=EventId("$human"))
    for event in (post, edit, post, replace(post, event_id=EventId("$state"), type="m.reaction")):
        await scene.announcements.noticed(SCHOOL, event)
    [one] = await scene.announcements.listed(SCHOOL, 10)
    assert (one.number, one.announcement.author, one.announcement.human, one.sent) == (1, "@ann:example.org", True, 1)
    assert await scene.jobs.waiting() == 0


async def test_keys_that_are_not_ready_send_nothing(scene: Scene) -> None:
    scene.faults.fail(CannotEncrypt("not ready"), times=1)  # type: ignore[arg-type]
    await publish(scene)
    with pytest.raises(CannotEncrypt):
        await scene.do_jobs()
    assert scene.messenger.said() == []


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "\t", "\0", "\0 \n"])
async def test_nothing_is_no_announcement(scene: Scene, text: str) -> None:
    with pytest.raises(Refused, match="no text"):
        await publish(scene, text)
    assert await scene.jobs.waiting() == 0


@pytest.mark.parametrize(
    "text", ["x" * (LONGEST_TEXT_BYTES + 1), "€" * LONGEST_TEXT_BYTES, "*x* " * 6000, "x" * 9_000_000]
)
async def test_what_does_not_fit_is_refused(scene: Scene, text: str) -> None:
    with pytest.raises(Refused, match="too long"):
        await publish(scene, text)
    assert await scene.jobs.waiting() == 0


@pytest.fixture
async def either(url: str) -> AsyncIterator[Scene]:
    scene = Scene(url)
    await scene.start()
    yield scene
    await scene.stop()


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\ufffe\uffff", "\u202eevil"])
async def test_odd_characters_are_stored_and_sent_or_refused_in_words(either: Scene, text: str) -> None:
    try:
        await publish(either, text)
    except Refused:
        assert await either.jobs.waiting() == 0
        return
    await either.do_jobs()
    [said] = either.messenger.said(TARGETS[0].room_id)
    assert "\0" not in said
    said.encode()


def test_plain_words_have_no_html() -> None:
    assert render(" Hello & <welcome>\n") == {"msgtype": "m.text", "body": "Hello & <welcome>", "m.mentions": {}}


def test_what_is_taken_fits_the_door_for_messages() -> None:
    assert render("x" * 39_000)
    with pytest.raises(Refused, match="too long"):
        render('"' * 39_000)  # each is two bytes on the wire


def test_markdown_becomes_html() -> None:
    content = render("# News\n\n- **one**\n- [two](https://example.org)")
    assert content["format"] == "org.matrix.custom.html"
    assert content["formatted_body"] == (
        '<h1>News</h1>\n<ul>\n<li><strong>one</strong></li>\n<li><a href="https://example.org">two</a></li>\n</ul>'
    )


def test_line_breaks_are_kept() -> None:
    assert "<br" in render("one\ntwo")["formatted_body"]


def test_an_announcement_mentions_nobody() -> None:
    assert render("@room @ann:example.org")["m.mentions"] == {}


ALLOWED = {
    "p", "br", "strong", "em", "code", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "hr",
    "a", "img",
}  # fmt: skip
SCHEMES = ("http:", "https:", "mailto:", "ftp:", "matrix:")


class Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_comment(self, data: str) -> None:
        self.tags.add("!--")

    def handle_decl(self, decl: str) -> None:
        self.tags.add("!")

    def handle_pi(self, data: str) -> None:
        self.tags.add("?")


PIECES = st.sampled_from(
    (
        "<script>", "</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:x'>", "<!-- ", " -->", "<?", "?>",
        "<b>", "<font color=red>", "<mx-reply>", "</p>", "<![CDATA[", "]]>", "&lt;script&gt;", "&#60;script&#62;",
        "[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](data:text/html,x)", "[x](vbscript:x)",
        "[x](&#106;avascript:x)", "![x](javascript:x)", "<javascript:x>", "<https://example.org/\">",
        "[x]: javascript:y",
        '[x](https://example.org "t\\" onclick=x")', "[x](<a b>)", "`", "```", "~~~", "    ", "\n", "\n\n", "> ", "- ",
        "1. ", "# ", "*", "_", "**", "\\", "[", "]", "(", ")", "!", "\"", "'", "&", "<", ">", "```x\"onclick=",
    )
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=8), min_size=1, max_size=14).map("".join)


@given(TEXTS)
def test_html_in_the_text_stays_text(text: str) -> None:
    try:
        content = render(text)
    except Refused:
        return
    reader = Reader()
    reader.feed(content.get("formatted_body", ""))
    reader.close()
    assert reader.tags <= ALLOWED
    for tag, name, value in reader.attributes:
        assert (tag, name) in {
            ("a", "href"), ("a", "title"), ("img", "src"), ("img", "alt"), ("img", "title"), ("ol", "start"),
            ("code", "class"),
        }  # fmt: skip
        if name in ("href", "src"):
            scheme = value.strip().lower().partition(":")
            dangerous = scheme[0] in ("javascript", "vbscript", "file", "data")
            assert not (scheme[1] and dangerous), value


@given(st.text(max_size=3000))
def test_any_text_becomes_a_message_or_is_refused(text: str) -> None:
    try:
        content = render(text)
    except Refused:
        return
    assert content["body"].strip()
    assert "\0" not in content["body"]
