"""How many requests rooms cost: to build a community, to find that nothing is to do, and for a message in a group.

    python -m benchmarks.rooms [--json FILE]

A community of 10 rooms and 50 members is built by the running service on a private Synapse; every request is counted by
a proxy between the two. Then `apply` is called again, by the running service and alone, and people talk in a group.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.stage import Stage, stage
from tests.harness.tap import Exchange
from tests.harness.wait import eventually

GROUPS = 6
MEMBERS = 50
MESSAGES = 20
PEER_ROOM, PEER_FIRST_ROOMS, PEER_MESSAGE = 15, 47, 2
"""Measured of maubot-communitybot: requests for a further room, for its first three, for a message."""


def declaration(members: list[str], owner: str) -> dict[str, Any]:
    """A community of 10 rooms: space, announcements, control room, general and six groups."""
    groups = {f"group-{number}": {"name": f"Group {number}", "kind": "open"} for number in range(GROUPS)}
    return {"bench": {"name": "Benchmark", "owners": [owner], "members": members, "groups": groups}}


def writes(requests: list[Exchange]) -> int:
    return sum(1 for one in requests if one.method != "GET")


def memberships(requests: list[Exchange]) -> int:
    return sum(1 for one in requests if one.path.endswith("/invite") and one.json.get("user_id") != "")


async def measure() -> dict[str, Any]:
    async with stage() as place:
        accounts = await asyncio.gather(*(place.people.account("member") for _ in range(MEMBERS)))
        owner, talker = await place.people.nio("owner"), await place.people.nio("talker")
        names = [account.user_id for account in accounts] + [talker.user_id]
        place.operator.edit(communities=declaration(names, owner.user_id))
        built = await _build(place)
        idle_alone = await _apply_again(place)
        await place.operator.start()
        await _settled(place)
        idle_asked = await _apply_again(place)
        chat = await _chat(place, owner, talker)
    return {"build": built, "nothing_to_do": {"alone": idle_alone, "asked": idle_asked}, "chat": chat}


async def _build(place: Stage) -> dict[str, Any]:
    mark = place.mark()
    await place.operator.command("apply", "--yes")
    requests = place.requests(mark)
    rooms, invites = 4 + GROUPS, memberships(requests)
    return {
        "rooms": rooms,
        "memberships": invites,
        "requests": len(requests),
        "per_room": round((len(requests) - invites) / rooms, 2),
        "kinds": dict(Counter(f"{one.method} {one.path.rsplit('/', 1)[-1][:20]}" for one in requests).most_common(8)),
    }


async def _apply_again(place: Stage) -> dict[str, Any]:
    mark = place.mark()
    await place.operator.command("apply", "--yes")
    requests = place.requests(mark)
    reads = [one for one in requests if "/rooms/" in one.path or "/directory/" in one.path]
    return {"requests": len(requests), "writes": writes(requests), "reads_a_room": round(len(reads) / (4 + GROUPS), 2)}


async def _settled(place: Stage) -> None:
    async def done() -> bool | None:
        status = (await place.operator.command("status", "--json")).json
        return (bool(status["communities"][0]["last_reconcile"]) and status["queue"]["events"] == 0) or None

    await eventually(done, deadline=120, what="the service to have settled")


async def _chat(place: Stage, owner: Any, talker: Any) -> dict[str, Any]:
    status = (await place.operator.command("status", "--json")).json
    rooms = {room["key"]: room["room_id"] for room in status["communities"][0]["rooms"]}
    room = rooms["group-0"]
    for person in (owner, talker):
        await person.join(status["communities"][0]["space"])
        await person.join(room)
    await owner.wait_joined(room, talker.user_id)
    await talker.wait_joined(room, owner.user_id)
    await _settled(place)
    mark = place.mark()
    for number in range(MESSAGES):
        await talker.send(room, f"message {number}")
    await owner.wait_text(room, f"message {MESSAGES - 1}")
    await _settled(place)
    asked = [one for one in place.requests(mark) if room in one.path]
    return {"messages": MESSAGES, "requests": len(asked), "per_message": len(asked) / MESSAGES}


def show(result: dict[str, Any]) -> bool:
    """Print the figures beside what is to be reached; whether all is reached."""
    build, idle, chat = result["build"], result["nothing_to_do"], result["chat"]
    print(
        f"build: {build['requests']} requests for {build['rooms']} rooms and {build['memberships']} memberships: "
        f"{build['per_room']} a room plus one a membership (to reach: {PEER_ROOM}; a peer: {PEER_ROOM} a room, "
        f"{PEER_FIRST_ROOMS} for its first three, with nobody in it)"
    )
    print(f"nothing to do, alone: {idle['alone']} (to reach: 0 writes, 2 reads a room)")
    print(f"nothing to do, asked of the running service: {idle['asked']} (to reach: 0 and 0)")
    print(f"chat: {chat['per_message']} requests a message (to reach: 0; a peer: {PEER_MESSAGE})")
    return bool(
        build["per_room"] <= PEER_ROOM
        and idle["alone"]["writes"] == 0
        and idle["alone"]["reads_a_room"] <= 2
        and idle["asked"]["reads_a_room"] == 0
        and idle["asked"]["writes"] == 0
        and chat["requests"] == 0
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = asyncio.run(measure())
    reached = show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
