"""What is asked before what cannot be undone."""

from __future__ import annotations

from bridge.core.languages import EN, Language, joined, say
from bridge.core.markup import Marked


def please_confirm(what: str, minutes: int, mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        what: what will happen, as a text of ours.
        mark: what stands before commands in this room.
    """
    ask = say(
        language, "Write `{mark}yes` within {minutes} minutes if you want that, or `{mark}no`.",
        mark=mark, minutes=minutes,
    )  # fmt: skip
    return joined("\n\n", [Marked(what), ask])


def nothing_to_confirm(language: Language = EN) -> Marked:
    return say(
        language, "There is nothing that waits for your word. What I asked more than ten minutes ago has lapsed."
    )


def dropped(language: Language = EN) -> Marked:
    return say(language, "I leave it.")
