"""What can be asked about the communities within a community, by chat, by the local door or by a command."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.features.members import answer_language

WAIT_SECONDS = 30.0
"""For how long an answer waits until the rooms have followed. They follow all the same."""


class SubcommunityDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and `done`: false where the rooms have yet to follow.

        Args:
            by: who asks; None for the operator.
            what: `text`, `key`, `parent`, `source`, `wait`, as the deed needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        feature, language = self._house.subcommunities, answer_language(community, by)
        text, key = str(what.get("text") or ""), str(what.get("key") or "")
        touched = community.id
        match deed:
            case "list":
                found = await feature.listed(community)
                lines = [(one.id, one.name, one.depth) for one in found]
                said = [texts.subcommunities_listed(lines, language)]
                return {"said": said, "done": True, "communities": [dataclasses.asdict(one) for one in found]}
            case "create":
                touched = await feature.create(community, by, text, key or None, str(what.get("source") or ""))
                said = [texts.subcommunity_created(text, touched, community.id, language)]
            case "move":
                parent = self._house.reconciler.declared.get(CommunityId(str(what.get("parent") or "")))
                if parent is None:
                    known = ", ".join(self._house.reconciler.declared)
                    raise Refused(f"there is no community {what.get('parent')!r}", remedy=f"there are: {known}")
                await feature.move(community, by, parent)
                said = [texts.subcommunity_moved(community.id, parent.id, language)]
            case "rename":
                await feature.rename(community, by, text)
                said = [texts.group_changed(community.id, language)]
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about communities")
        return {"said": said, "done": await self._follow(touched, what), "id": touched}

    async def _follow(self, community: CommunityId, what: Mapping[str, Any]) -> bool:
        if what.get("wait") is False:
            self._house.look_again(community)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._house.settled(community)
                return True
        return False
