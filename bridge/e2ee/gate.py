"""A gate before the device: many go through beside each other, until it is closed for whoever changes the device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Open, or closed with nobody inside."""

    def __init__(self) -> None:
        self._inside = 0
        self._closed = False
        self._changed = asyncio.Event()

    def _tell(self) -> None:
        """Wake everybody who waits; never waits itself, so nothing is lost where somebody is cancelled."""
        self._changed.set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Be inside; waits while it is closed."""
        while self._closed:
            await self._changed.wait()
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._tell()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Let nobody in, and wait until everybody has come out."""
        while self._closed:
            await self._changed.wait()
        self._closed = True
        try:
            while self._inside:
                await self._changed.wait()
            yield
        finally:
            self._closed = False
            self._tell()
