"""The file, once, into a `Config`; or everything that is wrong with it, at once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from bridge.config import nesting, rules, templates
from bridge.config.nodes import Report, compose
from bridge.config.reading import READABLE_BY_OTHERS, Reading, build
from bridge.config.schema import SCHEMA, SecretKey, keys
from bridge.config.secret import Secret
from bridge.config.sections import Config
from bridge.core.errors import ConfigError

SQLITE = "sqlite:///"


def load(path: Path | str = "config.yaml", *, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file.

    Args:
        path: the file; its name is part of every fault.
        environ: where `…_env` keys look; the process's environment where None.

    Raises:
        ConfigError: the file is missing or unreadable, or with every fault in it: file, line, path and sentence.
    """
    path = Path(path)
    return _parse(_read(path), path, environ, warn_of=_readable_by_others(path))


def parse(text: str, path: Path, *, environ: Mapping[str, str] | None = None) -> Config:
    """As `load`, of a text that stands, or will stand, in the file `path`."""
    return _parse(text, path, environ, warn_of=None)


def _parse(text: str, path: Path, environ: Mapping[str, str] | None, *, warn_of: str | None) -> Config:
    report = Report(str(path))
    root = compose(text, report)
    if not report.faults:
        folder = path.absolute().parent
        root = templates.put_in(root, report)
        values = Reading(report, folder, os.environ if environ is None else environ).section(root, SCHEMA, "")
        places = nesting.flatten(values, report)
        rules.check(values, places, report)
        if warn_of is not None and _holds_secrets(report):
            report.warn("", warn_of)
    if report.faults:
        raise ConfigError(report.faults)
    return _finish(values, path, folder, tuple(report.warnings))


def _holds_secrets(report: Report) -> bool:
    """Whether a secret stands in the file itself."""
    return any(isinstance(key, SecretKey) and path in report.lines for path, key in keys())


def _finish(values: dict[str, Any], path: Path, folder: Path, warnings: tuple[str, ...]) -> Config:
    """The Config of faultless values: defaults that depend on other keys are filled in."""
    config: Config = build(SCHEMA, values, path=path, warnings=warnings)
    communities = tuple(
        dataclasses.replace(community, room_version=community.room_version or config.room_version)
        for community in config.communities
    )
    database = dataclasses.replace(config.database, url=_located(config.database.url, folder))
    return dataclasses.replace(config, communities=communities, database=database)


def _located(url: Secret, folder: Path) -> Secret:
    """The database's address, a relative SQLite file found from the configuration's folder."""
    value = url.reveal()
    if not value.startswith(SQLITE):
        return url
    file, mark, query = value.removeprefix(SQLITE).partition("?")
    return Secret(f"{SQLITE}{quote(str(folder / unquote(file)))}{mark}{query}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            ["the file does not exist"],
            where=str(path),
            remedy="write one with `matrix-communities init`, or name yours with `--config`",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(["the file is not UTF-8 text"], where=str(path), remedy="save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise ConfigError(
            [f"the file cannot be read ({reason})"], where=str(path), remedy="see that it is a file that you may read"
        ) from None


def _readable_by_others(path: Path) -> str | None:
    """The warning where everybody on the machine can read the file."""
    if path.stat().st_mode & READABLE_BY_OTHERS:
        return f"everybody on this machine can read this file and the secrets in it (chmod 600 {path})"
    return None
