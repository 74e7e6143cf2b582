"""Since when people are in a community and by whom they came: remembered when it happens, forgotten when they leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bridge.core.community import SPACE, Community
from bridge.core.ids import CommunityId, UserId
from bridge.core.messages import MembershipChanged
from bridge.plan.state import Accounts
from bridge.store import belonging as store
from bridge.store import tags
from bridge.store.belonging import Belonging
from bridge.store.database import Database
from bridge.store.rooms import RoomIndex

CLIENT, CONFIGURATION = "client", "configuration"


class Belongings:
    """Listens to the memberships of spaces. Events may come late and twice, so the times in them are compared."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        declared: Callable[[CommunityId], Community | None],
        accounts: Accounts,
    ) -> None:
        self._database = database
        self._index = index
        self._declared = declared
        self._accounts = accounts

    async def moved(self, event: MembershipChanged) -> None:
        """Somebody joined a space, left it, or was invited to it by somebody else than us. Costs no request."""
        place = self._index.place_of(event.room_id)
        if place is None or place.key != SPACE or event.user in self._accounts.both:
            return
        community = place.community
        if event.membership == "invite" and event.sender not in self._accounts.both:
            async with self._database.transaction() as tx:
                await store.bidden(tx, community, event.user, CLIENT, event.sender, "", event.sent_at)
        elif event.membership == "join" and event.before != "join":
            declared = self._declared(community)
            how = CONFIGURATION if declared is not None and event.user in declared.named else ""
            async with self._database.transaction() as tx:
                if event.before is not None:
                    await store.joined(tx, community, event.user, how, event.sent_at)
                else:  # they may have been in since before we kept account of it
                    await store.arrived(tx, community, event.user, event.sent_at)
        elif event.membership in ("leave", "ban"):
            async with self._database.transaction() as tx:
                await store.left(tx, community, event.user, event.sent_at)
                await tags.forget(tx, community, event.user, event.sent_at)

    async def known(self, community: CommunityId) -> Mapping[UserId, Belonging]:
        """What is known of everybody in a community."""
        async with self._database.transaction() as tx:
            return await store.of_community(tx, community)
