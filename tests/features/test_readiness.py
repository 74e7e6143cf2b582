"""Keys ahead: which rooms are prepared, when, and how often."""

from __future__ import annotations

import pytest

from bridge.core.community import RoomKind
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import MembershipChanged, ShareKeys
from bridge.features.readiness import LEAVE_MS, LONGEST_AGE_MS, SETTLE_MS, Readiness
from bridge.store import keys, shares
from bridge.store.database import Database
from bridge.store.jobs import Jobs, decode
from bridge.store.keys import OutboundRow
from bridge.store.rooms import Place, RoomIndex
from tests.harness.key_world import StillClock

ANNOUNCEMENTS, CONTROL, GROUP, CHAT = (RoomId(f"!{name}:x") for name in ("announcements", "control", "group", "chat"))
ANN, BOB = UserId("@ann:x"), UserId("@bob:x")
NEVER = 10**15


@pytest.fixture
def readiness(database: Database, clock: StillClock) -> Readiness:
    kinds = {ANNOUNCEMENTS: RoomKind.ANNOUNCEMENTS, CONTROL: RoomKind.CONTROL, GROUP: RoomKind.OPEN}
    places = {room: Place(CommunityId("school"), RoomKeyName(kind.value), kind) for room, kind in kinds.items()}
    return Readiness(database, RoomIndex(places, {CHAT: ANN}), Jobs(database), lambda: None, clock)


def moved(room_id: RoomId, membership: str, user: UserId = ANN) -> MembershipChanged:
    return MembershipChanged(EventId("$event"), room_id, user, 1, user, membership)


async def due(readiness: Readiness) -> list[tuple[RoomId, int]]:
    """Which rooms are to be prepared, and in how many milliseconds at the latest."""
    found = []
    for job in await readiness.jobs.heads(NEVER, 99):
        decoded = decode(job.kind, job.body)
        assert isinstance(decoded, ShareKeys)
        found.append((decoded.room_id, job.due_at - readiness.clock.now_ms()))
    return found


async def test_who_joins_is_given_the_key_in_a_moment(readiness: Readiness) -> None:
    await readiness.membership_changed(moved(ANNOUNCEMENTS, "join"))
    ((room_id, wait),) = await due(readiness)
    assert room_id == ANNOUNCEMENTS
    assert SETTLE_MS <= wait <= 2 * SETTLE_MS


async def test_after_a_leave_others_are_waited_for(readiness: Readiness) -> None:
    await readiness.membership_changed(moved(CONTROL, "ban"))
    ((room_id, wait),) = await due(readiness)
    assert room_id == CONTROL
    assert LEAVE_MS <= wait <= LEAVE_MS + SETTLE_MS


async def test_a_crowd_that_comes_at_once_is_one_job(readiness: Readiness) -> None:
    for number in range(50):
        await readiness.membership_changed(moved(ANNOUNCEMENTS, "join", UserId(f"@{number}:x")))
    assert len(await due(readiness)) == 1


async def test_groups_chats_and_invitations_are_left_alone(readiness: Readiness) -> None:
    for room_id, membership in ((GROUP, "join"), (CHAT, "join"), (ANNOUNCEMENTS, "invite")):
        await readiness.membership_changed(moved(room_id, membership))
    assert await due(readiness) == []


async def test_a_device_list_that_changed_concerns_the_rooms_in_which_its_owner_is(
    readiness: Readiness, database: Database
) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, ANNOUNCEMENTS, {ANN: "$1"}, [])
        await shares.save_audience(tx, CHAT, {ANN: "$1"}, [])
        await shares.save_audience(tx, CONTROL, {BOB: "$1"}, [])
        await readiness.devices_changed(tx, {ANN})
    assert [room_id for room_id, _ in await due(readiness)] == [ANNOUNCEMENTS]


@pytest.mark.parametrize(
    ("joined", "age", "wanted"),
    [
        ([(ANN, "$1"), (BOB, "$2")], 0, False),
        ([(ANN, "$1")], 0, False),  # nobody to share with but one's own account
        ([(ANN, "$1"), (BOB, "$3")], 0, True),  # left and came back
        ([(ANN, "$1"), (UserId("@new:x"), "$4"), (BOB, "$2")], 0, True),
        ([(ANN, "$1"), (BOB, "$2")], LONGEST_AGE_MS, True),
        ([(ANN, "$1"), (BOB, "$2")], -1000, True),  # a clock that was set back
        ([(ANN, "$1"), (BOB, "$2")], None, True),  # no session yet
    ],
)
async def test_what_happened_unseen_is_found(
    readiness: Readiness,
    database: Database,
    clock: StillClock,
    joined: list[tuple[UserId, str]],
    age: int | None,
    wanted: bool,
) -> None:
    async with database.transaction() as tx:
        await shares.save_audience(tx, ANNOUNCEMENTS, {ANN: "$1", BOB: "$2"} if len(joined) > 1 else {ANN: "$1"}, [])
        if age is not None:
            session = OutboundRow(ANNOUNCEMENTS, "session", b"p", clock.now_ms() - age, 0, "digest")
            await keys.begin_outbound(tx, session)
    await readiness.look(ANNOUNCEMENTS, joined)
    assert bool(await due(readiness)) is wanted
