"""What is handed out as a file: to whoever may have it, once, whatever dies in between."""

from __future__ import annotations

from bridge.app.handouts import qr_code
from bridge.core.community import Community
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import ShowLink
from bridge.features.entering import Terms
from tests.fakes.faults import Crash
from tests.fakes.scene import Scene

ANN, BEA = (UserId(f"@{name}:example.org") for name in ("ann", "bea"))
SCHOOL = Community(CommunityId("school"), name="School", owners=frozenset({ANN}), members=frozenset({BEA}))
CHAT = RoomId("!chat:example.org")


def show(by: UserId = ANN) -> ShowLink:
    return ShowLink(CHAT, EventId("$asked"), by, "en", None)


async def test_a_link_is_shown_with_its_qr_code(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    _, token = await scene.entering.make(Terms(SCHOOL.id, ANN), show())
    await scene.do_jobs()
    text, picture = (content for room, content in scene.messenger.sent if room == CHAT)
    url = f"https://join.example.org/join/{token}"
    assert url in text["body"].splitlines()
    assert picture["data"] == qr_code(url).data
    assert token not in picture["body"]


async def test_a_link_is_not_shown_to_whoever_may_not_make_any_by_then(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.entering.make(Terms(SCHOOL.id, BEA), show(BEA))
    await scene.do_jobs()
    assert scene.messenger.said(CHAT) == []


async def test_a_link_is_shown_once_wherever_the_process_dies(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    survived, point = False, 0
    while not survived:
        point += 1
        before = len(scene.messenger.said(CHAT))
        asked = ShowLink(CHAT, EventId(f"$asked{point}"), ANN, "en", None)
        scene.faults.arm(point)
        try:
            await scene.entering.make(Terms(SCHOOL.id, ANN), asked)
            await scene.do_jobs()
            survived = True
        except Crash:
            await scene.die()
            await scene.start()
            scene.reconciler.declare([SCHOOL])
        scene.faults.arm(None)
        await scene.entering.make(Terms(SCHOOL.id, ANN), asked)  # the message is handled again
        await scene.do_jobs()
        assert len(scene.messenger.said(CHAT)) == before + 2
        assert len(await scene.entering.of_community(SCHOOL.id)) == point
    assert point > 5, "it died at several points"
