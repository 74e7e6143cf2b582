"""The table of levels in docs/policy.md, on a real homeserver: who may do what in which room, as 200 or 403.

Every cell is tried by somebody of every role who is in the room. The community is made by the service and then taken
out of its config, so that nothing is put back while the rooms are tried.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridge.core.errors import Forbidden
from bridge.core.ids import RoomId
from bridge.matrix.client import Client, path
from tests.harness.community import MEGOLM, STEWARD, Community, Estate
from tests.harness.people import People

LOCKED = 200
LEVELS = "m.room.power_levels"
ROLES = {"owner": 150, "admin": 100, "moderator": 50, "member": 0}
POLICY = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()


@dataclass(frozen=True)
class Cell:
    """The level that one cell asks for, and the one that it asks for under a condition."""

    level: int
    otherwise: int | None = None


def table() -> dict[str, dict[str, Cell]]:
    """The rows of "Levels in rooms": what → column → cell. A dash is what nobody has a level for."""
    lines = iter(POLICY.partition("## Levels in rooms")[2].splitlines())
    rows = [
        line for line in itertools.takewhile(lambda line: not line.startswith("## "), lines) if line.startswith("|")
    ]
    head, _, *body = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {what: dict(zip(head[1:], map(cell, cells), strict=True)) for what, *cells in body}


def cell(text: str) -> Cell:
    if text == "–":
        return Cell(LOCKED)
    first, _, then = (part.strip() for part in text.replace("LOCKED", str(LOCKED)).partition(";"))
    other = re.match(r"\d+", then)
    return Cell(int(first), int(other[0]) if other else None)


TABLE = table()


class Somebody:
    """Who tries things with plain requests."""

    def __init__(self, role: str, user_id: str, client: Client) -> None:
        self.role = role
        self.user_id = user_id
        self.client = client
        self._numbers = itertools.count()

    async def may(self, method: str, *parts: str, body: Mapping[str, Any]) -> bool:
        """Whether the homeserver allows a request. Any other refusal than 403 is a mistake of the test."""
        try:
            await self.client.request(method, path("v3", *parts), body=body)
        except Forbidden as error:
            if error.errcode != "M_FORBIDDEN":
                raise
            return False
        return True

    async def may_send(self, room: str, kind: str, content: Mapping[str, Any]) -> bool:
        return await self.may("PUT", "rooms", room, "send", kind, f"try-{next(self._numbers)}", body=content)

    async def may_write(self, room: str, kind: str, content: Mapping[str, Any], key: str = "") -> bool:
        return await self.may("PUT", "rooms", room, "state", kind, key, body=content)

    async def may_redact(self, room: str, event_id: str) -> bool:
        return await self.may("PUT", "rooms", room, "redact", event_id, f"try-{next(self._numbers)}", body={})


class Trial:
    """One room, and what is tried in it: each method tries one row, and gives an answer for each thing that it does."""

    def __init__(self, estate: Estate, room: str) -> None:
        self._estate = estate
        self.room = room
        self._numbers = itertools.count()
        self._joins: dict[str, str] = {}

    def _stranger(self) -> str:
        return f"@stranger-{next(self._numbers)}:example.org"

    async def posting(self, one: Somebody) -> dict[str, bool]:
        encrypted = {"algorithm": MEGOLM, "ciphertext": "x", "sender_key": "x", "session_id": "x", "device_id": "x"}
        return {
            "m.room.encrypted": await one.may_send(self.room, "m.room.encrypted", encrypted),
            "m.room.message": await one.may_send(self.room, "m.room.message", {"msgtype": "m.text", "body": "x"}),
            "m.sticker": await one.may_send(self.room, "m.sticker", {"body": "x", "url": "mxc://a/b", "info": {}}),
        }

    async def states(self, one: Somebody, states: Mapping[str, Mapping[str, Any]], key: str = "") -> dict[str, bool]:
        return {kind: await one.may_write(self.room, kind, content, key) for kind, content in states.items()}

    async def other_state(self, one: Somebody) -> dict[str, bool]:
        return await self.states(one, {"org.example.any": {"by": one.role}, "im.vector.modular.widgets": {}})

    async def profile(self, one: Somebody) -> dict[str, bool]:
        name = {"name": one.role}
        states = {"m.room.name": name, "m.room.topic": {"topic": one.role}, "m.room.avatar": {"url": "mxc://a/b"}}
        return await self.states(one, states)

    async def pins(self, one: Somebody) -> dict[str, bool]:
        return await self.states(one, {"m.room.pinned_events": {"pinned": [f"${one.role}"]}})

    async def children(self, one: Somebody) -> dict[str, bool]:
        return await self.states(one, {"m.space.child": {"via": ["example.org"]}}, f"!{one.role}:example.org")

    async def levels(self, one: Somebody) -> dict[str, bool]:
        content = await self._estate.state(self.room, LEVELS)
        return await self.states(one, {LEVELS: content | {"notifications": {"room": 40 + next(self._numbers)}}})

    async def guards(self, one: Somebody) -> dict[str, bool]:
        states: dict[str, dict[str, Any]] = {
            "m.room.join_rules": {"join_rule": "public"},
            "m.room.history_visibility": {"history_visibility": "world_readable"},
            "m.room.encryption": {"algorithm": MEGOLM, "rotation_period_msgs": 1},
            "m.room.server_acl": {"allow": ["*"]},
            "m.room.tombstone": {"body": "x", "replacement_room": "!x:example.org"},
            "m.room.guest_access": {"guest_access": "can_join"},
            "m.room.canonical_alias": {},
        }
        return await self.states(one, states)

    async def reactions(self, one: Somebody) -> dict[str, bool]:
        relation = {"rel_type": "m.annotation", "event_id": await self._join_of(STEWARD), "key": one.role}
        return {"m.reaction": await one.may_send(self.room, "m.reaction", {"m.relates_to": relation})}

    async def _join_of(self, user_id: str) -> str:
        if not self._joins:
            events = (await self._estate.as_service("GET", "rooms", self.room, "state"))["value"]
            self._joins = {one["state_key"]: one["event_id"] for one in events if one["type"] == "m.room.member"}
        return self._joins[user_id]

    async def redact_own(self, one: Somebody) -> dict[str, bool]:
        return {"own": await one.may_redact(self.room, await self._join_of(one.user_id))}

    async def redact_others(self, one: Somebody) -> dict[str, bool]:
        return {"another's": await one.may_redact(self.room, await self._join_of(STEWARD))}

    async def invite(self, one: Somebody) -> dict[str, bool]:
        body = {"user_id": self._stranger()}
        return {"invite": await one.may("POST", "rooms", self.room, "invite", body=body)}

    async def removals(self, one: Somebody) -> dict[str, bool]:
        invited, body = self._stranger(), {"user_id": self._stranger()}
        await self._estate.as_service("POST", "rooms", self.room, "invite", body={"user_id": invited})
        return {
            "kick": await one.may("POST", "rooms", self.room, "kick", body={"user_id": invited}),
            "ban": await one.may("POST", "rooms", self.room, "ban", body=body),
        }

    async def calls(self, one: Somebody) -> dict[str, bool]:
        kinds = ("m.call.member", "org.matrix.msc3401.call.member", "m.beacon_info", "org.matrix.msc3672.beacon_info")
        return await self.states(one, {kind: {"by": one.role} for kind in kinds}, one.user_id)


TRIALS: dict[str, Callable[[Trial, Somebody], Awaitable[dict[str, bool]]]] = {
    "posting (`events_default`)": Trial.posting,
    "other state (`state_default`)": Trial.other_state,
    "name, topic, picture": Trial.profile,
    "pins": Trial.pins,
    "list rooms in the space (`m.space.child`)": Trial.children,
    "change levels (`m.room.power_levels`)": Trial.levels,
    "join rules, history visibility, encryption, server ACL, tombstone, guest access, address": Trial.guards,
    "reactions": Trial.reactions,
    "redact one's own": Trial.redact_own,
    "redact others'": Trial.redact_others,
    "invite": Trial.invite,
    "remove, ban": Trial.removals,
    "calls, live location": Trial.calls,
}
NOT_THE_HOMESERVERS = {"notify everybody (`@room`)"}
"""What clients judge when they are notified, by `notifications.room`."""

COLUMNS = {
    "space": "space",
    "announcements": "announcements",
    "control": "control room",
    "general": "general, discussion, groups",
    "discussion": "general, discussion, groups",
    "class": "general, discussion, groups",
    "notices": "general, discussion, groups",
    "meetup": "general, discussion, groups",
}
UNDER_A_CONDITION = {("notices", "posting (`events_default`)"), ("meetup", "invite")}
"""Rooms that are there for one row alone."""


def test_every_row_of_the_table_is_tried() -> None:
    assert TRIALS.keys() | NOT_THE_HOMESERVERS == TABLE.keys()
    assert all(row.keys() == set(COLUMNS.values()) for row in TABLE.values())


def needed(key: str, what: str, *, otherwise: bool = False) -> int:
    """The level that the table asks for in a room."""
    found = TABLE[what][COLUMNS[key]]
    if not otherwise and (key, what) not in UNDER_A_CONDITION:
        return found.level
    assert found.otherwise is not None
    return found.otherwise


def level_of(one: Somebody, key: str) -> int:
    return (
        0 if one.role == "moderator" and key in ("space", "announcements", "general", "discussion") else ROLES[one.role]
    )


async def tried(
    estate: Estate, community: Community, people: list[Somebody], keys: Mapping[str, list[str]], *, otherwise: bool
) -> list[str]:
    """Try rows in rooms, rooms beside each other; gives every answer that is not the table's."""

    async def one_room(key: str, rows: list[str]) -> list[str]:
        trial, wrong = Trial(estate, community[key]), []
        for what in rows:
            need = needed(key, what, otherwise=otherwise)
            for one in people:
                if key == "control" and ROLES[one.role] < ROLES["admin"]:
                    continue  # they are not in it
                own = level_of(one, key)
                answers = await TRIALS[what](trial, one)
                wrong += [
                    f"{key}: {what}: {thing} by {one.role}: {'allowed' if allowed else 'refused'}, {own} of {need}"
                    for thing, allowed in answers.items()
                    if allowed is not (own >= need)
                ]
        return wrong

    found = await asyncio.gather(*(one_room(key, rows) for key, rows in keys.items()))
    return [line for lines in found for line in lines]


@pytest.fixture
async def people(estate: Estate, folk: People) -> AsyncIterator[list[Somebody]]:
    """Somebody of each role, with no more of a client than requests."""
    found = []
    for role in ROLES:
        account = await folk.account(role)
        client = Client(estate.synapse.url, account.access_token, retries=0)
        await client.start()
        found.append(Somebody(role, account.user_id, client))
    yield found
    for one in found:
        await one.client.stop()


async def test_the_homeserver_allows_what_the_table_says(
    estate: Estate, people: list[Somebody], room_version: str
) -> None:
    owner, admin, moderator, member = people
    group = {"kind": "open", "moderators": [moderator.user_id]}
    community = estate.declare(
        "levels",
        room_version=room_version,
        owners=[owner.user_id],
        admins=[admin.user_id],
        members=[member.user_id],
        discussion=True,
        members_may_invite=True,
        groups={
            "class": group,
            "notices": group | {"posting": "moderators"},
            "meetup": group | {"members_may_invite": True},
        },
    )
    await estate.apply(community)
    for one in people:
        for key in COLUMNS:
            if key != "control" or ROLES[one.role] >= ROLES["admin"]:
                await one.client.request("POST", path("v3", "join", RoomId(community[key])), body={})
    wrong = await tried(
        estate, community, people, {key: ["invite"] for key in ("space", "general", "discussion")}, otherwise=True
    )
    assert wrong == []

    await community.apply(members_may_invite=False)
    levels = {key: await estate.state(community[key], LEVELS) for key in COLUMNS}
    assert {key: content["notifications"]["room"] for key, content in levels.items()} == {
        key: needed(key, "notify everybody (`@room`)") for key in COLUMNS
    }
    estate.forget(community)
    await estate.reload()
    rows = {key: list(TRIALS) for key in COLUMNS} | {key: [what] for key, what in UNDER_A_CONDITION}
    wrong = await tried(estate, community, people, rows, otherwise=False)
    assert wrong == []
