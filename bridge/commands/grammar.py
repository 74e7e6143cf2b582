"""What people write to the announcer, as typed commands; and what is wrong with it, where it is none. Pure.

It knows no command: each is a `Command` of the table. Reading one takes two steps, since who may do it decides which
communities its words can mean: `recognise` finds the command, `read` the rest. `render` is the way back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeVar

from bridge.commands.arguments import LONGEST_WORD, Argument, Setting, Unfit, Words, nearest
from bridge.core.ids import CommunityId, parse_stable_id
from bridge.core.languages import EN, Language
from bridge.core.messages import Pill

T = TypeVar("T")


class About(StrEnum):
    """How a command is about communities."""

    NONE = "none"
    """About none: `help`."""
    ONE = "one"
    """About one, which may go without saying: where the person can mean only one, or in its control room."""
    ANY = "any"
    """About one if it is named, else about all in which the person may do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command, as people write it."""

    name: str
    """One or two words."""
    names: Mapping[Language, str] = field(default_factory=dict)
    """The same in other languages."""
    aliases: tuple[str, ...] = ()
    about: About = About.ONE
    """The community stands before all arguments."""
    arguments: tuple[Argument[Any], ...] = ()
    """In their order. Options and flags go anywhere; with a text among the arguments they need two dashes."""

    def called(self, language: Language = EN) -> str:
        return self.names.get(language, self.name)

    @property
    def all_names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name.casefold() for name in (self.name, *self.names.values(), *self.aliases)))

    @property
    def begins_with_text(self) -> bool:
        """Whether a text that must not lose its first word stands, or may stand, right behind the community."""
        positional = next((one for one in self.arguments if one.is_positional and not one.optional), None)
        return positional is not None and positional.is_text

    def form(self, language: Language = EN, community: str = "community", *, named: bool = True) -> str:
        """How it is written: `announce [community] <text>`.

        Args:
            named: whether the place for the community is shown.
        """
        place = [f"[{community}]"] if named and self.about is not About.NONE else []
        dashes = "--" if any(one.is_text for one in self.arguments) else ""
        return " ".join([self.called(language), *place, *(one.form(language, dashes) for one in self.arguments)])


@dataclass(frozen=True, slots=True)
class Asked:
    """A command as it was understood."""

    command: Command
    community: CommunityId | None = None
    values: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __getitem__(self, argument: Argument[T]) -> T:
        """The value of an argument that has to be there."""
        return self.all(argument)[0]

    def get(self, argument: Argument[T]) -> T | None:
        """The value of an argument, None where it was left away."""
        found = self.all(argument)
        return found[0] if found else None

    def all(self, argument: Argument[T]) -> tuple[T, ...]:
        """Every value of an argument that may stand there several times."""
        return self.values.get(argument.name, ())

    def having(self, argument: Argument[T], *values: T) -> Asked:
        """The same command with other values of an argument."""
        return replace(self, values={**self.values, argument.name: values})


class Trouble(StrEnum):
    """What can be wrong with a command."""

    MISSING = "missing"
    """An argument is not there."""
    WRONG = "wrong"
    """A word is not what the argument takes."""
    TOO_MUCH = "too much"
    """There are words behind the command that mean nothing there."""
    NOBODY = "nobody"
    """The person may not do that, in any community."""
    WHICH = "which"
    """It is not said which community is meant, and there are several."""
    NOT_THERE = "not there"
    """There is no such community in which the person may do that."""
    UNCLEAR = "unclear"
    """The first word can be the community or the beginning of the text."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a command was not understood, and what would be."""

    trouble: Trouble
    command: Command
    argument: Argument[Any] | None = None
    given: str = ""
    choices: tuple[str, ...] = ()
    nearest: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A command, and what is still to be read."""

    command: Command
    words: Words


@dataclass(frozen=True, slots=True)
class Unknown:
    """No command begins like that; perhaps `nearest` was meant."""

    given: str
    nearest: tuple[Command, ...] = ()


def heard(text: str, *, to_everybody: bool) -> str | None:
    """What a message says to the announcer; None for talk that is not meant for it.

    Args:
        to_everybody: in a control room people talk to each other, so only what begins with `!` is a command there; in
            a direct chat everything is.
    """
    if to_everybody and not text.lstrip().startswith("!"):
        return None
    said = text.strip()
    return said.removeprefix("!").lstrip() or said


def recognise(said: str, commands: Sequence[Command], pills: tuple[Pill, ...] = ()) -> Found | Unknown:
    """The command that a message begins with."""
    start = Words(said, pills)
    first, behind = start.word()
    second, behind_both = behind.word()
    one, two = _name(first), f"{first.casefold()} {_name(second)}"
    for name, after in ((two, behind_both), (one, behind)):
        for command in commands:
            if name in command.all_names:
                return Found(command, after)
    return Unknown(first[:LONGEST_WORD], _meant(first, second, commands))


def _name(word: str) -> str:
    return word.casefold().rstrip(":.,!?") or word


def _meant(first: str, second: str, commands: Sequence[Command]) -> tuple[Command, ...]:
    """What was probably meant: of commands that begin with that word, one that is like it, or all."""
    names = {name: command for command in commands for name in command.all_names}
    one, two = _name(first), f"{first.casefold()} {_name(second)}"
    family = {name: command for name, command in names.items() if name.startswith(f"{one} ")}
    if second and (close := nearest(two, tuple(family))):
        return (family[close],)
    if family:
        return tuple({command.name: command for command in family.values()}.values())
    close = nearest(one, tuple(names))
    return () if close is None else (names[close],)


def read(found: Found, setting: Setting) -> Asked | Fault:
    """What stands behind the command's name, as its arguments."""
    command = found.command
    place = _community(command, found.words, setting)
    if isinstance(place, Fault):
        return place
    community, words, named = place
    reading = _Reading(command, replace(setting, community=community))
    fault = reading.all_of(words)
    if fault is None:
        return Asked(command, community, {name: tuple(values) for name, values in reading.values.items() if values})
    if community is not None and not named and fault.trouble is Trouble.TOO_MUCH and reading.nothing_read:
        # a single word where only a community could have stood
        return _not_there(command, fault.given, setting)
    return fault


def _community(command: Command, words: Words, setting: Setting) -> tuple[CommunityId | None, Words, bool] | Fault:
    """Which community is meant, the words behind it, and whether it was named."""
    if command.about is About.NONE:
        return None, words, False
    if not setting.may:
        return Fault(Trouble.NOBODY, command)
    word, after = words.word()
    marked, bare = word.endswith(":"), word.removesuffix(":")
    name = CommunityId(bare.lower())
    named = name in setting.known
    target = setting.here if setting.here is not None else setting.may[0] if len(setting.may) == 1 else None
    if command.about is About.ANY and not named and setting.here is None:
        return None, words, False
    if not named and target is None:
        if not _is_id(name):
            return Fault(Trouble.WHICH, command, choices=setting.may)
        return _not_there(command, word, setting)
    if not named:
        return _permitted(command, target, words, setting)
    if command.begins_with_text and not marked:
        if name == target and bare != name:
            return _permitted(command, target, words, setting)  # the word stays: `School is closed`
        if after.rest and (target not in (None, name) or bare != name):
            readings = [f"{name}: {after.rest}", f"{target or name}: {words.rest}"]
            allowed = [one for one, place in zip(readings, (name, target or name), strict=True) if place in setting.may]
            return Fault(Trouble.UNCLEAR, command, given=bare[:LONGEST_WORD], choices=tuple(map(_short, allowed)))
    return (name, after, True) if name in setting.may else _not_there(command, name, setting)


def _is_id(word: str) -> bool:
    try:
        parse_stable_id(word)
    except ValueError:
        return False
    return True


def _permitted(
    command: Command, target: CommunityId | None, words: Words, setting: Setting
) -> tuple[CommunityId | None, Words, bool] | Fault:
    return (target, words, False) if target in setting.may else _not_there(command, str(target), setting)


def _not_there(command: Command, word: str, setting: Setting) -> Fault:
    given = word[:LONGEST_WORD]
    return Fault(Trouble.NOT_THERE, command, None, given, setting.may, nearest(word, setting.may))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_WORD else f"{line[: LONGEST_WORD - 1]}…"


class _Reading:
    """One walk over the words behind a command."""

    def __init__(self, command: Command, setting: Setting) -> None:
        self._command = command
        self._setting = setting
        self.values: dict[str, list[Any]] = {}
        self._positional = [one for one in command.arguments if one.is_positional]
        self._named = {word: one for one in command.arguments if not one.is_positional for word in one.words}
        self._bare = not any(one.is_text for one in command.arguments)
        """Whether options may stand without dashes: in a command with a text they could be meant as its words."""
        self._unfit: tuple[Argument[Any], Unfit] | None = None

    @property
    def nothing_read(self) -> bool:
        return not self.values

    def all_of(self, words: Words) -> Fault | None:
        """Read everything; gives what is wrong."""
        at = 0
        while (words := words.here).at < len(words.text):
            option = self._option(words)
            if option is not None:
                argument, words = option
            elif at < len(self._positional):
                argument = self._positional[at]
            else:
                return self._too_much(words)
            try:
                value, after = argument.read(words, self._setting)
            except Unfit as unfit:
                if option is None and (argument.optional or self.values.get(argument.name)):
                    self._unfit = argument, unfit  # it was left away, and this is the next
                    at += 1
                    continue
                return self._wrong(argument, unfit)
            if option is None and not argument.many:
                at += 1
            if option is not None and not argument.many:
                self.values.pop(argument.name, None)  # said twice: the last counts
            self.values.setdefault(argument.name, []).append(value)
            words = after
        for argument in self._positional:
            if not self.values.get(argument.name) and not self._may_lack(argument):
                return Fault(Trouble.MISSING, self._command, argument)
        return None

    def _may_lack(self, argument: Argument[Any]) -> bool:
        """Whether an argument that is not there need not be: something else says what it would."""
        along = argument.or_along and self._setting.along
        return argument.optional or along or any(self.values.get(name) for name in argument.instead)

    def _option(self, words: Words) -> tuple[Argument[Any], Words] | None:
        """An option or a flag that begins here, and what stands behind its name."""
        word, after = words.word()
        name, sign, _ = word.partition("=")
        bare = re.sub(r"\A(?:--|—|–)", "", name).casefold()  # phones make a dash of two
        argument = self._named.get(bare)
        if argument is None or (not self._bare and bare == name.casefold()):
            return None
        if sign and argument.option:
            start = words.here
            return argument, replace(start, at=start.at + len(name) + 1)
        return argument, after

    def _too_much(self, words: Words) -> Fault:
        if self._unfit is not None:
            return self._wrong(*self._unfit)
        return Fault(Trouble.TOO_MUCH, self._command, given=words.word()[0][:LONGEST_WORD])

    def _wrong(self, argument: Argument[Any], unfit: Unfit) -> Fault:
        if not unfit.given:
            return Fault(Trouble.MISSING, self._command, argument, choices=unfit.choices)
        close = nearest(unfit.given, unfit.choices)
        return Fault(Trouble.WRONG, self._command, argument, unfit.given, unfit.choices, close)


def render(asked: Asked) -> str:
    """A command as text that is read as the same one, whoever reads it and wherever."""
    command = asked.command
    parts = [command.name]
    if asked.community is not None:
        parts.append(f"{asked.community}:" if command.begins_with_text else asked.community)
    texts = [one for one in command.arguments if one.is_text]
    for argument in (*(one for one in command.arguments if not one.is_text), *texts):
        for value in asked.all(argument):
            if argument.flag or argument.option:
                parts.append(f"--{argument.name}")
            if not argument.flag:
                parts.append(argument.show(value))
    return " ".join(parts)
