"""A hundred groups in one community, as many as people may make, on a real homeserver."""

from __future__ import annotations

import pytest

from tests.harness.community import Estate
from tests.harness.people import People


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_member_is_shown_all_of_a_hundred_groups_and_none_that_is_hidden(estate: Estate, folk: People) -> None:
    owner, homer = await folk.nio("owner"), await folk.nio("homer")
    groups = {f"group-{number}": {"name": f"Group {number}", "kind": "open"} for number in range(99)}
    community = estate.declare(
        "large",
        owners=[owner.user_id],
        members=[homer.user_id],
        groups={**groups, "board": {"name": "Board", "kind": "hidden"}},
    )
    for person in (owner, homer):
        person.accept_invites()
    await estate.apply(community)
    await community.inside(owner, homer, keys=("space", "announcements", "general"))
    shown = {room["room_id"] for room in await homer.hierarchy(community.space)}
    assert len(shown) == 1 + 2 + 99, "more than a page of them"
    assert shown == {room_id for key, room_id in community.rooms.items() if key not in ("control", "board")}
    await homer.join(community["group-98"])
    await homer.leave(community.space)
    await community.gone(homer)
    again = await estate.apply(community)
    assert [one["done"] for one in again["communities"]] == [0]
    estate.forget(community)
