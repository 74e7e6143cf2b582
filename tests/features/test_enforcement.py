"""The third line in announcement rooms: who was entitled, when it was sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.core.community import GENERAL, Community, Group, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from tests.fakes.homeserver import ANNOUNCER, STEWARD, FakeRoom
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan"))
CHESS = RoomKeyName("chess")
SCHOOL = Community(
    CommunityId("school"),
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID, DAN}),
    groups=(Group(CHESS, RoomKind.OPEN, moderators=frozenset({CID})),),
)
LEVELS = "m.room.power_levels"


@pytest.fixture
async def settled(scene: Scene) -> Scene:
    await scene.settle(SCHOOL)
    return scene


async def post_while_open(scene: Scene, by: UserId, kind: str = "m.room.encrypted", **content: object) -> str:
    """Post while the threshold is open for a moment."""
    room = scene.announcement_room
    before = scene.levels(room)
    scene.homeserver.tamper(room.room_id, LEVELS, {**before, "events_default": 0}, by=STEWARD)
    event_id = await scene.post(by, room, kind, **content)
    return event_id


def is_there(room: FakeRoom, event_id: str) -> bool:
    [event] = [one for one in room.timeline if one["event_id"] == event_id]
    return "redacted_because" not in event.get("unsigned", {})


async def audit(scene: Scene) -> list[tuple[str, str, str]]:
    async with scene.database.transaction() as tx:
        rows = await tx.fetch("SELECT actor, what, detail FROM audit WHERE what = 'redacted' ORDER BY seq")
    return [(row["actor"], row["what"], row["detail"]) for row in rows]


@pytest.mark.parametrize("kind", ["m.room.encrypted", "m.room.message", "m.sticker", "m.poll.start", "org.example.any"])
async def test_a_members_post_is_redacted_recorded_and_told(settled: Scene, kind: str) -> None:
    room = settled.announcement_room
    event_id = await post_while_open(settled, DAN, kind)
    await settled.hear()
    await settled.do_jobs()
    assert not is_there(room, event_id)
    [(actor, _, detail)] = await audit(settled)
    assert actor == DAN
    assert event_id in detail
    told = [text for text in await settled.told() if "@dan:example.org" in text and "announcements" in text]
    assert len(told) == 1


async def test_the_same_event_again_is_redacted_once(settled: Scene) -> None:
    await post_while_open(settled, DAN)
    await settled.hear()
    settled._read -= 2  # the homeserver sends its last transaction once more
    await settled.hear()
    await settled.do_jobs()
    room = settled.announcement_room
    assert len([event for event in room.timeline if event["type"] == "m.room.redaction"]) == 1
    assert len(await audit(settled)) == 1


async def test_admins_and_owners_post_and_so_do_our_own_accounts(settled: Scene) -> None:
    room = settled.announcement_room
    events = [await settled.post(by, room) for by in (ANN, BEA, ANNOUNCER, STEWARD)]
    await settled.hear()
    await settled.do_jobs()
    assert all(is_there(room, event_id) for event_id in events)


async def test_a_moderator_of_a_group_is_nobody_here(settled: Scene) -> None:
    event_id = await post_while_open(settled, CID)
    await settled.hear()
    await settled.do_jobs()
    assert not is_there(settled.announcement_room, event_id)


async def test_what_counts_is_the_role_at_the_time_of_sending(settled: Scene) -> None:
    room = settled.announcement_room
    earlier = await settled.post(BEA, room)
    at = settled.homeserver.feed[-1]["origin_server_ts"]
    settled.clock.now = at + 1
    unheard, settled._read = settled._read, len(settled.homeserver.feed)
    await settled.apply(replace(SCHOOL, admins=frozenset[UserId](), members=frozenset({BEA, CID, DAN})))
    for event in settled.homeserver.feed[unheard:]:  # it reaches us only now
        await settled._hear(event)
    await settled.watch.idle()
    await settled.do_jobs()
    assert is_there(room, earlier)
    later = await post_while_open(settled, BEA)
    settled.homeserver.feed[-1]["origin_server_ts"] = at + 100
    await settled.hear()
    await settled.do_jobs()
    assert not is_there(room, later)


async def test_whoever_was_made_admin_meanwhile_keeps_their_post(settled: Scene) -> None:
    event_id = await post_while_open(settled, DAN)
    settled.clock.now += 1000
    unheard, settled._read = settled._read, len(settled.homeserver.feed)
    await settled.apply(replace(SCHOOL, admins=frozenset({BEA, DAN})))
    for event in settled.homeserver.feed[unheard:]:
        await settled._hear(event)
    await settled.watch.idle()
    await settled.do_jobs()
    assert is_there(settled.announcement_room, event_id)


@pytest.mark.parametrize(
    ("key", "stays"), [("👍", True), ("x" * 32, True), ("x" * 33, False), ("a long text " * 20, False)]
)
async def test_reactions_are_short(settled: Scene, key: str, stays: bool) -> None:
    room = settled.announcement_room
    relation = {"rel_type": "m.annotation", "event_id": "$x", "key": key}
    event_id = await settled.post(DAN, room, "m.reaction", **{"m.relates_to": relation})
    await settled.hear()
    await settled.do_jobs()
    assert is_there(room, event_id) is stays


async def test_an_admin_may_react_as_they_like(settled: Scene) -> None:
    room = settled.announcement_room
    relation = {"rel_type": "m.annotation", "event_id": "$x", "key": "x" * 100}
    event_id = await settled.post(BEA, room, "m.reaction", **{"m.relates_to": relation})
    await settled.hear()
    await settled.do_jobs()
    assert is_there(room, event_id)


async def test_groups_are_left_to_their_members(settled: Scene) -> None:
    await settled.join(DAN, settled.room(CHESS))
    events = [await settled.post(DAN, settled.room(key)) for key in (GENERAL, CHESS)]
    await settled.hear()
    await settled.do_jobs()
    assert is_there(settled.room(GENERAL), events[0])
    assert is_there(settled.room(CHESS), events[1])


async def test_state_that_got_in_while_a_threshold_was_open_is_redacted(settled: Scene) -> None:
    room = settled.announcement_room
    open_levels = {**settled.levels(room), "state_default": 0}
    settled.homeserver.tamper(room.room_id, LEVELS, open_levels, by=STEWARD)
    event_id = await settled.write(DAN, room, "org.example.widget", {"url": "https://evil.example"})
    allowed = await settled.write(BEA, room, "m.room.pinned_events", {"pinned": []})
    await settled.hear()
    await settled.do_jobs()
    assert not is_there(room, event_id)
    assert room.content("org.example.widget") == {}
    assert is_there(room, allowed)
    assert room.needed("org.example.widget", state=True) == 200


async def test_a_moderators_pin_stays_in_their_group_and_a_members_does_not(settled: Scene) -> None:
    room = settled.room(CHESS)
    for user in (CID, DAN):
        await settled.join(user, room)
    await settled.hear()
    levels = settled.levels(room)
    open_levels = {**levels, "events": {**levels["events"], "m.room.pinned_events": 0}}
    settled.homeserver.tamper(room.room_id, LEVELS, open_levels, by=STEWARD)
    moderators = await settled.write(CID, room, "m.room.pinned_events", {"pinned": ["$a"]})
    members = await settled.write(DAN, room, "m.room.pinned_events", {"pinned": ["$b"]})
    await settled.hear()
    await settled.do_jobs()
    assert is_there(room, moderators)
    assert not is_there(room, members)


async def open_pins(scene: Scene, room: FakeRoom) -> None:
    levels = scene.levels(room)
    open_levels = {**levels, "events": {**levels["events"], "m.room.pinned_events": 0}}
    scene.homeserver.tamper(room.room_id, LEVELS, open_levels, by=STEWARD)


async def test_what_a_member_wrote_over_is_put_back(settled: Scene) -> None:
    """Pins belong to admins: a member who writes over them takes them from everybody."""
    room = settled.announcement_room
    await settled.write(BEA, room, "m.room.pinned_events", {"pinned": ["$a"]})
    await settled.hear()
    await open_pins(settled, room)
    taken_back = [await settled.write(DAN, room, "m.room.pinned_events", {"pinned": pins}) for pins in ([], ["$spam"])]
    await settled.hear()
    for _ in range(2):
        await settled.do_jobs()
        await settled.hear()
    assert room.content("m.room.pinned_events") == {"pinned": ["$a"]}
    assert not any(is_there(room, event_id) for event_id in taken_back)
    assert len(await audit(settled)) == 2


async def test_what_an_admin_wrote_meanwhile_stays(settled: Scene) -> None:
    room = settled.announcement_room
    await settled.write(BEA, room, "m.room.pinned_events", {"pinned": ["$a"]})
    await open_pins(settled, room)
    spam = await settled.write(DAN, room, "m.room.pinned_events", {"pinned": ["$spam"]})
    await settled.write(ANN, room, "m.room.pinned_events", {"pinned": ["$b"]})
    await settled.hear()
    await settled.do_jobs()
    assert room.content("m.room.pinned_events") == {"pinned": ["$b"]}
    assert not is_there(room, spam)
