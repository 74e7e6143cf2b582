"""Every column of the schema is known to the erasure of a person, and what is known of them goes from all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.ids import UserId
from bridge.store.database import Database, Transaction
from bridge.store.erasure import ERASED, EXEMPT, PLACES, Mentions, Way, erase, find, places

ANN = UserId("@ann:example.org")
LONGER = "@ann:example.org.uk"
"""Somebody else, whose id begins like hers."""
NUMBERS = {"integer", "bigint", "int", ""}


async def columns(tx: Transaction, database: Database) -> dict[tuple[str, str], str]:
    """Every column of the database and its type."""
    if database.is_sqlite:
        names = [row[0] for row in await tx.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            (name, row["name"]): str(row["type"]).lower()
            for name in names
            for row in await tx.fetch(f"PRAGMA table_info({name})")
        }
        return {place: kind for place, kind in found.items() if place[0] != "sqlite_sequence"}
    rows = await tx.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema()"
    )
    return {(row["table_name"], row["column_name"]): row["data_type"] for row in rows}


async def test_every_column_that_can_hold_a_user_id_is_erased_or_says_why_not(database: Database) -> None:
    async with database.transaction() as tx:
        schema = await columns(tx, database)
    assert len({table for table, _ in schema}) > 30
    texts = {place for place, kind in schema.items() if kind not in NUMBERS}
    assert sorted(texts - places() - EXEMPT.keys()) == [], "name them in bridge/store/erasure.py"
    assert sorted((places() | EXEMPT.keys()) - texts) == [], "they are no columns of the schema any more"
    assert sorted(places() & EXEMPT.keys()) == []
    assert all(EXEMPT.values())


async def fill(tx: Transaction, schema: dict[tuple[str, str], str]) -> None:
    """Two rows in every table: the first names ann wherever a column can, the second somebody else."""
    for table in sorted({table for table, _ in schema}):
        mine = {column: kind for (of, column), kind in schema.items() if of == table}
        if table in ("version", "database_owner"):
            continue
        for number, user in enumerate((ANN, LONGER), start=1):
            values: dict[str, Any] = {}
            for column, kind in mine.items():
                way = next((place.way for place in PLACES if (place.table, place.column) == (table, column)), None)
                if kind in NUMBERS:
                    values[column] = number
                elif (table, column) == ("inbox", "body"):
                    values[column] = json.dumps({"sender": user, "room_id": "!r"}).encode()
                elif (table, column) == ("job", "body"):
                    values[column] = json.dumps({"content": {"body": f"hello {user}.", "users": [user]}})
                elif (table, column) == ("community", "in_force"):
                    values[column] = json.dumps({"owners": [user], "removed": [user], "fallback_owner": user})
                elif way in (Way.DELETE, Way.REPLACE):
                    values[column] = user
                elif way in (Way.MENTION, Way.DROP):
                    values[column] = f"it was {user}: they came"
                else:
                    values[column] = f"{column} {number}"
                    if kind in ("blob", "bytea"):
                        values[column] = values[column].encode()
            names, marks = ", ".join(values), ", ".join(f"${at}" for at in range(1, len(values) + 1))
            await tx.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", *values.values())


async def everything(tx: Transaction, schema: dict[tuple[str, str], str]) -> dict[str, list[dict[str, Any]]]:
    """The whole database, bytes as text."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in sorted({table for table, _ in schema}):
        names = [column for of, column in schema if of == table]
        rows = await tx.fetch(f"SELECT {', '.join(names)} FROM {table}")
        shown = [
            {
                name: bytes(row[at]).decode() if isinstance(row[at], bytes | memoryview) else row[at]
                for at, name in enumerate(names)
            }
            for row in rows
        ]
        found[table] = sorted(shown, key=lambda row: repr([row.get(name) for name in ("seq", "id", "at")]))
    return found


async def test_a_person_goes_from_every_table_and_others_stay_as_they_were(database: Database) -> None:
    async with database.transaction() as tx:
        schema = await columns(tx, database)
        await fill(tx, schema)
    async with database.transaction() as tx:
        before = await everything(tx, schema)
        listed = await find(tx, ANN, bans=True)
        await erase(tx, ANN, bans=True)
        after = await everything(tx, schema)
        assert await find(tx, ANN, bans=True) == []
        await erase(tx, ANN, bans=True)  # safe to run twice
        assert await everything(tx, schema) == after
    naming = {table for table, _ in places()}
    assert {found.table for found in listed} == naming
    assert not any(Mentions(ANN).within(value) for rows in after.values() for row in rows for value in row.values())
    for table, rows in before.items():  # the row of somebody whose id begins alike is untouched
        theirs = [row for row in rows if any(LONGER in str(value) for value in row.values())]
        assert all(row in after[table] for row in theirs), table
    assert after["audit"][0]["actor"] == ERASED
    assert after["audit"][0]["detail"] == f"it was {ERASED}: they came"
    assert after["announcement"][0] | {"author": ERASED, "reply_room": None} == after["announcement"][0]
    assert json.loads(after["job"][0]["body"]) == {"content": {"body": f"hello {ERASED}.", "users": []}}
    assert [row["event_id"] for row in after["inbox_seen"]].count("event_id 1") == 2  # it is known if it comes again
    sessions = {row["session_id"] for row in after["crypto_outbound"]}
    assert sessions == {"session_id 2"}  # the one whose key she held is used no more


async def test_bans_stay_in_the_declaration_and_what_is_under_way_is_not_lost(database: Database) -> None:
    async with database.transaction() as tx:
        text = json.dumps({"removed": [ANN], "owners": None, "welcome": f"ask {ANN}"})
        await tx.execute("INSERT INTO community (id, in_force) VALUES ('school', $1)", text)
        body = json.dumps({"user": ANN, "what": "ban"})
        await tx.execute(
            "INSERT INTO job (id, lane, kind, body, due_at) VALUES ('one', 'l', 'change_membership.1', $1, 1)", body
        )
        event = json.dumps({"sender": "@bob:example.org", "state_key": ANN, "type": "m.room.member"}).encode()
        await tx.execute("INSERT INTO inbox (seq, event_id, room_id, body, at) VALUES (1, '$1', '!r', $1, 1)", event)
        await tx.execute("INSERT INTO shut_out (community, user_id) VALUES ('school', $1)", ANN)
        stay = [("shut_out", Way.KEEP), ("job", Way.WAIT), ("inbox", Way.WAIT)]
        assert [(found.table, found.way) for found in await find(tx, ANN)] == stay
        await erase(tx, ANN)
        assert [(found.table, found.way) for found in await find(tx, ANN)] == stay
        assert await tx.fetch_value("SELECT in_force FROM community") == text
        assert await tx.fetch_value("SELECT body FROM job") == body
        assert bytes(await tx.fetch_value("SELECT body FROM inbox")) == event


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kicked @ann:example.org.", True),
        ("@ann:example.org: bye", True),
        ("https://matrix.to/#/%40ann%3Aexample.org", True),
        ('<a href="https://matrix.to/#/@ann:example.org">Ann</a>', True),
        ("@ann:example.org.uk", False),
        ("@ann:example.organic", False),
        ("@ann:example.org:8448", False),
        ("@joann:example.org", False),
        ("@ANN:example.org", False),
    ],
)
def test_a_mention_is_the_whole_id(text: str, named: bool) -> None:
    mentions = Mentions(ANN)
    assert mentions.within({"deep": [text]}) is named
    assert mentions.within(mentions.without(text)) is False
    assert named or mentions.without(text) == text
