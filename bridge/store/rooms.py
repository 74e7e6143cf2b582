"""Which rooms are ours, in memory: asked for every event that the homeserver pushes."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.core.community import RoomKind
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.store import communities, polls
from bridge.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Place:
    """Where a room of ours stands."""

    community: CommunityId
    key: RoomKeyName
    kind: RoomKind


@dataclass(slots=True)
class RoomIndex:
    """The rooms of all communities and the direct chats, by room id."""

    places: dict[RoomId, Place] = field(default_factory=dict)
    chats: dict[RoomId, UserId] = field(default_factory=dict)
    voting: frozenset[RoomId] = frozenset()
    """Groups in which a poll is open that is voted on by reaction."""

    async def load(self, tx: Transaction) -> None:
        """Read the index anew."""
        records = await communities.load_rooms(tx)
        self.places = {
            record.room_id: Place(record.community, record.key, record.kind)
            for record in records
            if record.room_id is not None
        }
        self.chats = await communities.load_chats(tx)
        await self.load_voting(tx)

    async def load_voting(self, tx: Transaction) -> None:
        """Read anew in which groups reactions are votes."""
        self.voting = await polls.heard(tx)

    def place_of(self, room_id: str) -> Place | None:
        return self.places.get(RoomId(room_id))

    def chat_of(self, user: UserId) -> RoomId | None:
        """The direct chat with somebody: of several the one that was begun last."""
        return next((room_id for room_id, one in reversed(self.chats.items()) if one == user), None)

    def room_of(self, community: CommunityId, key: RoomKeyName) -> RoomId | None:
        """The room of that key, None where it does not exist (yet)."""
        for room_id, place in self.places.items():
            if place.community == community and place.key == key:
                return room_id
        return None
