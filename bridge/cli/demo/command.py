"""`matrix-communities demo`: the main job, on a homeserver of its own, shown as it goes."""

from __future__ import annotations

import asyncio
import importlib.util
import json as jsonlib
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from bridge.cli.options import out, plain, say
from bridge.core.errors import Refused

if TYPE_CHECKING:
    from bridge.cli.demo.scene import Scene

STEP_SECONDS = 120.0
NAME_WIDTH = 36
NEEDED = ("synapse", "nio")


@dataclass(frozen=True, slots=True)
class Shown:
    """One step, and what was seen."""

    name: str
    ok: bool
    seconds: float
    evidence: str


def demo(
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave it running, and print how Element can look at it.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the steps as JSON; - means standard output.")
    ] = None,
) -> int:
    """Show the main job on a private homeserver, with members whose clients encrypt."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Refused(
            f"the demo needs {' and '.join(missing)}",
            where="demo",
            remedy="run `make demo` in a checkout, or install its extra there: pip install -e '.[demo]'",
        )
    _must_be_writable(json)
    steps = asyncio.run(_demo(stay, quiet=str(json) == "-"))
    good = all(step.ok for step in steps)
    _write(json, {"ok": good, "steps": [asdict(step) for step in steps]})
    return 0 if good else 1


def _must_be_writable(file: Path | None) -> None:
    if file is None or str(file) == "-":
        return
    try:
        file.open("a", encoding="utf-8").close()
    except OSError as error:
        raise Refused(
            f"cannot be written ({error.strerror})", where=str(file), remedy="name another file with --json"
        ) from error


def _write(file: Path | None, result: dict[str, Any]) -> None:
    if file is None:
        return
    text = jsonlib.dumps(result, indent=2, ensure_ascii=False)
    if str(file) == "-":
        typer.echo(text)
    else:
        file.write_text(text + "\n", encoding="utf-8")


async def _demo(stay: bool, *, quiet: bool) -> Sequence[Shown]:
    from bridge.cli.demo.scene import Scene

    scene = Scene.in_folder(Path(tempfile.mkdtemp(prefix="matrix-communities-demo-")))
    begin = time.monotonic()
    try:
        steps = await _play(scene, quiet=quiet)
        if not quiet:
            _sum_up(steps, time.monotonic() - begin)
        if stay and all(step.ok for step in steps):
            await _stay(scene)
        elif not all(step.ok for step in steps) and not quiet:
            say(f"\nThe service's last words:\n{scene.operator.log_tail()}", "dim")
        return steps
    finally:
        await scene.strike()


async def _play(scene: Scene, *, quiet: bool) -> list[Shown]:
    from bridge.cli.demo.story import STORY

    steps: list[Shown] = []
    live = sys.stdout.isatty() and not quiet
    for name, step in STORY:
        with out.status(name) if live else nullcontext():
            steps.append(await _one(scene, name, step))
        if live:
            out.print(row_of(steps[-1]))
        elif not quiet:
            say(_line(steps[-1]))
        if not steps[-1].ok:
            break
    return steps


async def _one(scene: Scene, name: str, step: Any) -> Shown:
    begin = time.monotonic()
    try:
        async with asyncio.timeout(STEP_SECONDS):
            evidence, good = await step(scene), True
    except TimeoutError:
        evidence, good = f"not within {STEP_SECONDS:.0f} s", False
    except Exception as error:  # noqa: BLE001 - whatever goes wrong is what this step shows
        evidence, good = f"{type(error).__name__}: {error}", False
    return Shown(name, good, round(time.monotonic() - begin, 2), evidence)


def _line(step: Shown) -> str:
    return f"{'✓' if step.ok else '✗'} {step.name:<{NAME_WIDTH}} {step.seconds:6.2f} s  {step.evidence}"


def row_of(step: Shown) -> Table:
    """One line of the running table; the evidence folds within its own column."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=1)
    row.add_column(width=NAME_WIDTH)
    row.add_column(width=8, justify="right")
    row.add_column(overflow="fold")
    mark = Text("✓", "green") if step.ok else Text("✗", "bold red")
    row.add_row(mark, Text(step.name), Text(f"{step.seconds:.2f} s"), Text(plain(step.evidence)))
    return row


def _sum_up(steps: Sequence[Shown], seconds: float) -> None:
    text, style = summary_of(steps, seconds)
    say()
    say(text, style)


def summary_of(steps: Sequence[Shown], seconds: float) -> tuple[str, str]:
    """The last line, and its style."""
    failed = [step.name for step in steps if not step.ok]
    if failed:
        return f"Failed after {seconds:.0f} s: {', '.join(failed)}", "bold red"
    return f"All {len(steps)} steps shown in {seconds:.0f} s.", "bold green"


async def _stay(scene: Scene) -> None:
    """Leave everything running until Ctrl+C."""
    await scene.leave()
    say()
    say(f"Homeserver for Element:  {scene.synapse.url}")
    for name, account in scene.accounts.items():
        say(f"  {account.user_id:<32} password {name}-password")
    say(f"Config and log of the service: {scene.operator.folder}")
    say("It runs until you press Ctrl+C.")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
