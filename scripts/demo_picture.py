"""The picture of the demo in README.md, docs/images/demo.svg, from a run of it.

    .venv/bin/python -m scripts.demo_picture

It runs `matrix-communities demo`, and draws what a terminal shows of it.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from bridge.cli.demo.command import Shown, row_of, summary_of

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"
COLUMNS = 118


def main() -> None:
    """Run the demo, and draw it. Ends with an error where the demo fails: then there is nothing to show."""
    begin = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "bridge", "demo", "--json", "-"], check=True, stdout=subprocess.PIPE, text=True
    )
    steps = [Shown(**step) for step in json.loads(ran.stdout)["steps"]]
    text, style = summary_of(steps, time.monotonic() - begin)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print("$ make demo", style="bold")
    for step in steps:
        console.print(row_of(step))
    console.print()
    console.print(text, style=style)
    console.save_svg(str(PICTURE), title="matrix-communities demo", unique_id="demo")
    sys.stdout.write(f"{PICTURE.name}: {PICTURE.stat().st_size // 1024} kB\n")


if __name__ == "__main__":
    main()
