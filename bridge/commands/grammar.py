"""What people write to the announcer, as typed commands. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Help:
    """`help`"""


@dataclass(frozen=True, slots=True)
class Status:
    """`status`"""


@dataclass(frozen=True, slots=True)
class Announce:
    """`announce <community> <text>`; the text keeps its lines."""

    community: str
    text: str


@dataclass(frozen=True, slots=True)
class ApplyHeld:
    """`apply <community> <digest>`"""

    community: str
    digest: str


@dataclass(frozen=True, slots=True)
class Thaw:
    """`thaw <community>`"""

    community: str


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Anything else, said to the announcer."""

    text: str


Command = Help | Status | Announce | ApplyHeld | Thaw | NotUnderstood

_HELP_WORDS = frozenset({"help", "hello", "hi", "start", "?"})


def parse(text: str, *, to_everybody: bool) -> Command | None:
    """The command that a message is; None for talk that is not meant for the announcer.

    Args:
        to_everybody: in a control room people talk to each other, so only what begins with `!` is a command there; in
            a direct chat everything is.
    """
    if to_everybody and not text.lstrip().startswith("!"):
        return None
    said = text.strip()
    first, _, rest = _split(said.removeprefix("!").lstrip() or said)
    word = first.rstrip(":")
    if word in _HELP_WORDS:
        return Help()
    if word == "status":
        return Status()
    if word == "announce":
        community, _, body = _split(rest)
        return Announce(community, body)
    if word == "apply":
        community, _, digest = _split(rest)
        return ApplyHeld(community, digest.strip().lower())
    if word == "thaw":
        return Thaw(_split(rest)[0])
    return NotUnderstood(text)


def _split(rest: str) -> tuple[str, str, str]:
    """The first word in lower case, the white space after it, and everything behind."""
    found = re.match(r"(\S+)(\s*)", rest)
    if found is None:
        return "", "", ""
    return found.group(1).lower(), found.group(2), rest[found.end() :]
