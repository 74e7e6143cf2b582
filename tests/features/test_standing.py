"""Who is in a community, as its rooms say: what `members` and `who` show."""

from __future__ import annotations

from typing import Any

from bridge.core.community import Community, Group, Role, RoomKind
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.features.reconcile.standing import people_of, person_in
from tests.fakes.scene import ACCOUNTS, Scene

ANN, BEA, CID, DAN, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid", "dan", "eve"))
SCHOOL = Community(
    CommunityId("school"),
    owners=frozenset({ANN}),
    admins=frozenset({BEA}),
    members=frozenset({CID, DAN}),
    groups=(Group(RoomKeyName("chess"), RoomKind.REQUEST, moderators=frozenset({CID})),),
)


async def test_people_are_shown_as_their_rooms_are_without_a_request(scene: Scene) -> None:
    await scene.settle(SCHOOL)
    await scene.leave(DAN, scene.space)
    await scene.move(BEA, scene.space, "ban", DAN)
    await scene.hear()
    scene.forget_requests()
    look = await scene.reconciler.look(SCHOOL)
    people = people_of(look, ACCOUNTS)
    assert [(one["user"], one["role"]) for one in people] == [
        (ANN, Role.OWNER), (BEA, Role.ADMIN), (CID, Role.MODERATOR),
    ]  # fmt: skip
    assert person_in(look, CID) == {
        "user": CID, "state": "join", "role": Role.MODERATOR, "groups": ["general", "chess"], "moderates": ["chess"],
    }  # fmt: skip
    assert person_in(look, DAN)["state"] == "ban"
    stranger: dict[str, Any] = person_in(look, EVE)
    assert (stranger["state"], stranger["groups"]) == ("", [])
    assert scene.homeserver.requests == []
