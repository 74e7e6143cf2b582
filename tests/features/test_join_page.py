"""What the join page answers, over real HTTP, with a stand-in for the house behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from babel.messages.extract import extract_from_dir

from bridge.core.links import Obstacle, Stage
from bridge.web.join import page
from bridge.web.join.languages import NAMES, catalogues
from bridge.web.join.page import FOLDER, MAX_FORM_BYTES, MAX_WORDS_CHARACTERS, STATUS, JoinPage, Rates
from tests.fakes.house import LOOK, PNG, TICKET, TOKEN, WELCOME, House

RATES = Rates(visits=(30, 10), entries=(20, 1), entries_by_link=(40, 1))


class Visitor:
    """A browser without scripts, and the page that it looks at."""

    def __init__(self, house: House, client: TestClient[Any, Any]) -> None:
        self.house = house
        self.client = client
        self.now = 0.0

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(path, headers=headers, allow_redirects=False) as response:
            return response.status, await response.text()

    async def post(self, typed: str, path: str = f"/join/{TOKEN}", words: str = "", **headers: str) -> tuple[int, str]:
        form = {"user": typed, "words": words}
        async with self.client.post(path, data=form, headers=headers, allow_redirects=False) as response:
            return response.status, response.headers.get("Location", "") or await response.text()


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    house = House()
    app = web.Application()
    client: TestClient[Any, Any] = TestClient(TestServer(app))
    visitor = Visitor(house, client)
    JoinPage(house, replace(LOOK, trusted_proxies=("127.0.0.1",)), rates=RATES, now=lambda: visitor.now).add_routes(app)
    await client.start_server()
    yield visitor
    await client.close()


async def test_the_page_shows_the_community_and_escapes_what_others_wrote(visitor: Visitor) -> None:
    status, text = await visitor.get(f"/join/{TOKEN}")
    assert status == 200
    assert "Springfield &lt;School&gt;" in text
    assert "News &amp; groups" in text
    assert "12 members" in text
    assert "Chess" in text
    assert 'href="https://example.org/account"' in text
    assert "<svg" in text, "the QR code"


async def test_how_many_members_there_are_is_told_only_where_it_may_be(visitor: Visitor) -> None:
    visitor.house.found = replace(WELCOME, members=None)
    assert "members" not in (await visitor.get(f"/join/{TOKEN}"))[1]


async def test_somebody_comes_in_and_is_sent_to_a_page_of_their_own(visitor: Visitor) -> None:
    assert await visitor.post(" @homer:example.org ") == (303, f"{TOKEN}/{TICKET}")
    assert visitor.house.typed == ["@homer:example.org"]


async def test_a_word_to_the_admins_is_asked_for_where_they_are_asked(visitor: Visitor) -> None:
    assert "textarea" not in (await visitor.get(f"/join/{TOKEN}"))[1]
    visitor.house.found = replace(WELCOME, needs_approval=True)
    assert "A word to the admins (optional)" in (await visitor.get(f"/join/{TOKEN}"))[1]
    assert (await visitor.post("@homer:example.org", words="  I am Bart's father  "))[0] == 303
    assert (await visitor.post("@homer:example.org", words="☃" * 400))[0] == 303
    assert visitor.house.words == ["I am Bart's father", "☃" * MAX_WORDS_CHARACTERS]
    visitor.house.answer = Obstacle.MALFORMED
    _, text = await visitor.post("homer", words="</textarea><script>alert(1)</script>")
    assert "&lt;/textarea&gt;&lt;script&gt;alert(1)" in text, "it stays, and does no harm"
    assert "<script>alert" not in text


async def test_the_language_that_was_chosen_stays(visitor: Visitor) -> None:
    _, text = await visitor.get(f"/join/{TOKEN}?lang=de")
    assert f'action="{TOKEN}?lang=de"' in text
    assert "Deine Matrix-ID" in text
    assert await visitor.post("@homer:example.org", f"/join/{TOKEN}?lang=de") == (303, f"{TOKEN}/{TICKET}?lang=de")
    assert "Deine Matrix-ID" in (await visitor.get(f"/join/{TOKEN}", **{"Accept-Language": "de-AT"}))[1]


@pytest.mark.parametrize("language", sorted(NAMES))
async def test_every_obstacle_has_a_sentence_of_its_own(visitor: Visitor, language: str) -> None:
    sentences = {}
    for obstacle in Obstacle:
        visitor.house.answer = obstacle
        status, text = await visitor.post("@homer:example.org", f"/join/{TOKEN}?lang={language}")
        assert status == STATUS[obstacle]
        [found] = re.findall(r'role="alert">(.*?)</p>', text, re.S)
        sentences[obstacle] = found.strip()
    assert all(len(sentence) > 20 for sentence in sentences.values())
    assert len(set(sentences.values())) == len(Obstacle)


async def test_what_was_typed_stays_in_the_field_and_is_marked(visitor: Visitor) -> None:
    visitor.house.answer = Obstacle.MALFORMED
    _, text = await visitor.post('"><script>alert(1)</script>')
    assert "<script>alert" not in text
    assert 'aria-invalid="true"' in text
    assert 'value="&#34;&gt;&lt;script&gt;' in text


@pytest.mark.parametrize(("stage", "says"), [
    (Stage.WAITING, "on its way"),
    (Stage.ASKED, "with the admins"),
    (Stage.DECLINED, "was not accepted"),
    (Stage.INVITED, "You are invited"),
    (Stage.INSIDE, "You are in"),
    (Stage.BARRED, "You cannot join with this link."),
    (Stage.FAILED, "could not be delivered"),
])  # fmt: skip
async def test_every_stage_says_what_comes_next(visitor: Visitor, stage: Stage, says: str) -> None:
    visitor.house.stage = stage
    status, text = await visitor.get(f"/join/{TOKEN}/{TICKET}")
    assert status == 200
    assert says in text
    follows = stage in (Stage.WAITING, Stage.ASKED)
    assert ('<noscript><meta http-equiv="refresh"' in text) == follows
    ways = re.findall(r'href="([^"]*!space:example.org[^"]*)"', text)
    assert ways == ([] if stage not in (Stage.INVITED, Stage.INSIDE) else [
        "https://app.element.io/#/room/!space:example.org?via=example.org",
        "element://vector/webapp/#/room/!space:example.org?via=example.org",
        "https://matrix.to/#/!space:example.org?via=example.org",
    ])  # fmt: skip


async def test_who_waits_is_told_their_place(visitor: Visitor) -> None:
    visitor.house.ahead = 42
    assert "42 people are before you" in (await visitor.get(f"/join/{TOKEN}/{TICKET}"))[1]
    async with visitor.client.get(f"/join/{TOKEN}/{TICKET}/state") as response:
        assert await response.json() == {"stage": "waiting", "ahead": 42, "again": 6}
    visitor.house.ahead = 0
    assert "You are next." in (await visitor.get(f"/join/{TOKEN}/{TICKET}"))[1]


PATHS = [
    f"/join/{TOKEN}", f"/join/{TOKEN}/{TICKET}", f"/join/{TOKEN}/{TICKET}/state", f"/join/{TOKEN}/picture",
    "/join/CCCCCCCCCCCCCCCCCCCCCC", "/join/", "/join/a/b/c/d", "/join/static/join.css", "/join/static/page.py",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_is_closed_to_others_and_sets_no_cookie(visitor: Visitor, path: str) -> None:
    async with visitor.client.get(path) as response:
        headers = response.headers
        text = await response.text(errors="replace")
    assert "Set-Cookie" not in headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == ("public, max-age=3600" if path.endswith(".css") else "no-store")
    loaded = re.findall(r'(?:src|<link[^>]*href)="([^"]*)"', text)
    assert not any(":" in place or place.startswith("//") for place in loaded), "something is fetched from elsewhere"
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*src)|\son[a-z]+=", text), "the policy forbids it"


@pytest.mark.parametrize("path", ["/join/static/page.py", "/join/static/..%2fpage.py", "/join/static/%2e%2e/page.py"])
async def test_no_file_is_served_that_is_not_meant_to_be(visitor: Visitor, path: str) -> None:
    assert (await visitor.get(path))[0] == 404


async def test_what_is_no_link_is_answered_all_alike(visitor: Visitor) -> None:
    answers = {
        await visitor.get(f"/join/{token}")
        for token in ("CCCCCCCCCCCCCCCCCCCCCC", "x", "A" * 500, "%00", "%F0%9F%98%80", "a'b")
    }
    visitor.house.found = Obstacle.UNKNOWN  # as one that was revoked is
    answers.add(await visitor.get(f"/join/{TOKEN}"))
    assert len(answers) == 1
    [(status, text)] = answers
    assert status == 404
    assert "does not exist, or is no longer valid" in text


async def test_the_picture_is_shown_as_nothing_but_a_picture(visitor: Visitor) -> None:
    async with visitor.client.get(f"/join/{TOKEN}/picture") as response:
        assert (response.status, response.content_type, await response.read()) == (200, "image/png", PNG)
        assert "sandbox" in response.headers["Content-Security-Policy"]
    assert (await visitor.get("/join/CCCCCCCCCCCCCCCCCCCCCC/picture"))[0] == 404


async def test_a_form_that_is_too_large_is_not_read(visitor: Visitor) -> None:
    status, _ = await visitor.post("@" + "a" * MAX_FORM_BYTES)
    assert status == 413
    assert visitor.house.typed == []


async def test_a_form_that_does_not_arrive_is_not_waited_for(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FORM_SECONDS", 0.1)
    arrived = asyncio.Event()

    async def drip() -> AsyncIterator[bytes]:
        yield b"user=%40homer"
        await arrived.wait()

    async with visitor.client.post(f"/join/{TOKEN}", data=drip()) as response:
        assert response.status == 408
    arrived.set()
    assert visitor.house.typed == []


async def test_another_site_cannot_send_its_visitors_in(visitor: Visitor) -> None:
    assert (await visitor.post("@homer:example.org", **{"Sec-Fetch-Site": "cross-site"}))[0] == 403
    assert visitor.house.typed == []
    assert (await visitor.post("@homer:example.org", **{"Sec-Fetch-Site": "same-origin"}))[0] == 303


async def test_one_address_cannot_take_everything_and_keeps_what_was_typed(visitor: Visitor) -> None:
    answers = [await visitor.post("@homer:example.org", **{"X-Forwarded-For": "203.0.113.5"}) for _ in range(21)]
    assert [status for status, _ in answers] == [303] * 20 + [429]
    assert "Please try again in 1 second." in answers[-1][1]
    assert 'value="@homer:example.org"' in answers[-1][1]
    assert (await visitor.post("@homer:example.org", **{"X-Forwarded-For": "203.0.113.6"}))[0] == 303
    visitor.now += 1
    assert (await visitor.post("@homer:example.org", **{"X-Forwarded-For": "203.0.113.5"}))[0] == 303


async def test_one_link_has_its_limit_whoever_comes(visitor: Visitor) -> None:
    statuses = [
        (await visitor.post("@homer:example.org", **{"X-Forwarded-For": f"203.0.{number}.5"}))[0]
        for number in range(10)
        for _ in range(5)
    ]
    assert statuses == [303] * 40 + [429] * 10


async def test_a_page_that_follows_too_fast_is_slowed_down(visitor: Visitor) -> None:
    statuses = [(await visitor.get(f"/join/{TOKEN}/{TICKET}/state"))[0] for _ in range(25)]
    assert statuses == [200] * 20 + [429] * 5


async def test_a_fault_of_ours_is_told_without_a_word_too_much(visitor: Visitor) -> None:
    visitor.house.error = RuntimeError("secret inside")
    status, text = await visitor.get(f"/join/{TOKEN}")
    assert status == 503
    assert "secret" not in text
    assert "does not answer at the moment" in text


@pytest.mark.parametrize("language", sorted(set(NAMES) - {"en"}))
def test_every_sentence_is_translated(language: str) -> None:
    catalogue = catalogues()[language]
    found = extract_from_dir(
        FOLDER / "templates",
        method_map=[("**.html", "jinja2")],
        options_map={"**.html": {"silent": "false", "newstyle_gettext": "true"}},
    )
    messages = [message for _, _, message, _, _ in found]
    assert len(messages) > 40
    for message in messages:
        if isinstance(message, tuple):
            one, many = str(message[0]), str(message[1])
            assert {catalogue.ngettext(one, many, count) for count in (1, 2)}.isdisjoint({one, many})
        else:
            assert catalogue.gettext(message) != message, message
