"""Options that several commands share, and how a command speaks."""

from __future__ import annotations

import json
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="The configuration to read.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DEFAULT_CONFIG = Path("config.yaml")
QUIET_SECONDS = 1.0

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value as JSON for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str = "", style: str | None = None) -> None:
    """Print a line for people. Markup in the text is text, and what would steer the terminal is left out."""
    out.print(plain(text), style=style, markup=False)


def when(milliseconds: int | None) -> str:
    """A moment, in UTC."""
    if milliseconds is None:
        return "never"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plain(text: str) -> str:
    """A text of others, such as a room's name, without control characters (line breaks of our own stay)."""
    return "".join(sign if sign == "\n" or not unicodedata.category(sign).startswith("C") else "�" for sign in text)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something goes on of which nobody knows how long it takes; elsewhere than on a terminal say it once."""
    if not sys.stderr.isatty():
        said = threading.Timer(QUIET_SECONDS, lambda: err.print(f"{what} …", markup=False))
        said.daemon = True
        said.start()
        try:
            yield
        finally:
            said.cancel()
        return
    with err.status(what):
        yield


@contextmanager
def progress_bar(what: str) -> Iterator[Any]:
    """Progress on standard error: a bar on a terminal, plain lines elsewhere. Gives `told(done, total, text)`."""
    if not sys.stderr.isatty():
        yield lambda done, total, text: err.print(f"[{done}/{total}] {plain(text)}", markup=False)
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)

        def told(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=plain(text)[:60])

        yield told
