"""`make screenshots`: pictures of the join page for the documentation, taken in a real Chromium."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from playwright.async_api import async_playwright

from bridge.core.links import Stage
from bridge.web.join.entrance import Welcome
from tests.browser.conftest import chromium
from tests.browser.scene import serve
from tests.fakes.house import TICKET, TOKEN

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WELCOME = Welcome("Springfield School", "News and groups of the school", 412, ("Class 1A",), False, True)


async def main() -> None:
    """Take them all."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        async with serve(browser) as scene:
            scene.house.found = replace(WELCOME)
            scene.house.stage = Stage.INVITED
            for name, path, scheme, language in (
                ("join-page-light", f"/join/{TOKEN}", "light", "en-GB"),
                ("join-page-dark", f"/join/{TOKEN}", "dark", "de-DE"),
                ("join-page-invited", f"/join/{TOKEN}/{TICKET}", "light", "en-GB"),
            ):
                page = await scene.open(path, color_scheme=scheme, locale=language, device_scale_factor=2)
                await page.screenshot(path=IMAGES / f"{name}.png", full_page=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
