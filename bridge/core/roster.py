"""The people of a community as a table: who matches a word, and the table as CSV. Pure.

A person is what `app/roster` gives: `user`, `state` in the space, `role`, `groups`, `moderates`, `tags`, `since`,
`how`, `by` and `detail`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bridge.core import texts
from bridge.core.community import Role
from bridge.core.languages import LANGUAGES

Person = Mapping[str, Any]

COLUMNS = ("user", "role", "state", "groups", "moderates", "tags", "since", "came_by", "brought_by")
STATES = {"join": "joined", "invite": "invited"}
_INVITED = frozenset(texts.invited_word(language).casefold() for language in LANGUAGES)
_PLAIN_ID = re.compile(r"@[a-zA-Z0-9._=/+-]*:[A-Za-z0-9.:\[\]-]+\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""By what spreadsheets take a cell for a formula."""


def matching(people: Iterable[Person], word: str) -> list[Person]:
    """Those who match a word: exactly a role, a group, a tag or `invited`; or a part of their id.

    Whoever is only invited is found by `invited`, a tag or their id. Without a word it is everybody who has joined.
    """
    wanted = word.strip().casefold()
    if wanted in _INVITED:
        return [person for person in people if person["state"] == "invite"]
    return [person for person in people if _matches(person, wanted)]


def _matches(person: Person, wanted: str) -> bool:
    joined = bool(person["state"] == "join")
    if not wanted:
        return joined
    role: Role = person["role"]
    roles = [role.word, *(texts.role_name(role, language) for language in LANGUAGES)] if joined else []
    exact = {name.casefold() for name in (*roles, *map(str, person["groups"]), *person["tags"])}
    return wanted.removeprefix("#") in exact or wanted in str(person["user"]).casefold()


def as_csv(people: Iterable[Person]) -> str:
    """The table as CSV (RFC 4180), one person a line below the names of the columns; several values with `;` between.

    The words in it are those of the commands, in English; times are in UTC. No cell is a formula to a spreadsheet.
    """
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for person in people:
        table.writerow(
            [
                cell(person["user"]),
                person["role"].word,
                STATES.get(person["state"], person["state"]),
                *(cell(";".join(person[name])) for name in ("groups", "moderates", "tags")),
                "" if person["since"] is None else texts.utc(person["since"]),
                cell(f"{person['how']} {person['detail']}".strip()),
                cell(person["by"]),
            ]
        )
    return out.getvalue()


def cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula. Ordinary user ids stand as they are, though they begin with @."""
    return f"'{text}" if text.startswith(_FORMULA) and not _PLAIN_ID.match(text) else text
