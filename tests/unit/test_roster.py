"""The table of members: who matches a word, and the table as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.community import Role
from bridge.core.roster import COLUMNS, as_csv, matching


def person(user: str, role: Role = Role.MEMBER, **what: Any) -> dict[str, Any]:
    came = {"since": None, "how": "", "by": "", "detail": ""}
    return {"user": user, "role": role, "state": "join", "groups": [], "moderates": [], "tags": [], **came, **what}


ANN = person("@ann:example.org", Role.OWNER, groups=["chess"], since=1_790_000_000_000, how="configuration")
BEA = person("@bea:example.org", tags=["teacher", "year-5"], how="link", detail="k3x9", by="@ann:example.org")
CID = person("@cid:example.org", state="invite", tags=["teacher"])
EVERYBODY = [ANN, BEA, CID]


def found(word: str) -> list[str]:
    return [one["user"][1:4] for one in matching(EVERYBODY, word)]


def test_people_are_found_by_what_they_are() -> None:
    assert found("") == ["ann", "bea"], "whoever is only invited is not in the community"
    assert found("owner") == found("Eigentümer") == found("chess") == ["ann"]
    assert found("member") == ["bea"]
    assert found("teacher") == found(" #Teacher ") == ["bea", "cid"]
    assert found("invited") == found("eingeladen") == ["cid"]
    assert found("CID") == ["cid"]
    assert found("nobody") == []


def test_the_table_says_everything() -> None:
    header, *rows = csv.reader(io.StringIO(as_csv(EVERYBODY), newline=""))
    assert tuple(header) == COLUMNS
    assert rows == [
        ["@ann:example.org", "owner", "joined", "chess", "", "", "2026-09-21 14:13 UTC", "configuration", ""],
        ["@bea:example.org", "member", "joined", "", "", "teacher;year-5", "", "link k3x9", "@ann:example.org"],
        ["@cid:example.org", "member", "invited", "", "", "teacher", "", "", ""],
    ]


@given(st.text(), st.text())
def test_no_cell_of_a_table_is_a_formula(user: str, by: str) -> None:
    table = as_csv([person(user, by=by)])
    _, row = csv.reader(io.StringIO(table, newline=""))
    assert len(row) == len(COLUMNS)
    assert not any(cell.startswith(("=", "+", "-", "\t", "\r")) for cell in row)
    hostile = person("@SUM(1+1)*cmd|' /C calc'!A0:example.org")
    assert as_csv([hostile]).splitlines()[1].startswith("'@SUM")
