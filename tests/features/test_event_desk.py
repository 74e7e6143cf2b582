"""What is asked about events, polls and calendars: times in words, in the zone of the community; private addresses."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.app.announcing import AnnouncementDesk
from bridge.app.house import House
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.languages import DE
from bridge.core.markup import plain
from bridge.features.calendars import Address
from tests.fakes.scene import Scene

ANN, CID = (UserId(f"@{name}:example.org") for name in ("ann", "cid"))
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    members=frozenset({CID}),
    timezone="Europe/Berlin",
    language=DE,
)
EVENING = 86_400_000 + 17 * 3_600_000 + 1_800_000
"""The second of January 1970, half past six in Berlin."""


@pytest.fixture
async def desk(scene: Scene) -> AnnouncementDesk:
    await scene.settle(SCHOOL)
    house = SimpleNamespace(newsroom=scene.newsroom, reconciler=scene.reconciler, clock=scene.clock)
    return AnnouncementDesk(cast(House, house))


async def ask(desk: AnnouncementDesk, deed: str, by: UserId | None = ANN, **what: Any) -> Mapping[str, Any]:
    return await desk.do(deed, SCHOOL, by, {"source": f"${deed}", "room": "!office:example.org", **what})


@pytest.mark.parametrize("text", ["Party; tomorrow 18:30; Yard", "Party\nmorgen um 18 Uhr 30\nYard"])
async def test_an_event_is_when_its_people_mean_and_the_answer_says_so(desk: AnnouncementDesk, text: str) -> None:
    answer = await ask(desk, "event", text=text)
    assert answer["begins_at"] == EVENING
    assert "1970-01-02 18:30 CET" in plain(answer["said"][0])


async def test_a_command_gives_it_in_parts(desk: AnnouncementDesk) -> None:
    answer = await ask(desk, "event", None, title="Party", when="tomorrow 18:30 for 2 hours", place="Yard", seats="80")
    assert (answer["begins_at"], answer["ends_at"]) == (EVENING, EVENING + 2 * 3_600_000)
    assert answer["when"] == "1970-01-02 18:30 CET – 1970-01-02 20:30 CET"


@pytest.mark.parametrize("when", ["", "soon", "every monday at 8", "tomorrow"])
async def test_a_time_that_is_not_understood_is_refused_with_how_to_write_one(
    desk: AnnouncementDesk, when: str
) -> None:
    with pytest.raises(Refused) as refused:
        await ask(desk, "event", text=f"Party; {when}; Yard")
    assert refused.value.remedy
    with pytest.raises(Refused):
        await ask(desk, "poll", text="When? | a | b", until=when or "soon")


@pytest.mark.parametrize(("until", "at"), [
    ("tomorrow 18:30", EVENING), ("3 days", 1_000_000 + 3 * 86_400_000), ("1970-01-02 18:30", EVENING),
])  # fmt: skip
async def test_a_poll_ends_when_its_people_mean(desk: AnnouncementDesk, until: str, at: int) -> None:
    answer = await ask(desk, "poll", text="When? | a | b", until=until)
    assert abs(answer["closes_at"] - at) < 60_000
    assert "1970-01-0" in plain(answer["said"][0])


async def test_nothing_is_to_come_where_nothing_was_announced(desk: AnnouncementDesk) -> None:
    answer = await ask(desk, "event list", CID)
    assert answer["events"] == []
    assert plain(answer["said"][0]) == "In School steht kein Termin an."


# --- calendars ------------------------------------------------------------------------------------------------------


async def test_an_address_is_given_in_private_alone_and_to_whom_it_is_for(
    scene: Scene, desk: AnnouncementDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[UserId, bool]] = []

    async def address(_: Community, user: UserId, __: str, *, another: bool = False) -> Address:
        asked.append((user, another))
        return Address("https://x/calendar/s.ics", "webcal://x/calendar/s.ics")

    monkeypatch.setattr(scene.newsroom.calendars, "address", address)
    for private in (False, None, "yes"):
        with pytest.raises(Refused, match="one person alone"):
            await ask(desk, "calendar address", CID, private=private)
    told = plain((await ask(desk, "calendar address", CID, private=True, user=ANN))["said"][0])
    assert "\nwebcal://x/calendar/s.ics\nhttps://x/calendar/s.ics\n" in told
    answer = await ask(desk, "calendar reset", None, user=CID)
    assert (answer["url"], answer["user"]) == ("https://x/calendar/s.ics", CID)
    assert asked == [(CID, False), (CID, True)], "nobody is given what is somebody else's"
    for user in ("cid", "", None):
        with pytest.raises(Refused):
            await ask(desk, "calendar address", None, user=user)


async def test_the_operator_sees_whether_it_is_open_and_nobody_else_is_told(desk: AnnouncementDesk) -> None:
    assert await ask(desk, "calendar show", None) == {"said": [], "open": False, "addresses": 0}
    with pytest.raises(Refused, match="operator"):
        await ask(desk, "calendar show", ANN)
    assert (await ask(desk, "calendar off"))["open"] is False
    for by in (ANN, None):
        with pytest.raises(Refused, match="nobody outside can reach"):
            await ask(desk, "calendar on", by)
