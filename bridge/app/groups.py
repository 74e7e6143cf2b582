"""What can be asked about a community's groups, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.app.pictures import given_picture
from bridge.core import texts
from bridge.core.community import Community, Posting, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.languages import Language
from bridge.features.adopting import Proposal, proposed
from bridge.features.groups import shown
from bridge.features.members import answer_language
from bridge.worker import State

WAIT_SECONDS = 30.0
"""For how long an answer waits until the rooms have followed. They follow all the same."""
KINDS = {kind.value: kind for kind in (RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN)}
ON = {"on": True, "off": False}
POSTING = {posting.value: posting for posting in Posting}


class GroupDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and `done`: false where the rooms have yet to follow.

        Args:
            by: who asks; None for the operator.
            what: `key`, `name`, `text`, `kind`, `posting`, `on`, `room`, `digest`, `encrypt`, `picture`, `reply_to`,
                `data`, `remove`, `target`, `source`, `wait`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        groups, language = self._house.groups, answer_language(community, by)
        source, text = str(what.get("source") or ""), str(what.get("text") or "")
        key = RoomKeyName(str(what.get("key") or ""))
        match deed:
            case "list" | "propose" | "heirs":
                return await self._look(deed, community, by, what, language)
            case "create":
                return await self._create(community, by, what, language)
            case "rename" | "describe":
                await groups.call(community, by, key, "name" if deed == "rename" else "description", text)
                said = [texts.group_changed(key, language)]
            case "posting":
                posting = _one_of(POSTING, what, "posting")
                await groups.change(community, by, key, posting=posting)
                said = [texts.group_posting(key, posting is Posting.MODERATORS, language)]
            case "kind":
                kind = _one_of(KINDS, what, "kind")
                await groups.change(community, by, key, kind=kind)
                said = [texts.group_kind(key, kind.value, language)]
            case "archive" | "unarchive":
                await groups.change(community, by, key, archived=deed == "archive")
                say = texts.group_archived if deed == "archive" else texts.group_unarchived
                said = [say(key, language)]
            case "picture":
                await self._picture(community, by, key, what)
                said = [texts.group_picture(key, what.get("remove") is True, language)]
            case "adopt":
                key = await self._adopt(community, by, what)
                said = [texts.group_adoption_begins(key, language)]
            case "move" | "announcements" | "may announcements":
                do = {"move": self._move, "announcements": self._admit, "may announcements": self._may_admit}[deed]
                return await do(community, by, key, what)
            case "release":
                job = await groups.release(community, by, key, source)
                said = [texts.group_release_begins(key, language)]
                if what.get("wait") is not False:
                    await self._wait_for(community.id, job)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about groups")
        return {"said": said, "done": await self._follow(community.id, what), "key": key}

    async def _may_admit(
        self, community: Community, by: UserId | None, key: RoomKeyName, what: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Whether the announcer may be let into a group, or out of it: what has to be known first, or nothing."""
        admit = _one_of(ON, what, "on")
        new = await self._house.newsroom.admitting.check(community, by, key, admit=admit)
        caution = texts.group_announcements_caution(key, answer_language(community, by))
        return {"said": [caution] if new and admit else [], "done": True, "key": key}

    async def _admit(
        self, community: Community, by: UserId | None, key: RoomKeyName, what: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Let the announcer into a group, or out of it."""
        admit, source, language = _one_of(ON, what, "on"), str(what.get("source") or ""), answer_language(community, by)
        if not await self._house.newsroom.admitting.change(community, by, key, admit=admit, source=source):
            return {"said": [texts.group_announcements_already(key, admit, language)], "done": True, "key": key}
        say = texts.group_announcements_on if admit else texts.group_announcements_off
        return {"said": [say(key, language)], "done": await self._follow(community.id, what), "key": key}

    async def _create(
        self, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        """Make a group, or suggest it where members can only do that: then the key is empty."""
        name, kind, key = str(what.get("text") or ""), _one_of(KINDS, what, "kind", "open"), str(what.get("key") or "")
        source = str(what.get("source") or "")
        wish = await self._house.groups.wish(community, by, name, kind, key or None)
        if wish is not None and by is not None:
            await self._house.requests.suggest(community, by, wish, source)
            return {"said": [texts.group_suggested(wish.name, language)], "done": True, "key": ""}
        made = await self._house.groups.create(community, by, name, kind, key or None, source)
        said = [texts.group_created(name, made, kind.value, language)]
        return {"said": said, "done": await self._follow(community.id, what), "key": made}

    async def _adopt(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> RoomKeyName:
        return await self._house.adopting.adopt(
            community,
            by,
            str(what.get("room") or ""),
            str(what.get("key") or "") or None,
            _kind(what),
            digest=str(what.get("digest") or ""),
            encrypt=what.get("encrypt") is True,
        )

    async def _move(
        self, community: Community, by: UserId | None, key: RoomKeyName, what: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Move a group to another community; both are looked at again, also where an earlier answer got lost."""
        target, language = CommunityId(str(what.get("target") or "")), answer_language(community, by)
        moved = await self._house.moving.move(community, by, key, target)
        say = texts.group_move_begins if moved else texts.group_moved_already
        self._house.look_again(target)
        done = await self._follow(community.id, what) and await self._follow(target, what)
        return {"said": [say(key, target, language)], "done": done, "key": key}

    async def _look(
        self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any], language: Language
    ) -> dict[str, Any]:
        """What changes nothing: which groups there are, what an adoption would change, who would inherit a group."""
        key = str(what.get("key") or "")
        if deed == "heirs":
            return {"said": [], "done": True, "heirs": await self._house.groups.heirs(community, by, RoomKeyName(key))}
        if deed == "propose":
            named = str(what.get("room") or "")
            proposal = await self._house.adopting.propose(community, by, named, key or None, _kind(what))
            return {"said": [_adoption(proposal, language)], "done": True, **proposed(proposal)}
        found = await self._house.groups.listed(community)
        lines = [(one.key, one.name, one.kind.value, one.archived) for one in found]
        said = [texts.groups_listed(lines, community.id, language)]
        return {"said": said, "done": True, "groups": [shown(one) for one in found]}

    async def _picture(
        self, community: Community, by: UserId | None, key: RoomKeyName, what: Mapping[str, Any]
    ) -> None:
        """Give a group the picture that was sent along or answered, or a file of the operator's, or take it away."""
        groups = self._house.groups
        await groups.check_call(community, by, key, "avatar")
        uri = "" if what.get("remove") is True else await given_picture(self._house, what)
        await groups.call(community, by, key, "avatar", uri)

    async def _wait_for(self, community: CommunityId, job: str) -> None:
        outcome = await self._house.worker.wait_done(job, WAIT_SECONDS)
        if outcome.state is State.PARKED:
            raise Refused(
                f"the homeserver refused: {outcome.reason}",
                where=str(community),
                remedy="see `matrix-communities parked`",
            )

    async def _follow(self, community: CommunityId, what: Mapping[str, Any]) -> bool:
        if what.get("wait") is False:
            self._house.look_again(community)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                return await self._house.settled(community)
        return False


def _kind(what: Mapping[str, Any]) -> RoomKind | None:
    return _one_of(KINDS, what, "kind") if what.get("kind") else None


def _adoption(proposal: Proposal, language: Language) -> str:
    return texts.adoption_caution(
        proposal.name,
        proposal.group.key,
        proposal.group.kind.value,
        proposal.changes,
        proposal.remains,
        len(proposal.invited),
        proposal.encrypts,
        language,
    )


def _one_of(words: Mapping[str, Any], what: Mapping[str, Any], name: str, default: str = "") -> Any:
    word = str(what.get(name) or default)
    if word not in words:
        raise Refused(f"{word!r} is no {name}", where=name, remedy=f"it is one of {', '.join(words)}")
    return words[word]
