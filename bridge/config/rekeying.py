"""The pickle key in the file, changed in two steps, as text: every other sign of the file stays as it is.

The next key is written beside the present one first, and takes its place only when the database is under it. So at
every moment the file holds the key that the database is under.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node

from bridge.config import nodes
from bridge.config.nodes import Report
from bridge.config.reading import ENV, FILE
from bridge.core.errors import ConfigError

SECTION = "encryption"
PRESENT = "pickle_key"
NEXT = "next_pickle_key"
FORMS = ("", FILE, ENV)


@dataclass(frozen=True, slots=True)
class _Line:
    """One key of the section, on a line of its own."""

    number: int
    indent: str
    name: str
    rest: str
    """Everything behind the colon: space, value and comment."""
    value_end: int
    """Where the comment, or nothing, begins in `rest`."""


def with_next(text: str, path: Path, key: str) -> str:
    """The file with another key written below the present one.

    Raises:
        ConfigError: the section is not written one key a line.
    """
    lines, found = _read(text, path)
    present = found[PRESENT]
    lines.insert(present.number + 1, f'{present.indent}{NEXT}: "{key}"\n')
    return "".join(lines)


def with_next_in_place(text: str, path: Path) -> str:
    """The file with the next key in the place of the present one; the comment beside that stays.

    Raises:
        ConfigError: the section is not written one key a line.
    """
    lines, found = _read(text, path)
    present, following = found[PRESENT], found[NEXT]
    name = following.name.replace(NEXT, PRESENT, 1)
    value, comment = following.rest[: following.value_end], present.rest[present.value_end :]
    lines[present.number] = f"{present.indent}{name}:{value}{comment}"
    del lines[following.number]
    return "".join(lines)


def must_be_changeable(text: str, path: Path) -> None:
    """See that the file can be changed.

    Raises:
        ConfigError: the section is not written one key a line.
    """
    _read(text, path)


def _read(text: str, path: Path) -> tuple[list[str], Mapping[str, _Line]]:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    section = _section(nodes.compose(text, Report(str(path))))
    found: dict[str, _Line] = {}
    if isinstance(section, MappingNode) and not section.flow_style:
        for key, value in section.value:
            for kind in (PRESENT, NEXT):
                if key.value in {kind + form for form in FORMS} and _is_on_one_line(key, value):
                    number = int(key.start_mark.line)
                    behind = lines[number][int(key.end_mark.column) :]
                    rest = behind[behind.index(":") + 1 :]
                    end = int(value.end_mark.column) - (len(lines[number]) - len(rest))
                    indent = lines[number][: int(key.start_mark.column)]
                    found[kind] = _Line(number, indent, str(key.value), rest, end)
    if PRESENT not in found:
        raise ConfigError(
            [f"`{SECTION}.{PRESENT}` does not stand on a line of its own, so it cannot be changed by itself"],
            where=str(path),
            remedy=f"write the section `{SECTION}` with one key a line",
        )
    return lines, found


def _section(root: Node | None) -> Node | None:
    if not isinstance(root, MappingNode):
        return None
    return next((value for key, value in root.value if key.value == SECTION), None)


def _is_on_one_line(key: Node, value: Node) -> bool:
    return bool(key.start_mark.line == value.start_mark.line == value.end_mark.line)
