"""Who is in a community, with everything that is known of each: asked by chat, by the local door, and for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.tags import carriers, tags_of
from bridge.features.belonging import Belongings
from bridge.features.reconcile import Reconciler
from bridge.features.reconcile.look import Look
from bridge.features.reconcile.standing import people_of, person_in
from bridge.features.tags import Tags
from bridge.plan.state import Accounts
from bridge.store.belonging import Belonging

NOTHING = Belonging(None, "", "", "")


class Roster:
    """Puts together what the rooms say and what is remembered. Costs no request where the own copies are current."""

    def __init__(self, *, reconciler: Reconciler, tags: Tags, belongings: Belongings, accounts: Accounts) -> None:
        self._reconciler = reconciler
        self._tags = tags
        self._belongings = belongings
        self._accounts = accounts

    async def everybody(self, community: CommunityId) -> list[dict[str, Any]]:
        """Who is in the community or invited to it, owners first: `user`, `state`, `role`, `groups`, `moderates`,
        `tags`, `since` (milliseconds, or None), `how`, `by` and `detail`.
        """
        look = await self._look(community)
        people = people_of(look, self._accounts)
        carried, known = await self._carried(look, people), await self._belongings.known(community)
        return [_whole(person, carried, known) for person in people]

    async def person(self, community: CommunityId, user: UserId) -> dict[str, Any]:
        """One of them, or somebody else: what they are in the community."""
        look = await self._look(community)
        carried = await self._carried(look, people_of(look, self._accounts))
        return _whole(person_in(look, user), carried, await self._belongings.known(community))

    async def tags(self, community: CommunityId) -> list[dict[str, Any]]:
        """The tags that there are, by name: `name`, how many carry it (`people`), and whether it is `declared`."""
        look = await self._look(community)
        carried = await self._carried(look, people_of(look, self._accounts))
        return [
            {"name": name, "people": len(users), "declared": look.community.tag(name) is not None}
            for name, users in carried.items()
        ]

    async def _look(self, community: CommunityId) -> Look:
        declared = self._reconciler.declared.get(community)
        if declared is None:
            raise Refused("is declared no longer", where=str(community), remedy="see `status`")
        return await self._reconciler.look(declared)

    async def _carried(self, look: Look, people: list[dict[str, Any]]) -> dict[str, frozenset[UserId]]:
        groups: dict[RoomKeyName, set[UserId]] = {}
        for person in people:
            for key in person["groups"]:
                groups.setdefault(key, set()).add(person["user"])
        given = await self._tags.given(look.community.id)
        return carriers(look.community.tags, given, groups, {person["user"] for person in people})


def _whole(
    person: dict[str, Any], carried: Mapping[str, frozenset[UserId]], known: Mapping[UserId, Belonging]
) -> dict[str, Any]:
    """A person with what is remembered of them, as far as it is about this time in the community."""
    came, state = known.get(person["user"], NOTHING), person["state"]
    if state not in ("join", "invite") or (state == "join" and came.since is None):
        came = NOTHING
    return {
        **person,
        "tags": tags_of(person["user"], carried),
        "since": came.since if state == "join" else None,
        "how": came.how,
        "by": came.by,
        "detail": came.detail,
    }
