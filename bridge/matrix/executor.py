"""One small idempotent method for each change to a room. A repeat, or a change that is there already, is no error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bridge.core.errors import BadRequest, Forbidden, MatrixError, NotFound
from bridge.core.ids import EventId, RoomId, UserId, domain_of
from bridge.matrix.client import DEADLINE_SECONDS, Client, path
from bridge.matrix.reader import Reader
from bridge.matrix.servers import OtherServers
from bridge.plan.state import LISTED, Accounts, Membership, StateEvent
from bridge.ports import Made

log = logging.getLogger(__name__)

CREATE_DEADLINE_SECONDS = 120.0
JOIN_DEADLINE_SECONDS = 90.0
ELSEWHERE_SECONDS = 15.0
"""For an invite to somebody of another homeserver, which answered a moment ago."""
UNFINISHED_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 0.5


class Executor:
    """Implements `ports.RoomExecutor` as the steward, and as the announcer where the invites of a room are its."""

    def __init__(
        self,
        client: Client,
        reader: Reader,
        accounts: Accounts,
        *,
        servers: OtherServers | None = None,
        unfinished_seconds: float = UNFINISHED_SECONDS,
    ) -> None:
        """
        Args:
            servers: which other homeservers answer; what is found out alone where None.
            unfinished_seconds: for how long a room whose alias is there and which cannot be read may still be in the
                making: the homeserver goes on when whoever asked for it was killed.
        """
        self._client = client
        self._reader = reader
        self._accounts = accounts
        self._servers = servers or OtherServers(client, domain_of(accounts.steward))
        self._unfinished_seconds = unfinished_seconds

    async def create(self, alias: str, body: Mapping[str, Any], *, by_announcer: bool = False) -> Made:
        """Make a room under an alias that was recorded before (client-server API, `POST /createRoom`).

        `createRoom` is not atomic and the alias comes first. If the alias is taken, an earlier try was cut off: a room
        that the steward is in is taken over as it is (its state is mended later like any drift), an alias that points
        to nothing is dropped and the room made again.
        """
        localpart = alias[1:].partition(":")[0]
        for _ in range(3):
            try:
                answer = await self._client.request(
                    "POST",
                    path("v3", "createRoom"),
                    body={**body, "room_alias_name": localpart},
                    as_user=self._maker(by_announcer),
                    deadline=CREATE_DEADLINE_SECONDS,
                )
                return Made(RoomId(str(answer["room_id"])), whole=True)
            except BadRequest as error:
                if error.errcode != "M_ROOM_IN_USE":
                    raise
            found = await self._finished_room_under(alias, by_announcer)
            if found is not None:
                return Made(found, whole=False)
            await self.drop_alias(alias, by_announcer=by_announcer)
        raise BadRequest("the alias stays taken after three tries", where=alias)

    def _maker(self, by_announcer: bool) -> UserId | None:
        return self._accounts.announcer if by_announcer else None

    async def _finished_room_under(self, alias: str, by_announcer: bool) -> RoomId | None:
        """The room of that alias, waited for: if it were given up too early, it would be there twice in the end."""
        give_up = asyncio.get_running_loop().time() + self._unfinished_seconds
        while True:
            found = await self._room_under(alias, by_announcer)
            if found is not None or asyncio.get_running_loop().time() >= give_up:
                return found
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _room_under(self, alias: str, by_announcer: bool) -> RoomId | None:
        try:
            answer = await self._client.request("GET", path("v3", "directory", "room", alias))
        except NotFound:
            return None
        room_id = RoomId(str(answer.get("room_id", "")))
        try:
            parts = path("v3", "rooms", room_id, "state", "m.room.create", "")
            await self._client.request("GET", parts, as_user=self._maker(by_announcer))
        except (Forbidden, NotFound):
            return None
        return room_id

    async def drop_alias(self, alias: str, *, by_announcer: bool = False) -> None:
        """Take the alias away that a room was made under; rooms of ours have none."""
        try:
            parts = path("v3", "directory", "room", alias)
            await self._client.request("DELETE", parts, as_user=self._maker(by_announcer))
        except NotFound:
            return

    async def set_state(self, room_id: RoomId, event_type: str, state_key: str, content: Mapping[str, Any]) -> EventId:
        """Write one piece of state (client-server API, `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`).

        Empty content takes a piece of state away. Homeservers refuse an empty topic, and a tombstone without its room:
        the one becomes an empty text, the other is redacted. So is state whose key is a user id: it belongs to them.
        """
        if not content and (event_type == "m.room.tombstone" or state_key.startswith("@")):
            return await self._redact_state(room_id, event_type, state_key)
        if not content and event_type == "m.room.topic":
            content = {"topic": ""}
        parts = path("v3", "rooms", room_id, "state", event_type, state_key)
        answer = await self._client.request("PUT", parts, body=content)
        event_id = EventId(str(answer.get("event_id", "")))
        self._reader.wrote(room_id, event_type, state_key, StateEvent(content, self._accounts.steward, event_id))
        return event_id

    async def _redact_state(self, room_id: RoomId, event_type: str, state_key: str) -> EventId:
        room = await self._reader.refresh(room_id, event_type, state_key)
        event = room.state.get((event_type, state_key))
        if event is None or not event.content:
            return EventId("")
        await self.redact(room_id, event.event_id, "", txn_id=f"take-away-{event.event_id}")
        emptied = StateEvent({}, event.sender, event.event_id, redacted=True)
        self._reader.wrote(room_id, event_type, state_key, emptied)
        return event.event_id

    async def set_listed(self, room_id: RoomId, *, listed: bool) -> None:
        """Show a room in the public directory, or hide it."""
        visibility = "public" if listed else "private"
        parts = path("v3", "directory", "list", "room", room_id)
        await self._client.request("PUT", parts, body={"visibility": visibility})
        self._reader.wrote(room_id, LISTED, "", StateEvent({"listed": listed}))

    async def invite(self, room_id: RoomId, user: UserId, *, by_announcer: bool, retries: int | None = None) -> None:
        """Invite somebody; nothing happens if they are invited or joined already. `retries` as for `Client.request`;
        somebody of another homeserver is tried once.

        Raises:
            ServerAway: their homeserver does not answer ours. Ours may go on trying by itself.
            MatrixError: as `Client.request`.
        """
        sender = self._accounts.announcer if by_announcer else self._accounts.steward
        settled = ("invite", "join")
        if not self._servers.is_theirs(user):
            await self._move(room_id, user, "invite", sender, settled=settled, retries=retries)
            return
        async with self._servers.reached(user):
            await self._move(room_id, user, "invite", sender, settled=settled, retries=0, deadline=ELSEWHERE_SECONDS)

    async def bring_in(self, room_id: RoomId, user: UserId, *, by_announcer: bool) -> None:
        """Join somebody of our own server to a room (Synapse's admin API, `POST /_synapse/admin/v1/join/{room}`), which
        invites them first; that is for accounts that are admins of the homeserver. Where it is refused, invite them.
        """
        sender = self._accounts.announcer if by_announcer else self._accounts.steward
        as_user = None if sender == self._accounts.steward else sender
        url = f"/_synapse/admin/v1/join/{quote(room_id, safe='')}"
        try:
            await self._client.request("POST", url, body={"user_id": user}, as_user=as_user)
        except (Forbidden, BadRequest, NotFound) as error:
            log.info("%s is invited to %s, since they cannot be joined: %s", user, room_id, error.what)
            await self.invite(room_id, user, by_announcer=by_announcer)
            return
        self._reader.moved(room_id, user, Membership("join", user))

    async def kick(self, room_id: RoomId, user: UserId, reason: str) -> None:
        """Remove somebody; nothing happens if they are out already."""
        await self._move(room_id, user, "kick", self._accounts.steward, settled=("leave", "ban", ""), reason=reason)

    async def ban(self, room_id: RoomId, user: UserId, reason: str) -> None:
        await self._move(room_id, user, "ban", self._accounts.steward, settled=("ban",), reason=reason)

    async def unban(self, room_id: RoomId, user: UserId) -> None:
        await self._move(
            room_id, user, "unban", self._accounts.steward, settled=("leave", "invite", "join", "knock", "")
        )

    async def _move(
        self,
        room_id: RoomId,
        user: UserId,
        what: str,
        sender: UserId,
        *,
        settled: tuple[str, ...],
        reason: str = "",
        retries: int | None = None,
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        body = {"user_id": user, **({"reason": reason} if reason else {})}
        as_user = None if sender == self._accounts.steward else sender
        try:
            parts = path("v3", "rooms", room_id, what)
            await self._client.request("POST", parts, body=body, as_user=as_user, retries=retries, deadline=deadline)
        except (Forbidden, BadRequest) as error:
            now = await self._membership(room_id, user, error)
            if now not in settled:
                raise
            self._reader.forget(room_id)
            return
        after = {"invite": "invite", "kick": "leave", "ban": "ban", "unban": "leave"}[what]
        self._reader.moved(room_id, user, Membership(after, sender))

    async def _membership(self, room_id: RoomId, user: UserId, cause: MatrixError) -> str:
        try:
            parts = path("v3", "rooms", room_id, "state", "m.room.member", user)
            answer = await self._client.request("GET", parts)
        except NotFound:
            return ""
        except MatrixError:
            raise cause from None
        return str(answer.get("membership", ""))

    async def join_as_announcer(self, room_id: RoomId) -> None:
        """Let the announcer join a room that it is invited to."""
        await self._client.request(
            "POST",
            path("v3", "join", room_id),
            body={},
            as_user=self._accounts.announcer,
            deadline=JOIN_DEADLINE_SECONDS,
        )
        self._reader.moved(room_id, self._accounts.announcer, Membership("join", self._accounts.announcer))

    async def room_of(self, alias: str) -> RoomId | None:
        """The room of an address, None where there is none (client-server API, `GET /directory/room/{roomAlias}`)."""
        try:
            answer = await self._client.request("GET", path("v3", "directory", "room", alias))
        except (NotFound, BadRequest):
            return None
        return RoomId(str(answer.get("room_id", "")))

    async def join(self, room_id: RoomId) -> None:
        """Let the steward join a room that it is invited to or may join; nothing happens if it is in it."""
        parts = path("v3", "join", room_id)
        await self._client.request("POST", parts, body={}, deadline=JOIN_DEADLINE_SECONDS)

    async def leave_as_announcer(self, room_id: RoomId, reason: str) -> None:
        """Let the announcer leave a room, or decline its invite; nothing happens if it is not there."""
        try:
            await self._client.request(
                "POST",
                path("v3", "rooms", room_id, "leave"),
                body={"reason": reason} if reason else {},
                as_user=self._accounts.announcer,
            )
        except (Forbidden, NotFound) as error:
            log.debug("leaving %s: %s", room_id, error.what)

    async def leave(self, room_id: RoomId) -> None:
        """Let the steward leave a room; nothing happens if it is not there."""
        try:
            await self._client.request("POST", path("v3", "rooms", room_id, "leave"), body={})
        except (Forbidden, NotFound) as error:
            log.debug("leaving %s: %s", room_id, error.what)
        self._reader.forget(room_id)

    async def redact(self, room_id: RoomId, event_id: EventId, reason: str, *, txn_id: str) -> None:
        """Redact somebody's event as the steward."""
        parts = path("v3", "rooms", room_id, "redact", event_id, txn_id)
        await self._client.request("PUT", parts, body={"reason": reason})
