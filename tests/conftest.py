"""Fixtures for every folder of tests. What is expensive is started once, and only when a test asks for it."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bridge.cli.demo.homeserver import PrivateSynapse
from tests.faults.ledger import LEDGER
from tests.harness.people import People, SynapseFactory
from tests.harness.postgres import Postgres

# A slow machine is no failure.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")

# It tells every event that every client reads: what a failure is about would drown in it.
logging.getLogger("nio").setLevel(logging.WARNING)

LAST_LINES = 40
KILLS = "random kills"
"""Under this name a process of a run in several ones hands its figures over."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of the run ended (pytest-xdist): take its figures over."""
    LEDGER.add(getattr(node, "workeroutput", {}).get(KILLS, {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the own figures over, where this is one process of several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[KILLS] = LEDGER.rows_as_plain_data()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the random kills came to."""
    if LEDGER.rows:
        terminalreporter.section(KILLS)
        for line in LEDGER.lines():
            terminalreporter.write_line(line)
    if place := os.environ.get("SOAK_FIGURES"):
        LEDGER.write(Path(place))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the services concerned said last."""
    report = yield
    if report.failed:
        fixtures: dict[str, object] = getattr(item, "funcargs", {})
        folders = [fixtures.get("tmp_path"), getattr(getattr(fixtures.get("estate"), "operator", None), "folder", None)]
        for path in sorted(
            path for folder in folders if isinstance(folder, Path) for path in folder.rglob("service.log")
        ):
            with path.open(encoding="utf-8", errors="replace") as file:
                report.sections.append((str(path), "".join(deque(file, maxlen=LAST_LINES))))
    return report


@pytest.fixture(scope="session")
async def synapse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrivateSynapse]:
    """A running homeserver without application services, shared by the whole run."""
    async with PrivateSynapse(tmp_path_factory.mktemp("synapse")) as homeserver:
        yield homeserver


@pytest.fixture
async def new_synapse(tmp_path: Path) -> AsyncIterator[SynapseFactory]:
    """Make homeservers of the test's own, not started yet: for registrations, other settings, and faults.

    Takes the keyword arguments of :class:`PrivateSynapse`.
    """
    made: list[PrivateSynapse] = []

    def make(**options: object) -> PrivateSynapse:
        homeserver = PrivateSynapse(tmp_path / f"synapse-{len(made)}", **options)  # type: ignore[arg-type]
        made.append(homeserver)
        return homeserver

    yield make
    for homeserver in made:
        homeserver.resume()
        await homeserver.stop()


@pytest.fixture
async def people(synapse: PrivateSynapse) -> AsyncIterator[People]:
    """Make people on the shared homeserver."""
    crowd = People(synapse)
    yield crowd
    await crowd.close()


@pytest.fixture(params=["11", "12"])
def room_version(request: pytest.FixtureRequest) -> str:
    """The room versions that are supported."""
    return str(request.param)


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[Postgres]:
    """A running PostgreSQL server, shared by the whole run. A test that stops it starts it again."""
    server = Postgres()
    try:
        await server.start()
        yield server
    finally:
        await server.close()


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """The address of an empty database of the test's own."""
    url = await postgres.create_database()
    yield url
    await postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database of either kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'communities.db'}"
