"""Carrying out one action. Each is idempotent; what must survive a kill is stored before or right after the request."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.core.community import SPACE, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, domain_of
from bridge.features.reconcile.memory import Memory
from bridge.plan.actions import (
    Action,
    AdoptProfile,
    AdoptRole,
    Ban,
    BringAnnouncer,
    CreateRoom,
    Invite,
    Kick,
    Link,
    SetListed,
    SetState,
    Unban,
)
from bridge.plan.state import MARKER, Accounts, Known, digest_of
from bridge.ports import RoomExecutor


class Work:
    """The hands of a reconciliation of one community."""

    def __init__(
        self,
        community: CommunityId,
        memory: Memory,
        executor: RoomExecutor,
        accounts: Accounts,
        bidden: frozenset[tuple[RoomKeyName, UserId]] = frozenset(),
    ) -> None:
        """
        Args:
            bidden: whose invitations the plan has because somebody bade them in, as remembered when it was made.
        """
        self._community = community
        self._memory = memory
        self._executor = executor
        self._accounts = accounts
        self._bidden = bidden
        self._half_made: set[RoomKeyName] = set()
        """Rooms that an earlier try left unfinished: nobody is let in before a second look has put them right."""

    async def do(self, action: Action) -> None:
        """Do one action.

        Raises:
            MatrixError: the homeserver refuses, or cannot be reached.
            Refused: it waits for a room that could not be made.
        """
        if action.room in self._half_made:
            return
        match action:
            case CreateRoom():
                await self._create(action)
            case SetState():
                room_id = await self._room(action.room)
                space = await self._room(SPACE) if _names_no_space(action.content) else None
                content = _with_space(action.content, space)
                await self._executor.set_state(room_id, action.type, action.state_key, content)
            case Link():
                await self._link(action)
            case SetListed():
                await self._executor.set_listed(await self._room(action.room), listed=action.listed)
            case Invite():
                await self._invite(action)
            case BringAnnouncer():
                await self._bring_announcer(action)
            case Kick():
                await self._executor.kick(await self._room(action.room), action.user, action.reason)
                await self._forget_invites(action.room, action.user)
            case Ban():
                await self._ban(action)
            case Unban():
                await self._unban(action)
            case AdoptRole() | AdoptProfile():
                return  # taken over with the comparison's memory

    async def _invite(self, action: Invite) -> None:
        if await self._was_taken_back(action):
            return
        room_id = await self._room(action.room)
        bring = self._executor.bring_in if action.join else self._executor.invite
        await bring(room_id, action.user, by_announcer=action.by_announcer)
        if await self._was_taken_back(action):
            await self._executor.kick(room_id, action.user, "")
        else:
            await self._remember_invite(action.room, action.user)

    async def _was_taken_back(self, action: Invite) -> bool:
        """Whether somebody was bidden in when the plan was made, and was removed since."""
        place = (action.room, action.user)
        return place in self._bidden and place not in (await self._memory.known(self._community)).bidden

    async def _room(self, key: RoomKeyName) -> RoomId:
        """The room of that key, or the space of another community that is named `<community>/space`."""
        other, _, space = key.partition("/")
        known = await self._memory.known(CommunityId(other) if space else self._community)
        room_id = known.rooms.get(RoomKeyName(space) if space else key)
        if room_id is None:
            raise Refused(f"waits for {key}, which could not be made")
        return room_id

    async def _create(self, action: CreateRoom) -> None:
        fresh = f"#_communities_{secrets.token_hex(12)}:{domain_of(self._accounts.steward)}"
        alias = await self._memory.about_to_create(self._community, action.room, action.room_kind, fresh)
        space = None if action.room == SPACE else await self._room(SPACE)
        body = creation_body(self._community, action, space)
        made = await self._executor.create(alias, body)
        if not made.whole:
            self._half_made.add(action.room)
        await self._memory.created(self._community, action.room, action.room_kind, made.room_id)
        await self.drop_alias(action.room, alias)

    async def drop_alias(self, key: RoomKeyName, alias: str) -> None:
        """Take the alias away under which a room was made, once the room is recorded."""
        await self._executor.drop_alias(alias)
        await self._memory.alias_dropped(self._community, key)

    async def _link(self, action: Link) -> None:
        room_id, other = await self._room(action.room), await self._room(action.of)
        await self._executor.set_state(room_id, action.type, other, action.content)
        place = (action.room, "link", str(action.of))
        await self._memory.update(
            self._community,
            lambda known: replace(known, settled={**known.settled, place: digest_of(action.content)}),
        )

    async def _bring_announcer(self, action: BringAnnouncer) -> None:
        room_id = await self._room(action.room)
        if action.banned:
            await self._executor.unban(room_id, self._accounts.announcer)
        if not action.invited:
            await self._executor.invite(room_id, self._accounts.announcer, by_announcer=False)
        await self._executor.join_as_announcer(room_id)

    async def _ban(self, action: Ban) -> None:
        if action.room == SPACE:  # first: what is remembered too much does no harm
            await self._remember_shut_out(action.user, shut_out=True)
        await self._executor.ban(await self._room(action.room), action.user, action.reason)
        await self._forget_invites(action.room, action.user)

    async def _unban(self, action: Unban) -> None:
        await self._executor.unban(await self._room(action.room), action.user)
        if action.room == SPACE:
            await self._remember_shut_out(action.user, shut_out=False)

    async def _remember_shut_out(self, user: UserId, *, shut_out: bool) -> None:
        """Bans from the space that stand for a ban from a community above are lifted with that one, and no other is."""

        def change(known: Known) -> Known:
            users = known.shut_out | {user} if shut_out else known.shut_out - {user}
            return replace(known, shut_out=users)

        await self._memory.update(self._community, change)

    async def _remember_invite(self, key: RoomKeyName, user: UserId) -> None:
        await self._memory.update(self._community, lambda known: replace(known, invited=known.invited | {(key, user)}))

    async def _forget_invites(self, key: RoomKeyName, user: UserId) -> None:
        """Whom we removed may be invited again if a declaration or a role asks for it later."""

        def change(known: Known) -> Known:
            return replace(known, invited=known.invited - {(key, user)})

        await self._memory.update(self._community, change)


def creation_body(community: CommunityId, action: CreateRoom, space: RoomId | None) -> dict[str, Any]:
    """The body of `POST /createRoom` with the whole initial state, and our mark in the creation content."""
    initial = []
    levels: Mapping[str, Any] = {}
    for event_type, state_key, content in action.state:
        if event_type == "m.room.power_levels":
            levels = content
        else:
            initial.append({"type": event_type, "state_key": state_key, "content": _with_space(content, space)})
    if action.parent is not None and space is not None:
        initial.append({"type": "m.space.parent", "state_key": space, "content": dict(action.parent)})
    # an alias of the room is only our handle while it is made: the room itself shall not name it
    initial.append({"type": "m.room.canonical_alias", "state_key": "", "content": {}})
    creation: dict[str, Any] = {MARKER: {"community": community, "key": action.room}}
    if action.room_kind is RoomKind.SPACE:
        creation["type"] = "m.space"
    return {
        "preset": "private_chat",
        "visibility": "public" if action.listed else "private",
        "creation_content": creation,
        "initial_state": initial,
        "power_level_content_override": dict(levels),
        **({"room_version": action.version} if action.version else {}),
    }


def _names_no_space(content: Mapping[str, Any]) -> bool:
    """Whether join rules were planned before the space existed."""
    allow = content.get("allow")
    return isinstance(allow, list) and any(isinstance(rule, Mapping) and rule.get("room_id") == "" for rule in allow)


def _with_space(content: Mapping[str, Any], space: RoomId | None) -> dict[str, Any]:
    """Fill the space's id into restricted join rules that were planned before the space existed."""
    allow = content.get("allow")
    if space is None or not isinstance(allow, list):
        return dict(content)
    filled = [
        {**rule, "room_id": space} if isinstance(rule, Mapping) and rule.get("room_id") == "" else rule
        for rule in allow
    ]  # fmt: skip
    return {**content, "allow": filled}
