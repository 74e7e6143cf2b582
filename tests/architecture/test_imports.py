"""Who may import whom, held as a test; and no drawers."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "bridge").rglob("*.py"))
DRAWERS = {"util", "utils", "helper", "helpers", "misc", "common", "tools", "stuff", "shared", "lib", "base"}
CONTRACTS = {"layers", "features", "ports", "doors", "pure", "olm", "config", "migrations", "acyclic"}


def test_the_import_contracts_are_kept() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ran = subprocess.run(
        [sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout


def test_no_contract_was_dropped() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    assert {name.rpartition(":")[2] for name in config.sections() if ":contract:" in name} >= CONTRACTS
    assert config["importlinter:contract:layers"]["exhaustive"] == "true"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_a_drawer_and_each_says_what_it_is_for(path: Path) -> None:
    assert not DRAWERS & set(path.relative_to(ROOT).with_suffix("").parts)
    text = path.read_text()
    assert text == "" or text.startswith('"""'), "it does not say what it is for"
    # the demo's packages are an extra, and may be missing
    hidden = "TYPE_CHECKING" in text and "demo" not in path.parts
    assert not hidden, "a circle hidden behind typing is one all the same"


def test_mautrix_is_where_it_is_right() -> None:
    """Its database and its types are used; its encryption, its intake and its power levels are not."""
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(line.startswith(("import mautrix", "from mautrix")) for line in path.read_text().splitlines())
    }
    assert users <= {"bridge/store/database.py"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_are_for_tests(path: Path) -> None:
    assert not any(
        line.startswith(("import tests", "from tests", "import pytest")) for line in path.read_text().splitlines()
    )
