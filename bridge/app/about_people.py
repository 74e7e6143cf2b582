"""What can be asked about a community's people, by chat, by the local door or by a command that works alone.

One table: the name of a deed, what it is given, and what it does. The rules stand in `core/rank`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core import rank, texts
from bridge.core.community import Community, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId, parse_user_id
from bridge.core.roster import matching
from bridge.features.members import answer_language
from bridge.features.requests import facts
from bridge.worker import State

WAIT_SECONDS = 30.0
"""For how long an answer waits until the rooms have followed. They follow all the same."""
_ROLES = {"owner": Role.OWNER, "admin": Role.ADMIN, "member": Role.MEMBER}


class AboutPeople:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and `done`: false where the rooms have yet to follow.

        Args:
            by: who asks; None for the operator.
            what: `users`, `groups`, `group`, `role`, `reason`, `add`, `revoke_links`, `tag`, `filter`, `source`,
                `wait` and `room` (where it is answered), as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        members, language = self._house.members, answer_language(community, by)
        source = str(what.get("source") or "")
        room = RoomId(str(what["room"])) if what.get("room") else None
        match deed:
            case "invite":
                groups = [RoomKeyName(key) for key in _texts(what, "groups")]
                said = await members.invite(community, by, _users(what), groups, room=room)
            case "remove" | "ban":
                reason = str(what.get("reason") or "")
                job = await members.remove(
                    community,
                    by,
                    _user(what),
                    reason,
                    ban=deed == "ban",
                    source=source,
                    revoke_links=what.get("revoke_links") is True,
                )
                said = [texts.removal_begins(_user(what), deed, language)]
                return {"said": said, "done": await self._after(community.id, job, what)}
            case "unban":
                job = await members.unban(community, by, _user(what), source=source)
                said = [texts.removal_begins(_user(what), deed, language)]
                return {"said": said, "done": await self._after(community.id, job, what)}
            case "promote" | "demote":
                said = [await members.give_role(community, by, _user(what), _role(deed, what), room=room)]
            case "moderator":
                key, add = RoomKeyName(str(what.get("group"))), what.get("add") is True
                said = [await members.moderator(community, by, key, _user(what), add=add, room=room)]
            case "may transfer":
                user = _user(what)
                await members.check_transfer(community, by, user)
                return {"said": [texts.transfer_caution(user, await self._name(community), language)], "done": False}
            case "transfer":
                said = [await members.transfer(community, by, _user(what), room=room)]
            case "ask":
                place = await self._house.requests.ask_for_group(community, by, str(what.get("group") or ""), source)
                return {"said": [texts.asked_for_group(place, language)], "done": False}
            case "approve" | "reject":
                rank.check_decision(await members.people(community), by)
                reason = str(what.get("reason") or "")
                text = await self._house.requests.decide(
                    community.id,
                    by or texts.the_operator(),
                    _user(what),
                    approve=deed == "approve",
                    reason=reason,
                    language=language,
                )
                said = [text]
            case "requests":
                rank.check_decision(await members.people(community), by)
                requests, name = self._house.requests, await self._name(community)
                waiting = await requests.waiting(community.id)
                cards = [facts(one, await requests.place_of(one), language) for one in waiting]
                said = [texts.requests_waiting(cards, name, language)]
                return {"said": said, "done": True, "requests": [_shown(request) for request in waiting]}
            case "members" | "who" | "tags" | "tag" | "untag":
                return await self._belonging(deed, community, by, what)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about people")
        done = await self._follow(community.id, what)
        return {"said": said, "done": done}

    async def _name(self, community: Community) -> str:
        return await self._house.reconciler.name_of(community.id)

    async def _belonging(
        self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Who is there, and tags: no room changes by it."""
        house, language = self._house, answer_language(community, by)
        if deed == "members":
            found = matching(await house.roster.everybody(community.id), str(what.get("filter") or ""))
            return {"said": [], "done": True, "members": [_member(person) for person in found]}
        if deed == "who":
            person = await house.roster.person(community.id, _user(what))
            said = [texts.who(person, await self._name(community), language)]
            return {"said": said, "done": True, "members": [_member(person)]}
        if deed == "tags":
            tags = await house.roster.tags(community.id)
            return {
                "said": [texts.tags_listed(tags, await self._name(community), language)],
                "done": True,
                "tags": tags,
            }
        users, give = _users(what), deed == "tag"
        name = await house.tags.change(community, by, users, str(what.get("tag") or ""), give=give)
        return {"said": [texts.tagged(users, name, give, language)], "done": True}

    async def _after(self, community: CommunityId, job: str, what: Mapping[str, Any]) -> bool:
        """Wait for a job, and for what follows from it in the rooms; whether all of it is done."""
        if what.get("wait") is False:
            return False
        outcome = await self._house.worker.wait_done(job, WAIT_SECONDS)
        if outcome.state is State.PARKED:
            raise Refused(
                f"the homeserver refused: {outcome.reason}",
                where=str(community),
                remedy="see `matrix-communities parked`",
            )
        return await self._follow(community, what) and outcome.state is State.DONE

    async def _follow(self, community: CommunityId, what: Mapping[str, Any]) -> bool:
        if what.get("wait") is False:
            self._house.look_again(community)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._house.settled(community)
        return False


def _member(person: Mapping[str, Any]) -> dict[str, Any]:
    return {**person, "role": person["role"].word}


def _shown(request: Any) -> dict[str, Any]:
    return {
        "user": request.user,
        "name": request.name,
        "how": request.how,
        "detail": request.detail,
        "words": request.words,
        "suggests": None if request.wish is None else request.wish.name,
        "groups": list(request.keys),
        "asked_at": request.asked_at,
    }


def _role(deed: str, what: Mapping[str, Any]) -> Role:
    word = str(what.get("role") or "member")
    allowed = ("owner", "admin") if deed == "promote" else ("admin", "member")
    if word not in allowed:
        raise Refused(f"{word!r} is not {' or '.join(allowed)}", where=deed, remedy="name one of them")
    return _ROLES[word]


def _texts(what: Mapping[str, Any], name: str) -> list[str]:
    values = what.get(name) or []
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise Refused(f"{name} is not a list of names")
    return list(values)


def _users(what: Mapping[str, Any]) -> list[UserId]:
    names = _texts(what, "users")
    if not names:
        raise Refused("nobody is named", remedy="name a user id, such as @name:example.org")
    try:
        return list(dict.fromkeys(parse_user_id(name) for name in names))
    except ValueError as error:
        raise Refused(str(error), remedy="give the whole user id") from error


def _user(what: Mapping[str, Any]) -> UserId:
    found = _users(what)
    if len(found) != 1:
        raise Refused("this is done for one person at a time", remedy="name one user id")
    return found[0]
