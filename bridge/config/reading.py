"""Nodes against the table of keys: values out, everything that is wrong into the report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml.nodes import Node

from bridge.config import nodes, readers
from bridge.config.nodes import Report, join
from bridge.config.schema import Again, Entry, Key, Named, SecretKey, Section, Users
from bridge.config.secret import Secret
from bridge.core.ids import UserId, parse_stable_id, parse_user_id
from bridge.core.subcommunities import DEEPEST

FILE = "_file"
ENV = "_env"
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,39}\Z")
MAX_SECRET_BYTES = 10_000
READABLE_BY_OTHERS = 0o004


class People(dict[UserId, str]):
    """The user ids of a list, in its order, each with its path."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One pass over the file. A value that is at fault is absent from what it gives; a default is filled in."""

    report: Report
    folder: Path
    """Where relative paths in the file start."""
    environ: Mapping[str, str]

    def section(self, node: Node | None, section: Section, path: str) -> dict[str, Any]:
        """The values of a section's keys."""
        found = nodes.pairs(node, path, self.report)
        defaults = section.defaults
        values: dict[str, Any] = {}
        known: set[str] = set()
        for name, entry in section.keys.items():
            place = join(path, name)
            given = {form: found[form] for form in _forms(name, entry) if form in found}
            known.update(_forms(name, entry))
            if isinstance(entry, Section):
                values[name] = self.section(found.get(name), entry, place)
            elif isinstance(entry, Named):
                values[name] = self.named(found.get(name), entry, place)
            elif isinstance(entry, Again):
                values[name] = self._again(found.get(name), entry, place)
            elif not given and isinstance(entry, Key) and entry.put_in:
                continue
            elif not given:
                self._absent(name, entry, defaults, values, path)
            else:
                self._given(given, entry, path, name, values)
        for name in found:
            if name not in known:
                hint = readers.did_you_mean(name, sorted(known))
                self.report.fault(join(path, nodes.shown_key(name)), f"is not a known key{hint}")
        return values

    def named(self, node: Node | None, named: Named, path: str) -> dict[str, dict[str, Any]]:
        """The sections below stable ids, in the file's order."""
        values: dict[str, dict[str, Any]] = {}
        for name, inner in nodes.pairs(node, path, self.report).items():
            place = join(path, nodes.shown_key(name))
            try:
                parse_stable_id(name)
            except ValueError as error:
                self.report.fault(place, str(error))
            if name in named.reserved:
                self.report.fault(place, named.reserved[name])
            values[name] = self.section(inner, named.section, place)
        return values

    def _again(self, node: Node | None, again: Again, path: str) -> dict[str, dict[str, Any]]:
        if path.count(".subcommunities") < DEEPEST:
            return self.named(node, again.named, path)
        if node is not None and not nodes.is_empty(node):
            self.report.fault(path, f"is too deep: at most {DEEPEST} communities stand in each other")
        return {}

    def users(self, node: Node, entry: Users, path: str) -> People:
        """A list of user ids, without those that are at fault."""
        people = People()
        if nodes.kind_of(node) != "seq":
            empty = "; leave the key out, or write [] for nobody" if nodes.is_empty(node) else ""
            self.report.fault(path, f"is {nodes.words_for(node)}, not a list of user ids{empty}")
            return people
        if entry.refuse_empty and not nodes.items(node):
            self.report.fault(path, f"is an empty list: {entry.refuse_empty}")
        for index, item in enumerate(nodes.items(node)):
            place = f"{path}[{index}]"
            self.report.lines[place] = nodes.line_of(item)
            try:
                user = parse_user_id(readers.text(item))
            except ValueError as error:
                self.report.fault(place, str(error))
                continue
            if user in people:
                self.report.fault(place, f"{user} is listed twice (first in line {self.report.line_of(people[user])})")
            people.setdefault(user, place)
        return people

    def _absent(self, name: str, entry: Entry, defaults: Mapping[str, Any], values: dict[str, Any], path: str) -> None:
        if name in defaults:
            values[name] = defaults[name]
        else:
            instead = f" ({name}{FILE} or {name}{ENV} would do as well)" if isinstance(entry, SecretKey) else ""
            self.report.fault(join(path, name), f"is missing{instead}")

    def _given(
        self, given: dict[str, Node], entry: Key | SecretKey | Users, path: str, name: str, values: dict[str, Any]
    ) -> None:
        if isinstance(entry, Users):
            values[name] = self.users(given[name], entry, join(path, name))
        elif isinstance(entry, SecretKey):
            self._secret(given, entry, path, name, values)
        else:
            try:
                values[name] = entry.read(given[name])
            except ValueError as error:
                self.report.fault(join(path, name), str(error))

    def _secret(self, given: dict[str, Node], entry: SecretKey, path: str, name: str, values: dict[str, Any]) -> None:
        form, *others = given
        if others:
            forms = " and ".join(given)
            self.report.fault(join(path, others[0]), f"{forms} are given at once; keep one of them")
            return
        place = join(path, form)
        try:
            value = self._secret_text(readers.text(given[form]), form.removeprefix(name), place)
            values[name] = Secret(entry.read(value))
        except ValueError as error:
            self.report.fault(place, str(error))

    def _secret_text(self, text: str, source: str, place: str) -> str:
        """The secret itself: as it stands, or from where the text points to. Refusals name the place alone."""
        if source == ENV:
            if not (value := self.environ.get(text, "")):
                # What is not named like a variable may be the secret itself, put in the wrong place.
                name = f" {text}" if VARIABLE.match(text) else " of that name"
                raise ValueError(f"the environment has no variable{name}, or it is empty")
            return value
        return self._secret_file(text, place) if source == FILE else text

    def _secret_file(self, text: str, place: str) -> str:
        path = self.folder / text
        try:
            mode = path.stat().st_mode
            with path.open(encoding="utf-8") as file:
                value = file.read(MAX_SECRET_BYTES).strip()
        except UnicodeDecodeError:
            raise ValueError("the file is not text") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ValueError(f"the file cannot be read ({reason or 'not a path'})") from None
        if mode & READABLE_BY_OTHERS:
            self.report.warn(place, f"everybody on this machine can read the file (chmod 600 {nodes.shown(str(path))})")
        return value


def _forms(name: str, entry: Entry) -> tuple[str, ...]:
    """The keys under which a value may be given."""
    return (name, name + FILE, name + ENV) if isinstance(entry, SecretKey) else (name,)


def build(section: Section, values: Mapping[str, Any], **more: Any) -> Any:
    """The object that a section makes of values without fault."""
    ready: dict[str, Any] = dict(more)
    for name, value in values.items():
        entry = section.keys.get(name)
        if isinstance(entry, Section):
            ready[name] = build(entry, value)
        elif isinstance(entry, Named):
            ready[name] = tuple(build(entry.section, inner, **{entry.id_field: key}) for key, inner in value.items())
        else:
            ready[name] = frozenset(value) if isinstance(value, People) else value
    return section.make(**ready)
