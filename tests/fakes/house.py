"""A house that knows one link, for tests of the join page. Implements `web.join.entrance.Entrance`."""

from __future__ import annotations

from bridge.core.links import Obstacle, Stage
from bridge.web.join.entrance import Picture, Progress, Welcome
from bridge.web.join.page import Look

TOKEN, TICKET = "AAAAAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBBBBB"
WELCOME = Welcome("Springfield <School>", "News & groups", 12, ("Chess",), False, True)
PNG = b"\x89PNG\r\n\x1a\n"
LOOK = Look("https://join.example.org", "https://example.org/account", "", "https://app.element.io")


class House:
    """Knows one link."""

    def __init__(self) -> None:
        self.found: Welcome | Obstacle = WELCOME
        self.answer: str | Obstacle = TICKET
        self.stage = Stage.WAITING
        self.ahead = 0
        self.typed: list[str] = []
        self.words: list[str] = []
        self.error: Exception | None = None
        self.image = Picture("image/png", PNG)

    async def welcome(self, token: str) -> Welcome | Obstacle:
        if self.error is not None:
            raise self.error
        return self.found if token == TOKEN else Obstacle.UNKNOWN

    async def enter(self, token: str, typed: str, words: str = "") -> str | Obstacle:
        self.typed.append(typed)
        self.words.append(words)
        return self.answer if token == TOKEN else Obstacle.UNKNOWN

    async def progress(self, token: str, ticket: str) -> Progress | Obstacle:
        if (token, ticket) != (TOKEN, TICKET):
            return Obstacle.UNKNOWN
        welcome = WELCOME if isinstance(self.found, Obstacle) else self.found
        return Progress(welcome, "@homer:example.org", self.stage, self.ahead, "!space:example.org", "example.org")

    async def picture(self, token: str) -> Picture | None:
        return self.image if token == TOKEN else None
