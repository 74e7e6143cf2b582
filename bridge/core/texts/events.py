"""Events: what is announced of them, and what whoever comes is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import bold


def explain_event(language: Language = EN) -> Explained:
    return Explained(
        say(language, "invites everybody to an event: title; when; place; description; seats"),
        "Summer party; next friday 18:30 to 22:00; School yard; Bring a cake; 80",
    )


def explain_event_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the events that are to come"), "")


def explain_event_show(language: Language = EN) -> Explained:
    return Explained(say(language, "shows an event, and how many come"), "#12")


def explain_event_change(language: Language = EN) -> Explained:
    return Explained(
        say(language, "changes the title, when, place, description or seats, and tells whoever comes"),
        "#12 when 2026-07-05 18:30",
    )


def explain_event_cancel(language: Language = EN) -> Explained:
    return Explained(say(language, "cancels an event, and tells whoever comes"), "#12")


def explain_rsvp(language: Language = EN) -> Explained:
    return Explained(say(language, "says whether you come to an event, and with how many guests"), "#12 going +2")


def event(
    title: str,
    when: str,
    place: str,
    description: str,
    seats: int,
    counts: tuple[int, int, int],
    cancelled: bool,
    language: Language = EN,
) -> Marked:
    """An event as it stands in the announcement room.

    Args:
        seats: how many there are; 0 is as many as come.
        counts: how many come, wait, and may come; -1 first where that is not shown.
    """
    lines = [joined(" ", [Marked("📅"), bold(one_line(title))]), joined(" ", [Marked("🕒"), literal(when)])]
    if place:
        lines.append(joined(" ", [Marked("📍"), literal(one_line(place))]))
    blocks = [joined("\n", lines)]
    if description:
        blocks.append(literal(description))
    if cancelled:
        return joined("\n\n", [say(language, "**Cancelled**"), *blocks])
    if seats:
        blocks.append(say_many(language, "There is {count} seat.", "There are {count} seats.", seats))
    blocks.append(
        say(language, "Answer by pressing ✅ (coming), ❔ (maybe) or ❌ (not coming); with guests, write `rsvp` to me.")
    )
    coming, waiting, maybe = counts
    if coming >= 0:
        known = [say_many(language, "{count} is coming", "{count} are coming", coming)]
        if waiting:
            known.append(say_many(language, "{count} waits for a seat", "{count} wait for a seat", waiting))
        if maybe:
            known.append(say_many(language, "{count} may come", "{count} may come", maybe))
        blocks.append(joined(", ", known))
    return joined("\n\n", blocks)


def events_listed(events: Sequence[Mapping[str, Any]], community: str, language: Language = EN) -> Marked:
    """
    Args:
        events: with `number`, `title`, `when`, `place`, `cancelled` and `coming`.
    """
    if not events:
        return say(language, "No event is to come in {community}.", community=community)
    lines = []
    for one in events:
        where = f", {one_line(one['place'])}" if one["place"] else ""
        line = say(
            language,
            "#{number} **{title}**: {when}{where}",
            number=one["number"],
            title=one_line(one["title"]),
            when=one["when"],
            where=where,
        )
        if one["cancelled"]:
            known = say(language, "cancelled")
        else:
            known = say_many(language, "{count} is coming", "{count} are coming", one["coming"])
        lines.append(joined(" – ", [line, known]))
    return joined("\n", [say(language, "To come in {community}:", community=community), *lines])


def event_taken(community: str, when: str, language: Language = EN) -> Marked:
    return say(
        language,
        "Your event on {when} goes to {community}. I tell you when it is there.",
        when=when,
        community=community,
    )


def event_changed(number: int, when: str, language: Language = EN) -> Marked:
    return say(
        language, "Event #{number} is changed, and whoever comes is told. It is on {when}.", number=number, when=when
    )


def event_cancelled(number: int, language: Language = EN) -> Marked:
    return say(language, "Event #{number} is cancelled, and whoever comes is told.", number=number)


def rsvp_taken(number: int, answer: str, guests: int, seated: bool, language: Language = EN) -> Marked:
    """
    Args:
        answer: `going`, `maybe` or `no`.
    """
    if answer == "no":
        return say(language, "Event #{number}: you are not coming.", number=number)
    if answer == "maybe":
        return say(language, "Event #{number}: you may come.", number=number)
    if not seated:
        return say(language, "Event #{number} is full: you are on the waiting list.", number=number)
    if guests:
        return say_many(
            language,
            "Event #{number}: you are coming with {count} guest.",
            "Event #{number}: you are coming with {count} guests.",
            guests,
            number=number,
        )
    return say(language, "Event #{number}: you are coming.", number=number)


def seat_awaited(title: str, language: Language = EN) -> Marked:
    return say(
        language, "“{title}” is full: you are on the waiting list. I tell you when there is a seat.", title=title
    )


def seat_given(title: str, language: Language = EN) -> Marked:
    return say(language, "There is a seat for you at “{title}” now: you are coming.", title=title)


def event_reminder(title: str, when: str, place: str, language: Language = EN) -> Marked:
    said = say(language, "A reminder: “{title}” is on {when}.", title=title, when=when)
    return joined(" ", [said, say(language, "Place: {place}", place=one_line(place))]) if place else said


def event_has_changed(title: str, when: str, place: str, language: Language = EN) -> Marked:
    said = say(language, "“{title}” has changed: it is on {when}.", title=title, when=when)
    return joined(" ", [said, say(language, "Place: {place}", place=one_line(place))]) if place else said


def event_is_cancelled(title: str, language: Language = EN) -> Marked:
    return say(language, "“{title}” is cancelled.", title=title)
