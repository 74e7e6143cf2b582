"""YAML text to nodes that know their lines, and the report that collects what is wrong with them.

The file is composed and not constructed: the nodes still show duplicate keys, which a mapping would have lost, and no
part of the file is ever turned into anything but text until a reader asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_SHOWN = 60
_KEY = re.compile(r"[A-Za-z0-9_.@-]{0,40}")
_YAML_TAG = "tag:yaml.org,2002:"
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "empty",
    "timestamp": "a date",
}


@dataclass(slots=True)
class Report:
    """Faults and warnings, each with its place in the file; a path without a line takes that of what it stands in."""

    file: str
    lines: dict[str, int] = field(default_factory=dict)
    _faults: list[tuple[int, str]] = field(default_factory=list)
    _warnings: list[tuple[int, str]] = field(default_factory=list)

    def fault(self, path: str, sentence: str, *, line: int | None = None) -> None:
        """Note what is wrong at `path` (empty: the file as a whole)."""
        self._faults.append(self._entry(path, sentence, line))

    def warn(self, path: str, sentence: str) -> None:
        """Note what the operator should know about `path`."""
        self._warnings.append(self._entry(path, sentence, None))

    def line_of(self, path: str) -> int:
        """The line of a path, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = re.sub(r"(\[\d+\]|\.?[^.\[]*)\Z", "", path, count=1)
        return self.lines.get(path, 1)

    def _entry(self, path: str, sentence: str, line: int | None) -> tuple[int, str]:
        line = self.line_of(path) if line is None else line
        return line, f"{self.file}:{line}: {path}: {sentence}" if path else f"{self.file}:{line}: {sentence}"

    @property
    def faults(self) -> list[str]:
        """All faults in the order of the file."""
        return [text for _, text in sorted(self._faults, key=lambda fault: fault[0])]

    @property
    def warnings(self) -> list[str]:
        """All warnings in the order of the file."""
        return [text for _, text in sorted(self._warnings, key=lambda warning: warning[0])]


def compose(text: str, report: Report) -> Node | None:
    """The root node of a YAML text; None where it is empty or, with a fault in the report, not YAML."""
    try:
        # Without the comments, on some of which ruamel.yaml's round-trip parser gives up.
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        report.fault("", f"not valid YAML: {_problem(error)}", line=line)
    except YAMLError:
        report.fault("", "not valid YAML: it holds a character that YAML does not allow")
    except (RuntimeError, ValueError, AttributeError, LookupError, TypeError, AssertionError):
        # What the parser raises on hostile input. Its words may quote the file, and so a secret.
        report.fault("", "not valid YAML: it cannot be parsed")
    else:
        return node
    return None


def _problem(error: MarkedYAMLError) -> str:
    """The parser's sentence without what it quotes of the file, beyond a sign or a token's name."""
    return re.sub(r"'[^'<]{4,}'", "a name", str(error.problem or error.context or "it cannot be parsed"))


def line_of(node: Node) -> int:
    """The line on which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def kind_of(node: Node) -> str:
    """What a scalar is (`str`, `int`, `float`, `bool`, `null`, …), `map` or `seq`, or empty for a foreign tag."""
    if isinstance(node, MappingNode):
        return "map"
    if isinstance(node, SequenceNode):
        return "seq"
    tag = str(node.tag)
    return tag.removeprefix(_YAML_TAG) if tag.startswith(_YAML_TAG) else ""


def is_empty(node: Node) -> bool:
    """Whether a key stands there with nothing after it."""
    return kind_of(node) == "null"


def words_for(node: Node) -> str:
    """What a node is, in words for a sentence."""
    kind = kind_of(node)
    return {"map": "a section", "seq": "a list"}.get(kind) or _WORDS.get(kind, "of a type that is not known here")


def text_of(node: Node) -> str:
    """The text of a scalar as it stands in the file, quotes aside."""
    return str(node.value)


def shown(text: str) -> str:
    """A value of the file, fit for a sentence: quoted, escaped, and cut where it is long."""
    return repr(text) if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]!r}…"


def shown_key(text: str) -> str:
    """A key of the file, fit for a path: what follows a strange character (a forgotten space, a value) is cut."""
    match = _KEY.match(text)
    plain = match.group() if match else ""
    return plain if plain == text else f"{plain}…"


def items(node: Node) -> list[Node]:
    """The items of a list."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def pairs(node: Node | None, path: str, report: Report) -> dict[str, Node]:
    """The keys of a section with their nodes; an empty section has none. Notes lines, duplicates and odd keys."""
    found: dict[str, Node] = {}
    if node is None or is_empty(node):
        return found
    if not isinstance(node, MappingNode):
        report.fault(path, f"is {words_for(node)}, not a section with keys", line=None if path else line_of(node))
        return found
    first: dict[str, int] = {}
    for key, value in node.value:
        line = line_of(key)
        if not isinstance(key, ScalarNode):
            report.fault(path, f"a key must be text, not {words_for(key)}", line=line)
            continue
        name = text_of(key)
        place = join(path, shown_key(name))
        if name in found:
            report.fault(place, f"appears twice (first in line {first[name]})", line=line)
            continue
        first[name] = line
        report.lines.setdefault(place, line)
        found[name] = value
    return found


def join(path: str, name: str) -> str:
    """The path of a key within a section."""
    return f"{path}.{name}" if path else name
