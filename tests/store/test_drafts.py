"""Drafts as they are stored, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from bridge.core.announcements import EVERYBODY, Audience, Kind
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.rendering import render
from bridge.core.schedule import Appointment, Timing
from bridge.store import drafts as store
from bridge.store.database import Database
from bridge.store.drafts import Draft, State

ANN, BEA = UserId("@ann:example.org"), UserId("@bea:example.org")
ROOM, CARD = RoomId("!chat"), EventId("$card")
SOURCE, ORIGIN, LATER = EventId("$command"), EventId("$origin"), EventId("$later")
DRAFT = Draft(
    store.id_of(SOURCE), CommunityId("school"), ANN, ROOM, SOURCE, ORIGIN, (render("Hello"), render("you")), EVERYBODY,
    Kind.TEXT, 1, SOURCE, 10, None, None, State.OPEN, None,
)  # fmt: skip
TAGGED = Audience(tags=("teacher",))


async def test_a_draft_is_found_by_whatever_names_it(database: Database) -> None:
    async with database.transaction() as tx:
        assert await store.add(tx, DRAFT)
        assert not await store.add(tx, replace(DRAFT, parts=(render("Other"),))), "the same command is the same draft"
        assert await store.find(tx, DRAFT.id) == DRAFT
        assert await store.made_by(tx, ANN, SOURCE) == await store.made_by(tx, ANN, ORIGIN) == DRAFT
        assert await store.made_by(tx, BEA, SOURCE) is None
        assert await store.worded_by(tx, ANN, SOURCE) is None
        assert await store.shown(tx, DRAFT, CARD)
        assert await store.of_card(tx, CARD) == replace(DRAFT, card=CARD)
        assert await store.open_of(tx, ROOM, ANN) == [replace(DRAFT, card=CARD)]
        assert await store.open_of(tx, ROOM, BEA) == []


async def test_a_wording_takes_the_place_of_the_one_that_was_seen_and_of_no_other(database: Database) -> None:
    async with database.transaction() as tx:
        await store.add(tx, DRAFT)
        await store.shown(tx, DRAFT, CARD)
        await store.ask_for_words(tx, DRAFT, 15)
        newer = replace(DRAFT, parts=(render("New"),), audience=TAGGED, kind=Kind.ACKNOWLEDGE, worded_by=LATER, at=20)
        assert await store.reword(tx, DRAFT, newer)
        assert not await store.reword(tx, DRAFT, replace(DRAFT, at=21)), "it was worded meanwhile"
        assert not await store.shown(tx, DRAFT, CARD)
        assert not await store.close(tx, DRAFT, State.SENT, LATER)
        found = await store.worded_by(tx, ANN, LATER)
        assert found == replace(newer, version=2)
        assert await store.of_card(tx, CARD) is None


async def test_a_draft_remembers_when_it_is_to_go_out(database: Database) -> None:
    weekly = Appointment(
        "every monday at 8", Timing("Europe/Berlin", 5, "FREQ=WEEKLY", datetime.fromisoformat("2026-11-30T08:00"))
    )
    once = Appointment("in 2 hours", Timing("UTC", 7_200_000))
    async with database.transaction() as tx:
        await store.add(tx, replace(DRAFT, appointment=weekly))
        found = await store.find(tx, DRAFT.id)
        assert found == replace(DRAFT, appointment=weekly)
        for version, appointment in enumerate((once, None, weekly), start=1):
            newer = replace(DRAFT, version=version, worded_by=LATER, appointment=appointment)
            assert await store.reword(tx, newer, newer)
            assert await store.find(tx, DRAFT.id) == replace(newer, version=version + 1)


async def test_a_closed_draft_says_nothing_any_more_and_is_forgotten(database: Database) -> None:
    async with database.transaction() as tx:
        await store.add(tx, DRAFT)
        await store.ask_for_words(tx, DRAFT, 15)
        assert await store.close(tx, DRAFT, State.SENT, LATER)
        assert not await store.close(tx, DRAFT, State.DROPPED, None)
        closed = replace(DRAFT, parts=(), state=State.SENT, closed_by=LATER)
        assert await store.find(tx, DRAFT.id) == await store.closed_by(tx, ANN, LATER) == closed
        assert await store.open_of(tx, ROOM, ANN) == []
        await store.forget_before(tx, 10)
        assert await store.find(tx, DRAFT.id) is not None
        await store.forget_before(tx, 11)
        assert await store.find(tx, DRAFT.id) is None
        await store.add(tx, DRAFT)
        await store.forget_before(tx, 11)
        assert await store.find(tx, DRAFT.id) == DRAFT, "what waits is not forgotten"
