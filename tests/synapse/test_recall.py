"""What was announced, read back from a real homeserver with the announcer's own keys."""

from __future__ import annotations

from bridge.core.ids import EventId, RoomId
from bridge.matrix.client import path
from bridge.matrix.recall import Recall
from tests.harness.announcer import ANNOUNCER, Stage
from tests.harness.people import People


async def test_a_message_is_read_as_clients_show_it(stage: Stage, crowd: People, room_version: str) -> None:
    room: RoomId = await stage.create_room(version=room_version)
    ann = await crowd.nio("ann")
    await stage.change(room, "invite", ann.user_id)
    await ann.join(room)
    recall = Recall(stage.client, stage.keys, ANNOUNCER)
    said, _ = await stage.say(room, "School is closed")
    event_id = EventId(said)
    for _ in range(2):
        content = await recall.content(room, event_id)
        assert content is not None
        assert content["body"] == "School is closed"
    newer = {"msgtype": "m.text", "body": "School is open", "m.mentions": {}}
    relation = {"rel_type": "m.replace", "event_id": event_id}
    edit = {**newer, "body": "* School is open", "m.new_content": newer, "m.relates_to": relation}
    await stage.sender.send(room, edit, txn_id="edit")
    content = await recall.content(room, event_id)
    assert content is not None
    assert content["body"] == "School is open"
    redaction = path("v3", "rooms", room, "redact", event_id, "withdrawn")
    await stage.client.request("PUT", redaction, as_user=ANNOUNCER, body={})
    assert await recall.content(room, event_id) is None
    assert await recall.content(room, EventId("$nonsense")) is None
