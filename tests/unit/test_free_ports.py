"""Ports of tests and the demo: nobody is given one that another process was given and will listen on, now or later."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from bridge.cli.demo import homeserver
from bridge.cli.demo.homeserver import HomeserverError, free_port

_TAKES_ONE = "from bridge.cli.demo.homeserver import free_port; print(free_port(), flush=True); input()"


def test_nobody_is_given_the_port_of_another_process_until_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _TAKES_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        monkeypatch.setattr(homeserver, "_PORTS", range(port, port + 1))
        with pytest.raises(HomeserverError, match="no free port"):
            free_port()
        with socket.socket() as listens:  # whoever was given it can listen there, and again later
            listens.bind(("127.0.0.1", port))
        other.kill()
    assert free_port() == port


def test_no_port_is_given_twice_nor_one_on_which_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    first = free_port()
    monkeypatch.setattr(homeserver, "_PORTS", range(first, first + 1))
    with pytest.raises(HomeserverError):
        free_port()
    with socket.socket() as listens:
        listens.bind(("127.0.0.1", 0))
        listens.listen()
        there = listens.getsockname()[1]
        monkeypatch.setattr(homeserver, "_PORTS", range(there, there + 1))
        with pytest.raises(HomeserverError):
            free_port()
