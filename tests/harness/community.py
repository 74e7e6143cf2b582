"""A homeserver with the running service on it, and communities with people in them: for tests of the whole.

One homeserver and one service carry all communities of a run. Each test declares its own, of either room version, or
brings people of its own into one that stands already.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.cli.demo.homeserver import PrivateSynapse, free_port
from bridge.cli.demo.operator import Operator, Ran
from bridge.cli.demo.person import DEADLINE, Client, Refused
from bridge.cli.door import Door
from bridge.config import load
from bridge.matrix.client import Client as ServiceClient
from bridge.matrix.client import path
from tests.harness.people import People
from tests.harness.tap import Tap
from tests.harness.wait import eventually

STEWARD = "@communities:example.org"
ANNOUNCER = "@announcements:example.org"
MEGOLM = "m.megolm.v1.aes-sha2"
SOON_SECONDS = 5
"""Jobs that are planned for later than that are no part of what is going on; less than what any test waits for them."""


class Estate:
    """A private homeserver, the service as an operator runs it, and an ear on what both say to each other."""

    def __init__(
        self, folder: Path, *, homeserver: Mapping[str, Any] | None = None, synapse: PrivateSynapse | None = None
    ) -> None:
        """Nothing runs before :meth:`start`; ``homeserver`` replaces top-level keys of ``homeserver.yaml``.

        ``synapse`` is a homeserver that somebody made already, also not started yet.
        """
        self.synapse = synapse or PrivateSynapse(folder / "synapse", extra=homeserver)
        self.people = People(self.synapse)
        self.operator = Operator(folder / "service", self.synapse)
        self.asked = Tap(self.synapse.url)
        """Every request of the service, and of its commands, to the homeserver."""
        self.pushed = Tap("")
        """Every transaction of the homeserver to the service."""
        self.communities: dict[str, Community] = {}
        self.as_token = ""

    @property
    def announcer(self) -> str:
        """The announcer's user id."""
        return f"@announcements:{self.synapse.server_name}"

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self, **sections: Any) -> None:
        """Set everything up with the commands, and start it; ``sections`` are those of the config."""
        await self.set_up(**sections)
        await self.synapse.start()
        await self.operator.start()

    async def set_up(self, **sections: Any) -> None:
        """Write config and registration with the commands, and make them known to the homeserver (not yet started)."""
        self.operator.folder.mkdir(parents=True)
        await asyncio.gather(self.asked.start(), self.pushed.start())
        await self.operator.command("init", "--homeserver", self.asked.url, "--domain", self.synapse.server_name)
        port = free_port()
        self.pushed.target = f"http://127.0.0.1:{port}"
        encryption = {"trust": "all", **sections.pop("encryption", {})}  # nio never signs its devices
        self.operator.edit(
            listen={"port": port, "url": self.pushed.url}, communities=None, encryption=encryption, **sections
        )
        await self.operator.command("registration")
        self.synapse.add_registration(self.operator.registration)
        self.as_token = str(self.operator.settings()["registration"]["as_token"])
        self.service_client = ServiceClient(self.synapse.url, self.as_token, retries=0)
        await self.service_client.start()

    async def stop(self) -> None:
        """End everything."""
        await self.people.close()
        await self.operator.stop()
        await self.service_client.stop()
        await self.pushed.stop()
        await self.asked.stop()
        await self.synapse.stop()

    # --- the operator's side ----------------------------------------------------------------------------------------

    def write_config(self) -> None:
        """Write the declarations of all communities that are known here into the config."""
        declared = {name: community.declaration for name, community in self.communities.items()}
        self.operator.edit(communities=json.loads(json.dumps(declared)))

    def declare(self, slug: str, /, **declaration: Any) -> Community:
        """Declare one more community in the config, under an id that begins with ``slug``; nothing is applied yet.

        Announcements go out at once, as most tests want it; ``preview=True`` has them shown first, as by default.
        """
        name = f"{slug}-{secrets.token_hex(3)}"
        community = self.communities[name] = Community(self, name, {"preview": False, **declaration})
        self.write_config()
        return community

    def forget(self, *communities: Community) -> None:
        """Take communities out of the config: the service then leaves their rooms alone."""
        for community in communities:
            self.communities.pop(community.id, None)
        self.write_config()

    async def ask(self, what: str, **body: Any) -> Any:
        """Ask the running service through its local door, as the commands do, without starting a process for it."""
        return await Door(load(self.operator.config)).ask(what, body)

    async def apply(self, *communities: Community, force: bool = False) -> dict[str, Any]:
        """``apply`` for some communities; fails where anything was not done."""
        self.write_config()
        result: dict[str, Any] = await self.ask("apply", communities=[one.id for one in communities], force=force)
        assert result["ok"], result
        for community in communities:
            await community.look()
        return result

    async def reload(self) -> str:
        """SIGHUP: the service reads its config again; returns what it then logged, from there on."""
        begin = len(self.operator.log.read_text())
        self.operator.reload()

        def answered() -> str:
            said = self.operator.log.read_text()[begin:]
            return said if "read again" in said or "not taken over" in said else ""

        return await eventually(answered, 20, "the service to read its config again")

    async def command(self, *args: str, expect: Sequence[int] = (0,)) -> Ran:
        """A command in a process of its own."""
        return await self.operator.command(*args, expect=expect)

    # --- the service's own powers, and what it keeps ----------------------------------------------------------------

    async def as_service(
        self, method: str, *parts: str, body: Mapping[str, Any] | None = None, as_user: str | None = None
    ) -> dict[str, Any]:
        """One request below ``/_matrix/client/v3`` with the as_token, as the steward if nobody else is named."""
        if body is None and method != "GET":
            body = {}
        return await self.service_client.request(method, path("v3", *parts), body=body, as_user=as_user)  # type: ignore[arg-type]

    async def put_state(self, room_id: str, event_type: str, content: Mapping[str, Any], key: str = "") -> str:
        """Write state with the as_token: what no client may, and a thief of the token could."""
        answer = await self.as_service("PUT", "rooms", room_id, "state", event_type, key, body=content)
        return str(answer["event_id"])

    async def state(self, room_id: str, event_type: str, key: str = "") -> dict[str, Any]:
        """A piece of state as the homeserver has it now."""
        return await self.as_service("GET", "rooms", room_id, "state", event_type, key)

    async def membership(self, room_id: str, user_id: str) -> str:
        """Somebody's membership as the homeserver has it now, "" for none."""
        events = (await self.as_service("GET", "rooms", room_id, "state"))["value"]
        for event in events:
            if event["type"] == "m.room.member" and event["state_key"] == user_id:
                return str(event["content"]["membership"])
        return ""

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the service's database, beside it."""
        place = self.operator.folder / "communities.db"
        with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    async def taken_in(self, event_id: str) -> None:
        """Wait until the service was told of an event, and has done everything that it does about it."""
        await eventually(
            lambda: self.rows("SELECT 1 FROM inbox_seen WHERE event_id = ?", event_id), 20, f"the push of {event_id}"
        )
        await self.idle()

    async def idle(self) -> None:
        """Wait until the service has worked off its inbox and its jobs."""

        def done() -> bool:
            # what is planned for later (a session that is not used yet is renewed after minutes) is not waited for
            soon = int((time.time() + SOON_SECONDS) * 1000)
            waiting = (
                "SELECT (SELECT COUNT(*) FROM inbox) + "
                "(SELECT COUNT(*) FROM job WHERE parked IS NULL AND (due_at < ? OR failure IS NOT NULL))"
            )
            return bool(self.rows(waiting, soon)[0][0] == 0)

        await eventually(done, 30, "the service to be idle")


@dataclass
class Community:
    """One declared community, and its rooms by key (`space` among them)."""

    estate: Estate
    id: str
    declaration: dict[str, Any]
    rooms: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, key: str) -> str:
        """The id of a room."""
        return self.rooms[key]

    @property
    def announcements(self) -> str:
        """The id of the announcement room."""
        return self.rooms["announcements"]

    @property
    def space(self) -> str:
        """The id of the space."""
        return self.rooms["space"]

    @property
    def control(self) -> str:
        """The id of the control room."""
        return self.rooms["control"]

    async def look(self) -> None:
        """Learn the ids of the rooms."""
        rows = self.estate.rows("SELECT key, room_id FROM room WHERE community = ?", self.id)
        self.rooms = {key: room_id for key, room_id in rows if room_id is not None}

    async def status(self) -> dict[str, Any]:
        """This community's part of ``status``."""
        status = await self.estate.ask("status")
        return next(dict(one) for one in status["communities"] if one["id"] == self.id)

    async def apply(self, *, force: bool = False, **declaration: Any) -> dict[str, Any]:
        """Change keys of the declaration (None takes one out), and apply it."""
        self.change(**declaration)
        return await self.estate.apply(self, force=force)

    def change(self, **declaration: Any) -> None:
        """Change keys of the declaration in the config; nothing is applied."""
        for key, value in declaration.items():
            if value is None:
                self.declaration.pop(key, None)
            else:
                self.declaration[key] = value
        self.estate.write_config()

    async def admit(self, *people: Client, keys: Sequence[str] = ()) -> None:
        """Name people as members, apply, and wait until they are where members are; then in the rooms of ``keys``."""
        for person in people:
            person.accept_invites()
        names = [*self.declaration.get("members", []), *(person.user_id for person in people)]
        await self.apply(members=names)
        await self.inside(*people)
        for key in keys:
            await asyncio.gather(*(person.join(self.rooms[key]) for person in people))

    async def inside(self, *people: Client, keys: Sequence[str] = ("space", "announcements")) -> None:
        """Wait until people are in rooms."""
        await asyncio.gather(*(person.wait_joined(self.rooms[key]) for key in keys for person in people))

    async def told(self, admin: Client, *parts: str, deadline: float = DEADLINE) -> str:
        """Wait until an admin reads a notice with all those parts in the control room, and return its text."""
        message = await admin.wait_text(
            self.control,
            lambda message: message.sender == self.estate.announcer and all(part in message.text for part in parts),
            deadline,
        )
        assert message.decrypted
        return message.text

    async def announce(self, text: str) -> str:
        """Announce through the local door, and return the event's id."""
        source = f"test-{secrets.token_hex(8)}"
        result = await self.estate.ask("announce", communities=[self.id], text=text, source=source)
        assert result["ok"], result
        return str(result["targets"][0]["event_id"])

    async def gone(self, person: Client, membership: str = "leave", deadline: float = DEADLINE) -> None:
        """Wait until somebody is in none of the rooms; where they were, they have that membership."""

        async def everywhere() -> bool:
            states = await asyncio.gather(
                *(self.estate.membership(room_id, person.user_id) for room_id in self.rooms.values())
            )
            found = dict(zip(self.rooms, states, strict=True))
            assert set(found.values()) <= {"", membership}, found
            return True

        check: Callable[[], bool | Awaitable[bool]] = everywhere
        await eventually(check, deadline, interval=0.1)


async def refusal(attempt: Any) -> Refused:
    """What the homeserver said to something that it must refuse."""
    try:
        await attempt
    except Refused as refused:
        return refused
    raise AssertionError("the homeserver did not refuse")
