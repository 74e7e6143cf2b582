"""Somebody who has an invite link and nothing else: they ask over HTTP, as a browser without scripts does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from types import TracebackType
from typing import Any

import aiohttp

from tests.harness.community import Community, Estate

JOIN_URL = "https://join.example.org"
"""What links begin with; a visitor of ours asks the service itself, as a reverse proxy would."""


@dataclass(frozen=True)
class Page:
    """What was answered in the end, and where that was."""

    status: int
    path: str
    text: str

    @property
    def problem(self) -> str:
        """What is wrong, as the page says it."""
        found = re.search(r'role="alert">(.*?)</p>', self.text, re.S)
        return unescape(found[1]).strip() if found else ""

    @property
    def stage(self) -> str:
        """How far the person has come."""
        found = re.search(r'data-stage="([a-z]+)"', self.text)
        return found[1] if found else ""


@dataclass(frozen=True)
class Document:
    """What was answered to a program."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Visitor:
    """A browser, on the service of an estate."""

    def __init__(self, estate: Estate) -> None:
        self._base = f"http://127.0.0.1:{estate.operator.settings()['listen']['port']}"

    async def __aenter__(self) -> Visitor:
        self._http = aiohttp.ClientSession(self._base, timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def open(self, path: str) -> Page:
        """Open a page."""
        async with self._http.get(path) as response:
            return Page(response.status, response.url.path, await response.text())

    async def read(self, path: str, headers: Mapping[str, str] | None = None) -> Document:
        """Fetch a document, as a program does that looks now and then."""
        async with self._http.get(path, headers=headers) as response:
            return Document(response.status, response.headers, await response.read())

    async def enter(self, link: dict[str, Any], user_id: str, words: str = "") -> Page:
        """Fill in the form of a link, and follow where it leads."""
        async with self._http.post(path_of(link), data={"user": user_id, "words": words}) as response:
            return Page(response.status, response.url.path, await response.text())

    async def picture(self, link: dict[str, Any]) -> tuple[int, str, bytes]:
        """The community's picture: status, media type and content."""
        async with self._http.get(f"{path_of(link)}/picture") as response:
            return response.status, response.content_type, await response.read()


def path_of(link: dict[str, Any]) -> str:
    """The path of a new link."""
    return str(link["url"]).removeprefix(JOIN_URL)


async def new_link(community: Community, **terms: Any) -> dict[str, Any]:
    """Make a link through the local door."""
    made: dict[str, Any] = await community.estate.ask("link", do="new", community=community.id, **terms)
    return made
