"""What can be asked about invite links, by chat, by the local door or by a command that works alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.app.house import House
from bridge.core.access import Deed, may
from bridge.core.community import RESERVED_KEYS, Role
from bridge.core.errors import Refused
from bridge.core.ids import CommunityId, RoomKeyName, UserId
from bridge.core.links import Link, may_grant, parse_span, shown
from bridge.core.messages import ShowLink
from bridge.features.entering import Terms

OPERATOR = "operator"
WHERE = "link"
ROLES = {"member": Role.MEMBER, "moderator": Role.MODERATOR, "admin": Role.ADMIN}


class LinkDesk:
    """Makes, lists and takes back links. `by` is the person who asks; None is the operator, who may do everything."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def new(
        self,
        community: str,
        *,
        groups: Sequence[str] = (),
        expires: str = "7d",
        uses: int | None = None,
        needs_approval: bool = False,
        role: str = "member",
        by: UserId | None = None,
        show: ShowLink | None = None,
    ) -> dict[str, Any]:
        """Make a link, and give it with its `url`, which nobody can be told a second time.

        Args:
            expires: a span such as `7d`, or `never`.
            uses: how many people may use it; any number where None, one for a link that gives a role.
            show: how whoever asked in a chat is shown it, once it is made; the same message is the same link.

        Raises:
            Refused: they may not, or what they ask for contradicts itself or the declaration.
        """
        terms = await self._terms(community, groups, expires, uses, needs_approval, role, by)
        try:
            link, token = await self._house.entering.make(terms, show)
        except ValueError as error:
            raise Refused(str(error), where=WHERE) from None
        return self._shown(link) | {"url": self._house.address_of(token)}

    async def reset(
        self,
        community: str,
        *,
        groups: Sequence[str] = (),
        expires: str = "7d",
        uses: int | None = None,
        needs_approval: bool = False,
        role: str = "member",
        by: UserId | None = None,
        show: ShowLink | None = None,
    ) -> dict[str, Any]:
        """Take back all links of a community and make one, as `new`; `revoked` has the ids of those taken back."""
        terms = await self._terms(community, groups, expires, uses, needs_approval, role, by)
        try:
            link, token, revoked = await self._house.entering.reset(terms, show)
        except ValueError as error:
            raise Refused(str(error), where=WHERE) from None
        return self._shown(link) | {"url": self._house.address_of(token), "revoked": revoked}

    async def list(self, community: str | None = None, *, by: UserId | None = None) -> list[dict[str, Any]]:
        """The links of a community (of all that they may ask about, where None), the newest first; without secrets."""
        if community is not None:
            names = [self._declared(community)]
            await self._must_be_allowed(names[0], by)
        else:
            declared = self._house.reconciler.declared
            names = [name for name in declared if by is None or may(await self._role(name, by), Deed.MAKE_LINKS)]
        return [self._shown(link) for name in names for link in await self._house.entering.of_community(name)]

    async def show(self, link_id: str, *, by: UserId | None = None) -> dict[str, Any]:
        """A link, and who came by it, as `came`: user, time, and how far they were when that was last noted.

        Raises:
            Refused: there is no such link, or it is none of their business.
        """
        link = await self._theirs(link_id, by)
        came = await self._house.entering.who_came(link)
        return self._shown(link) | {
            "came": [{"user": entry.user, "at": entry.at, "stage": entry.stage.value} for entry in came]
        }

    async def _theirs(self, link_id: str, by: UserId | None) -> Link:
        link = await self._house.entering.by_id(link_id)
        if link is None or (by is not None and not may(await self._role(link.community, by), Deed.MAKE_LINKS)):
            raise Refused(
                f"there is no link {link_id!r}", where=WHERE, remedy="see `link list` for the links that there are"
            )
        return link

    async def revoke(self, link_id: str, *, by: UserId | None = None) -> dict[str, Any]:
        """Take a link back, also from those who still wait for their invitation by it.

        Raises:
            Refused: there is no such link, or it is not theirs to take back.
        """
        link = await self._theirs(link_id, by)
        await self._house.entering.revoke(link, by or OPERATOR)
        now_is = await self._house.entering.by_id(link_id)
        return self._shown(now_is or link)

    # --- what is allowed ----------------------------------------------------------------------------------------

    async def _terms(
        self,
        community: str,
        groups: Sequence[str],
        expires: str,
        uses: int | None,
        needs_approval: bool,
        role: str,
        by: UserId | None,
    ) -> Terms:
        name = self._declared(community)
        maker = await self._must_be_allowed(name, by)
        if not self._house.config.join.url:
            raise Refused(
                "nobody could open a link: the address of the join page is not known",
                where="join.url",
                remedy="set it to the address under which people reach the service, and restart the service",
            )
        if role not in ROLES:
            raise Refused(f"{role!r} is not one of {', '.join(ROLES)}", where=WHERE)
        given = ROLES[role]
        if not may_grant(maker, given):
            raise Refused(f"only owners make links that make people {given.word}s", where=WHERE)
        keys = await self._groups(name, groups)
        self._must_be_the_peoples(name, given, keys)
        try:
            span = parse_span(expires)
        except ValueError as error:
            raise Refused(str(error), where=WHERE) from None
        if uses is None and given is not Role.MEMBER:
            uses = 1
        return Terms(name, by or OPERATOR, keys, span, uses, needs_approval, given)

    def _declared(self, name: str) -> CommunityId:
        declared = self._house.reconciler.declared
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise Refused(f"there is no community {name!r}", where=WHERE, remedy=f"declared are: {known}")
        return CommunityId(name)

    async def _role(self, community: CommunityId, by: UserId) -> Role | None:
        if community not in self._house.reconciler.declared:
            return None
        return await self._house.reconciler.role_of(community, by)

    async def _must_be_allowed(self, community: CommunityId, by: UserId | None) -> Role:
        if by is None:
            return Role.OWNER
        role = await self._role(community, by)
        if role is None or not may(role, Deed.MAKE_LINKS):
            raise Refused("only owners and admins have to do with invite links", where=str(community))
        return role

    async def _groups(self, community: CommunityId, wanted: Sequence[str]) -> tuple[RoomKeyName, ...]:
        declared = self._house.reconciler.declared[community]
        rooms = (await self._house.reconciler.memory.known(community)).rooms
        known = {str(group.key) for group in declared.groups} | {str(key) for key in rooms if key not in RESERVED_KEYS}
        for key in wanted:
            if key not in known:
                remedy = f"its groups are: {', '.join(sorted(known)) or 'none'}"
                raise Refused(f"there is no group {key!r}", where=str(community), remedy=remedy)
        return tuple(RoomKeyName(key) for key in dict.fromkeys(wanted))

    def _must_be_the_peoples(self, community: CommunityId, role: Role, keys: Sequence[RoomKeyName]) -> None:
        """A role that the configuration declares is no link's to give."""
        declared = self._house.reconciler.declared[community]
        places = [f"communities.{community}.admins"] if role is Role.ADMIN and declared.admins is not None else []
        if role is Role.MODERATOR:
            groups = (declared.group(key) for key in keys)
            places = [
                f"communities.{community}.groups.{group.key}.moderators"
                for group in groups
                if group is not None and group.moderators is not None
            ]
        if places:
            raise Refused(
                f"the configuration says who the {role.word}s are, so no link can make any",
                where=places[0],
                remedy="name the person there, or take the key out",
            )

    # --- what is shown ------------------------------------------------------------------------------------------

    def _shown(self, link: Link) -> dict[str, Any]:
        return shown(link, self._house.clock.now_ms())
