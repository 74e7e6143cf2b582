"""What the operator can ask about one person across all communities: what is stored about them, and its erasure."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bridge.app.about_people import AboutPeople
from bridge.app.house import House
from bridge.core.community import SPACE, Community, Role
from bridge.core.errors import CommunitiesError, Refused
from bridge.core.ids import CommunityId, UserId, parse_user_id
from bridge.plan.people import places
from bridge.store.erasure import Found, Way

WHERE = "person"
IN = ("join", "invite", "knock")
ROUNDS, PAUSE_SECONDS = 10, 0.5
"""How often, and with what pause, is erased again what a removal a moment ago still brings."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands, as far as rooms and the configuration say it. All are communities but `declared`."""

    member_of: list[CommunityId]
    """Where they are in, invited or asking."""
    banned_in: list[CommunityId]
    kept_out_of: list[CommunityId]
    """Where the configuration names them under `removed`."""
    only_owner_of: list[CommunityId]
    declared: list[str]
    """Keys of the configuration that name them, `removed` left out."""
    unread: list[CommunityId]
    """Whose space could not be read, so that nothing of this is known."""


class AboutPerson:
    """Shows and erases. Rooms are touched where `leave` or `bans` asks for it alone, and by the deeds for that."""

    def __init__(self, house: House, people: AboutPeople) -> None:
        self._house = house
        self._people = people

    async def do(self, deed: str, user: str, *, leave: bool = False, bans: bool = False) -> dict[str, Any]:
        """`show` what is stored about somebody, or `erase` it.

        Gives `user`; `standing`; `records`, each `kind`, `table`, `way` (what becomes of it) and `row`; `counts`, how
        many of each kind. After an erasure these are what was there, and `left` how many of each kind are there now.

        Args:
            leave: have them removed from every community first.
            bans: have bans of them lifted first, and forget that the declaration in force kept them out.

        Raises:
            Refused: it is no user id, or something stands in the way of erasing; each says what to do.
        """
        person = self._user(user)
        if deed == "show":
            found = await self._house.erasure.show(person, bans=bans)
            return {"user": person, "standing": asdict(await self._standing(person)), **_told(found)}
        if deed != "erase":
            raise Refused(f"{deed!r} is nothing that can be asked about a person", where=WHERE)
        await self._must_be_erasable(person)
        if (leave or bans) and (unread := (await self._standing(person)).unread):
            raise Refused(
                f"the space cannot be read, so it is not known whether {person} is in it",
                where=", ".join(unread),
                remedy="`matrix-communities plan` says more; or erase them without --leave and --bans",
            )
        if leave:
            await self._each("remove", person)
        if bans:
            await self._each("unban", person)
        found = await self._house.erasure.erase(person, bans=bans)
        left = await self._left(person, bans=bans)
        for _ in range(ROUNDS if leave or bans else 0):  # what the removal set going names them again
            if not left:
                break
            await asyncio.sleep(PAUSE_SECONDS)
            await self._house.erasure.erase(person, bans=bans)
            left = await self._left(person, bans=bans)
        standing = asdict(await self._standing(person))
        return {"user": person, "standing": standing, **_told(found), "left": _counts(left)}

    async def _left(self, person: UserId, *, bans: bool) -> list[Found]:
        """What is stored about somebody and is to go."""
        return [one for one in await self._house.erasure.show(person, bans=bans) if one.way is not Way.KEEP]

    def _user(self, user: str) -> UserId:
        try:
            person = parse_user_id(user)
        except ValueError as error:
            raise Refused(str(error), where=WHERE, remedy="give the whole user id") from error
        if person in self._house.accounts.both:
            raise Refused(f"{person} is an account of the service itself", where=WHERE, remedy="name a person")
        return person

    async def _must_be_erasable(self, person: UserId) -> None:
        standing = await self._standing(person)
        if standing.declared:
            raise Refused(
                f"the configuration names {person}, and what it names is stored",
                where=", ".join(standing.declared),
                remedy="take them out there, `matrix-communities apply` it, and erase them then",
            )
        if standing.only_owner_of:
            raise Refused(
                f"{person} is the only owner of {', '.join(standing.only_owner_of)}",
                where=WHERE,
                remedy="make somebody else an owner first: `matrix-communities promote COMMUNITY @USER owner`",
            )
        waiting = [one for one in await self._house.erasure.show(person) if one.way is Way.WAIT and one.table == "job"]
        if waiting:
            raise Refused(
                f"{person} is being removed, banned or let in again, and that is not done yet",
                where=WHERE,
                remedy="wait until `matrix-communities status` shows it as outstanding no more; "
                "if it was given up, see `matrix-communities parked`",
            )

    async def _each(self, deed: str, person: UserId) -> None:
        """Have them removed from every community where they are, or unbanned where they are banned: from above, since
        what is done there is followed below.
        """
        declared = self._house.reconciler.declared
        for name in sorted(declared, key=lambda name: (_depth(name, declared), name)):
            standing = await self._standing(person)
            if name not in (standing.member_of if deed == "remove" else standing.banned_in):
                continue
            answer = await self._people.do(deed, declared[name], None, {"users": [person]})
            if not answer["done"]:
                raise Refused(
                    f"the rooms have not all followed yet ({deed} {person}), so nothing was erased",
                    where=str(name),
                    remedy="wait until `matrix-communities status` shows it as outstanding no more, and repeat this",
                )

    async def _standing(self, person: UserId) -> Standing:
        standing = Standing([], [], [], [], [], [])
        for name, community in self._house.reconciler.declared.items():
            keys = [place.replace("/", ".") for place in sorted(places(community).get(person, ()))]
            for key in keys:
                standing.declared.append(f"communities.{name}.{'groups.' if '.' in key else ''}{key}")
            if community.fallback_owner == person:
                standing.declared.append(f"communities.{name}.fallback_owner")
            if person in community.removed:
                standing.kept_out_of.append(name)
            known = await self._house.reconciler.memory.known(name)
            owners = {user for user, role in known.roles.items() if role is Role.OWNER}
            if SPACE not in known.rooms:
                continue
            try:
                people = await self._house.members.people(community)
            except CommunitiesError:
                standing.unread.append(name)
                if owners == {person}:
                    standing.only_owner_of.append(name)
                continue
            if person in owners and not people.other_owner_than(person):
                standing.only_owner_of.append(name)
            here = people.memberships.get(person)
            if here in IN:
                standing.member_of.append(name)
            elif here == "ban":
                standing.banned_in.append(name)
        return standing


def _depth(name: CommunityId, declared: Mapping[CommunityId, Community]) -> int:
    """How many communities stand above one."""
    depth, parent = 0, declared[name].parent
    while parent is not None and parent in declared and depth < len(declared):
        depth, parent = depth + 1, declared[parent].parent
    return depth


def _told(found: Sequence[Found]) -> dict[str, Any]:
    records = [{"kind": one.kind, "table": one.table, "way": one.way.value, "row": dict(one.row)} for one in found]
    return {"records": records, "counts": _counts(found)}


def _counts(found: Sequence[Found]) -> dict[str, int]:
    return dict(Counter(one.kind for one in found))
