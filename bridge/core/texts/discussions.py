"""Threads of announcements in a discussion room."""

from __future__ import annotations

from bridge.core.languages import EN, Language, say
from bridge.core.lines import one_line
from bridge.core.markup import Marked


def discuss_here(language: Language = EN) -> Marked:
    """What stands before the link to the thread, below an announcement."""
    return say(language, "Discuss it here:")


def discussed_there(link: str, language: Language = EN) -> Marked:
    """The same for an announcement that cannot carry the link itself."""
    return say(language, "Discuss it here: {link}", link=link)


def thread_of(words: str, language: Language = EN) -> Marked:
    """The message under which an announcement is discussed.

    Args:
        words: the first words of the announcement.
    """
    return say(language, "Announced: {words}", words=one_line(words))


def thread_begins(link: str, language: Language = EN) -> Marked:
    return say(language, "Answer here, in this thread. The whole announcement: {link}", link=link)


def discussion_is_read(language: Language = EN) -> Marked:
    """What newcomers are told of the discussion room."""
    return say(
        language,
        "In the discussion room you can talk about what is announced. The announcer is in that room, too, so the "
        "service could read what is written there.",
    )
