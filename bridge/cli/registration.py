"""`matrix-communities registration`: the file by which the homeserver knows the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bridge.config import load
from bridge.config.registration import registration_text
from bridge.config.writing import write_private
from bridge.core.errors import Refused

STANDARD_OUTPUT = "-"


def registration(
    config: Annotated[Path, typer.Option(metavar="FILE", help="The configuration to read.")] = Path("config.yaml"),
    output: Annotated[
        str, typer.Option(metavar="FILE", help="The file to write; - means standard output.")
    ] = "registration.yaml",
    force: Annotated[bool, typer.Option("--force", help="Replace a different file that exists.")] = False,
) -> None:
    """Write the registration for the homeserver, and say what to add to the homeserver's configuration."""
    text = registration_text(load(config))
    if output == STANDARD_OUTPUT:
        typer.echo(text, nl=False)
        _tell("/path/to/the/registration.yaml")
        return
    path = Path(output)
    try:
        before = path.read_bytes() if path.exists() else None
        if before == text.encode():
            typer.echo(f"{path} is as it should be.", err=True)
        else:
            _write(path, text, different=before is not None, force=force)
    except OSError as error:
        raise Refused(
            f"the file cannot be read or written ({error.strerror})",
            where=output,
            remedy="see that its folder exists and that both are yours, or name another file with --output",
        ) from error
    _tell(str(path.resolve()))


def _write(path: Path, text: str, *, different: bool, force: bool) -> None:
    if different and not force:
        raise Refused(
            "the file exists already, and says something else",
            where=str(path),
            remedy="look at it, then replace it with --force, or name another file with --output",
        )
    write_private(path, text)
    typer.echo(f"Wrote {path}; only you can read it, and it holds secrets.", err=True)


def _tell(path: str) -> None:
    """What is to be done at the homeserver; on standard error, where it is in nobody's way."""
    typer.echo(
        "Add this to the homeserver's homeserver.yaml, and restart the homeserver (Synapse):\n"
        "\n"
        "app_service_config_files:\n"
        f"  - {json.dumps(path, ensure_ascii=False)}\n"
        "\n"
        "The homeserver's own user must be able to read the file: give it a copy or the ownership, for instance\n"
        f"  sudo chown matrix-synapse {path}",
        err=True,
    )
