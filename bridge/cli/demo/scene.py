"""The stage of the demo: a private homeserver, an operator, and a school with its people."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bridge.cli.demo.homeserver import Account, PrivateSynapse
from bridge.cli.demo.operator import Operator
from bridge.cli.demo.person import Person

COMMUNITY = "springfield"
OWNER, ADMIN, TEACHER, PARENT, LEAVER = "principal", "office", "teacher", "parent", "visitor"
PEOPLE = {
    OWNER: "The principal",
    ADMIN: "The school office",
    TEACHER: "A teacher",
    PARENT: "A parent",
    LEAVER: "A visitor",
}
POLL_SECONDS = 0.005


@dataclass
class Scene:
    """Everything that the demo's steps act on."""

    folder: Path
    synapse: PrivateSynapse
    operator: Operator
    accounts: dict[str, Account] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    rooms: dict[str, str] = field(default_factory=dict)
    """Room ids by key, the space under `space`."""
    chat: str = ""
    """The office's direct chat with the announcer."""
    scheduled: int = 0
    """When the scheduled announcement is to go out, in milliseconds since 1970."""

    @classmethod
    def in_folder(cls, folder: Path) -> Scene:
        """Prepare the stage in an empty folder; nothing runs yet."""
        homeserver, service = folder / "homeserver", folder / "service"
        homeserver.mkdir()
        service.mkdir()
        synapse = PrivateSynapse(homeserver)
        return cls(folder, synapse, Operator(service, synapse))

    def user_id(self, name: str) -> str:
        return f"@{name}:{self.synapse.server_name}"

    @property
    def announcer(self) -> str:
        return self.user_id("announcements")

    @property
    def steward(self) -> str:
        return self.user_id("communities")

    def declaration(self, *, with_leaver: bool = True) -> dict[str, Any]:
        """The school as it stands in the config."""
        members = [PARENT, *([LEAVER] if with_leaver else [])]
        return {
            COMMUNITY: {
                "name": "Springfield School",
                "description": "News and groups of the school",
                "owners": [self.user_id(OWNER)],
                "admins": [self.user_id(ADMIN)],
                "members": [self.user_id(name) for name in members],
                "groups": {
                    "class-1a": {"name": "Class 1A", "kind": "open", "moderators": [self.user_id(TEACHER)]},
                    "chess": {"name": "Chess club", "kind": "request"},
                    "board": {"name": "Board", "kind": "hidden", "members": [self.user_id(OWNER)]},
                },
            }
        }

    async def learn_rooms(self) -> None:
        """Read the rooms' ids from `status`."""
        status = (await self.operator.command("status", "--json")).json
        community = status["communities"][0]
        self.rooms = {room["key"]: room["room_id"] for room in community["rooms"]} | {"space": community["space"]}

    async def as_service(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """A request with the service's own token, as somebody who stole it would make it."""
        token = self.operator.settings()["registration"]["as_token"]
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
            session.request(method, f"{self.synapse.url}/_matrix/client/v3{path}", json=dict(body)) as response,
        ):
            return await response.json()

    async def until_healed(self, person: Person, room: str, wanted: Mapping[str, Any], deadline: float = 30.0) -> float:
        """Wait until a room's power levels are as they were, seen by a person; gives the seconds that it took."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        async with asyncio.timeout(deadline):
            while await person.state(self.rooms[room], "m.room.power_levels") != wanted:  # noqa: ASYNC110 - it is remote
                await asyncio.sleep(POLL_SECONDS)
        return loop.time() - begin

    async def strike(self) -> None:
        """End everything, and take the folder away."""
        await self.leave()
        await self.operator.stop()
        await self.synapse.stop()
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)

    async def leave(self) -> None:
        """Take the people's clients off line; the rest goes on."""
        people, self.people = self.people, {}
        await asyncio.gather(*(person.close() for person in people.values()), return_exceptions=True)
