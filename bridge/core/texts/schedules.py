"""Announcements that wait for their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import and_then, by_whom, local_time, with_list


def explain_schedule(language: Language = EN) -> Explained:
    return Explained(
        say(language, "announces something at a time, or again and again"),
        "tomorrow 8:00: School is closed today.",
    )


def explain_scheduled(language: Language = EN) -> Explained:
    return Explained(say(language, "shows what is scheduled, with the numbers by which to name it"))


def explain_schedule_show(language: Language = EN) -> Explained:
    return Explained(say(language, "shows something that is scheduled, and when it comes next"), "3")


def explain_schedule_edit(language: Language = EN) -> Explained:
    return Explained(
        say(language, "gives something that is scheduled another time (`at`) or `text`; from then on it is yours"),
        "3 at every tuesday at 9",
    )


def explain_schedule_skip(language: Language = EN) -> Explained:
    return Explained(say(language, "leaves out the next time of something that is scheduled"), "3")


def explain_schedule_cancel(language: Language = EN) -> Explained:
    return Explained(say(language, "calls off something that is scheduled"), "3")


def schedule_set(one: Mapping[str, Any], language: Language = EN) -> Marked:
    """What is told whoever scheduled or changed something.

    Args:
        one: `number`, `community`, `zone` and `runs`, the next of them first (milliseconds since 1970).
    """
    if not one["runs"]:
        return say(language, "Number {number} has come to its end.", number=one["number"])
    text = say(
        language,
        "Scheduled as number {number} in {community}: {when} ({zone}).",
        number=one["number"],
        community=one["community"],
        when=local_time(one["runs"][0], one["zone"], language),
        zone=one["zone"],
    )
    return joined(" ", [text, *_then(one, language)])


def _then(one: Mapping[str, Any], language: Language) -> list[Marked]:
    return and_then(one["runs"][1:], one["zone"], language)


def schedules_listed(found: Sequence[Mapping[str, Any]], community: str, language: Language = EN) -> Marked:
    """
    Args:
        found: of each `number`, `beginning`, `author`, `words`, `zone`, `recurring` and `runs`.
    """
    if not found:
        return say(language, "Nothing is scheduled in {community}.", community=community)
    lines = []
    for one in found:
        when = local_time(one["runs"][0], one["zone"], language)
        line = say(language, "{number}: {when} ({zone})", number=one["number"], when=when, zone=one["zone"])
        rule = [literal(one_line(one["words"]))] if one["recurring"] else []
        lines.append(joined(", ", [line, literal(f"“{one['beginning']}”"), *rule, Marked(by_whom(one["author"]))]))
    return with_list(say(language, "Scheduled in {community}:", community=community), lines)


def schedule_shown(one: Mapping[str, Any], language: Language = EN) -> Marked:
    """
    Args:
        one: as in `schedules_listed`, and `text`.
    """
    head = say(
        language,
        "Number {number}, set by {author} as “{words}”. It comes next: {when} ({zone}).",
        number=one["number"],
        author=Marked(by_whom(one["author"])),
        words=one_line(one["words"]),
        when=local_time(one["runs"][0], one["zone"], language),
        zone=one["zone"],
    )
    return joined("\n", [joined(" ", [head, *_then(one, language)]), literal(one["text"])])


def schedule_skipped(run: int, one: Mapping[str, Any], language: Language = EN) -> Marked:
    """
    Args:
        run: what is left out, in milliseconds since 1970.
    """
    out = say(
        language,
        "Number {number} is left out on {when} ({zone}).",
        number=one["number"],
        when=local_time(run, one["zone"], language),
        zone=one["zone"],
    )
    if not one["runs"]:
        return joined(" ", [out, say(language, "That was its last time.")])
    following = local_time(one["runs"][0], one["zone"], language)
    return joined(" ", [out, say(language, "It comes next: {when}.", when=following)])


def schedule_cancelled(number: int, language: Language = EN) -> Marked:
    return say(language, "Number {number} is called off.", number=number)


def schedule_missed(one: Mapping[str, Any], run: int, missed: int, language: Language = EN) -> Marked:
    """
    Args:
        one: as in `schedules_listed`.
        run: the last run that was missed, in milliseconds since 1970.
        missed: how many were missed, that one among them.
    """
    first = say(
        language,
        "“{beginning}” (scheduled as number {number}) was not announced on {when} ({zone}): "
        "the service was away, and then it was too late.",
        beginning=one["beginning"],
        number=one["number"],
        when=local_time(run, one["zone"], language),
        zone=one["zone"],
    )
    return joined(" ", [first, *_earlier(missed - 1, language)])


def schedule_caught_up(one: Mapping[str, Any], missed: int, language: Language = EN) -> Marked:
    """
    Args:
        one: as in `schedules_listed`.
        missed: how many were missed before the one that is sent.
    """
    first = say(
        language,
        "“{beginning}” (scheduled as number {number}) is announced late, since the service was away.",
        beginning=one["beginning"],
        number=one["number"],
    )
    return joined(" ", [first, *_earlier(missed, language)])


def _earlier(count: int, language: Language) -> list[Marked]:
    if not count:
        return []
    return [
        say_many(
            language,
            "{count} time before that was missed, too.",
            "{count} times before that were missed, too.",
            count,
        )
    ]


def schedule_not_permitted(one: Mapping[str, Any], again: bool, language: Language = EN) -> Marked:
    """
    Args:
        one: as in `schedules_listed`, and `community`.
        again: whether it comes again.
    """
    text = say(
        language,
        "“{beginning}” (scheduled as number {number}) was not announced: {author}, who set it, may not announce in "
        "{community} any more.",
        beginning=one["beginning"],
        number=one["number"],
        author=Marked(by_whom(one["author"])),
        community=one["community"],
    )
    if not again:
        return text
    more = say(
        language,
        "`schedule edit {number} …` by an admin takes it over, `schedule cancel {number}` ends it.",
        number=one["number"],
    )
    return joined(" ", [text, more])


def schedule_stuck(one: Mapping[str, Any], why: str, language: Language = EN) -> Marked:
    """
    Args:
        one: as in `schedules_listed`.
    """
    return say(
        language,
        "“{beginning}” (scheduled as number {number}) could not be announced: {why}. It waits for the operator, who "
        "finds it with `parked`.",
        beginning=one["beginning"],
        number=one["number"],
        why=why,
    )
