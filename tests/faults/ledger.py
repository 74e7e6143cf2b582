"""What the runs with random kills came to, in numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """The runs of one kind."""

    runs: int = 0
    killed_at_work: int = 0
    """How many of them were hit while there was still something to do."""
    failures: int = 0
    seconds: float = 0.0


class Ledger:
    """One row for each kind of run."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}

    @contextmanager
    def run(self, kind: str) -> Iterator[Row]:
        """Count a run; whoever runs it says whether the kill hit."""
        row = self.rows.setdefault(kind, Row())
        row.runs += 1
        began = time.monotonic()
        try:
            yield row
        except BaseException:
            row.failures += 1
            raise
        finally:
            row.seconds += time.monotonic() - began

    def lines(self) -> list[str]:
        """One line a kind."""
        return [
            f"{kind}: {row.runs} runs, {row.killed_at_work} killed at work, "
            f"{row.failures} failures, {row.seconds:.0f} s"
            for kind, row in self.rows.items()
        ]

    def rows_as_plain_data(self) -> dict[str, dict[str, Any]]:
        """The rows, for another process."""
        return {kind: asdict(row) for kind, row in self.rows.items()}

    def add(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the rows of another process."""
        for kind, more in rows.items():
            row = self.rows.setdefault(kind, Row())
            for name, figure in more.items():
                setattr(row, name, getattr(row, name) + figure)

    def write(self, place: Path) -> None:
        """Write the rows as JSON."""
        figures = {kind: {**row, "seconds": round(row["seconds"])} for kind, row in self.rows_as_plain_data().items()}
        place.write_text(json.dumps(figures, indent=2) + "\n")


LEDGER = Ledger()
