"""What the commands about events and calendars print and ask; what comes of it is the service's affair."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bridge.cli import calendar as calendar_cli
from bridge.cli import event as cli
from bridge.cli.main import app

Asked = list[tuple[Any, ...]]
ANSWER = {
    "said": ["one", "two"], "number": 12, "title": "Party", "announcement": "a", "begins_at": 1, "ends_at": None,
    "when": "tomorrow", "events": [{"number": 12}], "csv": "user,state\n", "open": True, "addresses": 3,
}  # fmt: skip
ADDRESS = {"said": ["told"], "user": "@ann:x", "url": "https://x/calendar/s.ics", "webcal": "webcal://x/calendar/s.ics"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found: Asked = []

    async def ask(deed: str, community: str, _: object, what: dict[str, Any]) -> dict[str, Any]:
        found.append((deed, community, what))
        return ADDRESS if "user" in what else ANSWER

    monkeypatch.setattr(cli, "_ask", ask)
    monkeypatch.setattr(calendar_cli, "_ask", ask)
    return found


def printed(*words: str, answer: str = "", code: int = 0) -> str:
    result = CliRunner().invoke(app, list(words), input=answer)
    assert result.exit_code == code, result.output
    return str(result.stdout)


def test_a_new_event_is_asked_for_in_its_parts(asked: Asked) -> None:
    words = ("event", "new", "school", "--title", "Party", "--when", "tomorrow 18:30", "--seats", "80")
    assert "“Party” on tomorrow goes to school." in printed(*words)
    assert asked == [("event", "school", {"title": "Party", "when": "tomorrow 18:30", "seats": "80"})]
    assert json.loads(printed(*words, "--json")) == {"announcement": "a", "begins_at": 1, "ends_at": None}


def test_what_is_to_come_and_who(asked: Asked, tmp_path: Path) -> None:
    assert json.loads(printed("event", "list", "school", "--json")) == [{"number": 12}]
    assert printed("event", "list", "school") == "one\ntwo\n"
    assert printed("event", "show", "school", "12", "--csv", "-") == "user,state\n"
    assert printed("event", "show", "school", "12", "--csv", str(tmp_path / "a.csv")) == ""
    assert (tmp_path / "a.csv").read_text() == "user,state\n"
    shown = json.loads(printed("event", "show", "school", "12", "--json"))
    assert shown["title"] == "Party"
    assert not {"csv", "said"} & set(shown)
    assert asked[-1] == ("event show", "school", {"announcement": "12"})


def test_several_things_are_changed_at_once_and_a_cancellation_is_asked_about(asked: Asked) -> None:
    assert printed("event", "change", "school", "12", "--place", "", "--when", "friday 8:00") == "one\ntwo\n"
    assert asked == [
        ("event change", "school", {"announcement": "12", "fields": {"when": "friday 8:00", "place": ""}}),
    ]  # fmt: skip
    printed("event", "change", "school", "12", code=1)
    printed("event", "cancel", "school", "12", answer="n\n", code=1)
    assert [one[0] for one in asked] == ["event change", "event show"]
    printed("event", "cancel", "school", "12", "--yes")
    printed("event", "cancel", "school", "12", answer="y\n")
    assert [one[0] for one in asked[2:]] == ["event cancel", "event show", "event cancel"]


def test_a_calendar_is_opened_after_a_word_and_its_address_shown(asked: Asked) -> None:
    printed("calendar", "on", "school", answer="n\n", code=1)
    assert [one[0] for one in asked] == ["calendar caution"]
    printed("calendar", "on", "school", "--yes")
    printed("calendar", "off", "school")
    assert [one[0] for one in asked[1:]] == ["calendar on", "calendar off"]
    assert "open, with 3 addresses" in printed("calendar", "show", "school")
    lines = printed("calendar", "address", "school", "@ann:x").splitlines()
    assert lines == ["webcal://x/calendar/s.ics", "https://x/calendar/s.ics"]
    found = json.loads(printed("calendar", "reset", "school", "@ann:x", "--json"))
    assert found == {name: value for name, value in ADDRESS.items() if name != "said"}
