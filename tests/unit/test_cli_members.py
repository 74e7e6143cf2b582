"""What the commands about members print; what they ask is the service's affair."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import members as cli
from bridge.cli.main import app

CAME: dict[str, Any] = {"moderates": [], "since": None, "how": "", "by": "", "detail": ""}
ANN = {"user": "@ann:example.org", "state": "join", "role": "owner", "groups": ["chess", "board"], "tags": [], **CAME}
BOB = {"user": "@bob:example.org", "state": "invite", "role": "member", "groups": [], "tags": ["teacher"], **CAME}
Asked = list[tuple[Any, ...]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Everything that is asked of the service, which knows two people and one tag."""
    found: Asked = []

    def ask(deed: str, community: str, _: object, **what: Any) -> dict[str, Any]:
        found.append((deed, community, what))
        people = [] if what.get("filter") == "nobody" else [ANN, BOB]
        return {"said": [f"{deed}: done\nand more"], "done": True, "members": people, "tags": []}

    monkeypatch.setattr(cli, "_ask", ask)
    return found


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_members_stand_in_columns(asked: Asked) -> None:
    assert printed("members", "school", "teacher").splitlines() == [
        "@ann:example.org  owner    chess, board",
        "@bob:example.org  invited                #teacher",
    ]
    assert asked == [("members", "school", {"filter": "teacher"})]
    assert printed("members", "school", "nobody") == "Nobody matches.\n"


def test_members_as_a_table_for_programs(asked: Asked) -> None:
    assert printed("members", "school", "--csv").splitlines()[1] == "@ann:example.org,owner,joined,chess;board,,,,,"
    assert json.loads(printed("members", "school", "--json")) == [ANN, BOB]
    assert json.loads(printed("who", "school", "@ann:example.org", "--json")) == ANN


def test_tags_are_given_to_several_at_once(asked: Asked) -> None:
    users = ["@ann:example.org", "@bob:example.org"]
    assert printed("tag", "school", "teacher", *users) == "tag: done\nand more\n"
    printed("untag", "school", "teacher", users[0])
    printed("tags", "school")
    assert asked == [
        ("tag", "school", {"tag": "teacher", "users": users}),
        ("untag", "school", {"tag": "teacher", "users": users[:1]}),
        ("tags", "school", {}),
    ]
