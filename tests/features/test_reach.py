"""How far announcements came: counted once, by who is there, and in the order of the room."""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.app.reaching import ReachDesk
from bridge.core import charts
from bridge.core.announcements import Target
from bridge.core.community import Community, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN
from bridge.core.markup import plain
from bridge.core.messages import Posted, Receipt, Redacted, SendFigures
from bridge.core.reach import Figures, as_table
from bridge.core.rendering import render
from bridge.features.reach import Reach
from bridge.intake.interest import Interest
from bridge.intake.receipts import receipts_of
from bridge.plan.state import Membership, RoomState, StateEvent
from tests.fakes.homeserver import ANNOUNCER, STEWARD
from tests.fakes.scene import ACCOUNTS, Scene

SCHOOL, ROOM = CommunityId("school"), RoomId("!school:example.org")
ANN, BEA, CID, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "eve"))


class Ground:
    """An announcement room with an admin and two members, and somebody who is invited."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.order: list[EventId] = []
        self.members = {user: Membership("join") for user in (ANN, BEA, CID, ANNOUNCER, STEWARD)}
        self.members[EVE] = Membership("invite")
        self.known = True
        self.reach = Reach(
            database=scene.database,
            positions=self.positions,
            reader=self,  # type: ignore[arg-type]
            accounts=ACCOUNTS,
            clock=scene.clock,
        )

    async def positions(self, event_ids: Collection[EventId]) -> Mapping[EventId, int]:
        return {one: self.order.index(one) + 1 for one in event_ids if one in self.order}

    def peek(self, room_id: RoomId) -> RoomState | None:
        levels = StateEvent({"users": {ANN: 100}, "redact": 50}, "", EventId(""))
        state = {("m.room.power_levels", ""): levels}
        return RoomState(room_id, "11", frozenset(), state, self.members) if self.known else None

    async def read(self, room_id: RoomId) -> RoomState:
        self.known = True
        found = self.peek(room_id)
        assert found is not None
        return found

    async def announce(self, source: str) -> EventId:
        target = Target(SCHOOL, ROOM)
        taken = await self.scene.announcements.publish(
            source=source, author="operator", parts=[render(source)], targets=[target]
        )
        await self.scene.do_jobs()
        [copy] = await self.scene.announcements.copies_of(taken)
        assert copy.event_id is not None
        await self.post(copy.event_id, ANNOUNCER)
        return copy.event_id

    async def post(self, event_id: EventId, sender: UserId, kind: str = "m.room.encrypted", **more: Any) -> None:
        self.order.append(event_id)
        short = kind == "m.reaction"
        await self.reach.posted(
            Posted(event_id, ROOM, sender, self.scene.clock.now, kind, short_reaction=short, **more)
        )

    async def react(self, user: UserId, to: EventId, key: str = "👍") -> EventId:
        event_id = EventId(f"$reaction-{len(self.order)}")
        await self.post(event_id, user, "m.reaction", relation="m.annotation", to=to, key=key)
        return event_id

    async def redact(self, by: UserId, event_id: EventId) -> None:
        await self.reach.redacted(Redacted(EventId("$r"), ROOM, by, self.scene.clock.now, event_id))

    async def seen(self, user: UserId, *event_ids: EventId) -> None:
        await self.reach.read([Receipt(ROOM, user, event_id) for event_id in event_ids])

    async def readers(self) -> list[tuple[UserId, ...]]:
        """Of each announcement, the oldest first."""
        return [one.readers for one in reversed(await self.reach.latest(SCHOOL, 10, names=True))]


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_a_receipt_counts_for_what_it_is_at_and_all_before(ground: Ground) -> None:
    one, two = await ground.announce("one"), await ground.announce("two")
    assert await ground.readers() == [(), ()]
    await ground.seen(BEA, one)
    assert await ground.readers() == [(BEA,), ()]
    await ground.seen(CID, two, one)
    await ground.seen(BEA, one)
    assert await ground.readers() == [(BEA, CID), (CID,)]
    later = EventId("$later")
    ground.order.append(later)  # nothing that is announced: somebody joined
    await ground.seen(BEA, later)
    assert await ground.readers() == [(BEA, CID), (BEA, CID)]
    await ground.seen(BEA, one)
    assert await ground.readers() == [(BEA, CID), (BEA, CID)], "nobody goes back"
    counts = [(one.read, one.readers) for one in await ground.reach.latest(SCHOOL, 10)]
    assert counts == [(2, ()), (2, ())], "names are another question"


async def test_a_receipt_may_be_here_before_its_event(ground: Ground) -> None:
    one = await ground.announce("one")
    early = EventId("$early")
    await ground.seen(BEA, one)
    await ground.seen(BEA, early)
    await ground.seen(CID, EventId("$never-seen"))
    assert await ground.readers() == [(BEA,)], "what is at an event that nobody knows counts for nothing"
    ground.order.append(early)
    two = await ground.announce("two")
    await ground.seen(CID, two)
    assert await ground.readers() == [(BEA, CID), (CID,)]


async def test_only_who_is_there_counts(ground: Ground) -> None:
    one = await ground.announce("one")
    ours = {"type": "m.receipt", "room_id": ROOM, "content": {one: {"m.read": {ANNOUNCER: {"ts": 1}, BEA: {}}}}}
    await ground.reach.read(receipts_of([ours], Rooms(), (STEWARD, ANNOUNCER)))
    await ground.seen(UserId("@stranger:elsewhere.org"), one)
    await ground.react(UserId("@stranger:elsewhere.org"), one)
    await ground.react(ANNOUNCER, one, "✅")
    figures = (await ground.reach.latest(SCHOOL, 1, names=True))[0]
    assert (figures.invited, figures.joined, figures.readers, figures.reacted) == (1, 3, (BEA,), 0)
    async with ground.scene.database.transaction() as tx:
        assert int(await tx.fetch_value("SELECT COUNT(*) FROM receipt")) == 1, "strangers cannot fill the table"
    del ground.members[BEA]
    assert await ground.readers() == [()]


async def test_reactions_are_counted_once_for_each_person_and_can_be_taken_back(ground: Ground) -> None:
    one = await ground.announce("one")
    first = await ground.react(BEA, one, "❤️")
    second = await ground.react(BEA, one, "❤")
    await ground.react(CID, one, "👍")
    [figures] = await ground.reach.latest(SCHOOL, 1, names=True)
    assert figures.reactions == {"❤": 1, "👍": 1}
    assert (figures.reacted, figures.readers) == (2, (BEA, CID)), "who reacts has seen it"
    await ground.redact(CID, first)
    await ground.redact(BEA, second)
    [figures] = await ground.reach.latest(SCHOOL, 1, names=True)
    assert figures.reactions == {"❤": 1, "👍": 1}, "nobody takes back what others gave, and one of two stands"
    await ground.redact(ANN, first)
    await ground.post(first, BEA, "m.reaction", relation="m.annotation", to=one, key="❤")
    [figures] = await ground.reach.latest(SCHOOL, 1, names=True)
    assert figures.reactions == {"👍": 1}, "the same event again changes nothing"


async def test_it_is_forgotten_behind_the_window(ground: Ground) -> None:
    one = await ground.announce("one")
    await ground.seen(BEA, one)
    await ground.react(CID, one)
    await ground.reach.forget_before(ground.scene.clock.now)
    assert await ground.readers() == [(BEA, CID)]
    await ground.reach.forget_before(ground.scene.clock.now + 1)
    [figures] = await ground.reach.latest(SCHOOL, 1, names=True)
    assert (figures.read, figures.reacted, figures.reactions) == (None, None, {}), "unknown is not nobody"


# --- who is told what -----------------------------------------------------------------------------------------------


async def test_names_are_told_where_the_community_allows_it_and_files_to_admins_alone(ground: Ground) -> None:
    scene, chat = ground.scene, RoomId("!chat:example.org")
    roles: dict[UserId, Role] = {ANN: Role.ADMIN}

    async def right_of(_: CommunityId, by: UserId | None) -> Callable[[Any], bool]:
        return lambda _: by is None or by in roles

    async def name_of(_: CommunityId) -> str:
        return "Springfield School"

    class Nobody:
        async def standing(self, *_: Any) -> None:
            return None

    desk = ReachDesk(
        reach=ground.reach,
        acknowledgements=Nobody(),  # type: ignore[arg-type]
        announcements=scene.announcements,
        right_of=right_of,
        name_of=name_of,
        zone_of=lambda *_: UTC,
        messenger=scene.messenger,
        database=scene.database,
        jobs=scene.jobs,
        wake=lambda: None,
        clock=scene.clock,
    )
    scene.others[SendFigures] = desk.send
    one = await ground.announce("one")
    await ground.seen(BEA, one)
    await ground.react(CID, one)
    quiet, open_ = Community(SCHOOL), Community(SCHOOL, reach_names=True)
    asked = {"announcement": "#1", "room": chat, "source": "$1"}
    answer = await desk.reach(quiet, ANN, asked, EN)
    assert "read: 2 of 3" in "".join(map(plain, answer["said"]))
    assert BEA not in repr(answer)
    answer = await desk.reach(open_, ANN, {"reply_to": one, "room": chat, "source": "$1"}, EN)
    assert f"read by: {BEA}, {CID}" in "".join(map(plain, answer["said"]))
    for nothing in ("#2", "nonsense", "https://matrix.to/#/!a:x/$b"):
        with pytest.raises(Refused, match="there is no announcement"):
            await desk.reach(quiet, ANN, {"announcement": nothing}, EN)
    with pytest.raises(Refused, match="nobody was asked"):
        await desk.acknowledgement(quiet, ANN, {"announcement": "1"}, EN)
    with pytest.raises(Refused, match="which announcement"):
        await desk.acknowledgement(quiet, ANN, {}, EN)

    operator = await desk.reach(quiet, None, {}, EN)
    assert operator["csv"].count("\r\n") == 2
    assert operator["svg"].startswith("<svg ")
    assert plain(operator["said"][0]).startswith("How far announcements came in Springfield School:")
    assert BEA not in repr(operator), "nor is the operator told names"

    for source, file in (("$2", False), ("$2", False), ("$3", True)):
        await desk.reach(quiet, ANN, {"room": chat, "source": source, "file": file}, EN)
    await scene.do_jobs()
    assert scene.messenger.said(chat) == ["reach-school.png", "reach-school.csv"], "the same message is one file"
    await desk.reach(quiet, ANN, {"room": chat, "source": "$4"}, EN)
    roles.clear()
    await scene.do_jobs()
    assert len(scene.messenger.said(chat)) == 2, "who is no admin any more is sent nothing"


# --- what other homeservers send ------------------------------------------------------------------------------------


class Rooms:
    def interest(self, room_id: RoomId) -> Interest | None:
        return {ROOM: Interest.ANNOUNCEMENTS, RoomId("!group:x"): Interest.GROUP}.get(room_id)

    def is_voting(self, room_id: RoomId) -> bool:
        return False


def test_receipts_of_announcement_rooms_alone_are_kept() -> None:
    content = {"$a": {"m.read": {BEA: {"ts": 1, "thread_id": "main"}}, "m.read.private": {CID: {"ts": 1}}}}
    edus = [
        {"type": "m.receipt", "room_id": ROOM, "content": content},
        {"type": "m.receipt", "room_id": "!group:x", "content": content},
        {"type": "m.receipt", "room_id": "!other:x", "content": content},
        {"type": "m.typing", "room_id": ROOM, "content": {"user_ids": [BEA]}},
        {"type": "m.presence", "sender": BEA, "content": {"presence": "online"}},
    ]
    assert receipts_of(edus, Rooms(), (STEWARD, ANNOUNCER)) == [Receipt(ROOM, BEA, EventId("$a"))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["m.read", "@a:x", "$e", "\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["m.read", "@a:x", "@a", "$e", "$\0", "\ud800", "x" * 300]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_is_sent_as_a_receipt_is_read_or_left_out(content: Any) -> None:
    for one in receipts_of([content, {"type": "m.receipt", "room_id": ROOM, "content": content}], Rooms(), ()):
        assert one == Receipt(ROOM, UserId("@a:x"), EventId("$e"))


# --- tables and pictures --------------------------------------------------------------------------------------------


def test_the_table_is_no_formula_and_names_no_reader() -> None:
    one = Figures(3, 0, "operator", False, 1, 5, 5, None, 2, 1, {"=1+1": 1}, (BEA,), {"=1+1": (BEA,)})
    head, row = as_table([one]).splitlines()
    assert head.startswith("number,sent,by,invited,joined")
    assert row == "3,1970-01-01 00:00 UTC,operator,1,5,5,,2,1,'=1+1 1"
    assert "read_by" not in one.as_json(names=False)
    assert one.as_json(names=True)["read_by"] == [BEA]


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 9999)), max_size=40))
def test_both_pictures_show_the_same(bars: list[tuple[int, int, int]]) -> None:
    width, height = charts.size_of(bars)
    png = charts.as_png(bars)
    assert png[16:24] == width.to_bytes(4, "big") + height.to_bytes(4, "big")
    start = png.index(b"IDAT")
    length = int.from_bytes(png[start - 4 : start], "big")
    rows = zlib.decompress(png[start + 4 : start + 4 + length])
    pixels = [rows[at + 1 : at + 1 + width] for at in range(0, len(rows), width + 1)]
    assert len(pixels) == height
    drawn = ET.fromstring(charts.as_svg(bars, 'a <title> & "more"', "x"))
    assert drawn[0].text == 'a <title> & "more"'
    colours = ["#ffffff", *(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in charts.COLOURS)]
    canvas = [bytearray(width) for _ in range(height)]
    for rectangle in drawn[3:]:
        left, top, wide, high = (int(rectangle.attrib[name]) for name in ("x", "y", "width", "height"))
        for row in canvas[top : top + high]:
            row[left : left + wide] = bytes([colours.index(rectangle.attrib["fill"])]) * wide
    assert [bytes(row) for row in canvas] == pixels
