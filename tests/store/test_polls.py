"""Polls and the votes that stand, on both databases."""

from __future__ import annotations

from bridge.core.announcements import Target
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.polls import Tally, Vote
from bridge.store import announcements, ballots, polls
from bridge.store.ballots import Handed, State
from bridge.store.database import Database, Transaction
from bridge.store.polls import Poll

SCHOOL, ROOM, SENT = CommunityId("school"), RoomId("!a:x"), EventId("$sent")
ANN, BEA = UserId("@ann:x"), UserId("@bea:x")


async def announced(tx: Transaction, source: str, event_id: EventId | None = SENT) -> str:
    one = await announcements.add(tx, source, ANN, "[]", None, 1)
    await announcements.add_target(tx, one, Target(SCHOOL, ROOM))
    if event_id is not None:
        await announcements.delivered(tx, one, Target(SCHOOL, ROOM), event_id, devices=1, unreached=0, now=1)
    return one


async def test_votes_until_the_end_and_then_the_count_alone(database: Database) -> None:
    async with database.transaction() as tx:
        poll = Poll(await announced(tx, "$a"), SCHOOL, 3, False, False, None)
        await polls.add(tx, poll)
        await polls.add(tx, Poll(poll.announcement, SCHOOL, 9, True, True, 5))
        assert await polls.get(tx, poll.announcement) == poll
        assert await polls.get(tx, "nonsense") is None
        for event_id, user, option, at in (("$1", ANN, 1, 5), ("$1", ANN, 3, 9), ("$2", BEA, 2, 10)):
            await polls.vote(tx, ROOM, SENT, Vote(user, option, at, event_id))
        await polls.vote(tx, ROOM, EventId("$other"), Vote(ANN, 1, 5, "$3"))
        assert {vote.event for vote in await polls.votes(tx, poll)} == {"$1", "$2"}
        assert await polls.voted(tx, ROOM, EventId("$1")) == SENT
        assert await polls.voted(tx, RoomId("!other:x"), EventId("$1")) is None
        await polls.end(tx, poll.announcement, 10)
        await polls.end(tx, poll.announcement, 20)
        ended = await polls.get(tx, poll.announcement)
        assert ended is not None
        assert ended.closes_at == 10
        assert await polls.votes(tx, ended) == [Vote(ANN, 1, 5, "$1")]
        await polls.take_back(tx, EventId("$1"))
        assert await polls.votes(tx, ended) == []
        await polls.count(tx, ended, Tally((0, 2, 0), 2))
        await polls.count(tx, ended, Tally((9, 9, 9), 9))
        await polls.show(tx, poll.announcement, Tally((0, 1, 0), 1))
        counted = await polls.get(tx, poll.announcement)
        assert counted is not None
        assert (counted.counted, counted.shown) == (Tally((0, 2, 0), 2), Tally((0, 1, 0), 1))
        assert await tx.fetch_value("SELECT COUNT(*) FROM poll_vote") == 0


async def test_secret_votes_replace_each_other_and_open_secret_polls_are_found(database: Database) -> None:
    async with database.transaction() as tx:
        secret = Poll(await announced(tx, "$a"), SCHOOL, 3, True, True, 100)
        waiting = Poll(await announced(tx, "$b", None), SCHOOL, 3, True, True, None)
        for poll in (secret, waiting):
            await polls.add(tx, poll)
        assert await polls.open_hidden(tx, SCHOOL, 99) == [(1, secret)]
        assert await polls.open_hidden(tx, SCHOOL, 100) == []
        assert await polls.awaits_delivery(tx, SCHOOL)
        assert not await polls.awaits_delivery(tx, CommunityId("club"))
        for options in ([1, 2], [3]):
            await polls.vote_in_chat(tx, secret.announcement, ANN, options, "$v", 5)
        assert [vote.option for vote in await polls.votes(tx, secret)] == [3]


async def test_ballots_are_handed_out_once_and_forgotten_after_the_end(database: Database) -> None:
    chat = RoomId("!chat:x")
    async with database.transaction() as tx:
        poll = Poll(await announced(tx, "$a"), SCHOOL, 3, False, True, 100)
        await polls.add(tx, poll)
        one = poll.announcement
        assert await ballots.add(tx, one, [BEA, ANN], State.NEW) == [ANN, BEA]
        assert await ballots.add(tx, one, [ANN], State.WAITS) == []
        await ballots.has_chat(tx, one, ANN, chat)
        assert [paper.user for paper in await ballots.waiting_in(tx, chat)] == [ANN]
        await polls.vote(tx, chat, EventId("$ballot"), Vote(ANN, 2, 5, "$1"))
        await polls.vote(tx, chat, EventId("$other"), Vote(ANN, 1, 5, "$2"))
        assert await polls.votes(tx, poll) == []
        await ballots.sent(tx, one, ANN, chat, EventId("$ballot"))
        await ballots.becomes(tx, one, ANN, State.MISSED)
        await ballots.becomes(tx, one, BEA, State.MISSED)
        assert await ballots.handed(tx, one) == Handed(1, 0, 1, 0)
        found = await ballots.of_event(tx, chat, EventId("$ballot"))
        assert found is not None
        assert (found.user, found.state) == (ANN, State.SENT)
        assert await ballots.of_event(tx, ROOM, EventId("$ballot")) is None
        assert [vote.option for vote in await polls.votes(tx, poll)] == [2]
        await ballots.forget_before(tx, 1_000)
        await polls.count(tx, poll, Tally((0, 1, 0), 1))
        assert await tx.fetch_value("SELECT COUNT(*) FROM poll_vote") == 0
        await ballots.forget_before(tx, 100)
        assert await ballots.handed(tx, one) == Handed(1, 0, 1, 0)
        await ballots.forget_before(tx, 101)
        assert await ballots.of(tx, one) == []


async def test_reactions_are_heard_in_groups_in_which_a_poll_is_open_alone(database: Database) -> None:
    chess, choir = RoomId("!chess:x"), RoomId("!choir:x")
    async with database.transaction() as tx:
        for key, room in (("chess", chess), ("choir", choir)):
            await tx.execute(
                "INSERT INTO room (community, key, kind, alias, room_id) VALUES ($1, $2, 'open', $2, $3)",
                SCHOOL,
                key,
                room,
            )
        everybody = Poll(await announced(tx, "$a"), SCHOOL, 2, False, False, None)
        signs = Poll(await announced(tx, "$b", EventId("$b")), SCHOOL, 2, False, False, 9, place="chess")
        clients = Poll(
            await announced(tx, "$c", EventId("$c")), SCHOOL, 2, False, True, None, place="choir", native=True
        )
        for poll in (everybody, signs, clients):
            await polls.add(tx, poll)
            assert await polls.get(tx, poll.announcement) == poll
        assert await polls.heard(tx) == {chess}
        assert await polls.open_hidden(tx, SCHOOL, 1) == []
        assert [(number, poll.place) for number, _, poll in await polls.listed(tx, SCHOOL, 2)] == [
            (3, "choir"),
            (2, "chess"),
        ]
        await polls.count(tx, signs, Tally((0, 0), 0))
        assert await polls.heard(tx) == frozenset()
