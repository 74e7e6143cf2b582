"""The command line: every command once. An error says what, where and the remedy, and never shows a traceback."""

from __future__ import annotations

import logging
import os
import sys

import typer

from bridge import __version__
from bridge.cli.announce import announce
from bridge.cli.announcement import app as announcement
from bridge.cli.calendar import app as calendar
from bridge.cli.check import check
from bridge.cli.community import app as community
from bridge.cli.demo.command import demo
from bridge.cli.event import app as event
from bridge.cli.group import app as group
from bridge.cli.init import init
from bridge.cli.link import app as link
from bridge.cli.members import members, tag, tags, untag, who
from bridge.cli.parked import parked
from bridge.cli.people import (
    approve,
    ban,
    demote,
    invite,
    moderator,
    promote,
    reject,
    remove,
    requests,
    transfer,
    unban,
)
from bridge.cli.person import app as person
from bridge.cli.plan import apply, plan
from bridge.cli.poll import app as poll
from bridge.cli.registration import registration
from bridge.cli.rekey import rekey
from bridge.cli.rotate_device import rotate_device
from bridge.cli.run import run
from bridge.cli.status import status
from bridge.cli.subcommunity import app as subcommunity
from bridge.cli.verify import verify
from bridge.core.errors import CommunitiesError

ERROR = 1

app = typer.Typer(
    name="matrix-communities",
    help="Communities of encrypted Matrix rooms, declared in a file and held there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    init,
    registration,
    check,
    plan,
    apply,
    run,
    status,
    announce,
    members,
    who,
    tag,
    untag,
    tags,
    invite,
    remove,
    ban,
    unban,
    promote,
    demote,
    moderator,
    transfer,
    requests,
    approve,
    reject,
    parked,
    verify,
    rotate_device,
    rekey,
    demo,
):
    app.command()(command)
app.add_typer(link, name="link")
app.add_typer(group, name="group")
app.add_typer(community, name="community")
app.add_typer(person, name="person")
app.add_typer(subcommunity, name="subcommunity")
app.add_typer(announcement, name="announcement")
app.add_typer(event, name="event")
app.add_typer(calendar, name="calendar")
app.add_typer(poll, name="poll")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"matrix-communities {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Communities of encrypted Matrix rooms, declared in a file and held there."""


def _explain_usage(error: typer.TyperException) -> None:
    """Say how a command was called wrongly, or show the help where no command was given."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is not None and message == context.get_help():
        typer.echo(message)
        return
    help_of = "matrix-communities" if context is None else context.command_path
    typer.echo(f"Error: {message}\n  Remedy: see `{help_of} --help`", err=True)


def main() -> None:
    """Run the command line, and turn every error into a sentence and an exit code."""
    try:
        result = app(standalone_mode=False)
    except CommunitiesError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(ERROR)
    except typer.TyperException as error:
        _explain_usage(error)
        sys.exit(ERROR)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("Stopped.", err=True)
        sys.exit(ERROR)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - so that the interpreter's end is quiet
        sys.exit(ERROR)
    except Exception as error:
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        if os.environ.get("MATRIX_COMMUNITIES_TRACEBACK"):
            raise
        typer.echo(
            f"Error: something went wrong that should not ({type(error).__name__}: {error})\n"
            "  Remedy: run it again with MATRIX_COMMUNITIES_TRACEBACK=1, and report what it prints",
            err=True,
        )
        sys.exit(ERROR)
    sys.exit(result if isinstance(result, int) else 0)
