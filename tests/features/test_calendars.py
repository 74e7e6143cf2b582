"""Calendars: opened by owners alone, read by each member under an address of their own, and by nobody who has left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.core.community import ANNOUNCEMENTS, SPACE, Community, Role, RoomKind
from bridge.core.errors import CannotDecrypt, Forbidden, Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import MembershipChanged
from bridge.core.rank import People
from bridge.features.calendars import FRESH_MS, MOST_EVENTS, RECENT_MS, Address, Calendars
from bridge.store.rooms import Place
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene
from tests.features import test_events
from tests.features.test_events import ANN, BEA, BEGINS, CEM, DAY, EVE, HOUR, PARTY, ROOM, SCHOOL
from tests.harness.calendars import calendar_in, events_in

SPACE_ROOM = RoomId("!space:example.org")
DECLARED = Community(SCHOOL)
PEOPLE = People(DECLARED, {ANN: Role.OWNER, BEA: Role.ADMIN}, dict.fromkeys((ANN, BEA, CEM), "join"))


class Ground(test_events.Ground):
    """A community with events that can be read back; Ann is its owner, Bea an admin, Eve is not in it."""

    def __init__(self, scene: Scene) -> None:
        self.declared: Community | None = DECLARED
        self.asked = 0
        self.error: Exception | None = None
        super().__init__(scene)

    def begin(self) -> None:
        super().begin()
        self.scene.index.places[ROOM] = Place(SCHOOL, ANNOUNCEMENTS, RoomKind.ANNOUNCEMENTS)
        self.scene.index.places[SPACE_ROOM] = Place(SCHOOL, SPACE, RoomKind.SPACE)
        self.calendars = self.of("https://join.example.org")

    def of(self, url: str) -> Calendars:
        return Calendars(
            database=self.scene.database,
            index=self.scene.index,
            jobs=self.scene.jobs,
            wake=lambda: None,
            recall=self.recall,
            declared=lambda _: self.declared,
            people=self.people,
            is_member=self.is_member,
            name_of=self.name_of,
            clock=self.scene.clock,
            secret=b"secret",
            url=url,
            domain="example.org",
        )

    async def name_of(self, _: CommunityId) -> str:
        """As its people call it; the file does not name it."""
        return "School"

    async def people(self, _: Community) -> People:
        return PEOPLE

    async def recall(self, room_id: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await self.content_of(room_id, event_id)

    async def opened(self, user: UserId = CEM) -> str:
        """The secret of somebody's address, in a calendar that is open."""
        await self.calendars.open(DECLARED, ANN, "$on")
        return token_in(await self.calendars.address(DECLARED, user, f"$asked-{user}"))

    async def shown(self, token: str) -> list[Any] | None:
        """The events of a calendar; None where the address leads nowhere."""
        found = await self.calendars.document(token)
        return None if found is None else events_in(found.document)

    async def leaves(self, user: UserId, at: int) -> None:
        await self.calendars.moved(
            MembershipChanged(EventId("$left"), SPACE_ROOM, user, at, user=user, membership="leave", before="join")
        )


def token_in(address: Address) -> str:
    return address.https.removeprefix("https://join.example.org/calendar/").removesuffix(".ics")


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_a_member_reads_events_as_they_stand_in_the_room(ground: Ground) -> None:
    event = await ground.invite()
    token = await ground.opened()
    await ground.work()
    assert "not encrypted" in ground.texts[-1]
    document = await ground.calendars.document(token)
    assert document is not None
    assert str(calendar_in(document.document)["NAME"]) == "School"
    [found] = events_in(document.document)
    assert (str(found["SUMMARY"]), str(found["LOCATION"])) == ("Party", "School yard")
    assert str(found["DESCRIPTION"]) == "Bring a cake"
    assert int(found["DTSTART"].dt.timestamp() * 1000) == BEGINS
    assert str(found["UID"]) == str(ground.calendars_sent[0]["UID"]) == f"{event}@example.org"
    assert "https://matrix.to/#/" in str(found["URL"])


async def test_changes_and_the_end_of_an_event_are_seen(ground: Ground) -> None:
    event = await ground.invite()
    token = await ground.opened()
    first = await ground.calendars.document(token)
    known, what = await ground.events.read(event)
    ground.scene.clock.now += 5_000
    changed_at = ground.scene.clock.now
    later = replace(what, begins_at=BEGINS + DAY, ends_at=None, place="Gym")
    await ground.events.change(known, later, cancel=False, by=ANN, source="$change")
    await ground.later(FRESH_MS)
    second = await ground.calendars.document(token)
    assert first is not None
    assert second is not None
    assert second.changed_at > first.changed_at
    [found] = events_in(second.document)
    assert (str(found["LOCATION"]), int(found["SEQUENCE"])) == ("Gym", 1)
    assert int(found["LAST-MODIFIED"].dt.timestamp()) == changed_at // 1000
    assert "DTEND" not in found
    known, what = await ground.events.read(event)
    await ground.events.change(known, what, cancel=True, by=ANN, source="$cancel")
    await ground.later(FRESH_MS)
    [found] = await ground.shown(token) or []
    assert (str(found["STATUS"]), int(found["SEQUENCE"])) == ("CANCELLED", 2)
    await ground.later(FRESH_MS)
    again = await ground.calendars.document(token)
    await ground.later(FRESH_MS)
    assert again == await ground.calendars.document(token), "nothing has changed, byte by byte"


async def test_what_was_withdrawn_is_gone_and_what_is_over_goes_later(ground: Ground) -> None:
    event = await ground.invite()
    await ground.invite(replace(PARTY, title="Concert"), "$concert")
    token = await ground.opened()
    await ground.scene.afterwards.withdraw(event, community=SCHOOL, author=ANN)
    await ground.work()
    assert [str(one["SUMMARY"]) for one in await ground.shown(token) or []] == ["Concert"]
    ground.scene.clock.now = BEGINS + 2 * HOUR + RECENT_MS
    assert len(await ground.shown(token) or []) == 1
    ground.scene.clock.now += FRESH_MS
    assert await ground.shown(token) == []


async def test_each_member_has_an_address_of_their_own_and_keeps_it(ground: Ground) -> None:
    token = await ground.opened()
    address = await ground.calendars.address(DECLARED, CEM, "$another message")
    assert token_in(address) == token, "asked again it is the same"
    assert address.webcal == f"webcal://join.example.org/calendar/{token}.ics"
    assert token_in(await ground.calendars.address(DECLARED, BEA, "$bea")) != token
    for _ in range(2):
        other = token_in(await ground.calendars.address(DECLARED, CEM, "$reset", another=True))
    assert other != token
    assert await ground.shown(token) is None
    assert await ground.shown(other) == []
    assert await ground.calendars.readers(SCHOOL) == 2


async def test_who_leaves_reads_nothing_more_and_not_by_coming_back(ground: Ground) -> None:
    token = await ground.opened()
    ground.members.discard(CEM)
    assert await ground.shown(token) is None, "whether or not it was heard that they left"
    ground.members.add(CEM)
    await ground.leaves(CEM, ground.scene.clock.now - 1)
    assert await ground.shown(token) == [], "that was before they came and asked"
    await ground.leaves(BEA, ground.scene.clock.now)
    assert await ground.shown(token) == []
    await ground.leaves(CEM, ground.scene.clock.now)
    assert await ground.shown(token) is None
    assert token_in(await ground.calendars.address(DECLARED, CEM, "$new")) != token


async def test_it_is_for_owners_to_open_and_for_members_to_ask(ground: Ground) -> None:
    with pytest.raises(Refused, match="calendar on"):
        await ground.calendars.address(DECLARED, CEM, "$asked")
    for by in (BEA, CEM):
        for act in (ground.calendars.open(DECLARED, by, "$on"), ground.calendars.close(DECLARED, by, "$off")):
            with pytest.raises(Refused):
                await act
    assert not await ground.calendars.is_open(SCHOOL)
    await ground.calendars.open(DECLARED, None, "$on")
    with pytest.raises(Refused, match="not in the community"):
        await ground.calendars.address(DECLARED, EVE, "$asked")
    with pytest.raises(Refused, match="nobody outside can reach"):
        await ground.of("").open(DECLARED, ANN, "$on")
    with pytest.raises(Refused):
        await ground.of("").address(DECLARED, CEM, "$asked")


async def test_once_closed_no_old_address_is_opened_again(ground: Ground) -> None:
    token = await ground.opened()
    for _ in range(2):
        await ground.calendars.close(DECLARED, ANN, "$off")
    assert await ground.shown(token) is None
    await ground.calendars.open(DECLARED, ANN, "$again")
    assert await ground.shown(token) is None
    await ground.work()
    assert len(ground.texts) == 3, "opened, closed and opened"


async def test_a_community_that_is_gone_shows_nothing(ground: Ground) -> None:
    token = await ground.opened()
    ground.declared = None
    assert await ground.shown(token) is None


@pytest.mark.parametrize("text", ["", "x", "\udcff", "é" * 32, "A" * 32, "\0"])
async def test_whatever_else_is_asked_for_leads_nowhere(ground: Ground, text: str) -> None:
    await ground.opened()
    assert await ground.shown(text) is None


async def test_what_was_stored_is_not_enough_to_read(ground: Ground) -> None:
    await ground.opened()
    other = Calendars(**{**vars_of(ground), "secret": b"of somebody else"})
    token = token_in(await other.address(DECLARED, CEM, "$x"))
    assert await ground.shown(token) is None
    assert await other.document(token) is None, "the address that was given was made of another secret"


def vars_of(ground: Ground) -> dict[str, Any]:
    return {
        "database": ground.scene.database,
        "index": ground.scene.index,
        "jobs": ground.scene.jobs,
        "wake": lambda: None,
        "recall": ground.recall,
        "declared": lambda _: ground.declared,
        "people": ground.people,
        "is_member": ground.is_member,
        "name_of": ground.name_of,
        "clock": ground.scene.clock,
        "url": "https://join.example.org",
        "domain": "example.org",
    }


@pytest.mark.parametrize("error", [CannotDecrypt("no key"), Forbidden("not there")])
async def test_what_cannot_be_read_is_left_out(ground: Ground, error: Exception) -> None:
    await ground.invite()
    token = await ground.opened()
    ground.error = error
    assert await ground.shown(token) == []


async def test_a_homeserver_that_is_away_is_no_empty_calendar(ground: Ground) -> None:
    await ground.invite()
    token = await ground.opened()
    ground.error = Unreachable("HTTP 502")
    with pytest.raises(Unreachable):
        await ground.shown(token)


async def test_many_programs_cost_the_homeserver_one_look_a_minute(ground: Ground) -> None:
    for number in range(MOST_EVENTS + 1):
        await ground.invite(replace(PARTY, begins_at=BEGINS + number, ends_at=None), f"${number}")
    tokens = [await ground.opened(user) for user in (ANN, BEA, CEM)]
    for token in tokens:
        assert len(await ground.shown(token) or []) == MOST_EVENTS
    assert ground.asked == MOST_EVENTS
    ground.scene.clock.now += FRESH_MS
    await ground.shown(tokens[0])
    assert ground.asked == 2 * MOST_EVENTS


async def test_the_service_dies_at_every_point_and_the_room_is_told_once(tmp_path: Path) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        scene.faults.arm(point)
        try:
            await ground.opened()
            died = False
        except Crash:
            died = True
        await scene.die()
        await scene.start()
        ground.begin()
        scene.faults.arm(None)
        token = await ground.opened()
        await ground.work()
        assert len(scene.messenger.said(ROOM)) == 1, point
        assert await ground.shown(token) == []
        await scene.stop()
        point += 1
    assert point > 2
