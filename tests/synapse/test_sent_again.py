"""A message that is sent again, a day later or by another device, is in its room once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from bridge.core.ids import DeviceId, RoomId
from bridge.matrix import own_posts, sender
from bridge.matrix.client import path
from bridge.store import sendings
from tests.harness.announcer import ANNOUNCER, Stage
from tests.harness.people import People


async def a_day_passes(synapse: PrivateSynapse) -> None:
    """Synapse forgets the transaction ids of a day ago, and at a restart what it answered."""
    await synapse.stop()
    with closing(sqlite3.connect(synapse.folder / "homeserver.db")) as database, database:
        assert database.execute("DELETE FROM event_txn_id_device_id").rowcount > 0
    await synapse.start()


async def test_a_message_is_once_in_its_room_whenever_and_from_whatever_device_it_is_sent_again(
    own_stage: Stage, own_crowd: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = own_stage
    monkeypatch.setattr(own_posts, "PAGE_EVENTS", 2)  # so that there are several pages
    reader = await own_crowd.nio("reader")
    room = await stage.create_room()
    await stage.change(room, "invite", reader.user_id)
    await reader.join(room)

    async def again(text: str) -> str:
        event_id, _ = await stage.say(room, text, txn_id=f"of {text}")
        return event_id

    async def lies_there(*texts: str) -> list[int]:
        """How often each text is read by somebody who has read everything."""
        last, _ = await stage.say(room, f"behind {texts}")
        await reader.wait_event(room, lambda event: event["event_id"] == last)
        await reader.wait_text(room, f"behind {texts}")
        assert reader.undecryptable(room) == []
        return [[one.text for one in reader.messages(room)].count(text) for text in texts]

    first = {text: await again(text) for text in ("late", "too late", "redacted", "other device")}
    await stage.client.request(
        "PUT", path("v3", "rooms", room, "redact", first["redacted"], "redaction"), as_user=ANNOUNCER, body={}
    )
    for number in range(4):
        await stage.say(room, f"more {number}")
    await a_day_passes(stage.homeserver)
    assert await again("too late") != first["too late"], "the homeserver knew it again, so this test shows nothing"

    stage.clock.ahead_ms = sender.REMEMBERED_MS
    assert await again("late") == first["late"]
    assert await again("redacted") == first["redacted"]
    stage.clock.ahead_ms = 0
    await stage.keys.rotate()
    assert await again("other device") == first["other device"]

    await noted_and_never_sent(stage, room, "of never sent")
    assert await again("never sent") == await again("never sent")
    assert await lies_there("late", "too late", "other device", "never sent") == [1, 2, 1, 1]


async def noted_and_never_sent(stage: Stage, room: RoomId, txn_id: str) -> None:
    """As after a kill before the request; or the homeserver was put back to before it."""
    async with stage.database.transaction() as tx:
        device_id, now = DeviceId("BEFORE"), stage.clock.now_ms()
        await sendings.note(tx, room, txn_id, device_id=device_id, seal="none", devices=1, now=now)
