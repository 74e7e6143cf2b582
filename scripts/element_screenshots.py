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
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image, ImageDraw  # comes with Synapse
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
EMOJI = """
    const settings = JSON.parse(localStorage.getItem("mx_local_settings") || "{}");
    localStorage.setItem("mx_local_settings", JSON.stringify({...settings, useBundledEmojiFont: false}));
"""
"""The system's emoji: newer versions of Chromium draw black boxes for 1️⃣ and the like with the font of this Element
(element-hq/element-web#28421)."""
DECIDE = "Its author decides"
"""What stands below the preview of an announcement."""
HIDDEN = ".mx_ToastContainer, .mx_TopUnreadMessagesBar { display: none !important }"
"""What would lie over the picture: the reminders with which every new session of Element begins, and its arrow to what
was not read."""


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
                "timezone": "Europe/London",
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
            timezone_id="Europe/London",
            reduced_motion="reduce",
        )
        context.set_default_timeout(LONGEST)
        await context.add_init_script(EMOJI)
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
        return self.page.get_by_role("textbox", name=re.compile("^Send an? (encrypted )?(message|reply)"))

    async def say(self, text: str) -> None:
        """Write into the room that is open."""
        await self.composer.click()
        await self.page.keyboard.type(text)
        await self.page.keyboard.press("Enter")

    async def shows(self, text: str) -> None:
        """Wait for a text in the room that is open."""
        await expect(self.page.locator("main").get_by_text(text).last).to_be_visible()

    def message(self, text: str) -> Locator:
        """The last message with these words in the room that is open."""
        return self.page.locator("main .mx_EventTile", has_text=text).last

    def sign(self, text: str, key: str) -> Locator:
        """A reaction below a message."""
        return self.message(text).get_by_role("button", name=re.compile(re.escape(key)))

    async def offers(self, text: str, *keys: str) -> None:
        """Wait until a message is there with these reactions below it."""
        for key in keys:
            await expect(self.sign(text, key)).to_be_visible()

    async def counts(self, text: str, key: str, number: int) -> None:
        """Wait until so many have reacted so to a message; the announcer, who began with it, is one of them."""
        await expect(self.sign(text, key)).to_have_text(re.compile(f"{number}$"))

    async def announce(self, text: str, *, picture: str = "", told: str = "Sent to") -> None:
        """Write an announcement to the announcer, in the chat that is open, see the preview, and send it.

        Args:
            picture: where a picture of the preview goes.
            told: how the answer begins.
        """
        sent = self.page.locator("main").get_by_text(told, exact=False)
        before = await sent.count()
        await self.say(text)
        await self.offers(DECIDE, "✅", "✏️", "❌")
        if picture:
            await self.picture(picture, height=600)
        await self.sign(DECIDE, "✅").click()
        await expect(sent).to_have_count(before + 1)

    async def attach(self, file: Path) -> None:
        """Send a file into the room that is open, and begin an answer to it."""
        pictures = self.page.locator("main .mx_EventTile", has=self.page.locator(".mx_MImageBody img"))
        before = await pictures.count()
        await self.page.locator("input[type=file]").last.set_input_files(file)
        await self.page.get_by_role("dialog").get_by_role("button", name="Upload").click()
        await expect(pictures).to_have_count(before + 1)
        await pictures.last.hover()
        await pictures.last.get_by_role("button", name="Reply", exact=True).click()

    async def picture(self, name: str, *, height: int = HEIGHT, begin: str = "") -> None:
        """Write docs/images/element-NAME.png once what is shown no longer moves.

        Args:
            begin: a text that is to be seen; else the newest is.
        """
        await self.page.set_viewport_size({"width": WIDTH, "height": height})
        if begin:
            await self.page.locator("main").get_by_text(begin).last.scroll_into_view_if_needed()
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
    await screen.page.reload()  # it remembers the rooms of the space as they were before
    await screen.open("general")
    await screen.shows("Encryption enabled")
    await screen.open("space")
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
    screen.rooms["chat"] = page.url.rpartition("/")[2]
    await screen.picture("help", height=1080, begin="created this DM")

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


async def an_author(school: School, author: Screen, member: Screen, folder: Path) -> None:
    """The principal announces, asks and invites in their chat with the announcer; Homer sees what arrives."""
    room = school.rooms["announcements"]
    await author.open("chat")
    await author.announce(
        "announce **No school tomorrow.** The heating is being repaired. We are back on Friday.", picture="draft"
    )
    poster = folder / "summer-fair.png"
    await asyncio.to_thread(_poster, poster)
    await author.attach(poster)
    await author.announce("announce The summer fair is on **4 July**. Everybody is welcome!")
    await member.open("announcements")
    await member.shows("Everybody is welcome!")
    await member.picture("announcement-picture", height=720)

    await author.announce("announce --ack The class trip is on *Friday*. Please pack rain clothes and a lunch box.")
    await member.offers("The class trip", "✅")
    await member.sign("The class trip", "✅").click()
    number, event_id = await _newest(school)
    await school.people["edna"].react(room, event_id, "✅")
    await member.counts("The class trip", "✅", 3)
    await member.picture("confirm", height=600)
    await author.say(f"ack #{number}")
    await author.shows("have confirmed")
    await author.picture("ack", height=480)

    await author.say(
        "poll When do we meet for the summer fair? | Monday at 18:00 | Tuesday at 19:00 | Thursday at 17:30"
    )
    await member.shows("When do we meet")
    await member.offers("When do we meet", "1️⃣", "2️⃣", "3️⃣")
    _, event_id = await _newest(school)
    for name, sign in (("edna", "2️⃣"), ("marge", "3️⃣")):
        await school.people[name].react(room, event_id, sign)
    await member.sign("When do we meet", "2️⃣").click()
    await member.counts("When do we meet", "2️⃣", 3)
    await member.counts("When do we meet", "3️⃣", 2)
    await member.picture("poll", height=600)

    when = f"{datetime.now(UTC).year + 1}-07-04 15:00 - 19:00"
    await author.say(f"event Summer fair; {when}; School yard; Games, music and cake; 80")
    await member.shows("Games, music and cake")
    await member.offers("Games, music and cake", "✅", "❔", "❌")
    await member.sign("Games, music and cake", "✅").click()
    await member.counts("Games, music and cake", "✅", 2)
    await member.shows(".ics")
    await member.picture("event", height=680)

    at, told = "schedule tomorrow 8:00:", "Scheduled as number"
    await author.announce(f"{at} The school bus comes ten minutes later today.", told=told)
    await author.announce("schedule every monday at 8: This week's menu hangs at the canteen's door.", told=told)
    await author.shows("Scheduled as number 2")
    await author.say("scheduled")
    await author.shows("Scheduled in")
    await author.picture("scheduled", height=600)
    await author.say("stats")
    await author.shows("How far announcements came")
    await expect(author.page.locator("main .mx_MImageBody img").last).to_be_visible()
    await author.picture("stats", height=860)


async def _newest(school: School) -> tuple[int, str]:
    """The number of the last announcement, and its message."""
    listed = await school.operator.command("announcement", "list", COMMUNITY, "--json")
    number = listed.json[0]["number"]
    messages = school.people["edna"].messages(school.rooms["announcements"])
    return number, [one.event_id for one in messages if one.sender == ANNOUNCER and one.content["msgtype"] == "m.text"][
        -1
    ]


def _poster(path: Path) -> None:
    """A picture for an announcement: a tent on a meadow, with flags."""
    width, height = 900, 420
    image = Image.new("RGB", (width, height), "#bfe3ff")
    draw = ImageDraw.Draw(image)
    draw.ellipse((730, 40, 830, 140), fill="#ffd34d")
    draw.ellipse((-200, 270, 600, 700), fill="#8ecf6b")
    draw.ellipse((350, 290, 1200, 700), fill="#79bd58")
    for stripe in range(6):
        left = 330 + stripe * 40
        colour = "#d64545" if stripe % 2 else "#ffffff"
        draw.polygon(((450, 130), (left, 230), (left + 40, 230)), fill=colour)
        draw.rectangle((left, 230, left + 40, 350), fill=colour)
    draw.line((450, 130, 450, 90), fill="#444444", width=4)
    draw.polygon(((450, 90), (490, 102), (450, 114)), fill="#0043ce")
    for flag in range(14):
        left = flag * 66
        draw.polygon(
            ((left, 20), (left + 50, 20), (left + 25, 60)), fill=("#d64545", "#0043ce", "#ffd34d", "#2f8f5b")[flag % 4]
        )
    draw.line((0, 20, width, 20), fill="#444444", width=3)
    image.save(path)


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
            member = await Screen.log_in(browser, base, "homer", school.rooms)
            await a_member(school, member)
            owner = await Screen.log_in(browser, base, "principal", school.rooms)
            await an_owner(school, owner)
            await an_author(school, owner, member, Path(folder))
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
