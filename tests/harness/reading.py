"""What somebody reads of a room's past, and what they do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.cli.demo.person import Client
from tests.harness.community import Estate
from tests.harness.wait import eventually

EVENTS = 1_000
"""How far back is looked: comings and goings count, too."""


async def reads(person: Client, room_id: str, texts: Mapping[str, str]) -> None:
    """Wait until a person reads these events (by id), none with a red shield."""

    async def every_one() -> bool:
        await person.read_history(room_id, EVENTS)
        return texts.keys() <= {message.event_id for message in person.messages(room_id)}

    await eventually(every_one, 40, interval=0.5, what=f"{person.user_id} to read {len(texts)} past messages")
    for message in person.messages(room_id):
        if message.event_id in texts:
            assert message.decrypted
            assert message.text == texts[message.event_id]
            assert message.shield != "red"


async def does_not_read(person: Client, room_id: str, estate: Estate, events: Iterable[str]) -> None:
    """See that a person has no key for these events (ids)."""
    for event_id in events:
        raw = await estate.as_service("GET", "rooms", room_id, "event", event_id)
        assert await person.try_decrypt(room_id, raw) is None
