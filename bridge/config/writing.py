"""New configuration files from the commented template, and files that hold secrets."""

from __future__ import annotations

import io
import itertools
import os
import secrets
from importlib import resources
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

COMMUNITIES = "communities:\n"
PRIVATE = 0o600
SECRET_BYTES = 32


def template() -> str:
    """The complete example, comments and all."""
    return (resources.files("bridge.config") / "template.yaml").read_text(encoding="utf-8")


def new_config(homeserver_url: str, domain: str, database_url: str | None = None) -> str:
    """The text of a new configuration: the template with fresh secrets, its communities as a commented example."""
    settings, _, example = template().partition(COMMUNITIES)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    document = yaml.load(settings)
    document["homeserver"]["url"] = homeserver_url
    document["homeserver"]["domain"] = domain
    if database_url is not None:
        document["database"]["url"] = database_url
    for section, key in (
        ("registration", "as_token"),
        ("registration", "hs_token"),
        ("encryption", "identity_secret"),
        ("encryption", "pickle_key"),
        ("control", "secret"),
    ):
        document[section][key] = DoubleQuotedScalarString(secrets.token_urlsafe(SECRET_BYTES))
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue() + COMMUNITIES + _commented(example.replace("example.org", domain))


def _commented(text: str) -> str:
    """An example of which each line is a comment, to be taken in by removing the first sign of each line."""
    return "".join(f"#{line}" for line in text.splitlines(keepends=True))


def write_private(path: Path, content: str | bytes) -> None:
    """Write a file of mode 600 in one step: a reader sees the old file or the whole new one.

    Raises:
        OSError: the folder does not exist, or may not be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def keep_copy(path: Path) -> Path:
    """Copy a file to the first free name of `….bak`, `….bak2`, …, mode 600, and give that name."""
    for number in itertools.count(1):
        copy = path.with_name(f"{path.name}.bak{number if number > 1 else ''}")
        if not os.path.lexists(copy):
            write_private(copy, path.read_bytes())
            return copy
    raise AssertionError("unreachable")
