"""The table of commands: every one of them, once. Help and did-you-mean come out of it, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from bridge.commands import (
    admitting,
    afterwards,
    announcing,
    arguments,
    belonging,
    calendars,
    community,
    digests,
    events,
    feeds,
    groups,
    keeping,
    links,
    people,
    polls,
    reach,
    schedules,
    subcommunities,
)
from bridge.commands.deeds import Deeds
from bridge.commands.grammar import About, Found, Unknown, recognise
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import NEEDED, Deed
from bridge.core.ids import CommunityId
from bridge.core.languages import DE, LANGUAGES, Language

COMMAND = arguments.text("command", names={DE: "Befehl"}, optional=True)


async def help_(deeds: Deeds, request: Request) -> str:
    wanted = request.asked.get(COMMAND)
    if wanted is None:
        return _list(deeds, request)
    family = [row for row in _shown(deeds, request) if _family(row) and wanted.casefold() in _first_words(row)]
    if family:
        return texts.help_list([_line(row, request) for row in family], [], request.mark, request.language)
    found = recognise(wanted.removeprefix("!"), TABLE)
    if not isinstance(found, Found):
        return unknown(found, request.mark, request.language)
    return _one(row_of(found), request)


async def hello(deeds: Deeds, request: Request) -> str:
    return _list(deeds, request)


def _shown(deeds: Deeds, request: Request) -> list[Row]:
    """What the person may do, and nothing else."""
    return [row for row in TABLE if row.about is not About.NONE and row.is_shown(deeds, request.roles)]


def _family(row: Row) -> str:
    """The first word of a command of two words, and of the one that goes by that word alone."""
    first, _, second = row.name.partition(" ")
    return first if second or any(one.name.startswith(f"{first} ") for one in TABLE) else ""


def _first_words(row: Row) -> set[str]:
    """How its family is called, in all languages."""
    return {row.called(language).split()[0].casefold() for language in LANGUAGES} | {_family(row)}


def _line(row: Row, request: Request) -> tuple[str, str]:
    return _form(row, request), row.explain(request.language).purpose


def _form(row: Row, request: Request) -> str:
    """How it is written; the community is not held out where it goes without saying."""
    return row.form(request.language, named=_has_to_be_named(row, request))


def _has_to_be_named(row: Row, request: Request) -> bool:
    """Whether several communities can be meant; in a control room it is that room's."""
    return not request.mark and len(row.where(request.roles)) > 1


def _lines(rows: Sequence[Row], request: Request) -> list[tuple[str, str]]:
    """A line for each command; for those with the same first word one, which `help` and its name unfold."""
    size = Counter(_family(row) for row in rows)
    lines: dict[str, tuple[str, str]] = {}
    for row in rows:
        family = _family(row)
        if not family or size[family] == 1:
            lines[row.name] = _line(row, request)
            continue
        names = [one.called(request.language) for one in rows if _family(one) == family]
        word = names[0].split()[0]
        short = [name.removeprefix(f"{word} ") for name in names if name != word]
        lines[f"{family} …"] = f"{word} …", ", ".join(short)
    return list(lines.values())


def _list(deeds: Deeds, request: Request) -> str:
    rows = _shown(deeds, request)
    places: Mapping[CommunityId, None] = dict.fromkeys(place for row in rows for place in row.where(request.roles))
    return texts.help_list(_lines([*rows, HELP], request), list(places), request.mark, request.language)


def _one(row: Row, request: Request) -> str:
    named = row.where(request.roles)[0] if row.about is About.ONE and _has_to_be_named(row, request) else None
    called = row.called(request.language)
    return texts.help_one(
        _form(row, request),
        row.explain(request.language).purpose,
        row.example(request.language, named),
        [name for name in row.all_names if name != called],
        NEEDED[row.deed],
        row.confirm is not None,
        request.mark,
        request.language,
    )


async def _of_the_door(deeds: Deeds, request: Request) -> None:
    raise AssertionError("the door knows what waits for a yes")


HELP = Row(
    name="help",
    names={DE: "hilfe"},
    aliases=("?",),
    about=About.NONE,
    arguments=(COMMAND,),
    deed=Deed.HELP,
    explain=texts.explain_help,
    run=help_,
)
HELLO = Row(
    name="hello",
    names={DE: "hallo"},
    aliases=("hi", "hey", "start", "moin"),
    about=About.NONE,
    arguments=(COMMAND,),
    deed=Deed.HELP,
    explain=texts.explain_help,
    run=hello,
)
YES = Row(
    name="yes",
    names={DE: "ja"},
    aliases=("ok", "okay", "y"),
    about=About.NONE,
    deed=Deed.HELP,
    explain=texts.explain_yes,
    run=_of_the_door,
)
NO = Row(
    name="no",
    names={DE: "nein"},
    aliases=("cancel", "abbrechen", "n"),
    about=About.NONE,
    deed=Deed.HELP,
    explain=texts.explain_no,
    run=_of_the_door,
)

TABLE: tuple[Row, ...] = (
    *announcing.ROWS,
    *afterwards.ROWS,
    *reach.ROWS,
    *schedules.ROWS,
    *polls.ROWS,
    *events.ROWS,
    *calendars.ROWS,
    *digests.ROWS,
    *feeds.ROWS,
    *people.ROWS,
    *belonging.ROWS,
    *groups.ROWS,
    *admitting.ROWS,
    *subcommunities.ROWS,
    *links.ROWS,
    *community.ROWS,
    *keeping.ROWS,
    HELP,
    YES,
    NO,
    HELLO,
)
"""In the order in which help shows them. A name may stand in one row only."""


def unknown(found: Unknown, mark: str, language: Language) -> str:
    """What is answered to a message that begins with no command.

    Args:
        mark: what stands before commands in this room.
    """
    return texts.not_understood(found.given, [command.called(language) for command in found.nearest], mark, language)


def row_of(found: Found) -> Row:
    """The row of a command that was recognised in the table."""
    assert isinstance(found.command, Row)
    return found.command
