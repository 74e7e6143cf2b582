"""What can be asked about a community's groups, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core import texts
from bridge.core.community import Community, Posting, RoomKind
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.features.groups import shown
from bridge.features.members import answer_language
from bridge.worker import State

WAIT_SECONDS = 30.0
"""For how long an answer waits until the rooms have followed. They follow all the same."""
KINDS = {kind.value: kind for kind in (RoomKind.OPEN, RoomKind.REQUEST, RoomKind.HIDDEN)}
POSTING = {posting.value: posting for posting in Posting}


class GroupDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and `done`: false where the rooms have yet to follow.

        Args:
            by: who asks; None for the operator.
            what: `key`, `name`, `text`, `kind`, `posting`, `source`, `wait`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        groups, language = self._house.groups, answer_language(community, by)
        source, text = str(what.get("source") or ""), str(what.get("text") or "")
        key = RoomKeyName(str(what.get("key") or ""))
        match deed:
            case "list":
                found = await groups.listed(community)
                lines = [(one.key, one.name, one.kind.value, one.archived) for one in found]
                said = [texts.groups_listed(lines, community.id, language)]
                return {"said": said, "done": True, "groups": [shown(one) for one in found]}
            case "create":
                kind = _one_of(KINDS, what, "kind", "open")
                key = await groups.create(community, by, text, kind, key or None, source)
                said = [texts.group_created(text, key, kind.value, language)]
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
            case "heirs":
                return {"said": [], "done": True, "heirs": await groups.heirs(community, by, key)}
            case "release":
                job = await groups.release(community, by, key, source)
                said = [texts.group_release_begins(key, language)]
                if what.get("wait") is not False:
                    await self._wait_for(community.id, job)
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about groups")
        return {"said": said, "done": await self._follow(community.id, what), "key": key}

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


def _one_of(words: Mapping[str, Any], what: Mapping[str, Any], name: str, default: str = "") -> Any:
    word = str(what.get(name) or default)
    if word not in words:
        raise Refused(f"{word!r} is no {name}", where=name, remedy=f"it is one of {', '.join(words)}")
    return words[word]
