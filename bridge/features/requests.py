"""Join requests and suggested groups: whoever asks to come in, by whatever way, or for a group, is one card in the
control room, and is decided once.

Every step is a job or a row, so that a kill between any two of them leaves nothing half done: the card, the answer, the
reminder and the expiry are worked off in the request's own lane.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from bridge.core import texts
from bridge.core.community import CONTROL, SPACE, Community, Role
from bridge.core.errors import Refused
from bridge.core.groups import Wish, find_to_ask_for
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.core.languages import EN, Language
from bridge.core.markup import plain
from bridge.core.messages import (
    AnswerRequest,
    AskToJoin,
    ExpireRequest,
    Job,
    MakeGroup,
    MembershipChanged,
    PostCard,
    Reacted,
    RemindOfRequest,
    SendMessage,
    call,
    notice,
    replacing,
)
from bridge.plan.desired import group_name_of, name_of
from bridge.plan.state import Accounts, Known, digest_of
from bridge.ports import AccountAges, Clock, Messenger, RoomExecutor, RoomReader
from bridge.store import belonging, communities, requests
from bridge.store.database import Database, Transaction
from bridge.store.jobs import Jobs
from bridge.store.requests import JoinRequest, State
from bridge.store.rooms import Place, RoomIndex

KNOCK, SUGGESTION, ASK = "knock", "suggestion", "ask"
YES, NO = "✅", "❌"
KEPT_MS = 90 * 24 * 3_600_000
"""For how long it is remembered what was decided."""
_PLAIN = str.maketrans("", "", "\ufe0e\ufe0f")
"""Clients put a variation selector behind an emoji, or do not."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The operator's settings of join requests; milliseconds."""

    remind_ms: int = 24 * 3_600_000
    expire_ms: int = 14 * 24 * 3_600_000
    again_ms: int = 24 * 3_600_000
    """After a rejection, before they may ask again."""


class Memory(Protocol):
    """What is remembered of communities."""

    async def known(self, community: CommunityId) -> Known: ...

    async def bid(self, community: CommunityId, user: UserId, keys: Collection[RoomKeyName] = ()) -> None: ...


RoleOf = Callable[[CommunityId, UserId], Awaitable[Role | None]]


class Requests:
    """Takes join requests in, shows them, and carries out what is decided."""

    def __init__(
        self,
        *,
        database: Database,
        index: RoomIndex,
        memory: Memory,
        declared: Callable[[CommunityId], Community | None],
        role_of: RoleOf,
        ages: AccountAges,
        reader: RoomReader,
        rooms: RoomExecutor,
        messenger: Messenger,
        jobs: Jobs,
        wake: Callable[[], None],
        look_again: Callable[[CommunityId], None],
        accounts: Accounts,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._database = database
        self._index = index
        self._memory = memory
        self._declared = declared
        self._role_of = role_of
        self._ages = ages
        self._reader = reader
        self._rooms = rooms
        self._messenger = messenger
        self._jobs = jobs
        self._wake = wake
        self._look_again = look_again
        self._accounts = accounts
        self._clock = clock
        self.patience = patience

    # --- how they come in -------------------------------------------------------------------------------------------

    async def ask(self, job_id: str, job: AskToJoin) -> None:
        """Take in a request by another way than a knock; the same job is the same request."""
        await self._open(digest_of(job_id), job.community, job.user, "", job.how, job.detail, job.groups, job.words)

    async def suggest(self, community: Community, user: UserId, wish: Wish, source: str) -> None:
        """Take in the group that a member suggests; the same source is the same suggestion. Whether it may be made is
        judged before, and again when it is agreed to.

        Raises:
            Refused: another of theirs waits for an answer.
        """
        now = self._clock.now_ms()
        request_id = digest_of(["suggestion", source or f"{user} {now}"])
        request = JoinRequest(request_id, community.id, user, "", SUGGESTION, wish.name, (), now, wish=wish)
        async with self._database.transaction() as tx:
            await requests.forget_before(tx, now - KEPT_MS)
            if await requests.add(tx, request):
                await self._begin(tx, request, now)
            elif await requests.find(tx, request_id) is None:
                raise Refused(
                    "another group that you suggested waits for an answer",
                    where=str(community.id),
                    remedy="wait until the admins have decided",
                )
        self._wake()

    async def ask_for_group(self, community: Community, user: UserId | None, named: str, source: str) -> str:
        """Take in that a member asks to be let into a group; gives how it is called. The same group again, while it is
        not decided, is the same request.

        Raises:
            Refused: why not; a group that members cannot see is as one that is not there.
            MatrixError: the homeserver cannot be asked.
        """
        if user is None or await self._role_of(community.id, user) is None:
            raise Refused(
                "only members ask to be let into groups", where=str(community.id), remedy="admins use `invite`"
            )
        known = await self._memory.known(community.id)
        names = {group.key: group_name_of(group, known) for group in community.groups}
        group = find_to_ask_for(community, named, names)
        await self._must_not_be_in(community, user, group.key)
        now = self._clock.now_ms()
        request_id = digest_of(["ask", source or f"{user} {now}"])
        request = JoinRequest(request_id, community.id, user, "", ASK, "", (group.key,), now)
        async with self._database.transaction() as tx:
            await requests.forget_before(tx, now - KEPT_MS)
            new = await requests.find(tx, request_id) is None
            rejected = await requests.last_of(tx, community.id, user, State.REJECTED, of_group=group.key)
            if new and rejected is not None and now - (rejected.decided_at or 0) < self.patience.again_ms:
                hours = -(-self.patience.again_ms // 3_600_000)
                raise Refused(
                    "that was declined a short while ago",
                    where=f"{community.id}/{group.key}",
                    remedy=f"you may ask again {hours} hours after that",
                )
            if await requests.add(tx, request):
                await self._begin(tx, request, now)
            elif new:
                waits = await requests.open_of(tx, community.id, user)
                if waits is None or waits.how != ASK or waits.keys != request.keys:
                    raise Refused(
                        "something else that you asked waits for an answer",
                        where=str(community.id),
                        remedy="wait until the admins have decided",
                    )
        self._wake()
        return await self.place_of(request)

    async def _must_not_be_in(self, community: Community, user: UserId, key: RoomKeyName) -> None:
        known = await self._memory.known(community.id)
        where = f"{community.id}/{key}"
        room_id = known.rooms.get(key)
        if room_id is None:
            raise Refused("the group is not made yet", where=where, remedy="try again in a minute")
        if user in known.waiting:
            raise Refused("the rules come first", where=where, remedy="react with ✅ to my welcome, and ask again")
        state = await self._membership(room_id, user)
        if state == "join":
            raise Refused("you are in that group already", where=where, remedy="nothing has to be done")
        if state == "invite":
            raise Refused("you are invited to that group already", where=where, remedy="see your invitations")
        if state == "ban":
            raise Refused("you cannot be let into that group", where=where, remedy="talk to an admin")

    async def moved(self, event: MembershipChanged) -> None:
        """A membership in a space changed: somebody knocks, or what they asked was answered in a client.

        The event may be long out of date: only what is still so is heeded.
        """
        place = self._index.place_of(event.room_id)
        if place is not None and place.kind.is_group and event.membership in ("invite", "join"):
            await self._let_into_group(place, event)
        if place is None or place.key != SPACE or event.user in self._accounts.both:
            return
        waits = await self._open_of(place.community, event.user)
        suggests = await self._open_of(place.community, event.user, suggestion=True)
        if event.membership != KNOCK and waits is None and suggests is None:
            return
        if await self._membership(event.room_id, event.user) != event.membership:
            return
        if suggests is not None and event.membership in ("leave", "ban"):
            await self._decide(suggests, State.WITHDRAWN, event.sender, "")
        if event.membership == KNOCK:
            await self._open(
                digest_of(event.event_id), place.community, event.user, event.name, KNOCK, event.reason, ()
            )
            return
        found = await self._open_of(place.community, event.user)
        left = event.membership == "leave" and event.sender == event.user
        if found is None or (left and found.how not in (KNOCK, ASK)):
            return
        if found.how == ASK and event.membership in ("invite", "join"):  # they are in already, and ask for a group
            return
        state = State.APPROVED if event.membership in ("invite", "join") else State.REJECTED
        if event.sender == event.user and state is State.REJECTED:
            state = State.WITHDRAWN
        by = texts.the_service() if event.sender in self._accounts.both else event.sender
        await self._decide(found, state, by, "")

    async def _let_into_group(self, place: Place, event: MembershipChanged) -> None:
        """A group that somebody asks for was opened to them in a client, by a moderator of it maybe."""
        found = await self._open_of(place.community, event.user)
        if found is None or found.how != ASK or place.key not in found.keys or event.sender in self._accounts.both:
            return
        if await self._membership(event.room_id, event.user) in ("invite", "join"):
            by = event.sender if event.sender != event.user else texts.the_service()  # an invitation of ours
            await self._decide(found, State.APPROVED, by, "")

    async def _open(
        self,
        request_id: str,
        community_id: CommunityId,
        user: UserId,
        name: str,
        how: str,
        detail: str,
        keys: tuple[RoomKeyName, ...],
        words: str = "",
    ) -> None:
        community = self._declared(community_id)
        known = await self._memory.known(community_id)
        space = known.rooms.get(SPACE)
        if community is None or space is None or user in community.removed:
            return
        if (await self._membership(space, user)) == "ban":
            return
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            await requests.forget_before(tx, now - KEPT_MS)
            rejected = await requests.last_of(tx, community_id, user, State.REJECTED)
            too_soon = rejected is not None and now - (rejected.decided_at or 0) < self.patience.again_ms
            state, decided_at = (State.TOO_SOON, now) if too_soon else (State.OPEN, None)
            request = JoinRequest(
                request_id, community_id, user, name, how, detail, keys, now, state, "", decided_at, words=words
            )
            if await requests.add(tx, request):
                await self._begin(tx, request, now)
            elif (already := await requests.open_of(tx, community_id, user)) is not None:
                await requests.add_keys(tx, already, keys)
        self._wake()

    async def _begin(self, tx: Transaction, request: JoinRequest, now: int) -> None:
        if request.state is not State.OPEN:
            await self._later(tx, "answer", AnswerRequest(request.id), now)
            return
        await self._later(tx, "card", PostCard(request.id), now)
        await self._later(tx, "remind", RemindOfRequest(request.id), now + self.patience.remind_ms)
        await self._later(tx, "expire", ExpireRequest(request.id), now + self.patience.expire_ms)
        what = "asks to join" if request.wish is None else "suggests a group"
        await communities.record(tx, now, request.community, "", request.user, what, f"{request.how}: {request.detail}")

    async def _later(
        self, tx: Transaction, what: str, job: PostCard | AnswerRequest | RemindOfRequest | ExpireRequest, at: int
    ) -> None:
        await self._jobs.add(tx, f"{what}-{job.request}", f"request {job.request}", job, at)

    # --- how they are decided ---------------------------------------------------------------------------------------

    async def reacted(self, event: Reacted) -> None:
        """An admin's ✅ or ❌ on a card decides; anybody else's does nothing."""
        place = self._index.place_of(event.room_id)
        key = event.key.translate(_PLAIN)
        if place is None or place.key != CONTROL or key not in (YES, NO):
            return
        async with self._database.transaction() as tx:
            request = await requests.of_card(tx, event.to)
        if request is None or request.state is not State.OPEN or request.community != place.community:
            return
        role = await self._role_of(place.community, event.sender)
        if role is None or role < Role.ADMIN:
            return
        await self._decide(request, State.APPROVED if key == YES else State.REJECTED, event.sender, "")

    async def decide(
        self,
        community: CommunityId,
        by: str,
        user: UserId,
        *,
        approve: bool,
        reason: str = "",
        language: Language = EN,
    ) -> str:
        """Decide by command what somebody asks: to come in, or else the group that they suggest; gives what was done.
        Whether `by` may is judged before.

        Raises:
            Refused: nobody of that name is waiting, or somebody else was faster.
        """
        found = await self._open_of(community, user) or await self._open_of(community, user, suggestion=True)
        state = State.APPROVED if approve else State.REJECTED
        if found is None or not await self._decide(found, state, by, reason):
            raise Refused(
                f"{user} is not waiting for an answer: they did not ask, or it is decided already",
                where=str(community),
                remedy="see who is waiting with `requests`",
            )
        return texts.request_decided(user, state.value, by, reason, language)

    async def _decide(self, request: JoinRequest, state: State, by: str, reason: str) -> bool:
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            first = await requests.decide(tx, request.id, state, by, reason, now)
            if first:
                await self._later(tx, "answer", AnswerRequest(request.id), now)
                await communities.record(tx, now, request.community, "", by, state.value, str(request.user))
            if first and state is State.APPROVED and by != texts.the_service():
                await belonging.bidden(tx, request.community, request.user, "request", by, request.how, now)
        self._wake()
        return first

    async def is_declined(self, community: CommunityId, user: UserId, since: int) -> bool:
        """Whether somebody asked since that time, was turned away or not answered, and waits for no other answer."""
        async with self._database.transaction() as tx:
            if await requests.open_of(tx, community, user) is not None:
                return False
            asked = [
                await requests.last_of(tx, community, user, state)
                for state in (State.REJECTED, State.EXPIRED, State.TOO_SOON)
            ]
        return any(request is not None and request.asked_at >= since for request in asked)

    async def waiting(self, community: CommunityId) -> list[JoinRequest]:
        """Who waits for an answer, the longest waiting first."""
        async with self._database.transaction() as tx:
            return await requests.all_open(tx, community)

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def do(self, job_id: str, job: Job) -> None:
        """Do one of the jobs of a request: safe to repeat.

        Raises:
            CannotEncrypt, MatrixError: it cannot be done now.
        """
        match job:
            case AskToJoin():
                await self.ask(job_id, job)
            case PostCard():
                await self._post_card(job_id, job.request)
            case AnswerRequest():
                await self._answer(job_id, job.request)
            case RemindOfRequest():
                await self._remind(job.request)
            case ExpireRequest():
                await self._expire(job.request)

    async def _post_card(self, job_id: str, request_id: str) -> None:
        request = await self._find(request_id)
        if request is None:
            return
        known = await self._memory.known(request.community)
        room_id = known.rooms.get(CONTROL)
        if room_id is None:
            return
        language = self._language_of(request)
        show = texts.join_request_open if request.wish is None else texts.suggestion_open
        # whoever suggests a group is in the community already; a card that is decided needs it no more
        since = None if request.wish is not None else await self._ages.here_since(request.user)
        place = await self.place_of(request)
        about = facts(request, place, language, since)
        content = call(show(about, request.user, language), known.roles)
        sent = await self._messenger.send(room_id, content, txn_id=job_id)
        asked = await self._moderators_asked(request, known) if request.is_for_group else []
        async with self._database.transaction() as tx:  # at once: who is quick reacts before we do
            await requests.carded(tx, request.id, sent.event_id)
            for chat in asked:
                job = SendMessage(chat, notice(texts.moderator_asked(request.user, place, language)))
                await self._jobs.add(tx, f"asked-{request.id}-{chat}", chat, job, self._clock.now_ms())
        if asked:
            self._wake()
        for key, name in ((YES, "yes"), (NO, "no")):
            await self._messenger.react(room_id, sent.event_id, key, txn_id=f"{job_id}-{name}")

    async def _moderators_asked(self, request: JoinRequest, known: Known) -> list[RoomId]:
        """The chats of the group's moderators who do not see the card: they can let somebody in, in their client."""
        chats = []
        for user in sorted(user for key in request.keys for user in known.moderators.get(key, ())):
            role = await self._role_of(request.community, user)
            if role is not None and role < Role.ADMIN:
                chats += self._chats_with(user)[:1]
        return chats

    async def _answer(self, job_id: str, request_id: str) -> None:
        request = await self._find(request_id)
        if request is None or request.state is State.OPEN:
            return
        known = await self._memory.known(request.community)
        if request.wish is not None:
            await self._grant(request, request.wish)
        elif request.state is State.APPROVED:
            await self._let_in(request, known)
        elif (space := known.rooms.get(SPACE)) is not None and await self._membership(space, request.user) == KNOCK:
            await self._rooms.kick(space, request.user, plain(await self._words_for(request)))
        await self._tell(request)
        control = known.rooms.get(CONTROL)
        if request.card is not None and control is not None:
            language = self._language_of(request)
            about = facts(request, await self.place_of(request), language)
            text = texts.join_request_decided(about, request.state.value, request.decided_by, request.reason, language)
            await self._messenger.send(control, replacing(request.card, call(text, ())), txn_id=job_id)

    async def _let_in(self, request: JoinRequest, known: Known) -> None:
        space = known.rooms.get(SPACE)
        if request.how == ASK and (space is None or await self._membership(space, request.user) != "join"):
            return  # whoever has left meanwhile is not asked back in
        await self._memory.bid(request.community, request.user, self._still_groups(request))
        self._look_again(request.community)

    def _still_groups(self, request: JoinRequest) -> list[RoomKeyName]:
        community = self._declared(request.community)
        return [key for key in request.keys if community is not None and community.group(key) is not None]

    async def _grant(self, request: JoinRequest, wish: Wish) -> None:
        """Have a group made that was agreed to; whoever suggested it is told when it is there."""
        if request.state is not State.APPROVED:
            return
        chat = next(iter(self._chats_with(request.user)), "")
        job = MakeGroup(request.community, request.user, wish.name, wish.kind.value, wish.key, request.id, chat)
        async with self._database.transaction() as tx:
            await self._jobs.add(tx, f"make-{request.id}", f"request {request.id}", job, self._clock.now_ms())
        self._wake()

    def _chats_with(self, user: UserId) -> list[RoomId]:
        return [room_id for room_id, partner in self._index.chats.items() if partner == user]

    async def _tell(self, request: JoinRequest) -> None:
        """Tell the person in their chat with the announcer, where there is one."""
        words = await self._words_for(request)
        rooms = self._chats_with(request.user)
        told_later = request.wish is not None and request.state is State.APPROVED
        if request.state is State.WITHDRAWN or told_later or not rooms:
            return
        now = self._clock.now_ms()
        async with self._database.transaction() as tx:
            job = SendMessage(rooms[0], notice(words))
            await self._jobs.add(tx, f"told-{request.id}", rooms[0], job, now)
        self._wake()

    async def _words_for(self, request: JoinRequest) -> str:
        if request.wish is not None:
            wish, state = request.wish.name, request.state.value
            return texts.answer_to_suggestion(
                wish, await self.place_of(request), state, request.reason, self._language_of(request)
            )
        hours = -(-self.patience.again_ms // 3_600_000)
        return texts.answer_to_request(
            await self.place_of(request), request.state.value, request.reason, hours, self._language_of(request)
        )

    async def place_of(self, request: JoinRequest) -> str:
        """What people call the community, or the group of it, that is asked for."""
        community = self._declared(request.community)
        if community is None:
            return str(request.community)
        known = await self._memory.known(community.id)
        name = name_of(community, known)
        group = community.group(request.keys[0]) if request.how == ASK and request.keys else None
        return name if group is None else texts.group_in(group_name_of(group, known), name, community.language)

    def _language_of(self, request: JoinRequest) -> Language:
        community = self._declared(request.community)
        return EN if community is None else community.language

    async def _remind(self, request_id: str) -> None:
        request = await self._find(request_id)
        if request is None or request.state is not State.OPEN:
            return
        known = await self._memory.known(request.community)
        control = known.rooms.get(CONTROL)
        if control is None:
            return
        now = self._clock.now_ms()
        waits = texts.request_waits if request.wish is None else texts.suggestion_waits
        text = waits(request.user, await self.place_of(request), self._language_of(request))
        async with self._database.transaction() as tx:
            job = SendMessage(control, call(text, known.roles))
            await self._jobs.add(tx, f"reminder-{request.id}", control, job, now)
        self._wake()

    async def _expire(self, request_id: str) -> None:
        request = await self._find(request_id)
        if request is not None:
            await self._decide(request, State.EXPIRED, texts.the_service(), "")

    async def _find(self, request_id: str) -> JoinRequest | None:
        async with self._database.transaction() as tx:
            return await requests.find(tx, request_id)

    async def _open_of(self, community: CommunityId, user: UserId, *, suggestion: bool = False) -> JoinRequest | None:
        async with self._database.transaction() as tx:
            return await requests.open_of(tx, community, user, suggestion=suggestion)

    async def _membership(self, space: RoomId, user: UserId) -> str:
        """Somebody's membership in the space, asked of the homeserver."""
        room = await self._reader.refresh(space, "m.room.member", user)
        here = room.members.get(user)
        return "" if here is None else here.state


def facts(request: JoinRequest, community: str, language: Language, since: int | None = None) -> str:
    """What there is to know of a request, as a text of ours.

    Args:
        community: its name, or that of the group in it that is asked for.
        since: when the person's account was made, in seconds since 1970; None where that is not known.
    """
    if request.wish is not None:
        wish = request.wish
        return texts.suggestion(community, request.user, wish.name, wish.kind.value, language)
    groups = () if request.how == ASK else request.keys
    asked = (community, request.user, request.name, request.how, request.detail, groups)
    day = "" if since is None else datetime.fromtimestamp(since, UTC).date().isoformat()
    return texts.join_request(*asked, request.words, day, language)
