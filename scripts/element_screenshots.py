"""Pictures of Element for docs/guide.md, taken in a real Element Web on a private homeserver with the running service.

    .venv/bin/python -m scripts.element_screenshots --element DIR

DIR is an Element Web as it is served: an unpacked release, or what its own build leaves in `webapp`. The pictures in
docs/images are of version 1.11.88; with another one the words on its buttons may differ, and then this says which it
misses. It is no part of the tests, since an Element is too large to be fetched for them.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image  # comes with Synapse
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from bridge.cli.demo.homeserver import Account, PrivateSynapse
from bridge.cli.demo.operator import Operator
from bridge.cli.demo.person import Person
from tests.browser.conftest import chromium

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COMMUNITY, NAME = "springfield", "Springfield School"
PEOPLE = {
    "principal": "The principal",
    "office": "The school office",
    "edna": "Edna",
    "homer": "Homer",
    "marge": "Marge",
    "lisa": "Lisa",
}
WIDTH, HEIGHT = 1100, 640
LONGEST = 40_000.0
"""How long anything on a page may take, in milliseconds."""
HIDDEN = ".mx_ToastContainer { display: none !important }"
"""What would lie over the picture: the reminders with which every new session of Element begins."""


def user_id(name: str) -> str:
    return f"@{name}:example.org"


ANNOUNCER = user_id("announcements")


@dataclass
class School:
    """A community on a homeserver of its own, with members whose clients run here, but for those at the pictures."""

    synapse: PrivateSynapse
    operator: Operator
    accounts: dict[str, Account]
    people: dict[str, Person]
    rooms: dict[str, str]


@asynccontextmanager
async def found(folder: Path) -> AsyncIterator[School]:
    """Declare the school, and have its people come in; ends everything afterwards."""
    homeserver, service = folder / "homeserver", folder / "service"
    homeserver.mkdir()
    service.mkdir()
    synapse = PrivateSynapse(homeserver)
    school = School(synapse, Operator(service, synapse), {}, {}, {})
    try:
        await _found(school)
        yield school
    finally:
        await asyncio.gather(*(person.close() for person in school.people.values()))
        await school.operator.stop()
        await synapse.stop()


async def _found(school: School) -> None:
    operator, synapse = school.operator, school.synapse
    await operator.set_up()
    await synapse.start()
    for name, shown in PEOPLE.items():
        school.accounts[name] = await synapse.register(name, f"{name}-password", displayname=shown)
    operator.edit(
        join={"url": "https://join.example.org"},
        communities={
            COMMUNITY: {
                "name": NAME,
                "description": "News and groups of the school",
                "join": "request",
                "owners": [user_id("principal")],
                "members": [user_id(name) for name in ("office", "homer", "marge")],
                "groups": {
                    "class-1a": {"name": "Class 1A", "kind": "open", "moderators": [user_id("edna")]},
                    "choir": {"name": "Choir", "kind": "request", "moderators": [user_id("edna")]},
                },
            }
        },
    )
    await operator.command("apply", "--yes")
    await operator.start()
    status = (await operator.command("status", "--json")).json["communities"][0]
    school.rooms = {room["key"]: room["room_id"] for room in status["rooms"]} | {"space": status["space"]}
    for name in ("office", "edna", "marge", "lisa"):
        school.people[name] = await Person.login(synapse.url, school.accounts[name])
        school.people[name].accept_invites()
    for name in ("office", "edna", "marge"):
        await school.people[name].wait_joined(school.rooms["announcements"])


@asynccontextmanager
async def serve(element: Path, homeserver: str) -> AsyncIterator[str]:
    """Serve Element with a configuration that knows the private homeserver alone; gives its address."""
    config = {
        "default_server_config": {"m.homeserver": {"base_url": homeserver, "server_name": "example.org"}},
        "disable_guests": True,
        "default_theme": "light",
    }

    async def configuration(request: web.Request) -> web.Response:
        return web.json_response(config)

    async def front(request: web.Request) -> web.FileResponse:
        return web.FileResponse(element / "index.html")

    app = web.Application()
    app.router.add_get("/", front)
    app.router.add_get("/{name:config(\\..*)?\\.json}", configuration)
    app.router.add_static("/", element)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


@dataclass(frozen=True)
class Screen:
    """Somebody's Element."""

    page: Page
    base: str
    rooms: dict[str, str]

    @classmethod
    async def log_in(cls, browser: Browser, base: str, name: str, rooms: dict[str, str]) -> Screen:
        context = await browser.new_context(
            viewport={"width": WIDTH, "height": HEIGHT},
            device_scale_factor=2,
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
        )
        context.set_default_timeout(LONGEST)
        page = await context.new_page()
        await page.goto(f"{base}/#/login")
        await page.get_by_label("Username").fill(name)
        await page.get_by_label("Password", exact=True).fill(f"{name}-password")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_text(re.compile("^Welcome "))).to_be_visible()
        await page.get_by_role("button", name="OK", exact=True).click()  # what is new in this version of Element
        return cls(page, base, rooms)

    async def open(self, key: str) -> None:
        """Go to a room of the community."""
        await self.page.goto(f"{self.base}/#/room/{self.rooms[key]}")

    async def accept(self, *keys: str) -> None:
        """Accept invitations."""
        for key in keys:
            await self.open(key)
            await self.page.get_by_role("button", name="Accept").click()
            await expect(self.page.get_by_text(re.compile("^(Welcome to|Encryption enabled)")).first).to_be_attached()

    @property
    def composer(self) -> Locator:
        return self.page.get_by_role("textbox", name=re.compile("^Send an? (encrypted )?message"))

    async def say(self, text: str) -> None:
        """Write into the room that is open."""
        await self.composer.click()
        await self.page.keyboard.type(text)
        await self.page.keyboard.press("Enter")

    async def shows(self, text: str) -> None:
        """Wait for a text in the room that is open."""
        await expect(self.page.locator("main").get_by_text(text).last).to_be_visible()

    async def picture(self, name: str, *, height: int = HEIGHT) -> None:
        """Write docs/images/element-NAME.png once what is shown no longer moves."""
        await self.page.set_viewport_size({"width": WIDTH, "height": height})
        await self.page.mouse.move(WIDTH - 1, height - 1)
        before, raw = b"", await self._shown()
        while raw != before:
            before, raw = raw, await self._shown()
        await asyncio.to_thread(_write, IMAGES / f"element-{name}.png", raw)
        await self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})

    async def _shown(self) -> bytes:
        return await self.page.screenshot(animations="disabled", caret="hide", style=HIDDEN)


def _write(path: Path, raw: bytes) -> None:
    """With 256 colours a screenshot has a third of the bytes, and looks the same."""
    Image.open(io.BytesIO(raw)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size // 1024} kB")


async def a_member(school: School, screen: Screen) -> None:
    """Homer: his invitation, the space, and an announcement in which he cannot answer."""
    await screen.open("space")
    await expect(screen.page.get_by_role("button", name="Accept")).to_be_visible()
    await screen.picture("invitation")
    await screen.accept("space", "announcements", "general")
    await screen.open("space")
    await screen.page.reload()  # it remembers the rooms as they were before
    await expect(screen.page.get_by_text("Joined")).to_have_count(2)
    await screen.picture("space", height=760)

    await screen.open("announcements")
    said = "Parents' evening is on **Thursday at seven**, in the hall."
    ran = await school.operator.command("announce", COMMUNITY, "--text", said, "--json")
    event_id = ran.json["targets"][0]["event_id"]
    await screen.shows("Parents' evening is on")
    for name in ("edna", "marge"):
        await school.people[name].react(school.rooms["announcements"], event_id, "👍")
    await expect(screen.page.get_by_role("button", name=re.compile("👍"))).to_be_visible()
    await screen.picture("announcement")


async def an_owner(school: School, screen: Screen) -> None:
    """The principal: a chat with the announcer, a request, an invitation, a role, and a group."""
    page = screen.page
    await screen.accept("space", "announcements", "general", "control")

    await page.goto(f"{screen.base}/#/home")
    await page.get_by_role("button", name="Send a Direct Message").click()
    await page.get_by_role("dialog").get_by_role("textbox").first.fill(ANNOUNCER)
    await expect(page.get_by_role("dialog").get_by_text("Announcements", exact=True)).to_be_visible()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Go", exact=True).click()
    await screen.say("help")
    await screen.shows("Your communities here")
    await screen.picture("help", height=1080)

    await school.people["lisa"].knock(school.rooms["space"], "My brother is in class 1A.")
    await screen.open("control")
    await screen.shows("asks to join")
    await expect(page.get_by_role("button", name=re.compile("❌"))).to_be_visible()
    await screen.picture("request")
    await page.get_by_role("button", name=re.compile("✅")).last.click()
    await screen.shows("Approved by")

    await screen.say("!group create --kind request Chess")
    await screen.shows("in commands it is called")
    await expect(page.get_by_role("treeitem", name=re.compile("^Chess"))).to_be_visible()
    await screen.picture("group")

    await screen.open("space")
    await page.get_by_role("button", name="Invite", exact=True).click()
    await page.get_by_role("dialog").get_by_role("textbox").first.fill(user_id("nelson"))
    await screen.picture("invite")
    await page.keyboard.press("Escape")

    await page.locator(".mx_SpaceRoomView .mx_FacePile").click()
    await page.get_by_role("button", name=re.compile(re.escape(user_id("office")))).click()
    level = page.get_by_role("combobox", name="Power level")
    await level.select_option(label="Admin")
    await expect(level).to_have_value("100")
    await screen.picture("role", height=860)


async def main(arguments: Sequence[str] | None = None) -> None:
    """Take them all."""
    expect.set_options(timeout=LONGEST)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--element", type=Path, required=True, metavar="DIR", help="an Element Web as it is served")
    element = parser.parse_args(arguments).element
    if not (element / "index.html").is_file():
        parser.error(f"{element}: has no index.html; give the folder of an unpacked release of Element Web")
    with tempfile.TemporaryDirectory(prefix="element-screenshots-") as folder:
        async with found(Path(folder)) as school, serve(element, school.synapse.url) as base, async_playwright() as it:
            browser = await it.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            await a_member(school, await Screen.log_in(browser, base, "homer", school.rooms))
            await an_owner(school, await Screen.log_in(browser, base, "principal", school.rooms))
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
