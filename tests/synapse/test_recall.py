"""What was announced, read back from a real homeserver with the announcer's own keys."""

from __future__ import annotations

from bridge.core.afterwards import replacement
from bridge.core.ids import EventId, RoomId
from bridge.matrix.client import path
from bridge.matrix.posts import Posts
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


async def test_edits_are_found_and_redacted_in_a_chat_in_which_the_steward_is_not(stage: Stage, crowd: People) -> None:
    ann = await crowd.nio("ann")
    room = RoomId(await ann.create_dm(ANNOUNCER))
    await stage.client.request("POST", path("v3", "join", room), as_user=ANNOUNCER, body={})
    posts = Posts(stage.client, ANNOUNCER)
    event_id = EventId((await stage.say(room, "School is closed", txn_id="delivery"))[0])
    edits = []
    for number in range(2):
        content = replacement(event_id, {"msgtype": "m.text", "body": f"School is open {number}", "m.mentions": {}})
        edits.append((await stage.sender.send(room, content, txn_id=f"edit{number}")).event_id)
    relation = {"rel_type": "m.replace", "event_id": event_id}
    await ann.send_raw(room, "m.room.encrypted", {"algorithm": "m.megolm.v1.aes-sha2", "m.relates_to": relation})
    # nobody knows whether it arrived: made again with nothing in it, it is the same event
    assert (await stage.say(room, "…", txn_id="delivery"))[0] == event_id
    found = await posts.edits_of(room, event_id, sender=ANNOUNCER, by_announcer=True)
    assert sorted(found) == sorted(edits), "and none of somebody else's"
    for _ in range(2):
        for gone in (*found, event_id):
            await posts.redact(room, gone, "withdrawn", txn_id=f"withdraw-{gone}", by_announcer=True)
    for gone in (*found, event_id):
        event = await ann.event(room, gone)
        assert event["content"] == {}
        assert event["unsigned"]["redacted_because"]["content"]["reason"] == "withdrawn"
    assert await posts.edits_of(room, event_id, sender=ANNOUNCER, by_announcer=True) == []
    assert await posts.edits_of(room, EventId("$nonsense"), sender=ANNOUNCER, by_announcer=True) == []
