"""The page about chat commands shows the table of commands as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.commands.grammar import About
from bridge.commands.reference import put_into
from bridge.commands.row import Row
from bridge.commands.table import TABLE
from bridge.core.access import NEEDED
from bridge.core.community import Role

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")


def test_the_page_shows_every_command() -> None:
    assert put_into(PAGE) == PAGE, "run `python -m bridge.commands.reference docs/commands.md`"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_who_may_is_asked_by_community(row: Row) -> None:
    assert row.about is not About.NONE or NEEDED[row.deed] is Role.MEMBER
