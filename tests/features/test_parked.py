"""What was given up: shown with room and reason, tried again, or forgotten."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.app.house import House
from bridge.app.operations import Operations
from bridge.core.announcements import Target
from bridge.core.community import CONTROL, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId
from bridge.core.messages import SendMessage, notice
from bridge.store.inbox import Arrival, Inbox
from bridge.store.rooms import Place
from tests.fakes.scene import Scene

CHAT, ROOM = RoomId("!chat:example.org"), RoomId("!control:example.org")


@pytest.fixture
async def given_up(scene: Scene) -> Any:
    """Two jobs and an event that were given up; `woken` says who was told to look again."""
    woken: list[str] = []
    inbox = Inbox(scene.database)
    scene.index.places[ROOM] = Place(CommunityId("school"), CONTROL, RoomKind.CONTROL)
    house = SimpleNamespace(
        inbox=inbox,
        newsroom=SimpleNamespace(announcements=scene.announcements, dropped=scene.announcements.dropped),
        jobs=scene.jobs,
        index=scene.index,
        clock=scene.clock,
        worker=SimpleNamespace(wake=lambda: woken.append("worker")),
        rescan=lambda: woken.append("pump"),
    )
    async with scene.database.transaction() as tx:
        await scene.jobs.add(tx, "one", ROOM, SendMessage(ROOM, notice("hello")), 1)
        await scene.jobs.add(tx, "two", CHAT, SendMessage(CHAT, notice("hello")), 2)
        await tx.execute("UPDATE job SET kind = 'of_the_future.1' WHERE id = 'two'")
    for name in ("one", "two"):
        await scene.jobs.park(name, f"{name} failed")
    await inbox.store([Arrival(EventId("$event"), CHAT, b"{}")], 3)
    [held] = await inbox.after(0, 10)
    await inbox.park(held.seq, "nobody understands it", 3)
    return SimpleNamespace(operations=Operations(cast(House, house)), woken=woken, inbox=inbox)


async def test_it_is_shown_with_room_and_reason(given_up: Any) -> None:
    found = await given_up.operations.parked()
    assert found == {
        "parked": [
            {
                "id": "$event", "kind": "event", "since": 3, "why": "nobody understands it",
                "room_id": CHAT, "room": None,
            },
            {"id": "two", "kind": "of_the_future", "since": 2, "why": "two failed", "room_id": None, "room": None},
            {
                "id": "one", "kind": "send_message", "since": 1, "why": "one failed",
                "room_id": ROOM, "room": "school/control",
            },
        ],
        "released": [],
        "dropped": [],
    }  # fmt: skip


async def test_one_is_tried_again(given_up: Any, scene: Scene) -> None:
    found = await given_up.operations.parked(release="one")
    assert found["released"] == ["one"]
    assert [one["id"] for one in found["parked"]] == ["$event", "two"]
    assert given_up.woken == ["worker"]
    assert await scene.jobs.waiting() == 1


async def test_everything_is_tried_again(given_up: Any, scene: Scene) -> None:
    found = await given_up.operations.parked(release="all")
    assert found["released"] == ["$event", "two", "one"]
    assert found["parked"] == []
    assert set(given_up.woken) == {"worker", "pump"}
    assert (await scene.jobs.waiting(), await given_up.inbox.waiting()) == (2, 1)
    assert (await given_up.operations.parked(release="all"))["released"] == []


async def test_one_is_forgotten_and_an_event_does_not_come_again(given_up: Any, scene: Scene) -> None:
    for name in ("two", "$event"):
        assert (await given_up.operations.parked(drop=name))["dropped"] == [name]
    assert await scene.jobs.find("two") is None
    assert await given_up.inbox.store([Arrival(EventId("$event"), CHAT, b"{}")], 4) == 0
    assert [one["id"] for one in (await given_up.operations.parked())["parked"]] == ["one"]


async def test_the_text_of_a_forgotten_announcement_is_forgotten(given_up: Any, scene: Scene) -> None:
    async def texts() -> list[str]:
        async with scene.database.transaction() as tx:
            return [row["content"] for row in await tx.fetch("SELECT content FROM announcement")]

    targets = [Target(CommunityId(name), RoomId(f"!{name}:example.org")) for name in ("school", "club")]
    parts = [{"msgtype": "m.text", "body": "a text"}]
    taken = await scene.announcements.publish(source="$one", author="operator", parts=parts, targets=targets)
    ids = [target.job_of(taken) for target in targets]
    for job_id in ids:
        await scene.jobs.park(job_id, "why")
    await given_up.operations.parked(drop=ids[0])
    assert ["a text" in text for text in await texts()] == [True]
    await given_up.operations.parked(drop=ids[1])
    assert await texts() == [""]


@pytest.mark.parametrize("how", ["release", "drop"])
async def test_what_was_not_given_up_is_refused(given_up: Any, scene: Scene, how: str) -> None:
    async with scene.database.transaction() as tx:
        await scene.jobs.add(tx, "well", ROOM, SendMessage(ROOM, notice("hello")), 1)
    for name in ("well", "nothing"):
        with pytest.raises(Refused, match=name):
            await given_up.operations.parked(**{how: name})
    assert await scene.jobs.find("well") is not None
