"""Who comes, goes and rises by somebody's word: invitations, removals, bans, roles and moderators.

What is asked is first stored: a removal as a job, everything else in what is remembered of the community. The rooms
follow by the reconciler, which finds what is still to be done after any interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from bridge.core import rank, texts
from bridge.core.community import CONTROL, SPACE, Community, Role
from bridge.core.errors import Forbidden, NotFound, Refused
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import EN, Language
from bridge.core.markup import plain
from bridge.core.messages import AnswerRequest, ChangeMembership, SendMessage, notice
from bridge.core.rank import People
from bridge.plan import changes
from bridge.plan.desired import name_of
from bridge.plan.state import Accounts, Known, digest_of
from bridge.ports import Clock, RoomExecutor, RoomReader
from bridge.store import belonging, links, requests
from bridge.store import communities as store
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs, decode
from bridge.store.requests import State


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def update(self, community: CommunityId, change: Callable[[Known], Known]) -> Known: ...

    async def bid(self, community: CommunityId, user: UserId, keys: Collection[RoomKeyName] = ()) -> None: ...


class Kinship(Protocol):
    """What the communities above and below one say of its people."""

    async def rulers(self, community: CommunityId) -> Mapping[UserId, Role]: ...

    async def barred(self, community: CommunityId) -> Mapping[UserId, CommunityId]: ...

    def named_below(self, community: CommunityId) -> Mapping[UserId, str]: ...


class Members:
    """Carries out what people with a role, or the operator, ask about members. `by` is None for the operator."""

    def __init__(
        self,
        *,
        database: Database,
        memory: Memory,
        kinship: Kinship,
        reader: RoomReader,
        rooms: RoomExecutor,
        jobs: Jobs,
        wake: Callable[[], None],
        accounts: Accounts,
        clock: Clock,
    ) -> None:
        self._kinship = kinship
        self._database = database
        self._memory = memory
        self._reader = reader
        self._rooms = rooms
        self._jobs = jobs
        self._wake = wake
        self._accounts = accounts
        self._clock = clock

    async def people(self, community: Community) -> People:
        """What the rules ask of a community's people.

        Raises:
            Refused: the community has no space yet, or it cannot be read.
            MatrixError: the homeserver cannot be asked.
        """
        known = await self._memory.known(community.id)
        room_id = known.rooms.get(SPACE)
        if room_id is None:
            raise Refused("has no space yet", where=str(community.id), remedy="apply the configuration first")
        try:
            room = await self._reader.read(room_id)
        except (Forbidden, NotFound) as error:
            raise Refused(
                "the space cannot be read", where=str(community.id), remedy="`matrix-communities plan` says more"
            ) from error
        coming = {user: "invite" for key, user in known.bidden if key == SPACE}
        there = {user: here.state for user, here in room.members.items() if here.state != "leave"}
        memberships = {**coming, **there}
        return People(
            community,
            known.roles,
            memberships,
            self._accounts.both,
            above=await self._kinship.rulers(community.id),
            barred=await self._kinship.barred(community.id),
            named_below=self._kinship.named_below(community.id),
        )

    async def invite(
        self,
        community: Community,
        by: UserId | None,
        users: Collection[UserId],
        groups: Collection[RoomKeyName] = (),
        *,
        room: RoomId | None = None,
    ) -> list[str]:
        """Have people invited to the community and to groups; gives a sentence for each.

        Args:
            room: where that is answered.

        Raises:
            Refused: one of them may not be invited; then nobody is.
        """
        people = await self.people(community)
        for user in users:
            rank.check_invite(people, by, user, frozenset(groups))
        for user in users:
            await self._memory.bid(community.id, user, groups)
            async with self._database.transaction() as tx:
                await self._close_request(
                    tx, community.id, user, State.APPROVED, by or texts.the_operator(), "", groups
                )
                await belonging.bidden(tx, community.id, user, "invite", by or "operator", "", self._clock.now_ms())
        there = {user for user in users if people.memberships.get(user) == "join"}
        if coming := [user for user in users if user not in there]:
            language = community.language
            await self._tell(community.id, texts.bidden_by(coming, by or texts.the_operator(language), language), room)
        name = name_of(community, await self._memory.known(community.id))
        return [
            (texts.invited_already if user in there else texts.invited)(
                user, name, list(groups), answer_language(community, by)
            )
            for user in users
        ]

    async def remove(
        self,
        community: Community,
        by: UserId | None,
        user: UserId,
        reason: str,
        *,
        ban: bool,
        source: str = "",
        revoke_links: bool = False,
    ) -> str:
        """Have somebody removed or banned; gives the id of the job that does it. The same source is the same removal.

        Args:
            revoke_links: whether invite links that they made are taken back.

        Raises:
            Refused: why not.
        """
        rank.check_removal(await self.people(community), by, user, ban=ban)
        return await self._change(community.id, user, "ban" if ban else "remove", reason, by, source, revoke_links)

    async def unban(self, community: Community, by: UserId | None, user: UserId, *, source: str = "") -> str:
        """Have a ban lifted; gives the id of the job that does it.

        Raises:
            Refused: why not.
        """
        rank.check_unban(await self.people(community), by, user)
        return await self._change(community.id, user, "unban", "", by, source)

    async def _change(
        self,
        community: CommunityId,
        user: UserId,
        what: str,
        reason: str,
        by: UserId | None,
        source: str,
        revoke_links: bool = False,
    ) -> str:
        now = self._clock.now_ms()
        job = ChangeMembership(community, user, what, reason, by or texts.the_operator(), revoke_links)
        job_id = f"{what}-{digest_of([community, user, what, source or now])}"
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, job_id, f"people {community}", job, now)
            await store.record(tx, now, community, "", job.by, what, f"{user}: {reason}" if reason else str(user))
        self._wake()
        return job_id

    async def do(self, job_id: str, job: ChangeMembership, language: Language) -> None:
        """Take somebody out of the space, or lift a ban: safe to repeat. The other rooms follow by a look.

        Args:
            language: the community's, in which its admins are told.

        Raises:
            MatrixError: the homeserver refuses, or cannot be reached.
        """
        if job.what != "unban":
            await self._memory.update(job.community, lambda known: changes.removed(known, job.user))
        known = await self._memory.known(job.community)
        room_id = known.rooms.get(SPACE)
        if room_id is None:
            return
        if job.what == "unban":
            await self._rooms.unban(room_id, job.user)
        elif job.what == "ban":
            await self._rooms.ban(room_id, job.user, job.reason)
        else:
            await self._rooms.kick(room_id, job.user, job.reason)
        now = self._clock.now_ms()
        control = known.rooms.get(CONTROL)
        async with self._database.transaction() as tx:
            if job.what != "unban":
                await self._close_request(tx, job.community, job.user, State.REJECTED, job.by, job.reason)
            if job.revoke_links:
                for link in await links.revoke_made_by(tx, job.community, job.user, job.by, now):
                    await store.record(tx, now, job.community, "", job.by, "revoked link", link)
            if control is not None:
                text = texts.membership_changed(job.user, job.what, job.by, job.reason, language)
                await self._jobs.add(tx, f"told-{job_id}", control, SendMessage(control, notice(text)), now)
        self._wake()

    async def _close_request(
        self,
        tx: Transaction,
        community: CommunityId,
        user: UserId,
        state: State,
        by: str,
        reason: str,
        groups: Collection[RoomKeyName] | None = None,
    ) -> None:
        """Whoever is invited or removed waits for no answer any more.

        Args:
            groups: to which they are invited: who asks for another one goes on waiting.
        """
        request = await requests.open_of(tx, community, user)
        now = self._clock.now_ms()
        if request is not None and request.is_for_group and groups is not None and not {*request.keys} & {*groups}:
            return
        if request is not None and await requests.decide(tx, request.id, state, by, reason, now):
            job = AnswerRequest(request.id)
            await self._jobs.add(tx, f"answer-{request.id}", f"request {request.id}", job, now)

    async def outstanding(self, community: CommunityId) -> list[ChangeMembership]:
        """What of this was asked and is not done yet."""
        found = []
        for stored in await self._jobs.of_kind(ChangeMembership):
            job = decode(stored.kind, stored.body)
            if isinstance(job, ChangeMembership) and job.community == community:
                found.append(job)
        return found

    async def give_role(
        self, community: Community, by: UserId | None, user: UserId, role: Role, *, room: RoomId | None = None
    ) -> str:
        """Make somebody an owner, an admin or a mere member; gives what was done.

        Args:
            room: where that is answered.

        Raises:
            Refused: why not.
        """
        rank.check_role(await self.people(community), by, user, role)
        await self._memory.update(community.id, lambda known: changes.with_roles(known, {user: role}))
        return await self._told(
            community, by, lambda who, language: texts.role_taken_over(user, role, who, language), room
        )

    async def check_transfer(self, community: Community, by: UserId | None, user: UserId) -> UserId:
        """Whether ownership may be handed over to `user`; gives who hands it over.

        Raises:
            Refused: why not.
        """
        return rank.check_transfer(await self.people(community), by, user)

    async def transfer(
        self, community: Community, by: UserId | None, user: UserId, *, room: RoomId | None = None
    ) -> str:
        """Hand ownership over: `user` becomes an owner, and the one who hands over an admin; both or neither.

        Args:
            room: where that is answered.

        Raises:
            Refused: why not.
        """
        giver = await self.check_transfer(community, by, user)
        roles = {user: Role.OWNER, giver: Role.ADMIN}
        await self._memory.update(community.id, lambda known: changes.with_roles(known, roles))
        return await self._told(
            community, by, lambda who, language: texts.ownership_handed_over(giver, user, who, language), room
        )

    async def moderator(
        self,
        community: Community,
        by: UserId | None,
        key: RoomKeyName,
        user: UserId,
        *,
        add: bool,
        room: RoomId | None = None,
    ) -> str:
        """Make somebody a moderator of a group (and have them invited to it), or end that; gives what was done.

        Args:
            room: where that is answered.

        Raises:
            Refused: why not.
        """
        rank.check_moderator(await self.people(community), by, user, key, add=add)

        change = changes.with_moderator if add else changes.without_moderator
        await self._memory.update(community.id, lambda known: change(known, key, user))
        say = texts.moderator_added if add else texts.moderator_removed
        return await self._told(community, by, lambda who, language: say(user, key, who, language), room)

    async def _told(
        self, community: Community, by: UserId | None, text: Callable[[str, Language], str], room: RoomId | None
    ) -> str:
        """Tell the admins what was done, and give the answer to whoever asked."""
        own, theirs = community.language, answer_language(community, by)
        await self._tell(community.id, text(by or texts.the_operator(own), own), room)
        return text(by or texts.the_operator(theirs), theirs)

    async def _tell(self, community: CommunityId, text: str, answered_in: RoomId | None) -> None:
        """Tell the admins, once: where the answer is given before their eyes, it is that."""
        control = (await self._memory.known(community)).rooms.get(CONTROL)
        if control is None:
            return
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await store.record(tx, now, community, control, "people", "changed", plain(text))
            key = f"people-{digest_of([community, text, now])}"
            if control != answered_in:
                await self._jobs.add(tx, key, control, SendMessage(control, notice(text)), now)
        self._wake()


def answer_language(community: Community, by: UserId | None) -> Language:
    """People are answered in their community's language, and the operator in that of the command line."""
    return EN if by is None else community.language
