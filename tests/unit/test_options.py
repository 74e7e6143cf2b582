"""How a command speaks."""

from __future__ import annotations

import time

import pytest

from bridge.cli import options


def test_a_command_that_takes_its_time_says_so_within_a_good_second(capsys: pytest.CaptureFixture[str]) -> None:
    with options.working("looking at the rooms"):
        time.sleep(1.3)
    with options.working("a moment"):
        pass
    assert capsys.readouterr().err == "looking at the rooms …\n"
