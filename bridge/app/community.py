"""What can be asked about a community as a whole, by chat, by the local door or by a command that works alone.

It is how a community is set up, and its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from bridge.app.house import House
from bridge.app.pictures import given_picture
from bridge.core import texts
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, UserId
from bridge.core.profile import Aspect
from bridge.features.members import answer_language
from bridge.worker import State

WAIT_SECONDS = 30.0
"""For how long an answer waits until the rooms have followed. They follow all the same."""
_ASPECTS = {aspect.value: aspect for aspect in Aspect}


class CommunityDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed. Gives `said`, a list of sentences, and `done`: false where the rooms have yet to follow.

        Args:
            by: who asks; None for the operator.
            what: `key` (of the configuration), `text`, `remove`, `wait`, and what `given_picture` reads, as the deed
                needs them.

        Raises:
            Refused: a rule says no, or what is given cannot be understood.
        """
        house, language = self._house, answer_language(community, by)
        text = str(what.get("text") or "")
        match deed:
            case "about":
                rows = await house.profile.shown(community, by)
                found = [(aspect.value, value, declared) for aspect, value, declared in rows]
                name = await house.deactivations.name_of(community)
                settings = [{"key": key, "value": value, "declared": declared} for key, value, declared in found]
                told = texts.members_are_told(community.reach_names, language)
                return {"said": [texts.settings_shown(name, found, language), told], "done": True, "settings": settings}
            case "set":
                aspect = _aspect(what)
                await house.profile.set(community, by, aspect, text)
                said = [texts.setting_changed(aspect.value, self._language_now(community, by))]
            case "reset":
                aspect = _aspect(what)
                await house.profile.reset(community, by, aspect)
                said = [texts.setting_reset(aspect.value, self._language_now(community, by))]
            case "picture":
                await self._picture(community, by, what)
                said = [texts.community_picture(what.get("remove") is True, language)]
            case "caution":
                alone = await house.deactivations.without_heirs(community, by)
                name = await house.deactivations.name_of(community)
                form = str(what.get("form") or "{name}").replace("{name}", name)
                said = [texts.deactivate_caution(name, form, alone, language)]
                return {"said": said, "done": True, "name": name, "without_heirs": alone}
            case "deactivate":
                name = await house.deactivations.name_of(community)
                jobs = await house.deactivations.deactivate(community, by, text)
                said = [texts.deactivation_begins(name, language)]
                return {"said": said, "done": await self._all_done(community.id, jobs, what)}
            case _:
                raise Refused(f"{deed!r} is nothing that can be asked about a community")
        return {"said": said, "done": await self._follow(community.id, what)}

    async def _picture(self, community: Community, by: UserId | None, what: Mapping[str, Any]) -> None:
        """Give the community a picture, or take it away: nothing is fetched or uploaded for whoever may not."""
        profile = self._house.profile
        await profile.check(community, by, Aspect.PICTURE)
        if what.get("remove") is True:
            await profile.reset(community, by, Aspect.PICTURE)
        else:
            await profile.set(community, by, Aspect.PICTURE, await given_picture(self._house, what))

    async def reactivate(self, community: CommunityId, what: Mapping[str, Any]) -> bool:
        """Begin a deactivated community again; whether its rooms have followed.

        Raises:
            Refused: it was not deactivated, or its end is not done yet.
        """
        await self._house.deactivations.reactivate(community)
        if community not in self._house.reconciler.declared:
            return True  # it is declared no longer, so nothing is done about its rooms
        return await self._follow(community, what)

    def _language_now(self, community: Community, by: UserId | None) -> Any:
        now = self._house.reconciler.declared.get(community.id, community)
        return answer_language(now, by)

    async def _all_done(self, community: CommunityId, jobs: list[str], what: Mapping[str, Any]) -> bool:
        if what.get("wait") is False:
            return False
        done = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                for job in jobs:
                    outcome = await self._house.worker.wait_done(job, WAIT_SECONDS)
                    done = done and outcome.state is State.DONE
                return done
        return False

    async def _follow(self, community: CommunityId, what: Mapping[str, Any]) -> bool:
        if what.get("wait") is False:
            self._house.look_again(community)
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._house.settled(community)
                return True
        return False


def _aspect(what: Mapping[str, Any]) -> Aspect:
    key = str(what.get("key") or "").replace("-", "_")
    key = "avatar" if key == "picture" else key
    if key not in _ASPECTS:
        raise Refused(f"{key!r} is nothing that can be set", remedy=f"it is one of {', '.join(_ASPECTS)}")
    return _ASPECTS[key]
