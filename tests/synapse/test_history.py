"""Past announcements for whoever comes later: a real homeserver, and clients whose cryptography is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bridge.cli.demo.person import Client
from tests.harness.community import Community, Estate
from tests.harness.js_person import JsPerson
from tests.harness.people import People
from tests.harness.wait import eventually
from tests.synapse.conftest import School


async def announced(community: Community, texts: Iterable[str]) -> list[str]:
    return [await community.announce(text) for text in texts]


async def posted(admin: JsPerson, community: Community, texts: Iterable[str]) -> list[str]:
    return [await admin.send(community.announcements, text) for text in texts]


async def reads(person: Client, room_id: str, events: Iterable[str], texts: Iterable[str]) -> None:
    """Wait until a person reads all of these events, none with a red shield."""
    wanted = dict(zip(events, texts, strict=True))

    async def all_of_them() -> bool:
        await person.read_history(room_id)
        found = {one.event_id: one for one in person.messages(room_id) if one.event_id in wanted}
        return found.keys() == wanted.keys()

    await eventually(all_of_them, 40, interval=0.5, what=f"{person.user_id} to read {len(wanted)} past messages")
    for message in person.messages(room_id):
        if message.event_id in wanted:
            assert message.decrypted
            assert message.text == wanted[message.event_id]
            assert message.shield != "red"


async def test_a_newcomer_reads_what_was_announced_before(estate: Estate, folk: People, school: School) -> None:
    texts = [f"number {number}" for number in range(10)]
    ours = await announced(school.community, texts)
    theirs = await posted(school.admin, school.community, texts)
    await estate.taken_in(theirs[-1])
    js, nio = await asyncio.gather(folk.js("lisa", cross_sign=True), folk.nio("bart"))
    await school.community.admit(js, nio)
    room = school.community.announcements
    await asyncio.gather(reads(js, room, ours, texts), reads(js, room, theirs, texts), reads(nio, room, ours, texts))
