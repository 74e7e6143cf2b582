"""People who use a link are invited in the order in which they came, once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.app import checks
from bridge.app.house import House
from bridge.config.sections import JoinPage
from bridge.core.community import ANNOUNCEMENTS, CONTROL, GENERAL, SPACE, Community, Group, Role, RoomKind
from bridge.core.errors import BadRequest, RateLimited, Unreachable
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.links import Link, Stage
from bridge.features.entering import Terms
from bridge.store.links import Entry
from tests.fakes.faults import Crash
from tests.fakes.homeserver import STEWARD
from tests.fakes.scene import Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
FAR = UserId("@far:elsewhere.example")
CHESS, BOARD = RoomKeyName("chess"), RoomKeyName("board")
SCHOOL = Community(
    CommunityId("school"),
    name="School",
    owners=frozenset({ANN}),
    groups=(Group(CHESS, RoomKind.REQUEST), Group(BOARD, RoomKind.HIDDEN)),
)


@pytest.fixture
async def school(scene: Scene) -> Scene:
    """A scene with the school in it."""
    await scene.settle(SCHOOL)
    return scene


async def made(scene: Scene, **what: Any) -> Link:
    link, _ = await scene.entering.make(Terms(SCHOOL.id, "operator", **what))
    return link


async def come(scene: Scene, link: Link, user: UserId) -> Entry:
    entry = await scene.entering.use(link, user)
    assert isinstance(entry, Entry), entry
    return entry


async def stage(scene: Scene, entry: Entry) -> Stage:
    now_is = await scene.entering.entry(entry.ticket)
    assert now_is is not None
    return now_is.stage


def invited_in_order(scene: Scene) -> list[str]:
    """Who was invited to the space, one after the other."""
    return [
        event["state_key"]
        for event in scene.homeserver.feed
        if event["type"] == "m.room.member"
        and event["room_id"] == scene.space.room_id
        and event["content"]["membership"] == "invite"
    ]


async def test_somebody_comes_in_and_is_invited_to_what_the_link_names(school: Scene) -> None:
    entry = await come(school, await made(school, groups=(BOARD,)), EVE)
    assert school.space.membership(EVE) == ""
    await school.do_jobs()
    assert await stage(school, entry) is Stage.INVITED
    assert school.space.state["m.room.member", EVE]["sender"] == STEWARD
    assert school.room(BOARD).membership(EVE) == ""
    await school.accept_all()
    await school.hear()
    invited = {key for key in (ANNOUNCEMENTS, GENERAL, CHESS, BOARD, CONTROL) if school.room(key).membership(EVE)}
    assert invited == {ANNOUNCEMENTS, GENERAL, BOARD}


async def test_one_use_is_one_request_to_the_homeserver(school: Scene) -> None:
    await come(school, await made(school), EVE)
    school.forget_requests()
    await school.do_jobs()
    await school.hear()
    assert len(school.homeserver.requests) == 1


async def test_people_are_invited_in_the_order_in_which_they_came(school: Scene) -> None:
    link = await made(school)
    before = len(invited_in_order(school))
    for user in (EVE, BEA, DAN, CID):
        await come(school, link, user)
    await school.do_jobs()
    assert invited_in_order(school)[before:] == [EVE, BEA, DAN, CID]


async def test_who_is_banned_or_removed_stays_out(school: Scene) -> None:
    link = await made(school)
    await school.move(ANN, school.space, "ban", EVE)
    await school.hear()
    school.reconciler.declare([replace(SCHOOL, removed=frozenset({DAN}))])
    entries = [await come(school, link, user) for user in (EVE, DAN)]
    await school.do_jobs()
    assert [await stage(school, entry) for entry in entries] == [Stage.BARRED] * 2
    assert school.space.membership(EVE) == "ban"
    assert school.space.membership(DAN) == ""


async def test_our_own_accounts_are_nobody_to_let_in(school: Scene) -> None:
    assert await school.reconciler.arrivals.is_barred(SCHOOL.id, STEWARD)


async def test_who_waits_when_a_link_is_revoked_stays_out(school: Scene) -> None:
    link = await made(school)
    entry = await come(school, link, EVE)
    await school.entering.revoke(link, "operator")
    await school.do_jobs()
    assert await stage(school, entry) is Stage.BARRED
    assert school.space.membership(EVE) == ""


async def test_who_left_comes_in_again_by_the_same_link_and_is_not_counted_twice(school: Scene) -> None:
    link = await made(school, uses=1)
    entry = await come(school, link, EVE)
    await school.do_jobs()
    await school.accept_all()
    await school.hear()
    await school.leave(EVE, school.space)
    await school.hear()
    again = await come(school, link, EVE)
    assert again.ticket == entry.ticket
    await school.do_jobs()
    assert school.space.membership(EVE) == "invite"


async def test_a_member_is_invited_to_the_groups_of_a_link(school: Scene) -> None:
    await come(school, await made(school), EVE)
    await school.do_jobs()
    await school.accept_all()
    await school.hear()
    await come(school, await made(school, groups=(CHESS,)), EVE)
    await school.do_jobs()
    await school.watch.idle()
    assert school.room(CHESS).membership(EVE) == "invite"


async def test_a_group_that_is_there_no_more_is_passed_over(school: Scene) -> None:
    await come(school, await made(school, groups=(RoomKeyName("gone"), CHESS)), EVE)
    await school.do_jobs()
    await school.accept_all()
    await school.hear()
    assert school.room(CHESS).membership(EVE) == "invite"
    assert (await school.known()).bidden == frozenset()
    await school.accept_all()
    await school.hear()
    assert not await school.reconciler.arrivals.outside_of(SCHOOL.id, EVE, (RoomKeyName("gone"), CHESS))


async def test_a_homeserver_that_wants_to_wait_is_obeyed_and_nobody_is_passed_over(school: Scene) -> None:
    link = await made(school)
    first, second = await come(school, link, EVE), await come(school, link, BEA)
    slowly = RateLimited("slowly", status=429)
    slowly.seconds = 3.0
    school.faults.fail(slowly, lambda request: "/invite" in request)
    school.forget_requests()
    with pytest.raises(RateLimited):
        await school.do_jobs()
    assert len(school.homeserver.requests) == 1
    assert [await stage(school, entry) for entry in (first, second)] == [Stage.WAITING] * 2
    await school.do_jobs()
    assert invited_in_order(school)[-2:] == [EVE, BEA]


async def test_a_homeserver_of_others_that_is_away_holds_up_nobody(school: Scene) -> None:
    link = await made(school)
    far, near = await come(school, link, FAR), await come(school, link, EVE)
    school.faults.fail(Unreachable("HTTP 502", status=502), lambda request: "/invite" in request)
    await school.do_jobs()
    assert school.space.membership(EVE) == "invite"
    assert [await stage(school, entry) for entry in (far, near)] == [Stage.INVITED] * 2
    await school.watch.idle()
    assert school.space.membership(FAR) == "invite", "the passes go on trying"


async def test_what_the_homeserver_refuses_for_good_is_told(school: Scene) -> None:
    entry = await come(school, await made(school), EVE)
    school.faults.fail(BadRequest("no"), lambda request: "/invite" in request)
    await school.do_jobs()
    assert await stage(school, entry) is Stage.FAILED


@pytest.mark.parametrize("by_owner", [False, True], ids=["levels by the steward", "levels by an owner"])
async def test_a_link_may_make_admins(school: Scene, by_owner: bool) -> None:
    if by_owner:  # whatever an owner wrote there last does not take the new role away
        await school.write(ANN, school.space, "m.room.power_levels", school.with_users(school.space, dan=100))
        await school.hear()
    await come(school, await made(school, role=Role.ADMIN, uses=1), EVE)
    await school.do_jobs()
    await school.accept_all()
    await school.hear()
    await school.watch.idle()
    assert (await school.known()).roles[EVE] is Role.ADMIN
    levels = {key: school.room(key).level(EVE) for key in (SPACE, ANNOUNCEMENTS, GENERAL, CHESS)}
    assert levels == dict.fromkeys(levels, 100)
    assert school.control_room.membership(EVE) in ("invite", "join")
    if by_owner:
        assert (await school.known()).roles[DAN] is Role.ADMIN


async def test_a_link_may_make_moderators_of_its_groups(school: Scene) -> None:
    await come(school, await made(school, role=Role.MODERATOR, groups=(CHESS,), uses=1), EVE)
    await school.do_jobs()
    await school.accept_all()
    await school.hear()
    await school.watch.idle()
    assert {key: school.room(key).level(EVE) for key in (CHESS, BOARD, SPACE)} == {CHESS: 50, BOARD: 0, SPACE: 0}


@pytest.mark.parametrize(("page", "links", "verdict", "says"), [
    (JoinPage(), 0, "ok", "not used"),
    (JoinPage(), 1, "warning", "join.url is not set"),
    (JoinPage(url="https://x.example", enabled=False), 1, "warning", "join.enabled is false"),
    (JoinPage(url="https://x.example"), 2, "warning", "count as one"),
    (JoinPage(url="https://x.example", trusted_proxies=("127.0.0.1/32",)), 2, "ok", "2 links"),
])  # fmt: skip
async def test_check_sees_links_that_nobody_can_open(
    school: Scene, page: JoinPage, links: int, verdict: str, says: str
) -> None:
    for _ in range(links):
        await made(school)
    config = SimpleNamespace(join=page)
    found = await checks.join_page(
        cast(House, SimpleNamespace(config=config, database=school.database, clock=school.clock))
    )
    assert found.verdict == verdict
    assert says in found.what


async def enter(scene: Scene, link: Link) -> None:
    """Use the link and work off what follows."""
    await come(scene, link, EVE)
    await scene.do_jobs()


async def test_a_kill_at_any_point_loses_nobody_and_counts_nobody_twice(new_scene: Callable[..., Any]) -> None:
    survived = 0
    for point in range(200):
        scene = await new_scene()
        await scene.settle(SCHOOL)
        link = await made(scene, uses=1, groups=(BOARD,))
        scene.faults.arm(point)
        try:
            await enter(scene, link)
        except Crash:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([SCHOOL])
        else:
            survived = point
        scene.faults.arm(None)
        await scene.do_jobs()  # what a restart finds
        if scene.space.membership(EVE) == "":
            await enter(scene, link)  # the use itself was never recorded: they click again
        await scene.accept_all()
        await scene.hear()
        await scene.reconcile(SCHOOL)
        assert scene.room(BOARD).membership(EVE) == "invite"
        assert (await scene.entering.by_id(link.id) or link).used == 1
        assert invited_in_order(scene).count(EVE) == 1
        await scene.stop()
        if survived:
            break
    assert survived > 5
