"""People with fresh accounts: the homeserver remembers initial syncs for minutes, so no test takes another's user."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from bridge.cli.demo.homeserver import Account, PrivateSynapse
from bridge.cli.demo.person import Client, Person
from tests.harness.js_person import JsPerson

Library = Literal["nio", "js"]
SynapseFactory = Callable[..., PrivateSynapse]
"""Takes the keyword arguments of :class:`PrivateSynapse`; the homeserver is not started yet."""


class People:
    """Makes people on one homeserver, and takes them all off line at the end."""

    def __init__(self, homeserver: PrivateSynapse) -> None:
        """``homeserver`` has to run when people are made."""
        self._homeserver = homeserver
        self._clients: list[Client] = []

    async def account(self, name: str = "person", *, admin: bool = False) -> Account:
        """A new user without a client on line; its localpart begins with ``name``."""
        return await self._homeserver.register(f"{name}-{secrets.token_hex(4)}", admin=admin)

    async def nio(
        self,
        name: str = "person",
        *,
        account: Account | None = None,
        store_path: Path | None = None,
        new_device: bool = False,
    ) -> Person:
        """A person on matrix-nio: a new user, or (with ``account``) one that exists."""
        account = account or await self.account(name)
        person = await Person.login(self._homeserver.url, account, store_path, new_device=new_device)
        self._clients.append(person)
        return person

    async def js(
        self,
        name: str = "person",
        *,
        account: Account | None = None,
        cross_sign: bool = False,
        new_device: bool = False,
    ) -> JsPerson:
        """A person on matrix-js-sdk: a new user, or (with ``account``) one that exists."""
        account = account or await self.account(name)
        person = await JsPerson.login(self._homeserver.url, account, cross_sign=cross_sign, new_device=new_device)
        self._clients.append(person)
        return person

    async def on(
        self, library: Library, name: str = "person", *, account: Account | None = None, new_device: bool = False
    ) -> Client:
        """A person on either library, for tests that run with both: see `nio` and `js`."""
        make = self.nio if library == "nio" else self.js
        return await make(name, account=account, new_device=new_device)

    async def close(self) -> None:
        """Take everybody off line."""
        await asyncio.gather(*(client.close() for client in self._clients))
        self._clients.clear()
