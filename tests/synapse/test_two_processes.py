"""`run` twice by mistake: the second one ends at once, and the first goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.demo.operator import Operator
from tests.harness.people import SynapseFactory
from tests.harness.wait import eventually


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty database; None for the file that `init` writes into a config."""
    return str(request.getfixturevalue("postgres_url")) if request.param == "postgres" else None


async def test_a_second_run_is_refused_with_the_remedy(
    database: str | None, new_synapse: SynapseFactory, tmp_path: Path
) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    operator = Operator(folder, new_synapse(), database=database)
    await operator.set_up()
    await operator.start(ready=False)  # it holds the database while it waits for a homeserver, which is not there
    try:
        await eventually(lambda: "is not there yet" in operator.log.read_text(), 30, "the first to wait")
        ran = await operator.command("run", expect=[1], seconds=30)
        assert "another matrix-communities process uses this database" in ran.err
        assert "Remedy: let the running service do it, or stop that first" in ran.err
        assert "Traceback" not in ran.err
        assert operator.running
    finally:
        await operator.stop()
