"""Pieces of sentences that several topics have in common."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from babel.dates import format_datetime

from bridge.core.languages import EN, Language, joined, say
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.schedule import local_of


def the_operator(language: Language = EN) -> Marked:
    """Who is named where a command was given on the command line."""
    return say(language, "the operator")


def the_service(language: Language = EN) -> Marked:
    return say(language, "the service")


def by_whom(by: str) -> str:
    """Who did something: a person as clients show them, the operator and the service by these words."""
    return mention(by) if by.startswith("@") else by


def utc(at: int) -> str:
    """A time (milliseconds since 1970) in a table, and where no community is asked about."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def local_time(at: int, zone: str, language: Language = EN) -> str:
    """A time (milliseconds since 1970) as the clocks of a time zone (its IANA name) show it, with its day."""
    local = local_of(at, ZoneInfo(zone))
    return format_datetime(local, "EEE d MMM y HH:mm", locale=language)


def and_then(times: Sequence[int], zone: str, language: Language) -> list[Marked]:
    """When something comes after its next time (milliseconds since 1970), if it comes again."""
    more = [local_time(at, zone, language) for at in times]
    return [say(language, "Then: {times}, …", times=joined("; ", more))] if more else []


def with_reason(text: Marked, reason: str, language: Language) -> Marked:
    if not reason:
        return text
    return joined(" ", [text, say(language, "The reason: {reason}", reason=one_line(reason))])


def code(text: str) -> Marked:
    return Marked(f"`{literal(one_line(text))}`")


def bold(text: str) -> Marked:
    return Marked(f"**{literal(text)}**")


def several(names: Sequence[str]) -> Marked:
    return joined(", ", [literal(one_line(name)) for name in names])


def with_list(head: Marked, lines: Sequence[str]) -> Marked:
    if not lines:
        return head
    return joined("\n", [head, *(Marked(f"- {joined('', [line])}") for line in lines)])
