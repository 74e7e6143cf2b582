"""Communities within communities on a real homeserver: what members and admins see and may do in them."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from tests.harness.community import Community, Estate, refusal
from tests.harness.people import People


def within(estate: Estate, slug: str) -> Community:
    """A community that is declared within another, with an id of its own."""
    return Community(estate, f"{slug}-{secrets.token_hex(3)}", {})


@pytest.mark.parametrize("version", ["12", pytest.param("11", marks=pytest.mark.soak)])
async def test_a_class_in_a_year_in_a_school(estate: Estate, folk: People, version: str) -> None:
    olga, adam, eve, dan = await asyncio.gather(*(folk.nio(name) for name in ("olga", "adam", "eve", "dan")))
    for person in (olga, adam, eve, dan):
        person.accept_invites()
    year, other, class_ = (within(estate, slug) for slug in ("year", "other", "class"))
    declared: dict[str, Any] = {
        class_.id: {"name": "Class 1A", "admins": [eve.user_id], "join": "request", "groups": {"chess": {}}}
    }
    school = estate.declare(
        f"campus{version}",
        room_version=version,
        name="Campus",
        general=False,
        owners=[olga.user_id],
        admins=[adam.user_id],
        subcommunities={
            year.id: {"name": "Year 1", "general": False, "subcommunities": declared},
            other.id: {"name": "Year 2", "general": False},
        },
    )
    await estate.apply(school)
    for one in (year, other, class_):
        await one.look()
    plan = await estate.ask("plan", communities=[school.id])
    assert (plan["actions"], plan["notes"]) == ([], [])
    await school.inside(olga, adam, keys=("space", "control"))

    # a member of the class is one of the year and the school, whose spaces show the way down
    await estate.ask("people", deed="invite", community=class_.id, users=[dan.user_id])
    await asyncio.gather(*(one.inside(dan) for one in (school, year, class_)))
    assert year.space in {room["room_id"] for room in await dan.hierarchy(school.space)}
    assert (await estate.state(class_.space, "m.space.parent", year.space))["canonical"]

    # an admin of the school enters by themselves, and announces to the class; a member does neither
    await adam.join(class_.space)
    await class_.inside(adam, keys=("announcements", "control"))
    await adam.send(class_.announcements, "from the school")
    assert (await dan.wait_text(class_.announcements, "from the school")).decrypted
    assert (await refusal(dan.send(class_.announcements, "and I?"))).status == 403
    assert (await refusal(dan.join(other.space))).status == 403

    # moved to the other year it keeps its rooms and its people
    await school.apply(
        subcommunities={
            year.id: {"name": "Year 1", "general": False},
            other.id: {"name": "Year 2", "general": False, "subcommunities": declared},
        }
    )
    await other.inside(dan)
    rooms = dict(class_.rooms)
    await class_.look()
    assert class_.rooms == rooms
    assert not await estate.state(year.space, "m.space.child", class_.space)
    assert (await estate.state(other.space, "m.space.child", class_.space))["via"]
    await adam.send(class_.announcements, "still here")
    assert (await dan.wait_text(class_.announcements, "still here")).decrypted

    # a group moves from the class up to its year, with its room: whoever is in the year comes in, and dan stays in it
    made = await estate.ask("groups", deed="create", community=class_.id, text="Go", key="go")
    assert made["done"]
    await class_.look()
    go = class_.rooms["go"]
    await dan.join(go)
    moved = await estate.ask("groups", deed="move", community=class_.id, key="go", target=other.id)
    assert moved["done"]
    again = await estate.ask("groups", deed="move", community=class_.id, key="go", target=other.id)
    assert "already" in again["said"][0]
    assert not await estate.state(class_.space, "m.space.child", go)
    assert (await estate.state(other.space, "m.space.child", go))["via"]
    assert (await estate.state(go, "m.room.join_rules"))["allow"][0]["room_id"] == other.space
    assert not await estate.state(go, "m.space.parent", class_.space)
    assert (await estate.state(go, "m.space.parent", other.space))["via"]
    assert go in {room["room_id"] for room in await dan.hierarchy(other.space)}
    await olga.join(other.space)
    await olga.join(go)
    await olga.send(go, "hello in the year")
    assert (await dan.wait_text(go, "hello in the year")).decrypted

    # banned from the school: out of everything below, and no door opens again
    await class_.announce("before")
    await dan.wait_text(class_.announcements, "before")
    answer = await estate.ask("people", deed="ban", community=school.id, users=[dan.user_id])
    assert answer["done"]
    await asyncio.gather(*(one.gone(dan, "ban") for one in (school, other, class_)))
    sent = await class_.announce("after")
    event = await adam.event(class_.announcements, sent)
    assert await dan.try_decrypt(class_.announcements, event) is None
    for attempt in (dan.join(class_["chess"]), dan.knock(class_.space), eve.invite(class_.space, dan.user_id)):
        assert (await refusal(attempt)).status == 403
    await estate.ask("people", deed="unban", community=school.id, users=[dan.user_id])
    await estate.ask("people", deed="invite", community=class_.id, users=[dan.user_id])
    await class_.inside(dan)
    estate.forget(school)
