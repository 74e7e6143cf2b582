"""A person is erased from a database that came about by use, and nothing that is at hand brings them back."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from bridge.app.about_people import AboutPeople
from bridge.app.about_person import AboutPerson
from bridge.core.announcements import Target
from bridge.core.community import Community, Group, Join, Role, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.rendering import render
from bridge.e2ee.keys import Keys
from bridge.features import erasure
from bridge.features.conversations import Conversations
from bridge.features.entering import Terms
from bridge.features.erasure import Erasure
from bridge.store.database import Database
from bridge.store.erasure import ERASED, Way
from bridge.store.inbox import Arrival, Inbox
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER
from tests.fakes.scene import ACCOUNTS, Scene
from tests.harness.key_world import KeyWorld, say

ANN, BEA, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "eve"))
CHESS = RoomKeyName("chess")
CLUB = Community(
    CommunityId("school"), name="Club", join=Join.REQUEST, welcome="Hello!", groups=(Group(CHESS, RoomKind.OPEN),)
)
ENCRYPTION = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}


def erasure_in(scene: Scene) -> Erasure:
    return Erasure(
        database=scene.database,
        index=scene.index,
        lock_of=scene.reconciler.lock_of,
        still=nullcontext,
        reload=scene.reconciler.memory.reload,
        read_groups=scene.reconciler.read_groups,
        forget=scene.enforcement.forget,
    )


async def come_in(scene: Scene) -> None:
    """Everybody who is invited accepts, until nothing is left to do."""
    for _ in range(3):
        scene.watch.look_again(CLUB.id)
        await scene.catch_up()
        await scene.accept_all()
    await scene.catch_up()


async def naming(database: Database, user: UserId) -> dict[str, list[str]]:
    """Every row of the database in which the id stands, by table."""
    found: dict[str, list[str]] = {}
    async with database.transaction() as tx:
        for table in await tx.fetch("SELECT name FROM sqlite_master WHERE type = 'table'"):
            for row in await tx.fetch(f"SELECT * FROM {table['name']}"):
                shown = repr(tuple(row))
                if re.search(rf"{re.escape(user)}(?![a-z.])", shown):
                    found.setdefault(table["name"], []).append(shown)
    return found


async def lived_in(scene: Scene, inbox: Inbox) -> RoomId:
    """A community in which bea did whatever leaves a trace: gives her chat with the announcer."""
    await scene.apply(CLUB)
    await scene.reconciler.memory.bid(CLUB.id, ANN)
    link, _ = await scene.entering.make(Terms(CLUB.id, "operator", groups=(CHESS,)))
    await scene.entering.use(link, BEA)
    await come_in(scene)
    for user, role in ((ANN, Role.OWNER), (BEA, Role.ADMIN)):
        await scene.members.give_role(CLUB, None, user, role)
    await scene.members.moderator(CLUB, ANN, CHESS, BEA, add=True)
    await come_in(scene)
    await scene.entering.revoke((await scene.entering.make(Terms(CLUB.id, BEA)))[0], BEA)
    await scene.entering.make(Terms(CLUB.id, BEA))
    await scene.groups.create(CLUB, BEA, "Go", RoomKind.OPEN, None)
    body: dict[str, Any] = {"preset": "private_chat", "invite": [ANNOUNCER], "initial_state": [ENCRYPTION]}
    chat = RoomId((await scene.do(BEA, "POST", "createRoom", **body))["room_id"])
    await scene.catch_up()
    target = Target(CLUB.id, scene.announcement_room.room_id)
    await scene.announcements.publish(
        source="$a", author=BEA, parts=[render("Hello")], targets=[target], reply_room=chat
    )
    await scene.do(EVE, "POST", "knock", scene.space.room_id, reason="@bea:example.org sends me")
    await scene.catch_up()
    conversations = Conversations(scene.database, scene.clock)
    await conversations.ask_to_confirm(chat, BEA, "remove school @eve:example.org", EventId("$c"))
    await conversations.ask_to_confirm(scene.control_room.room_id, ANN, f"remove school {BEA}", EventId("$d"))
    await conversations.first_today(BEA, EventId("$e"))
    events = [
        Arrival(EventId("$f"), chat, json.dumps({"sender": BEA, "type": "m.room.encrypted"}).encode()),
        Arrival(EventId("$g"), chat, json.dumps({"sender": ANN, "content": {"body": f"hi {BEA}"}}).encode()),
        Arrival(EventId("$h"), chat, json.dumps({"sender": EVE, "content": {"body": "hi"}}).encode()),
    ]
    await inbox.store(events, scene.clock.now)
    await inbox.park(1, f"nothing of {BEA} can be read", 3)
    await inbox.park(2, "cannot be read", 3)
    return chat


@pytest.mark.parametrize("version", ["11", "12"])
async def test_a_person_is_erased_from_all_that_came_about_by_use_and_does_not_come_back(
    new_scene: Any, version: str
) -> None:
    scene: Scene = await new_scene(version=version)
    inbox = Inbox(scene.database)
    chat = await lived_in(scene, inbox)
    await scene.members.remove(CLUB, ANN, BEA, "moved away", ban=False)
    await come_in(scene)
    before = await naming(scene.database, BEA)
    assert before.keys() >= {
        "announcement", "arrival", "audit", "entry", "inbox", "join_request", "link", "own_group", "pending_command",
        "role", "stranger",
    }  # fmt: skip
    erase = erasure_in(scene)
    shown = await erase.show(BEA)
    assert {found.table for found in shown} == before.keys(), "what is listed is what is there"
    theirs = await naming(scene.database, ANN)
    gone = await erase.erase(BEA)
    assert [(one.table, one.way) for one in gone] == [(one.table, one.way) for one in shown]
    assert await naming(scene.database, BEA) == {}
    assert await erase.show(BEA) == []
    assert (await naming(scene.database, ANN)).keys() >= theirs.keys() - {"pending_command", "inbox"}
    assert chat not in scene.index.chats
    assert [held.event_id for held in await inbox.after(0, 10)] == [EventId("$h")], "others are worked off"
    assert BEA not in (await scene.known()).roles
    # life goes on, now and after a restart, and nobody remembers her
    for _ in range(2):
        await scene.reconciler.memory.bid(CLUB.id, EVE)
        await come_in(scene)
        assert await naming(scene.database, BEA) == {}
        await scene.restart()
        scene.reconciler.declare([CLUB])
    async with scene.database.transaction() as tx:
        assert await tx.fetch_value("SELECT author FROM announcement") == ERASED
        assert await tx.fetch_value("SELECT made_by FROM own_group WHERE key = 'go'") == ERASED
    assert RoomKeyName("go") in (await scene.known()).rooms, "the group that she made goes on"


async def test_whoever_is_still_there_is_recorded_again_and_a_ban_is_not_touched(scene: Scene) -> None:
    inbox = Inbox(scene.database)
    await lived_in(scene, inbox)
    await inbox.forget([3])
    await scene.members.remove(CLUB, ANN, EVE, "", ban=True)
    await come_in(scene)
    erase = erasure_in(scene)
    await erase.erase(EVE)
    assert await naming(scene.database, EVE) == {}
    await come_in(scene)
    assert scene.space.membership(EVE) == "ban"
    await erase.erase(BEA)
    assert await naming(scene.database, BEA) == {}
    assert scene.space.membership(BEA) == "join", "rooms are not touched"


async def test_a_kill_leaves_all_or_nothing_and_the_next_try_does_the_rest(scene: Scene) -> None:
    inbox = Inbox(scene.database)
    await lived_in(scene, inbox)
    before = await naming(scene.database, BEA)
    for at in range(1, 30):
        scene.faults.arm(at)
        try:
            await erasure_in(scene).erase(BEA)
        except Crash:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([CLUB])
            left = await naming(scene.database, BEA)
            assert left in ({}, before)
        else:
            break
    scene.faults.arm(None)
    assert at > 2
    await erasure_in(scene).erase(BEA)
    assert await naming(scene.database, BEA) == {}


async def test_a_removal_that_is_under_way_is_not_lost(scene: Scene) -> None:
    await lived_in(scene, Inbox(scene.database))
    await scene.members.remove(CLUB, ANN, BEA, "", ban=True)
    found = await erasure_in(scene).erase(BEA)
    assert [one.table for one in found if one.way is Way.WAIT] == ["job"]
    assert [job.user for job in await scene.members.outstanding(CLUB.id)] == [BEA]
    await come_in(scene)
    assert scene.space.membership(BEA) == "ban"


async def test_the_operator_is_told_what_stands_in_the_way(scene: Scene) -> None:
    await lived_in(scene, Inbox(scene.database))
    parts = {"erasure": erasure_in(scene), "reconciler": scene.reconciler, "members": scene.members}
    house: Any = SimpleNamespace(**parts, accounts=ACCOUNTS)
    desk = AboutPerson(house, AboutPeople(house))
    shown = await desk.do("show", BEA)
    assert shown["standing"]["member_of"] == [CLUB.id]
    assert sum(shown["counts"].values()) == len(shown["records"])
    for user, why in ((ANN, "only owner of school"), (ANNOUNCER, "account of the service"), ("bea", "not a Matrix")):
        with pytest.raises(Refused, match=why):
            await desk.do("erase", user)
    scene.reconciler.declare([replace(CLUB, admins=frozenset({BEA}), fallback_owner=BEA)])
    with pytest.raises(Refused, match="configuration names") as refusal:
        await desk.do("erase", BEA)
    assert refusal.value.where == "communities.school.admins, communities.school.fallback_owner"
    scene.reconciler.declare([CLUB])
    await scene.members.remove(CLUB, ANN, BEA, "", ban=True)
    with pytest.raises(Refused, match="not done yet"):
        await desk.do("erase", BEA)
    await come_in(scene)
    erased = await desk.do("erase", BEA)
    assert erased["standing"]["banned_in"] == [CLUB.id]
    assert erased["left"] == {}
    assert await naming(scene.database, BEA) == {}


async def test_nothing_is_erased_while_rooms_are_worked_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived_in(scene, Inbox(scene.database))
    monkeypatch.setattr(erasure, "QUIET_SECONDS", 0.05)
    before = await naming(scene.database, BEA)
    async with scene.reconciler.lock_of(CLUB.id):
        with pytest.raises(Refused, match="worked on"):
            await erasure_in(scene).erase(BEA)
    assert await naming(scene.database, BEA) == before


async def test_who_left_and_is_erased_cannot_read_on(
    world: KeyWorld, keys: Keys, database: Database, scene: Scene
) -> None:
    """What ends a room key when somebody leaves is the record of who holds it, and that is erased."""
    (ann,), (bea,) = world.add(ANN, "A"), world.add(BEA, "B")
    assert bea.reads(await say(keys, "one")) == "one"
    world.leave(BEA)

    async def nothing(*_: Any) -> None:
        return None

    eraser = Erasure(
        database=database,
        index=scene.index,
        lock_of=scene.reconciler.lock_of,
        still=keys.still,
        reload=nothing,
        read_groups=nothing,
        forget=lambda _: None,
    )
    assert "crypto_olm_session" in {found.table for found in await eraser.erase(BEA)}
    assert await naming(database, BEA) == {}
    content = await say(keys, "two")
    assert ann.reads(content) == "two"
    assert bea.reads(content) is None
    world.join(BEA)  # and whoever comes back is a newcomer
    assert bea.reads(await say(keys, "three")) == "three"
