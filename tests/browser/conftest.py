"""The join page in a real Chromium, with a stand-in for the house behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from tests.browser.scene import Scene, serve


def chromium() -> str:
    """The browser: the one that `CHROMIUM` names, else the system's; the same places as in scripts/setup.sh."""
    for name in os.environ.get("CHROMIUM", "chromium google-chrome").split():
        if found := shutil.which(name):
            return found
    raise AssertionError("there is no Chromium: run scripts/setup.sh, or name one with CHROMIUM=/path/to/chromium")


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for the whole run; every test has pages and storage of its own."""
    async with async_playwright() as playwright:
        # as root in a container Chromium's own sandbox cannot start; it visits nothing but our own page
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def scene(browser: Browser) -> AsyncIterator[Scene]:
    """The page, and who looks at it."""
    async with serve(browser) as scene:
        yield scene
        assert scene.complaints == [], "the browser complained, for instance of something that the policy forbids"
        assert scene.elsewhere == [], "something was fetched from elsewhere"
