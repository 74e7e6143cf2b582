"""`matrix-communities init`: a commented configuration with fresh secrets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from bridge.config import parse
from bridge.config.readers import database_url, parse_http_url, parse_server_name
from bridge.config.writing import keep_copy, new_config, write_private
from bridge.core.errors import Refused

EXAMPLE = "matrix-communities init --homeserver http://127.0.0.1:8008 --domain example.org"


def init(
    homeserver: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the homeserver's client API answers.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="D", help="The server name: what stands after the colon in user ids.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="PostgreSQL or SQLite; without it, SQLite beside the config.")
    ] = None,
    config: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")] = Path("config.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists; a copy of it is kept.")] = False,
) -> None:
    """Write a commented configuration with fresh secrets, which only you can read."""
    exists = os.path.lexists(config)
    if exists and not force:
        raise Refused(
            "the file exists already", where=str(config), remedy="edit it, or replace it with --force (a copy is kept)"
        )
    url = _given_or_asked(
        homeserver, "--homeserver", "Address of the homeserver", parse_http_url, "http://127.0.0.1:8008"
    )
    name = _given_or_asked(domain, "--domain", "Server name of the homeserver", parse_server_name, _guess_domain(url))
    text = new_config(url, name, None if database is None else _checked(database, "--database", database_url))
    parse(text, config)
    try:
        copy = keep_copy(config) if exists else None
        write_private(config, text)
    except OSError as error:
        raise Refused(
            f"the file cannot be written ({error.strerror})",
            where=str(config),
            remedy="see that its folder exists and is yours, or name another file with --config",
        ) from error
    _tell(config, copy)


def _given_or_asked(
    given: str | None, option: str, question: str, reader: Callable[[str], str], default: str | None
) -> str:
    """The option's value, or the answer of whoever sits at the terminal; checked either way."""
    if given is not None:
        return _checked(given, option, reader)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Refused("is needed where nobody can be asked", where=option, remedy=f"for instance: {EXAMPLE}")
    answer: str = typer.prompt(question, default=default, value_proc=_answer_reader(reader))
    return answer


def _answer_reader(reader: Callable[[str], str]) -> Callable[[str], str]:
    """A reader of answers: what it refuses is asked again."""

    def read(answer: str) -> str:
        try:
            return reader(answer.strip())
        except ValueError as error:
            raise typer.BadParameter(f"that {error}") from error

    return read


def _checked(value: str, option: str, reader: Callable[[str], str]) -> str:
    try:
        return reader(value)
    except ValueError as error:
        raise Refused(str(error), where=option, remedy=f"for instance: {EXAMPLE}") from error


def _guess_domain(homeserver_url: str) -> str | None:
    """What the server name may well be, from the homeserver's address; None for an address of numbers."""
    host = urlsplit(homeserver_url).hostname or ""
    if not any(character.isalpha() for character in host) or ":" in host:
        return None
    return host.removeprefix("matrix.")


def _tell(config: Path, copy: Path | None) -> None:
    typer.echo(f"Wrote {config}, with fresh secrets; only you can read it.")
    if copy is not None:
        typer.echo(
            f"What stood there is kept as {copy}. A database that you go on using needs the `encryption` section of "
            "that file, and the homeserver its `registration` section."
        )
    option = "" if str(config) == "config.yaml" else f" --config {config}"
    typer.echo(
        "Next:\n"
        f"  1. declare your communities at the end of {config}\n"
        f"  2. matrix-communities registration{option}\n"
        f"  3. matrix-communities check{option}"
    )
