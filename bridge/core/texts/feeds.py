"""Announcements that are read outside of Matrix, where an owner wants that."""

from __future__ import annotations

from bridge.core.languages import EN, Language, say
from bridge.core.markup import Marked
from bridge.core.texts.help import Explained


def explain_feed(language: Language = EN) -> Explained:
    return Explained(say(language, "opens or closes a feed of announcements, not encrypted"), "on")


def feed_caution(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "A feed leaves encryption: whoever has its address reads all announcements of {community}, past ones among "
        "them, without an account, and so do all through whom they pass. The announcement room is told of it.",
        community=community,
    )


def feed_address(url: str, language: Language = EN) -> Marked:
    return say(
        language,
        "This is the feed's address. Whoever has it can read announcements; I cannot show it again, and another "
        "`feed on` replaces it:\n{url}",
        url=url,
    )


def feed_is_closed(language: Language = EN) -> Marked:
    return say(language, "There is no feed any more; its address leads nowhere.")


def feed_opened(language: Language = EN) -> Marked:
    return say(
        language,
        "From now on announcements of this room can also be read outside of it, by whoever has the address of a feed. "
        "There they are not encrypted.",
    )


def feed_closed(language: Language = EN) -> Marked:
    return say(language, "The feed by which announcements could be read outside of this room is closed.")
