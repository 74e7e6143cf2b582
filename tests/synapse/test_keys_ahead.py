"""Keys are with people before anything is announced: whoever comes, and whoever buys a new phone."""

from __future__ import annotations

from typing import Any

from bridge.cli.demo.person import Client, ToDevice
from tests.harness.community import Community, Estate
from tests.harness.people import People
from tests.harness.wait import eventually


def key_of(room_id: str) -> Any:
    def is_it(event: ToDevice) -> bool:
        return event.inner_type == "m.room_key" and event.room_id == room_id

    return is_it


async def found(estate: Estate, version: str, owner: Client, *members: Client) -> Community:
    community = estate.declare(
        "ahead",
        room_version=version,
        name="Ahead",
        owners=[owner.user_id],
        members=[member.user_id for member in members],
        groups={},
    )
    for person in (owner, *members):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, *members)
    return community


async def test_whoever_comes_and_every_new_phone_has_the_key_before_anything_is_said(
    estate: Estate, folk: People, room_version: str
) -> None:
    owner, homer, marge = await folk.js("owner", cross_sign=True), await folk.nio("homer"), await folk.js("marge")
    community = await found(estate, room_version, owner, homer, marge)
    room = community.announcements
    for person in (owner, homer, marge):
        await person.wait_to_device(key_of(room))
    phone = await folk.nio(account=homer.account, new_device=True)
    await phone.wait_to_device(key_of(room))

    async def all_of_them() -> bool:
        keys = (await community.status())["keys"]
        return bool(keys["devices"] == 4 and keys["people"] == 3 and keys["unreached"] == 0 and not keys["withheld"])

    await eventually(all_of_them, what="status to count four devices of three people")
    mark = len(estate.asked.heard)
    await community.announce("Everybody has the key already")
    asked = [one.path for one in estate.asked.heard[mark:]]
    assert not [path for path in asked if "sendToDevice" in path or "keys/claim" in path]
    for client in (owner, homer, marge, phone):
        assert (await client.wait_text(room, "Everybody has the key already")).decrypted


async def test_after_a_leave_a_new_key_is_there_before_anything_is_said(
    estate: Estate, folk: People, room_version: str
) -> None:
    owner, homer, marge = await folk.js("owner", cross_sign=True), await folk.nio("homer"), await folk.nio("marge")
    community = await found(estate, room_version, owner, homer, marge)
    room = community.announcements
    await community.announce("first")
    first = (await homer.wait_text(room, "first")).session_id
    await marge.leave(community.space)
    await community.gone(marge)

    def another_key() -> bool:
        sessions = {
            event.plaintext["content"]["session_id"]
            for event in homer.to_device
            if event.plaintext is not None and key_of(room)(event)
        }
        return bool(sessions - {first})

    await eventually(another_key, 40, "the key of a new session")
    event_id = await community.announce("second")
    assert (await homer.wait_text(room, "second")).session_id != first
    assert await marge.try_decrypt(room, await owner.event(room, event_id)) is None
