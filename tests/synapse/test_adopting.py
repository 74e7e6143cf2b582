"""Rooms that exist taken in as groups: what their people see and may do then, in either room version."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from nio.crypto import encrypt_attachment

from bridge.cli.demo.person import Client
from tests.harness.community import ANNOUNCER, MEGOLM, STEWARD, Community, Estate, refusal
from tests.harness.people import People
from tests.harness.wait import eventually

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
LEVELS = "m.room.power_levels"


async def test_a_room_is_taken_in_and_moves_on_and_a_suggested_group_joins_it(
    estate: Estate, folk: People, room_version: str
) -> None:
    owner, eve, dan = await asyncio.gather(folk.nio("olga"), folk.nio("eve"), folk.nio("dan"))
    community = estate.declare(
        f"choir{room_version}",
        room_version=room_version,
        name="Choirs",
        owners=[owner.user_id],
        general=False,
        groups_by="suggest",
    )
    for person in (owner, eve, dan):
        person.accept_invites()
    # a room as people make it in a client: readable by everybody, not encrypted, with somebody in it
    room = await owner.create_room(
        room_version=room_version,
        preset="public_chat",
        name="Altos",
        topic="We sing",
        invite=[eve.user_id],
    )
    await eve.wait_joined(room)
    await owner.invite(room, STEWARD)
    await estate.apply(community)
    await community.inside(owner, keys=("space", "control"))

    # without power there it says what helps
    await owner.send(community.control, f"!group adopt {room}")
    said = await community.told(owner, "has level 0", "needs 100")
    assert STEWARD in said
    levels = await owner.state(room, LEVELS) or {}
    await owner.put_state(room, LEVELS, "", {**levels, "users": {**levels["users"], STEWARD: 100}})

    # shown first: nothing changes before a yes that says what cannot be undone
    await owner.send(community.control, f"!group adopt {room}")
    shown = await community.told(owner, "would become the group `altos`", "can never be undone")
    assert "set who may join" in shown
    assert "1 person in it" in shown
    assert await eve.state(room, "m.room.encryption") is None
    assert await eve.state(room, "m.room.join_rules") == {"join_rule": "public"}
    await owner.send(community.control, "!yes")
    await community.told(owner, "is the group `altos` now")

    await community.inside(eve)  # invited to the community, and in its announcements
    await eve.wait_state(room, "m.room.encryption", "", lambda content: content.get("algorithm") == MEGOLM)
    await eventually(lambda: _listed(estate, community.space, room), 20, "the group to stand in the space")
    rules = await estate.state(room, "m.room.join_rules")
    assert (rules["join_rule"], rules["allow"][0]["room_id"]) == ("restricted", community.space)
    assert (await estate.state(room, "m.room.name"))["name"] == "Altos"
    assert (await estate.state(room, "m.room.topic"))["topic"] == "We sing"
    assert ANNOUNCER not in await eve.joined_members(room)
    await eve.send(room, "good evening")
    assert (await refusal(eve.put_state(room, "m.room.topic", "", {"topic": "?"}))).status == 403
    await community.admit(dan)
    await dan.join(room)

    # it is held like any other: what its creator changes is put back
    plan = await estate.ask("plan", communities=[community.id])
    assert plan["actions"] == []
    changed = await owner.put_state(room, "m.room.join_rules", "", {"join_rule": "public"})
    await estate.taken_in(changed)
    await eventually(lambda: _rule(estate, room), 20, "the join rule to be put back")

    if room_version == "12":  # of which version rooms are does not matter to it
        await _suggested(community, owner, dan)

        await _pictured(estate, community, owner)

    # the first room's maker upgrades it in their client: the group goes on in the new room
    answer = await owner.call("POST", f"/rooms/{room}/upgrade", {"new_version": "12"})
    new = answer["replacement_room"]
    await asyncio.gather(eve.wait_joined(new), dan.wait_joined(new))
    await community.told(owner, "moved the group “Altos” (`altos`) to another room")
    await estate.idle()
    await community.look()
    assert community["altos"] == new
    await eventually(lambda: _listed(estate, community.space, new), 20, "the new room to stand in the space")
    assert not await _listed(estate, community.space, room)
    assert (await estate.state(room, "m.room.tombstone"))["replacement_room"] == new
    assert (await estate.state(new, "m.room.create"))["predecessor"]["room_id"] == room
    assert (await estate.state(new, "m.space.parent", community.space))["via"]
    levels = await estate.state(new, LEVELS)
    assert levels["users"][STEWARD] >= 100
    assert levels["events"]["m.room.join_rules"] == levels["users"][STEWARD]
    await eve.send(new, "here we are")
    await community.apply(removed=[dan.user_id], members=None)
    await dan.wait_left(new)


async def _suggested(community: Community, owner: Client, dan: Client) -> None:
    """A member suggests a group: a card, an admin's ✅, and they moderate it."""
    chat = await dan.create_dm(ANNOUNCER)
    await dan.wait_joined(chat, ANNOUNCER)
    await dan.send(chat, "help")
    await _heard(dan, chat, "group create")
    await dan.send(chat, "group create --kind request Basses")
    await _heard(dan, chat, "I have shown your suggestion “Basses” to the admins")
    card = await owner.wait_text(
        community.control, lambda message: "suggests a group" in message.text and dan.user_id in message.text
    )
    await owner.react(community.control, card.event_id, "✅")
    await _heard(dan, chat, "you moderate it", "`basses`")
    await community.told(owner, "“Basses”", f"Approved by {owner.user_id}")

    async def made() -> str:
        await community.look()
        return community.rooms.get("basses", "")

    await dan.wait_joined(await eventually(made, 20, "the group to be made"))
    await dan.put_state(community["basses"], "m.room.topic", "", {"topic": "Below"})


async def _pictured(estate: Estate, community: Community, owner: Client) -> None:
    """An encrypted picture, given to a group by answering it; with words of its own under it; and taken away."""
    data, file = encrypt_attachment(PNG)
    body: dict[str, Any] = {"msgtype": "m.image", "body": "choir.png", "info": {"mimetype": "image/png"}}
    body["file"] = {**file, "url": await _uploaded(estate, data)}
    message = await owner.send_event(community.control, "m.room.message", body)
    reply: dict[str, Any] = {"msgtype": "m.text", "body": "!group picture altos"}
    reply["m.relates_to"] = {"m.in_reply_to": {"event_id": message}}
    await owner.send_event(community.control, "m.room.message", reply)
    await community.told(owner, "`altos` has a new picture")
    url = (await estate.state(community["altos"], "m.room.avatar"))["url"]
    assert await estate.service_client.download(
        f"/_matrix/client/v1/media/download/{url.removeprefix('mxc://')}", query={}, most_bytes=9999, deadline=10
    ) == ("image/png", PNG)

    words = {**body, "filename": "choir.png", "body": "!group picture altos"}
    await owner.send_event(community.control, "m.room.message", words)

    async def another() -> bool:
        return bool((await estate.state(community["altos"], "m.room.avatar")).get("url") != url)

    await eventually(another, 20, "the other picture")
    await owner.send(community.control, "!group picture altos")
    await community.told(owner, "no picture came with it")
    data, file = encrypt_attachment(b"<svg/>")
    words["file"] = {**file, "url": await _uploaded(estate, data)}
    await owner.send_event(community.control, "m.room.message", words)
    await community.told(owner, "no picture that every app can show")
    await owner.send(community.control, "!group picture altos --remove")
    await community.told(owner, "`altos` has no picture any more")
    assert not await estate.state(community["altos"], "m.room.avatar")
    await _the_communitys(estate, community, owner, reply)
    await estate.idle()
    assert (await estate.ask("plan", communities=[community.id]))["actions"] == []


async def _the_communitys(estate: Estate, community: Community, owner: Client, reply: dict[str, Any]) -> None:
    """The same for the community: its space shows the picture, until it is taken away."""
    await owner.send_event(community.control, "m.room.message", {**reply, "body": "!community picture"})
    await community.told(owner, "The community has a new picture")
    url = (await estate.state(community.space, "m.room.avatar"))["url"]
    assert await estate.service_client.download(
        f"/_matrix/client/v1/media/download/{url.removeprefix('mxc://')}", query={}, most_bytes=9999, deadline=10
    ) == ("image/png", PNG)
    await owner.send(community.control, "!community picture --remove")
    await community.told(owner, "The community has no picture any more")
    assert not await estate.state(community.space, "m.room.avatar")


async def _uploaded(estate: Estate, data: bytes) -> str:
    answer = await estate.service_client.request("POST", "/_matrix/media/v3/upload", data=data)
    return str(answer["content_uri"])


async def _heard(person: Client, chat: str, *parts: str) -> None:
    await person.wait_text(
        chat, lambda message: message.sender == ANNOUNCER and all(part in message.text for part in parts)
    )


async def _listed(estate: Estate, space: str, room: str) -> bool:
    return bool((await estate.state(space, "m.space.child", room)).get("via"))


async def _rule(estate: Estate, room: str) -> bool:
    return bool((await estate.state(room, "m.room.join_rules"))["join_rule"] == "restricted")
