"""Calendars of events that programs subscribe to, where an owner wants that."""

from __future__ import annotations

from bridge.core.languages import EN, Language, say
from bridge.core.markup import Marked
from bridge.core.texts.help import Explained


def explain_calendar(language: Language = EN) -> Explained:
    return Explained(say(language, "gives you the address of the calendar of events, for your calendar program"), "")


def explain_calendar_reset(language: Language = EN) -> Explained:
    return Explained(say(language, "gives you another address of the calendar, in the place of the old one"), "")


def explain_calendar_on(language: Language = EN) -> Explained:
    return Explained(say(language, "lets members subscribe to events in calendar programs, not encrypted"), "")


def explain_calendar_off(language: Language = EN) -> Explained:
    return Explained(say(language, "closes the calendar of events: no address leads anywhere"), "")


def calendar_caution(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "A calendar leaves encryption: each member can have an address of their own, and whoever has one reads all "
        "events of {community}, with place and description, without an account, and so do all through whom they pass. "
        "Who comes is not in it. The announcement room is told of it.",
        community=community,
    )


def calendar_is_open(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "Members of {community} can subscribe to its events now: each asks me for an address with `calendar`, in a "
        "direct chat.",
        community=community,
    )


def calendar_is_closed(language: Language = EN) -> Marked:
    return say(language, "There is no calendar any more; its addresses lead nowhere.")


def calendar_address(webcal: str, https: str, language: Language = EN) -> Marked:
    return say(
        language,
        "This is your own address of the calendar. Open it on your device, or add it to your calendar program:\n"
        "{webcal}\n{https}\nWhoever has it can read the events: keep it to yourself. `calendar reset` replaces it; "
        "when you leave the community, it ends.",
        webcal=webcal,
        https=https,
    )


def calendar_opened(language: Language = EN) -> Marked:
    return say(
        language,
        "From now on members can have the events of this room in their calendar programs: write `calendar` to me in a "
        "direct chat. On their way there events are not encrypted.",
    )


def calendar_closed(language: Language = EN) -> Marked:
    return say(language, "The calendar by which events could be read outside of this room is closed.")
