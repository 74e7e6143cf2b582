"""What can be asked about announcements that were sent: edit, withdraw, pin, announce again, try again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from bridge.app.audiences import Right, must_be_right
from bridge.app.house import House
from bridge.app.naming import announcement_meant, mentioned
from bridge.core import texts
from bridge.core.afterwards import LONGEST_PIN_SECONDS, PIN_SECONDS
from bridge.core.announcements import EVERYBODY, Audience, Target, person_of
from bridge.core.community import Community
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.messages import PostAgain
from bridge.core.rendering import render
from bridge.features.afterwards import job_of_edit, job_of_withdrawal
from bridge.features.members import answer_language
from bridge.store.announcements import Announcement, Copy, id_of
from bridge.worker import State

WAIT_SECONDS = 60.0
"""For how long an answer to the operator waits until all is done. It is done all the same."""

Answer = Awaitable[dict[str, Any]]


class Asked:
    """One request, and the announcement that it names."""

    def __init__(
        self,
        community: Community,
        by: UserId | None,
        what: Mapping[str, Any],
        number: int,
        announcement: Announcement,
        copies: Sequence[Copy],
        zone: tzinfo,
    ) -> None:
        self.community = community
        self.by = by
        self.author = str(by or "operator")
        self.what = what
        self.number = number
        self.announcement = announcement
        self.copies = copies
        self.language = answer_language(community, by)
        self.zone = zone
        room = what.get("room")
        self.reply_room = RoomId(str(room)) if by is not None and room else None
        self.source = f"{by or 'operator'} {what.get('source') or ''}"


class AfterwardsDesk:
    """Reads what is asked, has it done, and says what came of it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def do(self, deed: str, community: Community, by: UserId | None, what: Mapping[str, Any]) -> dict[str, Any]:
        """Do one deed of `DEEDS`. Gives `said`, a list of sentences (none where people are told when it is done),
        `number` and `done`.

        Args:
            by: who asks; None for the operator.
            what: `announcement`, or `reply_to` in `room` (see `app/naming`); `source` is what asks, by which a repeat
                is known; `text` of an edit, and `pills`, whom it mentions; `seconds` of a pin; `target`, the community
                to forward to.

        Raises:
            Refused: there is no such announcement, or a rule says no.
        """
        announcements = self._house.newsroom.announcements
        number, announcement = await announcement_meant(announcements, community.id, what)
        copies = await announcements.copies_of(announcement.id)
        zone = self._house.newsroom.answer_zone(community.id, by)
        asked = Asked(community, by, what, number, announcement, copies, zone)
        await self._must_be_right_here(asked)
        ways: dict[str, Callable[[Asked], Answer]] = {
            "look": self._look,
            "edit": self._edit,
            "withdraw": self._withdraw,
            "pin": self._pin,
            "unpin": self._unpin,
            "repost": self._repost,
            "forward": self._forward,
            "retry": self._retry,
        }
        return {"number": number, "done": True, **await ways[deed](asked)}

    # --- changes of all copies --------------------------------------------------------------------------------------

    async def _look(self, asked: Asked) -> dict[str, Any]:
        """What a withdrawal would do."""
        await self._must_be_permitted(asked.by, asked.copies)
        one = asked.announcement
        said = texts.withdraw_caution(asked.number, one.at, one.author, len(asked.copies), asked.language, asked.zone)
        return {"said": [said]}

    async def _edit(self, asked: Asked) -> dict[str, Any]:
        await self._must_be_permitted(asked.by, asked.copies)
        afterwards = self._house.newsroom.afterwards
        change = await afterwards.edit(
            asked.announcement.id,
            render(str(asked.what.get("text") or ""), mentioned(asked.what)),
            community=asked.community.id,
            source=asked.source,
            author=asked.author,
            reply_room=asked.reply_room,
        )
        jobs = [job_of_edit(change, copy.target) for copy in asked.copies]
        return await self._wait_for(asked, change, jobs, texts.announcement_edited)

    async def _withdraw(self, asked: Asked) -> dict[str, Any]:
        await self._must_be_permitted(asked.by, asked.copies)
        if asked.announcement.withdrawn_at is not None and asked.by is not None:
            progress = await self._house.newsroom.afterwards.withdrawal(asked.announcement.id)
            said = texts.announcement_withdrawn(asked.number, progress.done, progress.failed, asked.language)
            return {"said": [texts.still_on_its_way(asked.number, asked.language) if progress.waiting else said]}
        change = await self._house.newsroom.afterwards.withdraw(
            asked.announcement.id, community=asked.community.id, author=asked.author, reply_room=asked.reply_room
        )
        jobs = [job_of_withdrawal(asked.announcement.id, copy.target) for copy in asked.copies]
        return await self._wait_for(asked, change, jobs, texts.announcement_withdrawn)

    async def _wait_for(
        self, asked: Asked, change: str, jobs: Iterable[str], say: Callable[..., str]
    ) -> dict[str, Any]:
        """People are told in their chat when it is done; the operator waits for it."""
        if asked.by is not None:
            return {"said": []}
        await self._all_done(jobs)
        progress = await self._house.newsroom.afterwards.progress(change)
        if progress.waiting:
            return {"said": [texts.still_on_its_way(asked.number)], "done": False}
        return {"said": [say(asked.number, progress.done, progress.failed)], "done": not progress.failed}

    async def _all_done(self, jobs: Iterable[str]) -> str:
        """Wait for jobs, for `WAIT_SECONDS` at most together; gives why one was given up."""
        why = ""
        give_up = asyncio.get_running_loop().time() + WAIT_SECONDS
        for job in jobs:
            left = give_up - asyncio.get_running_loop().time()
            if left > 0:
                outcome = await self._house.worker.wait_done(job, left)
                why = outcome.reason if outcome.state is State.PARKED else why
        return why

    # --- pins -------------------------------------------------------------------------------------------------------

    async def _pin(self, asked: Asked) -> dict[str, Any]:
        seconds = asked.what.get("seconds", PIN_SECONDS)
        if type(seconds) is not int or not 60 <= seconds <= LONGEST_PIN_SECONDS:
            raise Refused("announcements are pinned for a minute to a year", remedy="for instance 7d")
        until = await self._house.newsroom.pins.pin(
            asked.announcement.id,
            await self._in_rooms(asked),
            seconds * 1000,
            author=asked.author,
            reply_room=asked.reply_room,
        )
        return {"said": [texts.announcement_pinned(asked.number, until, asked.language, asked.zone)], "until": until}

    async def _unpin(self, asked: Asked) -> dict[str, Any]:
        await self._house.newsroom.pins.unpin(asked.announcement.id, await self._in_rooms(asked), author=asked.author)
        return {"said": [texts.announcement_unpinned(asked.number, asked.language)]}

    async def _in_rooms(self, asked: Asked) -> list[tuple[Target, EventId]]:
        """The copies in rooms into which the person may announce."""
        found = []
        for copy in asked.copies:
            in_room = copy.target.room_id is not None and person_of(copy.target.place) is None
            if in_room and copy.event_id is not None and await self._is_permitted(asked.by, [copy]):
                found.append((copy.target, copy.event_id))
        if not found:
            raise Refused(f"#{asked.number} lies in no room in which it could be pinned")
        return found

    # --- once more --------------------------------------------------------------------------------------------------

    async def _repost(self, asked: Asked) -> dict[str, Any]:
        """To the same people, where it was given; in a community below which it reached, to everybody there."""
        audience = asked.announcement.audience
        if asked.community.id in audience.communities or asked.announcement.human:
            audience = EVERYBODY
        must_be_right(await self._right_of(asked.community.id, asked.by), audience, asked.community.id)
        return await self._again(asked, asked.community.id, audience)

    async def _forward(self, asked: Asked) -> dict[str, Any]:
        target = CommunityId(str(asked.what.get("target") or ""))
        if target not in self._house.reconciler.declared:
            raise Refused(f"there is no community {str(target)[:60]!r}", remedy="name one by its id")
        if not (await self._right_of(target, asked.by))(EVERYBODY):
            raise _elsewhere(target)
        return await self._again(asked, target, EVERYBODY)

    async def _again(self, asked: Asked, target: CommunityId, audience: Audience) -> dict[str, Any]:
        source = f"again {target} {asked.source}"
        job = PostAgain(
            asked.announcement.id, asked.number, target, audience.as_words(), source, asked.author, asked.reply_room
        )
        job_id = await self._house.newsroom.reposts.ask(job)
        if asked.by is not None:
            return {"said": []}
        taken = id_of(source)
        if why := await self._all_done([job_id, f"take-{taken}"]):
            raise Refused(why, where=str(target), remedy="see `matrix-communities parked`")
        copies = await self._house.newsroom.announcements.copies_of(taken)
        await self._all_done([copy.target.job_of(taken) for copy in copies])
        copies = await self._house.newsroom.announcements.copies_of(taken)
        if not copies or not all(copy.event_id for copy in copies):
            return {"said": [texts.still_on_its_way(asked.number)], "done": False}
        return {"said": [texts.announced_again(asked.number, target)]}

    async def _retry(self, asked: Asked) -> dict[str, Any]:
        await self._must_be_permitted(asked.by, asked.copies)
        count = await self._house.newsroom.afterwards.retry(
            asked.announcement.id, community=asked.community.id, author=asked.author
        )
        return {"said": [texts.tried_again(asked.number, count, asked.language)], "count": count}

    # --- who may ----------------------------------------------------------------------------------------------------

    async def _right_of(self, community: CommunityId, by: UserId | None) -> Right:
        return await self._house.newsroom.audiences.right_of(community, by)

    async def _must_be_right_here(self, asked: Asked) -> None:
        """Where it is asked: whoever may announce to the same people there may do what there is to do about it."""
        right = await self._right_of(asked.community.id, asked.by)
        must_be_right(right, asked.announcement.audience, asked.community.id)
        here = [copy for copy in asked.copies if copy.target.community == asked.community.id]
        if here:
            must_be_right(right, _audience(here), asked.community.id)

    async def _is_permitted(self, by: UserId | None, copies: Sequence[Copy]) -> bool:
        for community, there in _by_community(copies).items():
            if not (await self._right_of(community, by))(_audience(there)):
                return False
        return True

    async def _must_be_permitted(self, by: UserId | None, copies: Sequence[Copy]) -> None:
        for community, there in _by_community(copies).items():
            if not await self._is_permitted(by, there):
                raise _elsewhere(community)


DEEDS = frozenset({"look", "edit", "withdraw", "pin", "unpin", "repost", "forward", "retry"})


def _elsewhere(community: CommunityId) -> Refused:
    return Refused(
        f"it is in {community}, too, where you may not announce", remedy=f"ask an owner or admin of {community}"
    )


def _by_community(copies: Iterable[Copy]) -> dict[CommunityId, list[Copy]]:
    found: dict[CommunityId, list[Copy]] = {}
    for copy in copies:
        found.setdefault(copy.target.community, []).append(copy)
    return found


def _audience(copies: Iterable[Copy]) -> Audience:
    """Who has these copies of one community; people in direct chats are taken for everybody."""
    keys = [copy.target.place for copy in copies]
    groups = tuple(RoomKeyName(key) for key in keys if key and person_of(key) is None)
    return Audience(everybody=len(groups) < len(keys), groups=groups)
