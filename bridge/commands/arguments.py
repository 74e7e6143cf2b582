"""What can stand behind a command's name, each kind with how it is read and written. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Generic, TypeVar
from urllib.parse import unquote

from bridge.core.announcements import named
from bridge.core.ids import CommunityId, RoomKeyName, UserId, is_room_id, parse_user_id
from bridge.core.languages import DE, EN, Language
from bridge.core.messages import Pill
from bridge.core.moments import found_at
from bridge.core.times import is_moment

T = TypeVar("T")

LONGEST_WORD = 60
"""Of a word that is not understood, so much is compared and repeated."""

_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")
_LINK = re.compile(r"\[[^\]\n]{0,300}\]\((\S{1,600})\)")
_MATRIX_TO = re.compile(r"https://matrix\.to/#/([^/?]+)(?:\?\S*)?\Z", re.IGNORECASE)
_MATRIX_URI = re.compile(r"matrix:u/([^/?]+)(?:\?\S*)?\Z", re.IGNORECASE)
_MATRIX_ROOM_URI = re.compile(r"matrix:(r|roomid)/([^/?]+)(?:\?\S*)?\Z", re.IGNORECASE)
_ADDRESS = re.compile(r"#[^\s:]{1,200}:\S{1,200}\Z")
_STOPS = ",;.:"


@dataclass(frozen=True, slots=True)
class Words:
    """What is still to be read of a message."""

    text: str
    pills: tuple[Pill, ...] = ()
    at: int = 0

    @property
    def here(self) -> Words:
        """Past the white space."""
        return self.past(_SPACE.match(self.text, self.at))

    def past(self, found: re.Match[str] | None) -> Words:
        return self if found is None else replace(self, at=found.end())

    def word(self) -> tuple[str, Words]:
        """The next word as it stands there, empty at the end; and what comes behind it."""
        start = self.here
        found = _WORD.match(self.text, start.at)
        return ("", start) if found is None else (found[0], start.past(found))

    @property
    def rest(self) -> str:
        """Everything that is left, with its lines."""
        return self.text[self.at :].strip()


@dataclass(frozen=True, slots=True)
class Setting:
    """What the words of a command are read by: who asks, and where."""

    known: tuple[CommunityId, ...] = ()
    """All communities."""
    may: tuple[CommunityId, ...] = ()
    """Those in which the person may do what the command does."""
    here: CommunityId | None = None
    """The community in whose control room it is said."""
    groups: Mapping[CommunityId, tuple[RoomKeyName, ...]] = field(default_factory=dict)
    """The groups of those in which the person may do it."""
    community: CommunityId | None = None
    """Which one the command is about, once that was read."""
    along: bool = False
    """Whether something comes with the command that says what its text would: a file, or a message that it answers."""


class Unfit(Exception):
    """A word is not what should stand there."""

    def __init__(self, given: str, choices: tuple[str, ...] = ()) -> None:
        self.given = given[:LONGEST_WORD]
        self.choices = choices
        super().__init__(given)


Read = Callable[[Words, Setting], tuple[T, Words]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument(Generic[T]):
    """One thing behind a command's name, of a type. What was read is asked for by it: `asked[WHO]` is a `UserId`."""

    name: str
    """What it is called in the form that people are shown; of an option or a flag, the word that people write."""
    read: Read[T]
    show: Callable[[T], str] = str
    """A value as it is read again."""
    names: Mapping[Language, str] = field(default_factory=dict)
    """What it is called in other languages."""
    optional: bool = False
    many: bool = False
    option: bool = False
    """Whether its value stands behind its name (`uses 5`), in any order."""
    flag: bool = False
    """Whether its name alone says it (`needs-approval`), in any order."""
    is_text: bool = False
    """Whether it is all the rest, with its lines."""
    or_along: bool = False
    """Whether it may be left away where something comes with the command."""
    instead: tuple[str, ...] = ()
    """Options with one of which it may be left away."""

    def called(self, language: Language = EN) -> str:
        return self.names.get(language, self.name)

    @property
    def words(self) -> frozenset[str]:
        """The words by which an option or a flag is known."""
        return frozenset(word.casefold() for word in (self.name, *self.names.values()))

    @property
    def is_positional(self) -> bool:
        return not self.option and not self.flag

    def optionally(self) -> Argument[T]:
        """The same, where it may be left away."""
        return replace(self, optional=True)

    def repeated(self) -> Argument[T]:
        """The same, where there may be several, one behind the other."""
        return replace(self, many=True)

    def as_option(self) -> Argument[T]:
        """The same behind its name, in any order: `uses 5`, `--uses 5` or `uses=5`."""
        return replace(self, option=True, optional=True)

    def form(self, language: Language = EN, dashes: str = "") -> str:
        """How it stands in the form of its command: `<required>`, `[optional]`.

        Args:
            dashes: what stands before options and flags.
        """
        name = self.called(language)
        if self.flag:
            return f"[{dashes}{name}]"
        if self.option:
            return f"[{dashes}{name} …]"
        dots = " …" if self.many else ""
        return f"[{name}{dots}]" if self.optional else f"<{name}{dots}>"


def nearest(word: str, choices: tuple[str, ...]) -> str | None:
    """The choice that was probably meant."""
    found = get_close_matches(word[:LONGEST_WORD].casefold(), choices, n=1, cutoff=0.6)
    return found[0] if found else None


def _user(words: Words, _: Setting) -> tuple[UserId, Words]:
    start = words.here
    for pill in words.pills:
        end = start.at + len(pill.text)
        if words.text.startswith(pill.text, start.at) and (words.text[end : end + 1] or " ")[0] in f" \t\r\n{_STOPS}":
            after = replace(start, at=end)
            return pill.user, replace(after, at=end + 1) if words.text[end : end + 1] in tuple(_STOPS) else after
    if linked := _LINK.match(words.text, start.at):
        return _user_in(linked[1]), start.past(linked)
    word, after = start.word()
    return _user_in(word), after


def _user_in(word: str) -> UserId:
    """A user id out of itself or of a link to it (Matrix specification, appendix 4.5: URIs)."""
    bare = word.strip("<>").rstrip(_STOPS)
    if found := _MATRIX_TO.match(bare):
        bare = unquote(found[1])
    elif found := _MATRIX_URI.match(bare):
        bare = f"@{unquote(found[1])}"
    try:
        return parse_user_id(bare)
    except ValueError:
        raise Unfit(word, ("@name:example.org",)) from None


def user(name: str = "user") -> Argument[UserId]:
    """Somebody: by id, by a link of matrix.to or `matrix:`, or by a mention."""
    return Argument(name=name, read=_user, names={DE: "Person"})


def _group(words: Words, setting: Setting) -> tuple[RoomKeyName, Words]:
    word, after = words.word()
    keys = () if setting.community is None else setting.groups.get(setting.community, ())
    key = RoomKeyName(word.rstrip(",").casefold())
    if key not in keys:
        raise Unfit(word, tuple(keys))
    return key, after


def group(name: str = "group") -> Argument[RoomKeyName]:
    """A group of the community, by its key."""
    return Argument(name=name, read=_group, names={DE: "Gruppe"})


def announcement(*, marked: bool = False) -> Argument[str]:
    """An announcement, by its number or by a link to it; as it is written, for `core/announcements.named`.

    Args:
        marked: whether a number needs its `#`, since a text may begin with one.
    """

    def read(words: Words, _: Setting) -> tuple[str, Words]:
        word, after = words.word()
        bare = word.strip("<>").rstrip(",:")
        if named(bare) is None or (marked and bare.isdigit()):
            raise Unfit(word, ("#12",))
        return bare, after

    return Argument(name="announcement", read=read, names={DE: "Ankündigung"})


def _room(words: Words, _: Setting) -> tuple[str, Words]:
    start = words.here
    linked = _LINK.match(words.text, start.at)
    word, after = (linked[1], start.past(linked)) if linked else start.word()
    bare = word.strip("<>").rstrip(",;.")
    if found := _MATRIX_TO.match(bare):
        bare = unquote(found[1])
    elif found := _MATRIX_ROOM_URI.match(bare):
        bare = f"{'#' if found[1] == 'r' else '!'}{unquote(found[2])}"
    if not is_room_id(bare) and not _ADDRESS.match(bare):
        raise Unfit(word, ("!…", "#…:example.org"))
    return bare, after


def room(name: str = "room") -> Argument[str]:
    """A room: by id, by address, or by a link of matrix.to or `matrix:` to it."""
    return Argument(name=name, read=_room, names={DE: "Raum"})


def number(name: str, lowest: int, highest: int, *, names: Mapping[Language, str] | None = None) -> Argument[int]:
    """A whole number within bounds, both included."""

    def read(words: Words, _: Setting) -> tuple[int, Words]:
        word, after = words.word()
        # so long a number is none that anybody means, and reading it takes its time
        if not re.fullmatch(r"[0-9]{1,12}", word) or not lowest <= int(word) <= highest:
            raise Unfit(word, (f"{lowest} … {highest}",))
        return int(word), after

    return Argument(name=name, read=read, names=names or {})


_UNITS = {
    1: ("s", "sec", "second", "seconds", "sekunde", "sekunden"),
    60: ("m", "min", "minute", "minutes", "minuten"),
    3_600: ("h", "hour", "hours", "std", "stunde", "stunden"),
    86_400: ("d", "day", "days", "tag", "tage", "tagen"),
    604_800: ("w", "week", "weeks", "woche", "wochen"),
}
_SECONDS = {word: seconds for seconds, words in _UNITS.items() for word in words}
_DURATION = re.compile(r"([0-9]{1,9})\s?([^\W\d_]+)(?!\S)")


def duration(name: str, lowest: int, highest: int, *, names: Mapping[Language, str] | None = None) -> Argument[int]:
    """A span of time in seconds, within bounds: `30min`, `2h`, `7 days`."""

    def read(words: Words, _: Setting) -> tuple[int, Words]:
        start = words.here
        found = _DURATION.match(start.text, start.at)
        unit = None if found is None else _SECONDS.get(found[2].casefold())
        if found is None or unit is None or not lowest <= int(found[1]) * unit <= highest:
            raise Unfit(start.word()[0], (f"{duration_text(lowest)} … {duration_text(highest)}",))
        return int(found[1]) * unit, start.past(found)

    return Argument(name=name, read=read, show=duration_text, names=names or {})


def duration_text(seconds: int) -> str:
    """Seconds in the largest unit that they are a whole number of."""
    unit = max(unit for unit in _UNITS if seconds % unit == 0 and (seconds or unit == 1))
    return f"{seconds // unit}{_UNITS[unit][0]}"


_QUOTED = re.compile(r"[\"“”„']([^\"“”„'\n]{1,100})[\"“”']")
_MOST_WORDS_OF_A_MOMENT = 7


def moment(name: str, *, names: Mapping[Language, str] | None = None) -> Argument[str]:
    """A date with a time, or words for one: as it is written, since `core/times` reads it by the time zone of the
    community. It is quoted, or as many words as make one.
    """

    def read(words: Words, _: Setting) -> tuple[str, Words]:
        start = words.here
        if found := _QUOTED.match(start.text, start.at):
            if not is_moment(found[1]):
                raise Unfit(found[1], ("2026-12-24 18:30", "tomorrow 18:00", "3 days"))
            return found[1].strip(), start.past(found)
        if found := found_at(start.text, start.at):
            return found[0], start.past(found)
        after, understood = start, None
        for _count in range(_MOST_WORDS_OF_A_MOMENT):
            next_word, after = after.word()
            value = start.text[start.at : after.at]
            if next_word and is_moment(value):
                understood = value.strip(), after
        if understood is None:
            raise Unfit(start.word()[0], ("2026-12-24 18:30", "tomorrow 18:00", "3 days"))
        return understood

    return Argument(name=name, read=read, show=_quoted_moment, names=names or {})


def _quoted_moment(text: str) -> str:
    found = found_at(text)
    return text if found is not None and found[0] == text else f'"{text}"'


def choice(name: str, choices: Mapping[str, T], *, names: Mapping[Language, str] | None = None) -> Argument[T]:
    """One of a few words. A value may have several; the first is the one that is written."""

    def read(words: Words, _: Setting) -> tuple[T, Words]:
        word, after = words.word()
        if word.casefold() not in choices:
            raise Unfit(word, tuple(choices))
        return choices[word.casefold()], after

    def show(value: T) -> str:
        return next(word for word, meant in choices.items() if meant == value)

    return Argument(name=name, read=read, show=show, names=names or {})


def _one_word(words: Words, _: Setting) -> tuple[str, Words]:
    return words.word()


def word(name: str, *, names: Mapping[Language, str] | None = None) -> Argument[str]:
    """One word as it is written."""
    return Argument(name=name, read=_one_word, names=names or {})


def _text(words: Words, _: Setting) -> tuple[str, Words]:
    return words.rest, replace(words, at=len(words.text))


def text(
    name: str = "text",
    *,
    names: Mapping[Language, str] | None = None,
    optional: bool = False,
    or_along: bool = False,
    instead: tuple[str, ...] = (),
) -> Argument[str]:
    """All the rest, as it is written, with its lines. Stands last."""
    return Argument(
        name=name,
        read=_text,
        names=names or {DE: "Text"},
        optional=optional,
        is_text=True,
        or_along=or_along,
        instead=instead,
    )


_COLON = re.compile(r":(?=\s|\Z)|\n")


def _when(words: Words, _: Setting) -> tuple[str, Words]:
    start = words.here
    found = _COLON.search(start.text, start.at)
    value = "" if found is None else start.text[start.at : found.start()].strip()
    if found is None or not value:
        raise Unfit(start.word()[0], ("tomorrow 8:00: …", "every monday at 8: …"))
    return value, start.past(found)


def when(name: str, *, names: Mapping[Language, str] | None = None) -> Argument[str]:
    """A time in words, up to a colon with a space or an end of line behind it; `core/when` understands it."""
    return Argument(name=name, read=_when, show="{}:".format, names=names or {})


def _flag(words: Words, _: Setting) -> tuple[bool, Words]:
    return True, words


def flag(name: str, *, names: Mapping[Language, str] | None = None) -> Argument[bool]:
    """A word that is there or not."""
    return Argument(name=name, read=_flag, names=names or {}, flag=True)
