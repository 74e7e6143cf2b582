"""What is remembered of communities, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.announcement_templates import Template
from bridge.core.community import ANNOUNCEMENTS, CONTROL, SPACE, Community, Group, Join, Posting, Role, RoomKind
from bridge.core.ids import CommunityId, RoomId, RoomKeyName, UserId
from bridge.plan.state import Known
from bridge.store import communities as store
from bridge.store import declarations
from bridge.store.database import Database
from bridge.store.rooms import Place, RoomIndex

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ANN, BEA, CID = (UserId(f"@{name}:example.org") for name in ("ann", "bea", "cid"))
CHESS = RoomKeyName("chess")
ODD = {"name": 'O\'Neill "quoted" \\ 🎉 \n\t\0 \u2028 %s $1 {x}'}
EVERYTHING = Known(
    roles={ANN: Role.OWNER, BEA: Role.ADMIN},
    moderators={CHESS: frozenset({BEA, CID})},
    profile={(SPACE, "m.room.name"): ODD, (CHESS, "m.room.topic"): {"topic": ""}},
    named={ANN: frozenset({"owners", "chess/members"}), CID: frozenset({"members"})},
    invited=frozenset({(SPACE, ANN), (CHESS, CID)}),
    settled={(SPACE, "m.room.power_levels", ""): "ab12", (SPACE, "link", "chess"): "cd34"},
)


async def save(database: Database, before: Known, after: Known, now: int = 1, community: CommunityId = SCHOOL) -> None:
    async with database.transaction() as tx:
        await store.save_known(tx, community, before, after, now)


async def load(database: Database, community: CommunityId = SCHOOL) -> Known:
    async with database.transaction() as tx:
        return await store.load_known(tx, community)


# --- known ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_known_of_what_was_never_seen(database: Database) -> None:
    assert await load(database) == Known()


async def test_what_is_saved_comes_back(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    assert await load(database) == EVERYTHING
    assert await load(database, CLUB) == Known()


async def test_saving_again_changes_nothing(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    await save(database, EVERYTHING, EVERYTHING)
    await save(database, Known(), EVERYTHING)
    assert await load(database) == EVERYTHING


async def test_what_is_gone_is_gone(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    less = replace(
        EVERYTHING,
        roles={ANN: Role.ADMIN},
        moderators={CHESS: frozenset({CID})},
        named={ANN: frozenset({"members"})},
        invited=frozenset({(CHESS, CID)}),
    )
    await save(database, EVERYTHING, less)
    assert await load(database) == less


async def test_what_changed_is_replaced(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    other = replace(
        EVERYTHING,
        profile={**EVERYTHING.profile, (SPACE, "m.room.name"): {"name": "New"}},
        settled={**EVERYTHING.settled, (SPACE, "link", "chess"): "ef56"},
    )
    await save(database, EVERYTHING, other)
    assert await load(database) == other


async def test_one_community_is_not_the_other(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    await save(database, Known(), EVERYTHING, community=CLUB)
    await save(database, EVERYTHING, Known(), community=CLUB)
    assert await load(database) == EVERYTHING


# --- roles of the time ----------------------------------------------------------------------------------------------


async def role_at(database: Database, user: UserId, at: int) -> Role:
    async with database.transaction() as tx:
        return await store.role_at(tx, SCHOOL, user, at)


async def test_the_role_of_the_time_is_the_better_of_then_and_now(database: Database) -> None:
    first = Known(roles={ANN: Role.OWNER, BEA: Role.ADMIN})
    second = Known(roles={ANN: Role.ADMIN, CID: Role.ADMIN})
    await save(database, Known(), first, now=100)
    await save(database, first, second, now=200)
    assert [await role_at(database, ANN, at) for at in (199, 200, 201)] == [Role.OWNER, Role.ADMIN, Role.ADMIN]
    assert [await role_at(database, BEA, at) for at in (199, 200)] == [Role.ADMIN, Role.MEMBER]
    assert [await role_at(database, CID, at) for at in (199, 200)] == [Role.ADMIN, Role.ADMIN]
    assert await role_at(database, UserId("@x:y"), 0) is Role.MEMBER


async def test_moderators_are_known_by_group(database: Database) -> None:
    await save(database, Known(), EVERYTHING)
    async with database.transaction() as tx:
        assert await store.is_moderator(tx, SCHOOL, CHESS, CID)
        assert not await store.is_moderator(tx, SCHOOL, SPACE, CID)
        assert not await store.is_moderator(tx, CLUB, CHESS, CID)
        assert not await store.is_moderator(tx, SCHOOL, CHESS, ANN)


# --- rooms ----------------------------------------------------------------------------------------------------------


async def make(database: Database, key: RoomKeyName, room_id: str, community: CommunityId = SCHOOL) -> None:
    async with database.transaction() as tx:
        await store.plan_room(tx, community, key, RoomKind.SPACE, f"#{key}:x")
        await store.record_room(tx, community, key, RoomId(room_id), 5)


async def test_a_room_is_planned_made_and_loses_its_alias(database: Database) -> None:
    async with database.transaction() as tx:
        await store.plan_room(tx, SCHOOL, SPACE, RoomKind.SPACE, "#a:x")
        await store.plan_room(tx, SCHOOL, SPACE, RoomKind.SPACE, "#another:x")
        await store.plan_room(tx, CLUB, SPACE, RoomKind.SPACE, "")
        await store.plan_room(tx, CLUB, SPACE, RoomKind.SPACE, "#club:x")
        club = await store.room_record(tx, CLUB, SPACE)
        assert club is not None
        assert club.alias == "#club:x"
        record = await store.room_record(tx, SCHOOL, SPACE)
        assert record == store.RoomRecord(SCHOOL, SPACE, RoomKind.SPACE, "#a:x", None)
        assert await store.leftover_aliases(tx, SCHOOL) == {}
    assert (await load(database)).rooms == {}
    async with database.transaction() as tx:
        await store.record_room(tx, SCHOOL, SPACE, RoomId("!a:x"), 5)
        assert await store.leftover_aliases(tx, SCHOOL) == {SPACE: "#a:x"}
        await store.alias_dropped(tx, SCHOOL, SPACE)
        assert await store.leftover_aliases(tx, SCHOOL) == {}
    assert (await load(database)).rooms == {SPACE: RoomId("!a:x")}


async def test_a_forgotten_room_leaves_nothing_of_itself(database: Database) -> None:
    await make(database, SPACE, "!a:x")
    await make(database, CHESS, "!b:x")
    await save(database, Known(), EVERYTHING)
    async with database.transaction() as tx:
        await store.freeze(tx, SCHOOL, SPACE, store.LEVELS, 1)
        await store.forget_room(tx, SCHOOL, SPACE)
    known = await load(database)
    assert known.rooms == {CHESS: RoomId("!b:x")}
    assert known.invited == {(CHESS, CID)}
    assert known.settled == {}
    assert known.profile == {(CHESS, "m.room.topic"): {"topic": ""}}
    assert known.frozen == frozenset()
    assert known.named == EVERYTHING.named
    assert known.roles == EVERYTHING.roles


async def test_a_room_moves_with_what_is_remembered_of_it(database: Database) -> None:
    await make(database, SPACE, "!a:x")
    await make(database, CHESS, "!b:x")
    await save(database, Known(), replace(EVERYTHING, bidden=frozenset({(CHESS, ANN)})))
    await save(database, Known(), Known(moderators={CHESS: frozenset({CID})}), community=CLUB)  # of a group long ago
    async with database.transaction() as tx:
        await store.freeze(tx, SCHOOL, CHESS, store.LEVELS, 1)
        await store.move_room(tx, SCHOOL, CLUB, CHESS)
    school, club = await load(database), await load(database, CLUB)
    assert school.rooms == {SPACE: RoomId("!a:x")}
    assert (school.moderators, school.bidden, school.frozen) == ({}, frozenset(), frozenset())
    assert school.invited == {(SPACE, ANN)}
    assert school.settled == {(SPACE, "m.room.power_levels", ""): "ab12"}
    assert school.roles == EVERYTHING.roles
    assert club == Known(
        rooms={CHESS: RoomId("!b:x")},
        moderators=EVERYTHING.moderators,
        profile={(CHESS, "m.room.topic"): {"topic": ""}},
        invited=frozenset({(CHESS, CID)}),
        bidden=frozenset({(CHESS, ANN)}),
        frozen=frozenset({CHESS}),
        adopted=frozenset({CHESS}),
    )


async def test_two_communities_may_not_share_a_room(database: Database) -> None:
    await make(database, SPACE, "!a:x")
    with pytest.raises(Exception, match=r"(?i)unique"):
        await make(database, SPACE, "!a:x", CLUB)
    assert (await load(database, CLUB)).rooms == {}


async def test_the_index_of_rooms(database: Database) -> None:
    await make(database, SPACE, "!a:x")
    async with database.transaction() as tx:
        await store.plan_room(tx, SCHOOL, CONTROL, RoomKind.CONTROL, "#c:x")
        await store.open_chat(tx, RoomId("!chat:x"), ANN, 1)
        await store.set_kind(tx, SCHOOL, SPACE, RoomKind.OPEN)
        index = RoomIndex()
        await index.load(tx)
        assert await store.communities_known(tx) == [SCHOOL]
    assert index.places == {RoomId("!a:x"): Place(SCHOOL, SPACE, RoomKind.OPEN)}
    assert index.chats == {RoomId("!chat:x"): ANN}
    assert index.place_of("!a:x") == Place(SCHOOL, SPACE, RoomKind.OPEN)
    assert index.room_of(SCHOOL, SPACE) == "!a:x"
    assert index.room_of(SCHOOL, CONTROL) is None
    assert index.place_of("!other:x") is None


async def test_of_several_chats_the_one_counts_that_was_begun_last(database: Database) -> None:
    async with database.transaction() as tx:
        for room_id, user, at in (("!z:x", ANN, 1), ("!a:x", ANN, 3), ("!m:x", ANN, 2), ("!b:x", BEA, 4)):
            await store.open_chat(tx, RoomId(room_id), user, at)
        index = RoomIndex()
        await index.load(tx)
    assert (index.chat_of(ANN), index.chat_of(BEA), index.chat_of(UserId("@cid:x"))) == ("!a:x", "!b:x", None)
    index.chats[RoomId("!new:x")] = ANN
    assert index.chat_of(ANN) == "!new:x"


async def test_chats_come_and_go(database: Database) -> None:
    async with database.transaction() as tx:
        await store.open_chat(tx, RoomId("!chat:x"), ANN, 1)
        await store.open_chat(tx, RoomId("!chat:x"), BEA, 2)
        assert await store.load_chats(tx) == {RoomId("!chat:x"): BEA}
        await store.close_chat(tx, RoomId("!chat:x"))
        await store.close_chat(tx, RoomId("!chat:x"))
        assert await store.load_chats(tx) == {}


# --- fights ---------------------------------------------------------------------------------------------------------


async def test_healings_are_counted_within_their_window(database: Database) -> None:
    async def note(
        at: int, key: RoomKeyName = SPACE, aspect: str = store.LEVELS, community: CommunityId = SCHOOL
    ) -> int:
        async with database.transaction() as tx:
            return await store.note_heal(tx, community, key, aspect, at, 100)

    assert [await note(at) for at in (1000, 1050, 1100)] == [1, 2, 3]
    assert await note(1101, key=ANNOUNCEMENTS) == 1
    assert await note(1101, aspect="m.room.name") == 1
    assert await note(1101, community=CLUB) == 1
    assert await note(1151) == 2  # those of 1000 and 1050 are too old


async def test_a_freeze_and_its_end(database: Database) -> None:
    async with database.transaction() as tx:
        for _ in range(2):
            await store.freeze(tx, SCHOOL, SPACE, store.LEVELS, 1)
            await store.freeze(tx, SCHOOL, CHESS, "m.room.name", 1)
        await store.freeze(tx, CLUB, SPACE, store.LEVELS, 1)
    known = await load(database)
    assert known.frozen == frozenset({SPACE})
    assert known.yielded == frozenset({(CHESS, "m.room.name")})
    async with database.transaction() as tx:
        await store.note_heal(tx, SCHOOL, SPACE, store.LEVELS, 1, 100)
        await store.thaw(tx, SCHOOL)
        assert await store.note_heal(tx, SCHOOL, SPACE, store.LEVELS, 2, 100) == 1
    assert (await load(database)).frozen == frozenset()
    assert (await load(database, CLUB)).frozen == {SPACE}


# --- the community itself -------------------------------------------------------------------------------------------


async def test_the_record_of_a_community(database: Database) -> None:
    async with database.transaction() as tx:
        assert await store.community_record(tx, SCHOOL) == store.CommunityRecord(None, None, None)
        await store.set_held(tx, SCHOOL, "ab12")
        await store.set_in_force(tx, SCHOOL, "{}")
        await store.set_reconciled(tx, SCHOOL, 1_795_000_000_000)
        await store.set_held(tx, CLUB, "other")
        assert await store.community_record(tx, SCHOOL) == store.CommunityRecord("{}", "ab12", 1_795_000_000_000)
        await store.set_held(tx, SCHOOL, None)
        assert await store.community_record(tx, SCHOOL) == store.CommunityRecord("{}", None, 1_795_000_000_000)


async def test_reports_are_new_once_and_again_when_they_return(database: Database) -> None:
    async def report(*texts: str) -> list[str]:
        async with database.transaction() as tx:
            fresh, _ = await store.new_reports(tx, SCHOOL, {text[:1]: text for text in texts}, 1)
            return list(fresh.values())

    assert await report("a", "b") == ["a", "b"]
    assert await report("b", "c") == ["c"]
    assert await report("a", "b") == ["a"]
    assert await report() == []
    assert await report("a") == ["a"]


async def test_the_audit_trail_keeps_its_order(database: Database) -> None:
    async with database.transaction() as tx:
        for number in range(12):
            await store.record(tx, 1, SCHOOL, "!a:x", ANN, "healed", str(number))
        rows = await tx.fetch("SELECT detail FROM audit ORDER BY seq")
    assert [row["detail"] for row in rows] == [str(number) for number in range(12)]


DECLARATIONS: list[Community] = [
    Community(SCHOOL),
    Community(SCHOOL, owners=frozenset(), admins=None, members=frozenset({CID})),
    Community(
        SCHOOL,
        name="Schule für alle 🎓",
        description="",
        avatar="mxc://x/y",
        owners=frozenset({ANN, BEA}),
        removed=frozenset({CID}),
        join=Join.REQUEST,
        members_may_invite=True,
        listed=True,
        general=False,
        room_version="11",
        preview=False,
        announcement_templates=(Template("snow", "on {day}"), Template("bell", "")),
        groups=(
            Group(CHESS, RoomKind.HIDDEN, name="Chess", posting=Posting.MODERATORS, moderators=frozenset()),
            Group(RoomKeyName("a"), members_may_invite=True, members=frozenset({ANN})),
        ),
    ),
]


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_a_declaration_comes_back_as_it_was(declaration: Community) -> None:
    text = declarations.to_json(declaration)
    assert declarations.from_json(text) == declaration
    assert declarations.to_json(declarations.from_json(text)) == text


def test_every_field_of_a_declaration_is_kept() -> None:
    full: Any = DECLARATIONS[2]
    for one in (full, full.groups[0]):
        stored = declarations.to_json(full)
        assert all(
            f'"{name}"' in stored
            for name in set(one.__dataclass_fields__) - {"own", "archived", "history_visibility", "set_by_people"}
        )
