"""The join page as a person uses it: on a phone, in the dark, with the keyboard alone, and without JavaScript."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import expect

from bridge.core.links import Obstacle, Stage
from bridge.web.join.entrance import Welcome
from tests.browser.scene import Scene, barriers
from tests.fakes.house import TICKET, TOKEN

OWN = f"/join/{TOKEN}/{TICKET}"
FORM = f"/join/{TOKEN}"
HOMER = "@homer:example.org"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 320)])
async def test_nothing_keeps_anybody_out(scene: Scene, scheme: str, width: int) -> None:
    look: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    page = await scene.open(**look)
    await page.get_by_text("Show QR code").click()
    assert await barriers(page) == []
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, "nobody has to scroll sideways"
    scene.house.answer = Obstacle.MALFORMED
    await page.get_by_label("Your Matrix ID").fill("homer")
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("alert")).to_contain_text("not a Matrix ID")
    assert await barriers(page) == []
    for stage in (Stage.WAITING, Stage.INVITED):
        scene.house.stage, scene.house.ahead = stage, 3
        page = await scene.open(OWN, **look)
        assert await barriers(page) == [], stage
    page = await scene.open("/join/nothing", **look)
    assert await barriers(page) == []
    assert isinstance(scene.house.found, Welcome)
    scene.house.found, scene.house.answer = replace(scene.house.found, needs_approval=True), TICKET
    page = await scene.open(**look)
    assert await barriers(page) == []
    await page.get_by_label("Your Matrix ID").fill(HOMER)
    await page.get_by_label("A word to the admins").fill("I am Homer,\nBart's father")
    await page.get_by_role("button", name="Ask to join").click()
    await page.wait_for_url(f"**{OWN}")
    assert scene.house.words[-1].splitlines() == ["I am Homer,", "Bart's father"]


async def test_a_barrier_would_be_found(scene: Scene) -> None:
    page = await scene.open()
    await page.evaluate("document.querySelector('label').remove()")
    await page.evaluate("document.querySelector('.hint').style.color = '#d0d0d0'")
    found = " ".join(await barriers(page))
    assert "label" in found
    assert "color-contrast" in found


async def test_colours_follow_the_person(scene: Scene) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        page = await scene.open(color_scheme=scheme)
        grounds.add(await page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor"))
    assert len(grounds) == 2


async def test_somebody_enters_with_the_keyboard_alone(scene: Scene) -> None:
    scene.house.stage = Stage.INVITED
    page = await scene.open()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Your Matrix ID")).to_be_focused()
    await page.keyboard.type(HOMER)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Join")).to_be_focused()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "one sees where one is"
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Get an account")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("QR code of this page")).to_be_visible()
    await page.get_by_label("Your Matrix ID").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="You are invited")).to_be_visible()
    assert scene.house.typed == [HOMER]
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Open in Element", exact=True)).to_be_focused()


async def test_the_hint_says_while_typing_what_is_missing(scene: Scene) -> None:
    page = await scene.open()
    field, hint = page.get_by_label("Your Matrix ID"), page.locator("#hint")
    assert await hint.get_attribute("aria-live") == "polite"
    for typed, says in (
        ("homer", "begins with an @"),
        ("@homer", "a colon and your server"),
        ("@homer:", "a colon and your server"),
        ("@ho mer:example.org", "cannot have"),
        (HOMER, "looks like a Matrix ID"),
        ("", "It looks like @name:example.org"),
    ):
        await field.fill(typed)
        await expect(hint).to_contain_text(says)


async def test_what_was_wrong_is_said_and_can_be_put_right(scene: Scene) -> None:
    scene.house.answer = Obstacle.NO_SUCH_PERSON
    page = await scene.open()
    field = page.get_by_label("Your Matrix ID")
    await field.fill("@hmoer:example.org")
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nobody has this Matrix ID")
    await expect(field).to_have_value("@hmoer:example.org")
    described = await field.get_attribute("aria-describedby")
    assert described == "hint problem", "a screen reader reads it with the field"
    scene.house.answer = TICKET
    await field.fill(HOMER)
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("heading", name="on its way")).to_be_visible()


async def test_the_page_follows_by_itself(scene: Scene) -> None:
    scene.house.stage, scene.house.ahead = Stage.WAITING, 7
    page = await scene.open(OWN)
    await expect(page.get_by_role("status")).to_contain_text("7 people are before you")
    scene.house.ahead = 0
    await expect(page.get_by_role("status")).to_contain_text("You are next.")
    scene.house.stage = Stage.INVITED
    link = page.get_by_role("link", name="Open in Element", exact=True)
    await expect(link).to_have_attribute("href", "https://app.element.io/#/room/!space:example.org?via=example.org")


async def test_everything_works_without_javascript(scene: Scene) -> None:
    scene.house.stage = Stage.ASKED
    page = await scene.open(java_script_enabled=False)
    await page.get_by_label("Your Matrix ID").fill(HOMER)
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("heading", name="with the admins")).to_be_visible()
    assert page.url == scene.base + OWN
    scene.house.stage = Stage.INVITED
    await expect(page.get_by_role("heading", name="You are invited")).to_be_visible(timeout=15_000)


async def test_the_page_speaks_the_language_of_the_browser_and_another_on_request(scene: Scene) -> None:
    page = await scene.open(locale="de-DE")
    assert await page.locator("html").get_attribute("lang") == "de"
    await expect(page.get_by_label("Deine Matrix-ID")).to_be_visible()
    await page.get_by_role("link", name="English").click()
    await expect(page.get_by_label("Your Matrix ID")).to_be_visible()
    await page.get_by_label("Your Matrix ID").fill(HOMER)
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("heading", name="Your invitation is on its way")).to_be_visible()


async def test_nothing_is_left_in_the_browser(scene: Scene) -> None:
    page = await scene.open()
    await page.get_by_label("Your Matrix ID").fill(HOMER)
    await page.get_by_role("button", name="Join").click()
    await expect(page.get_by_role("heading", name="on its way")).to_be_visible()
    assert await page.context.cookies() == []
    assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert await page.evaluate("document.referrer") == ""
