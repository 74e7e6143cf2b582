"""The house as the join page sees it: what a visitor is told, and how they come in."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence

from bridge.app.house import House
from bridge.core.community import Community
from bridge.core.errors import CommunitiesError, MatrixError
from bridge.core.ids import RoomKeyName, UserId, domain_of, parse_user_id
from bridge.core.links import OBSTACLES, Link, Obstacle, Stage, Verdict
from bridge.plan.people import ABSENT
from bridge.plan.state import RoomState
from bridge.store.links import Entry
from bridge.web.join.entrance import Picture, Progress, Welcome

log = logging.getLogger(__name__)

SOON_SECONDS = 1.0
"""For how long the page waits for an invitation before it shows a place in the queue."""
KEPT_PICTURES = 32


class HouseEntrance:
    """Implements `web.join.entrance.Entrance`."""

    def __init__(self, house: House, *, ready: Callable[[], bool]) -> None:
        """
        Args:
            ready: whether the homeserver was met and everything runs.
        """
        self._house = house
        self._ready = ready
        self._profiles = house.profiles
        self._pictures: OrderedDict[str, Picture | None] = OrderedDict()

    # --- what a visitor is told ---------------------------------------------------------------------------------

    async def welcome(self, token: str) -> Welcome | Obstacle:
        """The community of a link, or why the link is no good."""
        link = await self._house.entering.by_token(token)
        verdict = Verdict.REVOKED if link is None else link.verdict(self._now)
        if link is None or verdict in OBSTACLES:
            return OBSTACLES[verdict]
        return await self._look(link)

    async def _look(self, link: Link) -> Welcome | Obstacle:
        community = self._house.reconciler.declared.get(link.community)
        if community is None or not self._ready():
            return Obstacle.UNREACHABLE
        try:
            space = await self._house.reconciler.arrivals.space(link.community)
            names = await self._names(community, link.groups)
        except CommunitiesError as error:
            log.warning("the join page of %s cannot be shown now: %s", link.community, error.what)
            return Obstacle.UNREACHABLE
        return Welcome(
            name=_said(space, "m.room.name", "name") or community.name or str(community.id),
            description=_said(space, "m.room.topic", "topic") or "",
            members=self._members(space) if community.show_member_count else None,
            groups=tuple(names),
            needs_approval=link.needs_approval,
            has_picture=bool(_said(space, "m.room.avatar", "url")),
        )

    async def _names(self, community: Community, groups: Sequence[RoomKeyName]) -> list[str]:
        """What groups are called, as their rooms say it."""
        known = await self._house.reconciler.memory.known(community.id)
        names = []
        for key in groups:
            room_id, declared = known.rooms.get(key), community.group(key)
            room = None if room_id is None else await self._house.reader.read(room_id)
            said = None if room is None else _said(room, "m.room.name", "name")
            names.append(said or (declared.name if declared is not None else None) or str(key))
        return names

    def _members(self, space: RoomState) -> int:
        ours = self._house.accounts.both
        return sum(here.state == "join" and user not in ours for user, here in space.members.items())

    async def picture(self, token: str) -> Picture | None:
        """The community's picture, kept in memory as long as the community has it."""
        link = await self._house.entering.by_token(token)
        if link is None or link.verdict(self._now) is Verdict.REVOKED or not self._ready():
            return None
        try:
            space = await self._house.reconciler.arrivals.space(link.community)
            mxc = _said(space, "m.room.avatar", "url")
            return None if not mxc else await self._picture(mxc)
        except CommunitiesError as error:
            log.info("the picture of %s cannot be shown: %s", link.community, error.what)
            return None

    async def _picture(self, mxc: str) -> Picture | None:
        if mxc in self._pictures:
            self._pictures.move_to_end(mxc)
            return self._pictures[mxc]
        found = await self._profiles.picture(mxc)
        picture = self._pictures[mxc] = None if found is None else Picture(*found)
        while len(self._pictures) > KEPT_PICTURES:
            self._pictures.popitem(last=False)
        return picture

    # --- coming in ----------------------------------------------------------------------------------------------

    async def enter(self, token: str, typed: str, words: str = "") -> str | Obstacle:
        """Let somebody in by what they typed as their Matrix ID; gives their ticket, or why not.

        Nothing is counted before everything was looked at that speaks against it.
        """
        link = await self._house.entering.by_token(token)
        if link is None or link.verdict(self._now) is Verdict.REVOKED:
            return Obstacle.UNKNOWN
        try:
            user = parse_user_id(typed)
        except ValueError:
            return Obstacle.MALFORMED
        if not self._ready() or link.community not in self._house.reconciler.declared:
            return Obstacle.UNREACHABLE
        try:
            obstacle = await self._obstacle(link, user)
            if obstacle is not None:
                return obstacle
            entry = await self._house.entering.use(link, user, words)
        except CommunitiesError as error:
            log.warning("%s cannot enter %s now: %s", user, link.community, error.what)
            return Obstacle.UNREACHABLE
        if isinstance(entry, Obstacle):
            return entry
        if not link.needs_approval:
            await self._house.worker.wait_done(self._house.entering.job_of(entry), SOON_SECONDS)
        return entry.ticket

    async def _obstacle(self, link: Link, user: UserId) -> Obstacle | None:
        """What speaks against letting somebody in by a link that is not revoked."""
        entering, arrivals = self._house.entering, self._house.reconciler.arrivals
        verdict = link.verdict(self._now)
        if verdict is Verdict.EXPIRED or (verdict is Verdict.USED_UP and not await entering.has_used(link, user)):
            return OBSTACLES[verdict]
        if await arrivals.is_barred(link.community, user):
            return Obstacle.BARRED
        if not await arrivals.outside_of(link.community, user, link.groups):
            return Obstacle.ALREADY_IN
        if await self._is_full(link, user):
            return Obstacle.FULL
        try:
            exists = await self._profiles.exists(user)
        except MatrixError as error:
            log.info("whether there is %s cannot be known now: %s", user, error.what)
            return Obstacle.UNREACHABLE
        return None if exists else Obstacle.NO_SUCH_PERSON

    async def _is_full(self, link: Link, user: UserId) -> bool:
        community = self._house.reconciler.declared[link.community]
        if not community.max_members:
            return False
        space = await self._house.reconciler.arrivals.space(link.community)
        if space.members.get(user, ABSENT).present:
            return False
        ours = self._house.accounts.both
        present = sum(here.present and one not in ours for one, here in space.members.items())
        return present + await self._house.entering.waiting(link.community) >= community.max_members

    # --- how far they have come ---------------------------------------------------------------------------------

    async def progress(self, token: str, ticket: str) -> Progress | Obstacle:
        """How far the person of that ticket has come, as the space has it."""
        link = await self._house.entering.by_token(token)
        entry = await self._house.entering.entry(ticket)
        if link is None or entry is None or entry.link != link.id:
            return Obstacle.UNKNOWN
        welcome = await self._look(link)
        if isinstance(welcome, Obstacle):
            return welcome
        space = await self._house.reconciler.arrivals.space(link.community)
        stage = _stage(entry, space, domain_of(entry.user) != self._house.config.homeserver.domain)
        if stage is Stage.ASKED and await self._house.requests.is_declined(link.community, entry.user, entry.at):
            stage = Stage.DECLINED
        ahead = await self._house.entering.ahead_of(entry) if entry.stage is Stage.WAITING else 0
        via = self._house.config.homeserver.domain
        return Progress(welcome, entry.user, stage, ahead, space.room_id, via)

    @property
    def _now(self) -> int:
        return self._house.clock.now_ms()


def _stage(entry: Entry, space: RoomState, elsewhere: bool) -> Stage:
    """What is true now: memberships say more than what was noted when the invitation was sent."""
    here = space.members.get(entry.user, ABSENT).state
    if here == "ban":
        return Stage.BARRED
    if here == "join":
        return Stage.INSIDE
    if here == "invite" and entry.stage in (Stage.WAITING, Stage.ASKED, Stage.INVITED):
        return Stage.INVITED
    if entry.stage is Stage.INVITED:
        # a homeserver that was away is still being asked; else the invitation was declined or taken back since
        return Stage.WAITING if elsewhere and here == "" else Stage.FAILED
    return entry.stage


def _said(room: RoomState, event_type: str, field: str) -> str | None:
    """A text in a room's state, None where there is none."""
    value = (room.content(event_type) or {}).get(field)
    return value.strip() or None if isinstance(value, str) else None
