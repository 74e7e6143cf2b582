"""Polls: asked, answered, counted and announced, once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.core.announcements import Audience, Kind, Target
from bridge.core.community import Community
from bridge.core.errors import CannotDecrypt, Forbidden, Refused
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.languages import EN
from bridge.core.messages import (
    Announce,
    CountPoll,
    DeliverAnnouncement,
    EndBallot,
    EndBallots,
    EndPoll,
    MembershipChanged,
    PlaceOptions,
    Posted,
    Reacted,
    Redacted,
    SendBallot,
    SendBallots,
    SendMessage,
    ShowPoll,
    TellAuthor,
)
from bridge.core.polls import KEYS, POLL_END, Tally, ballot_of
from bridge.features.announcements import Announcements
from bridge.features.ballots import PACE_MS, Ballots
from bridge.features.polls import SETTLE_MS, SHOW_EVERY_MS, Polls
from bridge.ports import Member
from bridge.store.jobs import decode
from tests.fakes.faults import Crash
from tests.fakes.homeserver import ANNOUNCER
from tests.fakes.scene import ACCOUNTS, Scene

SCHOOL, ROOM, CHAT = CommunityId("school"), RoomId("!school:example.org"), RoomId("!chat:example.org")
CHESS = RoomId("!chess:example.org")
ANN, BEA, CEM, EVE = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cem", "eve"))
BALLOT = ballot_of("When? | Monday | Tuesday | Never")


def chat_of(user: UserId) -> RoomId:
    """Somebody's chat with the announcer."""
    return RoomId(f"!chat-{user.removeprefix('@')}")


class Ground:
    """A community of three members, and Eve, who is none."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.members = {ANN, BEA, CEM}
        self.unreadable = self.gone = False
        self.count = 0
        self.in_group: set[UserId] = set()
        self.in_room: list[UserId] = []
        """Who is in the announcement room: whoever is given a ballot."""
        self.in_chats: set[UserId] = set()
        """Who is in their chat with the announcer."""
        self.unreachable: set[UserId] = set()
        self.begin()

    def begin(self) -> None:
        """Every process anew."""
        scene = self.scene
        self.polls = Polls(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            content_of=self.content_of,
            may_vote=self.may_vote,
            voting_changed=scene.index.load_voting,
            zone_of=lambda _: UTC,
            language_of=lambda _: EN,
            accounts=ACCOUNTS,
            clock=scene.clock,
        )
        self.ballots = Ballots(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            posts=scene.posts,
            facts=self,
            chat_with=self.chat_with,
            belongs=self.is_member,
            words_of=self.polls.words,
            ended=self.polls.ended,
            name_of=self.name_of,
            zone_of=lambda _: UTC,
            language_of=lambda _: EN,
            accounts=ACCOUNTS,
            clock=scene.clock,
        )
        self.announcements = Announcements(
            database=scene.database,
            jobs=scene.jobs,
            wake=lambda: None,
            messenger=scene.messenger,
            accounts=ACCOUNTS,
            clock=scene.clock,
            targets_of=self.targets_of,
            also_delivered=self.polls.delivered,
        )

    async def targets_of(self, community: CommunityId, audience: Audience) -> Sequence[Target]:
        if audience.groups:
            return [Target(community, CHESS, str(audience.groups[0]))]
        assert audience.everybody
        return [Target(community, ROOM)]

    async def name_of(self, _: CommunityId) -> str:
        return "School"

    async def chat_with(self, user: UserId) -> RoomId:
        self.scene.faults.point(of_homeserver=True)
        if user in self.unreachable:
            raise Forbidden("does not want to be invited")
        return chat_of(user)

    async def joined(self, room_id: RoomId) -> list[Member]:
        self.scene.faults.point(of_homeserver=True)
        assert room_id == ROOM
        return [Member(UserId(user), EventId("$join")) for user in (*self.in_room, *ACCOUNTS.both)]

    async def still_joined(self, room_id: RoomId, users: Collection[UserId]) -> dict[UserId, EventId]:
        self.scene.faults.point(of_homeserver=True)
        return {user: EventId("$join") for user in users if user in self.in_chats and room_id == chat_of(user)}

    async def state_content(self, room_id: RoomId, event_type: str) -> Mapping[str, Any] | None:
        raise AssertionError(room_id, event_type)

    async def may_vote(self, community: CommunityId, place: str, user: UserId) -> bool:
        return await self.is_member(community, user) and (not place or user in self.in_group)

    async def is_member(self, _: CommunityId, user: UserId) -> bool:
        self.scene.faults.point(of_homeserver=True)
        return user in self.members

    async def content_of(self, _: RoomId, event_id: EventId) -> Mapping[str, Any] | None:
        """The fake messenger numbers what it sent."""
        self.scene.faults.point(of_homeserver=True)
        if self.unreadable:
            raise CannotDecrypt("no key")
        return None if self.gone else self.scene.messenger.sent[int(event_id.removeprefix("$sent-")) - 1][1]

    async def ask(self, source: str = "$ask", *, deliver: bool = True, **options: Any) -> str:
        known = {"multiple": False, "hidden": False, "closes_at": None, "reply_room": CHAT, **options}
        community = Community(SCHOOL, name="School")
        poll = await self.polls.ask(community, BALLOT, source=source, author=ANN, **known)
        if deliver:
            await self.work()
        return poll

    async def react(
        self, user: UserId, option: int, *, at: int | None = None, to: str = "$sent-1", room: RoomId = ROOM
    ) -> Posted:
        self.count += 1
        at = self.scene.clock.now if at is None else at
        event = Posted(
            EventId(f"$reaction-{self.count}"), room, user, at, "m.reaction", True,
            relation="m.annotation", to=EventId(to), key=KEYS[option - 1],
        )  # fmt: skip
        for _ in range(2):
            await self.polls.reacted(SCHOOL, event)
        return event

    async def redact(self, event: Posted, *, at: int | None = None) -> None:
        at = self.scene.clock.now if at is None else at
        for _ in range(2):
            await self.polls.taken_back(
                Redacted(EventId(f"$redact-{event.event_id}"), ROOM, event.sender, at, event.event_id)
            )

    async def work(self) -> None:
        """Do what is due."""
        while heads := await self.scene.jobs.heads(self.scene.clock.now_ms(), 100):
            for stored in heads:
                job = decode(stored.kind, stored.body)
                complete = partial(self.scene.jobs.complete, job_id=stored.id)
                match job:
                    case SendMessage() | TellAuthor():
                        await self.scene.messenger.send(job.room_id, job.content, txn_id=stored.id)
                    case DeliverAnnouncement():
                        await self.announcements.deliver(stored.id, job)
                    case Announce():
                        await self.announcements.announce(job, complete)
                    case PlaceOptions():
                        await self.polls.place(stored.id, job)
                    case ShowPoll():
                        await self.polls.show(stored.id, job, complete)
                    case CountPoll():
                        await self.polls.count(job, complete)
                    case EndPoll():
                        await self.polls.end(stored.id, job)
                    case SendBallots() | SendBallot() | EndBallots() | EndBallot():
                        await self.ballots.do(stored.id, job, complete)
                    case _:
                        raise AssertionError(job)
                await self.scene.jobs.finish(stored.id)

    async def press(
        self, user: UserId, option: int, *, on: UserId | None = None, at: int | None = None, event_id: str = ""
    ) -> EventId:
        """Somebody reacts to a ballot, their own or that of another."""
        self.count += 1
        room, made = chat_of(on or user), EventId(event_id or f"$press-{self.count}")
        at = self.scene.clock.now if at is None else at
        for _ in range(2):
            await self.ballots.reacted(Reacted(made, room, user, at, self.ballot_of(on or user), KEYS[option - 1]))
        return made

    async def unpress(self, user: UserId, pressed: EventId) -> None:
        for _ in range(2):
            await self.ballots.taken_back(
                Redacted(EventId(f"$un{pressed}"), chat_of(user), user, self.scene.clock.now, pressed)
            )

    def ballot_of(self, user: UserId) -> EventId:
        """The last ballot that somebody got."""
        found = [
            event_id
            for event_id, (room, content) in self.scene.messenger.posted.items()
            if room == chat_of(user) and "m.relates_to" not in content
        ]
        return found[-1]

    def reads(self, user: UserId) -> list[str]:
        """What somebody's chat shows."""
        return self.scene.posts.reads(chat_of(user))

    async def hand_out(self) -> None:
        """Let so much time pass that everybody has been tried."""
        await self.later(PACE_MS * len(self.in_room))

    async def enters_chat(self, user: UserId, *, times: int = 2, membership: str = "join") -> None:
        if membership == "join":
            self.in_chats.add(user)
        for _ in range(times):
            event = EventId(f"$chat-{membership}-{user}")
            await self.ballots.moved(MembershipChanged(event, chat_of(user), user, 1, user, membership))
        await self.work()

    async def later(self, ms: int) -> None:
        self.scene.clock.now += ms
        await self.work()

    async def tally(self, poll: str) -> Tally:
        return (await self.polls.result(poll))[2]

    @property
    def said(self) -> list[str]:
        return self.scene.messenger.said(ROOM)

    async def rows(self, table: str) -> int:
        async with self.scene.database.transaction() as tx:
            return int(await tx.fetch_value(f"SELECT COUNT(*) FROM {table}"))


@pytest.fixture
async def ground(scene: Scene) -> Ground:
    return Ground(scene)


async def test_a_poll_is_asked_with_signs_to_press_and_ends_with_a_result(ground: Ground) -> None:
    poll = await ground.ask()
    assert await ground.ask() == poll, "the same message twice"
    [text] = ground.said
    assert "When?" in text
    assert f"- {KEYS[1]} Tuesday" in text
    assert ground.scene.messenger.reactions == [(EventId("$sent-1"), key) for key in KEYS[:3]]
    await ground.react(ANN, 1)
    ground.scene.clock.now += 1
    await ground.react(ANN, 2)
    back = await ground.react(BEA, 1)
    await ground.react(EVE, 3)
    await ground.react(ANNOUNCER, 3)
    assert await ground.tally(poll) == Tally((1, 1, 0), 2), "the latest choice; Eve is no member"
    await ground.redact(back)
    await ground.react(CEM, 2, at=ground.scene.clock.now)
    ground.scene.clock.now += 1
    await ground.polls.close(poll, ANN)
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    edit, result = ground.scene.messenger.sent[-2:]
    if "m.relates_to" not in edit[1]:
        edit, result = result, edit
    assert edit[1]["m.relates_to"] == {"rel_type": "m.replace", "event_id": "$sent-1"}
    assert "Tuesday – 2 votes" in edit[1]["m.new_content"]["body"]
    assert "The poll has ended. 2 people voted." in edit[1]["body"]
    assert "Most votes: Tuesday. 2 people voted." in result[1]["body"]
    assert await ground.rows("poll_vote") == 0, "who voted what is forgotten"
    kinds = [one.announcement.kind for one in await ground.announcements.listed(SCHOOL, 10)]
    assert kinds == [Kind.TEXT, Kind.POLL]
    told = len(ground.scene.messenger.sent)
    await ground.react(BEA, 3, at=0)
    await ground.later(SHOW_EVERY_MS)
    assert await ground.tally(poll) == Tally((0, 2, 0), 2)
    assert len(ground.scene.messenger.sent) == told


async def test_several_choices_of_one_person_count_where_the_poll_says_so(ground: Ground) -> None:
    poll = await ground.ask(multiple=True)
    await ground.react(ANN, 1)
    third = await ground.react(ANN, 3)
    await ground.react(BEA, 3)
    assert await ground.tally(poll) == Tally((1, 0, 2), 2)
    await ground.redact(third)
    assert await ground.tally(poll) == Tally((1, 0, 1), 2)


async def test_it_ends_by_itself_and_only_what_was_given_in_time_counts(ground: Ground) -> None:
    now = ground.scene.clock.now
    with pytest.raises(Refused, match="ended already"):
        await ground.ask("$late", closes_at=now)
    poll = await ground.ask(closes_at=now + 60_000)
    vote = await ground.react(BEA, 1, at=now + 1)
    await ground.later(60_000 + SETTLE_MS - 1)
    assert await ground.rows("poll_vote") == 1, "not counted yet"
    await ground.react(ANN, 2, at=now + 59_999)
    await ground.react(CEM, 3, at=now + 60_000)
    await ground.redact(vote, at=now + 60_001)
    await ground.later(1)
    assert await ground.tally(poll) == Tally((1, 1, 0), 2)


async def test_whoever_is_out_when_it_is_counted_has_no_vote(ground: Ground) -> None:
    poll = await ground.ask()
    await ground.react(ANN, 1)
    await ground.react(BEA, 1)
    ground.members.discard(BEA)
    await ground.polls.close(poll, ANN)
    ground.scene.clock.now += SETTLE_MS
    await ground.work()
    assert await ground.tally(poll) == Tally((0, 0, 0), 0), "given at the very moment of the end"
    second = await ground.ask("$second")
    for user in (ANN, BEA):
        await ground.react(user, 1, to=ground.scene.messenger.reactions[-1][0])
    await ground.later(1)
    await ground.polls.close(second, ANN)
    await ground.later(SETTLE_MS)
    assert await ground.tally(second) == Tally((1, 0, 0), 1)


async def test_a_vote_that_is_known_before_its_poll_is_counts(ground: Ground) -> None:
    poll = await ground.ask(deliver=False)
    [stored] = await ground.scene.jobs.of_kind(Announce)
    job = decode(stored.kind, stored.body)
    assert isinstance(job, Announce)
    await ground.announcements.announce(job, partial(ground.scene.jobs.complete, job_id=stored.id))
    await ground.react(ANN, 2)
    await ground.react(BEA, 2, to="$something else")
    await ground.work()
    assert await ground.tally(poll) == Tally((0, 1, 0), 1)
    await ground.later(1)
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    assert await ground.rows("poll_vote") == 0


async def test_reactions_to_what_is_no_poll_are_not_kept(ground: Ground) -> None:
    await ground.ask()
    await ground.react(ANN, 1, to="$another")
    await ground.react(ANN, 9)
    assert await ground.rows("poll_vote") == 0


async def test_the_count_is_edited_in_now_and_then(ground: Ground) -> None:
    await ground.ask()
    for user in (ANN, BEA):
        await ground.react(user, 1)
    await ground.later(SHOW_EVERY_MS)
    assert len(ground.said) == 2, "once for both"
    assert "Monday – 2 votes" in ground.said[-1]
    vote = await ground.react(CEM, 1)
    await ground.redact(vote)
    await ground.later(SHOW_EVERY_MS)
    assert len(ground.said) == 2, "nothing has changed"


async def test_what_cannot_be_read_back_is_shown_by_its_signs_and_what_was_withdrawn_has_no_result(
    ground: Ground,
) -> None:
    poll = await ground.ask()
    await ground.react(ANN, 2)
    ground.unreadable = True
    await ground.later(1)
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    assert f"- {KEYS[1]} – 1 vote" in ground.said[-1]
    ground.unreadable, ground.gone = False, True
    second = await ground.ask("$second")
    said = len(ground.said)
    await ground.polls.close(second, ANN)
    await ground.later(SETTLE_MS)
    assert len(ground.said) == said


async def test_votes_in_secret_polls_are_given_in_chats_and_shown_at_the_end_alone(ground: Ground) -> None:
    with pytest.raises(Refused, match="no secret poll is open"):
        await ground.polls.vote(SCHOOL, None, ANN, [1], source="$v")
    poll = await ground.ask(hidden=True)
    assert ground.scene.messenger.reactions == [], "nobody is led to vote for all to see"
    await ground.react(ANN, 1)
    assert await ground.rows("poll_vote") == 0
    for source, user, option in (("$1", ANN, 1), ("$1", ANN, 1), ("$2", ANN, 2), ("$3", BEA, 2), ("$4", EVE, 3)):
        number, chosen = await ground.polls.vote(SCHOOL, None, user, [option], source=source)
        assert (number, len(chosen)) == (1, 1)
    assert chosen == (f"{KEYS[2]} Never",)
    for wrong in ([1, 2], [4], [0], []):
        with pytest.raises(Refused, match="choose one number"):
            await ground.polls.vote(SCHOOL, poll, ANN, wrong, source="$5")
    asked, ballot, found = await ground.polls.result(poll)
    so_far = ground.polls.said(asked, ballot, found, EN)
    assert "2 people have voted so far" in so_far
    assert "votes" not in so_far
    await ground.later(SHOW_EVERY_MS)
    assert len(ground.said) == 1
    second = await ground.ask("$second", hidden=True)
    with pytest.raises(Refused, match="several"):
        await ground.polls.vote(SCHOOL, None, ANN, [1], source="$6")
    await ground.polls.vote(SCHOOL, second, ANN, [1], source="$6")
    await ground.polls.close(poll, ANN)
    with pytest.raises(Refused, match="over"):
        await ground.polls.vote(SCHOOL, poll, ANN, [1], source="$7")
    await ground.later(SETTLE_MS)
    assert await ground.tally(poll) == Tally((0, 2, 0), 2)
    assert "Tuesday – 2 votes" in ground.said[-1]
    assert await ground.rows("poll_vote") == 1, "the other poll's"


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.soak)])
async def test_the_service_dies_and_the_poll_is_asked_and_counted_once(tmp_path: Path, step: int) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        closes_at = scene.clock.now + 10_000
        scene.faults.arm(point)
        died = False
        for again in range(2):
            try:
                await ground.ask(closes_at=closes_at)
                await ground.react(ANN, 2)
                await ground.react(BEA, 1)
                scene.clock.now = closes_at + SETTLE_MS
                await ground.work()
                break
            except Crash:
                assert not again
                died = True
                await scene.die()
                await scene.start()
                ground.begin()
                scene.clock.now = closes_at - 5_000
                ground.count = 0
        scene.faults.arm(None)
        texts = [text for text in ground.said if "Most votes" in text]
        assert len(texts) == 1, point
        assert sum("m.relates_to" not in content for room, content in scene.messenger.sent if room == ROOM) == 2
        assert "The poll has ended. 2 people voted." in next(text for text in ground.said if text.startswith("* "))
        assert [key for _, key in scene.messenger.reactions] in ([], list(KEYS[:3])), point
        assert await scene.jobs.waiting() <= 1, "a count that nothing came after"
        await scene.stop()
        point += step
    assert point > 60


# --- ballots ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def class_of_three(ground: Ground) -> Ground:
    """Everybody is in the announcement room, and in their chat."""
    ground.in_room = [ANN, BEA, CEM]
    ground.in_chats = {ANN, BEA, CEM}
    return ground


async def test_everybody_gets_a_ballot_and_votes_by_pressing_a_sign_on_it(class_of_three: Ground) -> None:
    ground = class_of_three
    poll = await ground.ask(hidden=True)
    assert await ground.ask(hidden=True) == poll
    await ground.hand_out()
    for user in ground.in_room:
        [ballot] = ground.reads(user)
        assert "When?" in ballot
        assert "ballot for poll #1 in School" in ballot
        pressed = [key for event_id, key in ground.scene.messenger.reactions if event_id == ground.ballot_of(user)]
        assert pressed == list(KEYS[:3])
    assert "Poll #1: 3 people have a ballot in their direct chat." in ground.scene.messenger.said(CHAT)
    assert EventId("$sent-1") not in {event_id for event_id, _ in ground.scene.messenger.reactions}

    await ground.press(ANN, 1)
    ground.scene.clock.now += 1
    await ground.press(ANN, 2)
    back = await ground.press(BEA, 1)
    await ground.press(CEM, 3, on=ANN)
    assert await ground.tally(poll) == Tally((1, 1, 0), 2), "the latest choice, and on one's own ballot alone"
    await ground.unpress(BEA, back)
    await ground.polls.vote(SCHOOL, poll, CEM, [2], source="$v")
    assert await ground.tally(poll) == Tally((0, 2, 0), 2)
    await ground.press(CEM, 3, at=ground.scene.clock.now + 1)
    assert await ground.tally(poll) == Tally((0, 1, 1), 2), "what is pressed later counts"
    await ground.polls.vote(SCHOOL, poll, CEM, [1], source="$w")
    assert await ground.tally(poll) == Tally((1, 1, 0), 2), "and so does what is written later"

    ground.scene.clock.now += 2
    await ground.polls.close(poll, ANN)
    await ground.press(BEA, 1)
    await ground.later(SETTLE_MS)
    await ground.hand_out()
    assert await ground.tally(poll) == Tally((1, 1, 0), 2)
    assert await ground.rows("poll_vote") == 0
    for user in ground.in_room:
        [ballot] = ground.reads(user)
        assert "The poll has ended. 2 people voted." in ballot
        assert "Tuesday – 1 vote" in ballot
    await ground.press(BEA, 1)
    assert await ground.rows("poll_vote") == 0


async def test_who_chooses_several_on_a_ballot_and_then_in_words_has_chosen_the_words(class_of_three: Ground) -> None:
    ground = class_of_three
    poll = await ground.ask(hidden=True, multiple=True)
    await ground.hand_out()
    for option in (1, 3):
        await ground.press(ANN, option)
    assert await ground.tally(poll) == Tally((1, 0, 1), 1)
    await ground.polls.vote(SCHOOL, poll, ANN, [2], source="$v")
    assert await ground.tally(poll) == Tally((0, 1, 0), 1)


async def test_whoever_is_not_in_their_chat_gets_the_ballot_there_when_they_enter_it(class_of_three: Ground) -> None:
    ground = class_of_three
    ground.in_chats = {ANN}
    ground.unreachable = {CEM}
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    [told] = [text for text in ground.scene.messenger.said(CHAT) if "ballot" in text]
    assert "1 person has a ballot" in told
    assert "1 person was invited to a chat with me" in told
    assert "1 person cannot be given one" in told
    assert ground.reads(BEA) == []
    await ground.enters_chat(BEA)
    assert len(ground.reads(BEA)) == 1
    await ground.press(BEA, 2)
    assert await ground.tally(poll) == Tally((0, 1, 0), 1)
    assert len([text for text in ground.scene.messenger.said(CHAT) if "ballot" in text]) == 1, "nobody's news"


async def test_whoever_declines_their_chat_or_comes_too_late_gets_none(class_of_three: Ground) -> None:
    ground = class_of_three
    ground.in_chats = set()
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    await ground.enters_chat(BEA, membership="leave")
    await ground.enters_chat(BEA)
    assert ground.reads(BEA) == []
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    await ground.enters_chat(ANN)
    assert ground.reads(ANN) == []
    assert (await ground.ballots.handed(poll)).missed == 3


async def test_whoever_comes_into_the_community_while_a_secret_poll_is_open_gets_a_ballot(
    class_of_three: Ground,
) -> None:
    ground = class_of_three
    ground.in_room = [ANN, BEA]
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    for before in ("join", None, None):
        event = MembershipChanged(EventId("$in"), ROOM, CEM, 1, CEM, "join", before=before)
        await ground.ballots.entered(SCHOOL, event)
        await ground.work()
        assert len(ground.reads(CEM)) == (0 if before else 1)
    ground.in_chats.add(EVE)
    await ground.ballots.entered(SCHOOL, MembershipChanged(EventId("$eve"), ROOM, EVE, 1, EVE, "join"))
    await ground.work()
    assert ground.reads(EVE) == [], "she is no member"
    ground.members.add(EVE)
    await ground.ballots.entered(SCHOOL, MembershipChanged(EventId("$again"), ROOM, EVE, 1, EVE, "join"))
    await ground.work()
    assert len(ground.reads(EVE)) == 1
    await ground.polls.close(poll, ANN)
    ground.in_room.append(UserId("@late:example.org"))
    await ground.ballots.entered(SCHOOL, MembershipChanged(EventId("$late"), ROOM, ANN, 1, ground.in_room[-1], "join"))
    await ground.later(SETTLE_MS)
    await ground.hand_out()
    assert await ground.rows("poll_ballot") == 4


async def test_whoever_leaves_has_no_vote_and_no_ballot_any_more(class_of_three: Ground) -> None:
    ground = class_of_three
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    for user in ground.in_room:
        await ground.press(user, 1)
    ground.members.discard(BEA)
    ground.scene.clock.now += 1
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    await ground.hand_out()
    assert await ground.tally(poll) == Tally((2, 0, 0), 2)
    assert ground.reads(BEA) == []
    assert len(ground.reads(ANN)) == 1


async def test_the_ballots_of_a_poll_that_is_withdrawn_are_taken_away(class_of_three: Ground) -> None:
    ground = class_of_three
    ground.in_chats = {ANN, CEM}
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    await ground.press(ANN, 1)
    async with ground.scene.database.transaction() as tx:
        await tx.execute("UPDATE announcement SET withdrawn_at = 1 WHERE id = $1", poll)
    for _ in range(2):
        await ground.ballots.withdrawn(poll)
    await ground.work()
    await ground.hand_out()
    assert ground.reads(ANN) == ground.reads(CEM) == []
    await ground.enters_chat(BEA)
    assert ground.reads(BEA) == []
    before = await ground.rows("poll_vote")
    await ground.press(CEM, 1)
    assert await ground.rows("poll_vote") == before
    with pytest.raises(Refused, match="no secret poll"):
        await ground.polls.vote(SCHOOL, None, ANN, [1], source="$v")
    other = await ground.ask("$other", deliver=True)
    await ground.ballots.withdrawn(other)  # an open poll has none


async def test_a_vote_that_is_known_before_its_ballot_is_counts(class_of_three: Ground) -> None:
    ground = class_of_three
    ground.in_room, ground.in_chats = [ANN], set()
    poll = await ground.ask(hidden=True)
    await ground.hand_out()
    number = len(ground.scene.messenger.sent) + 1
    vote = Reacted(EventId("$early"), chat_of(ANN), ANN, ground.scene.clock.now, EventId(f"$sent-{number}"), KEYS[0])
    await ground.ballots.reacted(vote)
    await ground.enters_chat(ANN)
    assert ground.ballot_of(ANN) == vote.to
    assert await ground.tally(poll) == Tally((1, 0, 0), 1)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])
async def test_the_service_dies_and_everybody_has_one_ballot(tmp_path: Path, step: int) -> None:
    point, died = 0, True
    while died:
        folder = tmp_path / str(point)
        folder.mkdir()
        scene = Scene(f"sqlite:///{folder}/a.db")
        await scene.start()
        ground = Ground(scene)
        ground.in_room = [ANN, BEA, CEM]
        ground.in_chats = {ANN, BEA}
        closes_at = scene.clock.now + 10_000
        scene.faults.arm(point)
        died = False
        for again in range(2):
            try:
                await ground.ask(closes_at=closes_at, hidden=True)
                await ground.hand_out()
                await ground.press(ANN, 2, event_id="$by-ann")
                await ground.enters_chat(CEM)
                await ground.press(CEM, 2, event_id="$by-cem")
                scene.clock.now = closes_at + SETTLE_MS
                await ground.work()
                await ground.hand_out()
                break
            except Crash:
                assert not again
                died = True
                await scene.die()
                await scene.start()
                ground.begin()
                scene.clock.now = closes_at - 5_000
        scene.faults.arm(None)
        for user in (ANN, BEA, CEM):
            sent = [one for room, one in scene.messenger.sent if room == chat_of(user) and "m.relates_to" not in one]
            assert len(sent) == 1, (point, user)
            assert "The poll has ended. 2 people voted." in ground.reads(user)[0], (point, user)
        assert len([text for text in scene.messenger.said(CHAT) if "have a ballot" in text]) == 1, point
        await scene.stop()
        point += step
    assert point > 100


# --- in groups --------------------------------------------------------------------------------------------------------


async def test_where_members_may_post_clients_count_and_are_told_of_the_end(ground: Ground) -> None:
    poll = await ground.ask(place="chess", native=True, closes_at=ground.scene.clock.now + 1_000)
    [content] = [content for room, content in ground.scene.messenger.sent if room == CHESS]
    assert ground.scene.messenger.types[EventId("$sent-1")] == "org.matrix.msc3381.poll.start"
    start = content["org.matrix.msc3381.poll.start"]
    assert [answer["org.matrix.msc1767.text"] for answer in start["answers"]] == ["Monday", "Tuesday", "Never"]
    assert (start["max_selections"], start["kind"]) == (1, "org.matrix.msc3381.poll.disclosed")
    assert ground.scene.messenger.reactions == []
    await ground.react(ANN, 1, room=CHESS)
    asked, ballot, found = await ground.polls.result(poll)
    assert "I do not read what is said in groups" in ground.polls.said(asked, ballot, found, EN)
    with pytest.raises(Refused, match="the group's"):
        await ground.polls.vote(SCHOOL, poll, ANN, [1], source="$v")
    await ground.later(1_000)
    ends = [
        one for event, one in ground.scene.messenger.posted.items() if ground.scene.messenger.types[event] == POLL_END
    ]
    assert [(room, end["m.relates_to"]) for room, end in ends] == [
        (CHESS, {"rel_type": "m.reference", "event_id": "$sent-1"})
    ]
    assert not any("result" in text for text in ground.scene.messenger.said(CHESS))


async def test_where_moderators_alone_post_whoever_is_in_the_group_votes_by_reaction(ground: Ground) -> None:
    async with ground.scene.database.transaction() as tx:
        await tx.execute(
            "INSERT INTO room (community, key, kind, alias, room_id) VALUES ($1, 'chess', 'open', '#a', $2)",
            SCHOOL,
            CHESS,
        )
    poll = await ground.ask(place="chess")
    assert ground.scene.index.voting == {CHESS}
    ground.in_group = {ANN, BEA}
    for user in (ANN, BEA, CEM):
        await ground.react(user, 2, room=CHESS)
    assert await ground.tally(poll) == Tally((0, 2, 0), 2), "Cem is not in the group"
    ground.scene.clock.now += 1
    await ground.polls.close(poll, ANN)
    await ground.later(SETTLE_MS)
    assert ground.said == [], "nothing of it is said to everybody"
    assert any("Most votes: Tuesday. 2 people voted." in text for text in ground.scene.messenger.said(CHESS))
    assert ground.scene.index.voting == frozenset()
