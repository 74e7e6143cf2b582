"""Feeds: opened by owners alone, told in the room, read by whoever has the address, and gone when they are closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.core.announcements import Target
from bridge.core.community import ANNOUNCEMENTS, Community, Role, RoomKind
from bridge.core.errors import CannotDecrypt, Refused, Unreachable
from bridge.core.feed import ATOM, Shown
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.rank import People
from bridge.core.rendering import render
from bridge.features.feeds import FRESH_MS, Feeds
from bridge.store.rooms import Place
from bridge.web.feed import CALENDAR, VISITS, Feed
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

SCHOOL, ROOM = Community(CommunityId("school")), RoomId("!school:example.org")
OWNER, ADMIN, MEMBER = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "eve"))
PEOPLE = People(SCHOOL, {OWNER: Role.OWNER, ADMIN: Role.ADMIN}, dict.fromkeys((OWNER, ADMIN, MEMBER), "join"))


class Ground:
    """A community whose announcements can be read back."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.declared: Community | None = SCHOOL
        self.says: dict[EventId, Mapping[str, Any] | None] = {}
        self.asked = 0
        self.error: Exception | None = None
        self.begin()

    def begin(self) -> None:
        self.scene.index.places[ROOM] = Place(SCHOOL.id, ANNOUNCEMENTS, RoomKind.ANNOUNCEMENTS)
        self.feeds = self.of("https://join.example.org")

    def of(self, url: str) -> Feeds:
        return Feeds(
            database=self.scene.database,
            index=self.scene.index,
            jobs=self.scene.jobs,
            wake=lambda: None,
            recall=self.recall,
            declared=lambda _: self.declared,
            name_of=self.name_of,
            people=self.people,
            clock=self.scene.clock,
            secret=b"secret",
            url=url,
        )

    async def name_of(self, _: CommunityId) -> str:
        """As its people call it; the file does not name it."""
        return "School"

    async def people(self, _: Community) -> People:
        return PEOPLE

    async def recall(self, _: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.says[event_id]

    async def announce(self, text: str) -> None:
        await self.scene.announcements.publish(
            source=text, author="operator", parts=[render(text)], targets=[Target(SCHOOL.id, ROOM)]
        )
        await self.scene.do_jobs()
        self.says[EventId(f"$sent-{len(self.scene.messenger.sent)}")] = {"body": text}

    async def texts(self, token: str) -> list[str] | None:
        shown = await self.feeds.document(token)
        if shown is None:
            return None
        return [one.text or "" for one in ElementTree.fromstring(shown.document).iter(f"{{{ATOM}}}content")]


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


def token_in(url: str) -> str:
    return url.removeprefix("https://join.example.org/feed/").removesuffix(".atom")


async def test_it_shows_what_was_announced_and_the_room_is_told_that_it_does(ground: Ground) -> None:
    await ground.announce("School is **closed**")
    token = token_in(await ground.feeds.open(SCHOOL, OWNER, "$on"))
    assert token == token_in(await ground.feeds.open(SCHOOL, OWNER, "$on")), "the same message again"
    await ground.scene.do_jobs()
    [_, told] = ground.scene.messenger.said(ROOM)
    assert "not encrypted" in told
    assert await ground.texts(token) == ["School is **closed**"]
    assert await ground.texts("x") is None


async def test_another_one_takes_its_place_and_closing_it_is_told(ground: Ground) -> None:
    first = token_in(await ground.feeds.open(SCHOOL, OWNER, "$one"))
    second = token_in(await ground.feeds.open(SCHOOL, None, "$two"))
    assert await ground.texts(first) is None
    assert await ground.texts(second) == []
    assert await ground.feeds.is_open(SCHOOL.id)
    for _ in range(2):
        await ground.feeds.close(SCHOOL, OWNER, "$off")
    assert await ground.texts(second) is None
    assert not await ground.feeds.is_open(SCHOOL.id)
    await ground.scene.do_jobs()
    assert len(ground.scene.messenger.said(ROOM)) == 3


@pytest.mark.parametrize("by", [ADMIN, MEMBER])
async def test_it_is_for_owners_to_decide(ground: Ground, by: UserId) -> None:
    for act in (ground.feeds.open(SCHOOL, by, "$on"), ground.feeds.close(SCHOOL, by, "$off")):
        with pytest.raises(Refused):
            await act
    assert not await ground.feeds.is_open(SCHOOL.id)


async def test_without_an_address_of_the_service_there_is_none(ground: Ground) -> None:
    with pytest.raises(Refused, match="nobody outside can reach"):
        await ground.of("").open(SCHOOL, OWNER, "$on")


async def test_what_was_withdrawn_or_cannot_be_read_is_not_shown(ground: Ground) -> None:
    for text in ("one", "two", "three"):
        await ground.announce(text)
    ground.says[EventId("$sent-1")] = None
    async with ground.scene.database.transaction() as tx:
        await tx.execute("UPDATE announcement SET withdrawn_at = 1 WHERE source = 'two'")
    token = token_in(await ground.feeds.open(SCHOOL, OWNER, "$on"))
    assert await ground.texts(token) == ["three"]
    ground.error = CannotDecrypt("no key")
    ground.scene.clock.now += FRESH_MS
    assert await ground.texts(token) == []


async def test_many_readers_cost_the_homeserver_one_look_a_minute(ground: Ground) -> None:
    await ground.announce("one")
    token = token_in(await ground.feeds.open(SCHOOL, OWNER, "$on"))
    for _ in range(5):
        await ground.texts(token)
    assert ground.asked == 1
    ground.scene.clock.now += FRESH_MS
    await ground.texts(token)
    assert ground.asked == 2


async def test_a_community_that_is_gone_shows_nothing(ground: Ground) -> None:
    token = token_in(await ground.feeds.open(SCHOOL, OWNER, "$on"))
    ground.declared = None
    assert await ground.texts(token) is None


async def test_the_service_dies_at_every_point_and_the_room_is_told_once(tmp_path: Path) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        scene.faults.arm(point)
        try:
            await ground.feeds.open(SCHOOL, OWNER, "$on")
            died = False
        except Crash:
            died = True
        await scene.die()
        await scene.start()
        ground.begin()
        token = token_in(await ground.feeds.open(SCHOOL, OWNER, "$on"))
        await scene.do_jobs()
        assert len(scene.messenger.said(ROOM)) == 1, point
        assert await ground.texts(token) == []
        await scene.stop()
        point += 1
    assert point > 1


# --- the endpoint ---------------------------------------------------------------------------------------------------


CHANGED = 1_783_182_600_123


class Shelf:
    def __init__(self) -> None:
        self.error: Exception | None = None

    async def document(self, token: str) -> Shown | None:
        if self.error is not None:
            raise self.error
        return Shown(b"<feed/>", CHANGED) if token == "right" else None


@pytest.fixture
async def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def browser(shelf: Shelf) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    Feed(shelf.document, now=lambda: 0.0).add_routes(app)
    Feed(shelf.document, kind=CALENDAR, now=lambda: 0.0).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_reader_is_given_the_feed_and_next_time_that_nothing_changed(browser: Any) -> None:
    async with browser.get("/feed/right.atom") as first:
        assert (first.status, await first.read()) == (200, b"<feed/>")
        assert first.content_type == "application/atom+xml"
        assert first.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in first.headers
        tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        async with browser.get("/feed/right.atom", headers={"If-None-Match": known}) as again:
            assert (again.status, await again.read()) == (304, b"")


async def test_a_calendar_program_is_given_the_calendar_for_itself_alone(browser: Any) -> None:
    async with browser.get("/calendar/right.ics") as first:
        assert (first.status, await first.read()) == (200, b"<feed/>")
        assert first.headers["Content-Type"] == "text/calendar; charset=utf-8"
        assert "private" in first.headers["Cache-Control"]
        assert "noindex" in first.headers["X-Robots-Tag"]
        assert first.headers["Last-Modified"] == "Sat, 04 Jul 2026 16:30:00 GMT"
        tag = first.headers["ETag"]
    async with browser.head("/calendar/right.ics") as head:
        assert (head.status, head.headers["ETag"]) == (200, tag)
    since = {"If-Modified-Since": "Sat, 04 Jul 2026 16:30:00 GMT"}
    for known, status in (
        ({"If-None-Match": tag}, 304),
        (since, 304),
        ({"If-Modified-Since": "Sat, 04 Jul 2026 16:29:59 GMT"}, 200),
        ({**since, "If-None-Match": '"other"'}, 200),
        ({"If-Modified-Since": "nonsense"}, 200),
    ):
        async with browser.get("/calendar/right.ics", headers=known) as again:
            assert again.status == status, known


@pytest.mark.parametrize("path", ["/calendar/wrong.ics", "/calendar/right", "/calendar/.ics", "/calendar/right.atom"])
async def test_no_other_address_is_a_calendar(browser: Any, path: str) -> None:
    async with browser.get(path) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", ["/feed/wrong.atom", "/feed/right", "/feed/.atom", "/feed/" + "x" * 5000 + ".atom"])
async def test_any_other_address_leads_nowhere(browser: Any, path: str) -> None:
    async with browser.get(path) as answer:
        assert answer.status == 404


async def test_a_homeserver_that_is_away_is_said_so(browser: Any, shelf: Shelf) -> None:
    shelf.error = Unreachable("HTTP 502")
    async with browser.get("/feed/right.atom") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]


async def test_who_asks_too_often_has_to_wait(browser: Any) -> None:
    statuses = []
    for _ in range(VISITS[0] + 1):
        async with browser.get("/feed/wrong.atom") as answer:
            statuses.append(answer.status)
    assert statuses == [404] * VISITS[0] + [429]
