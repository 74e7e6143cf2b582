"""Summaries by e-mail: by an owner's leave, to whom an address was shown to belong, and ended with one request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from bridge.cli.demo.homeserver import free_port
from bridge.core.community import ANNOUNCEMENTS, Community, Role, RoomKind
from bridge.core.errors import MailAway, MailRefused, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.mail import Letter
from bridge.core.messages import SendLetter
from bridge.core.rank import People
from bridge.features.mailing import CODE_LASTS_MS, CODE_PAUSE_MS, MOST_TRIES, Mailing
from bridge.mail.smtp import MailServer
from bridge.store import mailing as store
from bridge.store.jobs import decode
from bridge.store.rooms import Place
from bridge.web.unsubscribe import VISITS, Unsubscribing
from tests.fakes.scene import Scene

SCHOOL, ROOM = Community(CommunityId("school")), RoomId("!school:example.org")
OWNER, ADMIN, LISA = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "lisa"))
PEOPLE = People(SCHOOL, {OWNER: Role.OWNER, ADMIN: Role.ADMIN}, dict.fromkeys((OWNER, ADMIN, LISA), "join"))
ADDRESS = "lisa@example.org"


class FakePostOffice:
    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.error: Exception | None = None

    async def send(self, letter: Letter) -> None:
        if self.error is not None:
            raise self.error
        self.letters.append(letter)


class Ground:
    """A community, and a post office."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.post = FakePostOffice()
        scene.index.places[ROOM] = Place(SCHOOL.id, ANNOUNCEMENTS, RoomKind.ANNOUNCEMENTS)
        self.mailing = self.of(self.post)

    def of(self, post: FakePostOffice | None, url: str = "https://join.example.org") -> Mailing:
        return Mailing(
            database=self.scene.database,
            index=self.scene.index,
            jobs=self.scene.jobs,
            wake=lambda: None,
            post_office=post,
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

    async def deliver(self) -> None:
        """Send the letters that wait; the other jobs are done as they are."""
        for stored in await self.scene.jobs.of_kind(SendLetter):
            job = decode(stored.kind, stored.body)
            assert isinstance(job, SendLetter)
            await self.mailing.send(stored.id, job)
            await self.scene.jobs.finish(stored.id)

    async def confirmed(self) -> dict[UserId, str]:
        async with self.scene.database.transaction() as tx:
            return await store.confirmed(tx, SCHOOL.id)

    async def code(self, source: str = "$ask") -> str:
        """Ask for a code, and find it in the letter."""
        await self.mailing.ask(SCHOOL, LISA, ADDRESS, EventId(source))
        await self.deliver()
        code: str = re.findall(r"[0-9]{6}", self.post.letters[-1].text)[0]
        return code


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    ground = Ground(scene)
    await ground.mailing.allow(SCHOOL, OWNER, "$on", allowed=True)
    return ground


async def test_an_owner_allows_it_and_the_room_is_told_once(ground: Ground) -> None:
    for source in ("$on", "$on", "$again"):
        await ground.mailing.allow(SCHOOL, OWNER, source, allowed=True)
    await ground.scene.do_jobs()
    [told] = ground.scene.messenger.said(ROOM)
    assert "not encrypted" in told
    for by in (ADMIN, LISA):
        with pytest.raises(Refused):
            await ground.mailing.allow(SCHOOL, by, "$no", allowed=False)


async def test_somebody_shows_that_an_address_is_theirs(ground: Ground) -> None:
    code = await ground.code()
    [letter] = ground.post.letters
    assert (letter.to, letter.subject, letter.unsubscribe) == (ADDRESS, f"{code} is your code for School", "")
    assert LISA in letter.text
    assert await ground.confirmed() == {}
    assert await ground.code() == code, "the same message again sends nothing again"
    assert len(ground.post.letters) == 1
    for _ in range(2):
        assert await ground.mailing.confirm(SCHOOL, LISA, f" {code} ") == ADDRESS
    assert await ground.confirmed() == {LISA: ADDRESS}
    assert await ground.mailing.forget(SCHOOL.id, LISA)
    assert await ground.confirmed() == {}


async def test_nobody_guesses_a_code(ground: Ground) -> None:
    code = await ground.code()
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for _ in range(MOST_TRIES):
        with pytest.raises(Refused, match="not the code"):
            await ground.mailing.confirm(SCHOOL, LISA, wrong)
    with pytest.raises(Refused, match="no code"):
        await ground.mailing.confirm(SCHOOL, LISA, code)
    assert await ground.confirmed() == {}


async def test_a_code_is_good_for_a_day_and_for_one_person(ground: Ground) -> None:
    code = await ground.code()
    with pytest.raises(Refused, match="no code"):
        await ground.mailing.confirm(SCHOOL, ADMIN, code)
    ground.scene.clock.now += CODE_LASTS_MS + 1
    with pytest.raises(Refused, match="no code"):
        await ground.mailing.confirm(SCHOOL, LISA, code)


async def test_nobody_is_flooded_with_codes(ground: Ground) -> None:
    await ground.code()
    with pytest.raises(Refused, match="a moment ago"):
        await ground.mailing.ask(SCHOOL, LISA, "other@example.org", EventId("$other"))
    ground.scene.clock.now += CODE_PAUSE_MS
    assert await ground.mailing.ask(SCHOOL, LISA, "other@example.org", EventId("$other")) == "other@example.org"


async def test_without_leave_or_a_server_there_is_no_mail(ground: Ground) -> None:
    with pytest.raises(Refused, match="no mail server"):
        await ground.of(None).allow(SCHOOL, OWNER, "$x", allowed=True)
    with pytest.raises(Refused, match="nobody could unsubscribe"):
        await ground.of(ground.post, "").allow(SCHOOL, OWNER, "$x", allowed=True)
    await ground.mailing.allow(SCHOOL, OWNER, "$off", allowed=False)
    with pytest.raises(Refused, match="do not go out"):
        await ground.mailing.ask(SCHOOL, LISA, ADDRESS, EventId("$ask"))
    with pytest.raises(Refused, match="not an e-mail address"):
        await ground.mailing.ask(SCHOOL, LISA, "lisa", EventId("$ask"))


async def test_who_ended_it_meanwhile_is_sent_nothing(ground: Ground) -> None:
    await ground.mailing.confirm(SCHOOL, LISA, await ground.code())
    url = ground.mailing.unsubscribe_url(SCHOOL.id, LISA, ADDRESS)
    letter = SendLetter(SCHOOL.id, LISA, ADDRESS, "This week", "…", url)
    await ground.mailing.send("letter-1", letter)
    assert len(ground.post.letters) == 2
    ticket = url.rpartition("/")[2]
    found = await ground.mailing.subscriber(ticket)
    assert found is not None
    assert (found.community, found.user) == (SCHOOL.id, LISA)
    for _ in range(2):
        await ground.mailing.unsubscribe(ticket)
    await ground.mailing.unsubscribe("nonsense \ud800")
    await ground.mailing.send("letter-2", letter)
    assert len(ground.post.letters) == 2
    assert await ground.mailing.subscriber(ticket) is None


async def test_an_owner_ends_it_and_the_addresses_are_forgotten(ground: Ground) -> None:
    await ground.mailing.confirm(SCHOOL, LISA, await ground.code())
    await ground.mailing.allow(SCHOOL, None, "$off", allowed=False)
    async with ground.scene.database.transaction() as tx:
        assert await tx.fetch("SELECT * FROM digest_mail") == []
    await ground.scene.do_jobs()
    assert len(ground.scene.messenger.said(ROOM)) == 2


async def test_an_address_that_does_not_exist_is_forgotten_and_a_server_that_is_away_is_asked_again(
    ground: Ground,
) -> None:
    code = await ground.code()
    await ground.mailing.confirm(SCHOOL, LISA, code)
    letter = SendLetter(SCHOOL.id, LISA, ADDRESS, "This week", "…", "https://x")
    ground.post.error = MailAway("away")
    with pytest.raises(MailAway):
        await ground.mailing.send("letter", letter)
    assert await ground.confirmed() == {LISA: ADDRESS}
    ground.post.error = MailRefused("no such mailbox")
    await ground.mailing.send("letter", letter)
    assert await ground.confirmed() == {}


# --- a real mail server ---------------------------------------------------------------------------------------------


class Inbox:
    """What a mail server does with what it is given."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.refuse = ""

    async def handle_RCPT(self, _: Any, __: Any, envelope: Any, address: str, ___: Any) -> str:
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, session: Any, envelope: Any) -> str:
        self.mails.append((session.authenticated, envelope))
        return "250 OK"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def port(inbox: Inbox) -> Any:
    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"news", b"right"), handled=False)

    controller = Controller(
        inbox, hostname="127.0.0.1", port=(found := free_port()), authenticator=login, auth_require_tls=False
    )
    controller.start()
    yield found
    controller.stop()


def server(port: int, password: str = "right", **more: Any) -> MailServer:
    return MailServer(
        "127.0.0.1",
        port,
        security="none",
        username="news",
        password=password,
        sender="School <news@example.org>",
        now_ms=lambda: 1_790_000_000_000,
        **more,
    )


LETTER = Letter(ADDRESS, "This week in Zürich", "Hello\n.\nbye", "letter-1", "https://x/unsubscribe/abc")


async def test_a_letter_arrives(inbox: Inbox, port: int) -> None:
    await server(port).send(LETTER)
    [(authenticated, envelope)] = inbox.mails
    assert authenticated
    assert (envelope.mail_from, envelope.rcpt_tos) == ("news@example.org", [ADDRESS])
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in envelope.content


@pytest.mark.parametrize(("says", "error"), [("550 no such mailbox", MailRefused), ("450 come later", MailAway)])
async def test_what_the_server_says_of_the_address_decides(
    inbox: Inbox, port: int, says: str, error: type[Exception]
) -> None:
    inbox.refuse = says
    with pytest.raises(error) as caught:
        await server(port).send(LETTER)
    assert ADDRESS not in str(caught.value), "addresses stand in no log"


async def test_a_server_that_is_not_there_or_does_not_know_us_is_away(port: int) -> None:
    for unreachable in (server(free_port()), server(port, "wrong")):
        with pytest.raises(MailAway):
            await unreachable.send(LETTER)


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def browser(ground: Ground) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def name_of(ticket: str) -> str | None:
        return None if await ground.mailing.subscriber(ticket) is None else "School <&>"

    app = web.Application()
    Unsubscribing(name_of, ground.mailing.unsubscribe, now=lambda: 0.0).add_routes(app)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_one_request_ends_the_letters_and_a_look_does_not(ground: Ground, browser: Any) -> None:
    await ground.mailing.confirm(SCHOOL, LISA, await ground.code())
    path = ground.mailing.unsubscribe_url(SCHOOL.id, LISA, ADDRESS).removeprefix("https://join.example.org")
    async with browser.get(path, headers={"Accept-Language": "de"}) as page:
        text = await page.text()
        assert "Briefe von School &lt;&amp;&gt; beenden?" in text
        assert '<form method="post">' in text
        assert page.headers["Referrer-Policy"] == "no-referrer"
    assert await ground.confirmed() == {LISA: ADDRESS}
    async with browser.post(path, data={"List-Unsubscribe": "One-Click"}, allow_redirects=False) as answer:
        assert answer.status == 200
    assert await ground.confirmed() == {}
    async with browser.get(path) as page:
        assert "No more letters" in await page.text()


async def test_a_wrong_ticket_looks_like_one_that_was_used(browser: Any) -> None:
    for method in (browser.get, browser.post):
        async with method("/unsubscribe/nonsense") as page:
            assert (page.status, "No more letters" in await page.text()) == (200, True)


async def test_who_asks_too_often_has_to_wait(browser: Any) -> None:
    statuses = []
    for _ in range(VISITS[0] + 1):
        async with browser.post("/unsubscribe/nonsense") as answer:
            statuses.append(answer.status)
    assert statuses == [200] * VISITS[0] + [429]
