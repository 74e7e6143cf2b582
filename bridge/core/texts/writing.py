"""What is said to whoever writes an announcement, before it goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked
from bridge.core.texts.pieces import and_then, local_time, with_list


def draft_shown(
    community: str,
    audience: Sequence[str],
    people: int,
    devices: int,
    ring: bool,
    acknowledge: bool,
    hours: int,
    mark: str = "",
    planned: Mapping[str, Any] | None = None,
    language: Language = EN,
) -> Marked:
    """What stands below an announcement that is shown to whoever writes it.

    Args:
        community: what people call it.
        audience: as `Audience.as_words` gives it.
        devices: how many hold the key by now.
        mark: what stands before commands in this room.
        planned: when it is to go out: `zone` and `runs`, the next of them first (milliseconds since 1970); None for at
            once.
    """
    reached = say_many(language, "reaches {count} person now", "reaches {count} people now", people)
    held = say_many(language, "{count} device has its key", "{count} devices have its key", devices)
    lines = [
        say(language, "to {audience}", audience=_audience(community, audience, language)),
        say(language, "at once, when you agree") if planned is None else _later(planned, language),
        joined("; ", [reached, held]),
    ]
    if ring:
        lines.append(say(language, "it notifies everybody, with `@room`"))
    if acknowledge:
        lines.append(say(language, "it asks everybody to confirm it with ✅"))
    decide = say(
        language,
        "Its author decides: ✅ (or `{mark}yes`) sends it, ✏️ changes the text, ❌ (or `{mark}no`) drops it. "
        "It lapses after {hours} h.",
        mark=mark, hours=hours,
    )  # fmt: skip
    return joined("\n\n", [with_list(say(language, "That is how members will see it:"), lines), decide])


def _later(planned: Mapping[str, Any], language: Language) -> Marked:
    zone, (first, *more) = planned["zone"], planned["runs"]
    when = local_time(first, zone, language)
    text = say(language, "on {when} ({zone}), when you agree", when=when, zone=zone)
    return joined(". ", [text, *and_then(more, zone, language)])


def _audience(community: str, words: Sequence[str], language: Language) -> Marked:
    named = {
        "group": lambda name: say(language, "the group {name}", name=name),
        "community": lambda name: say(language, "everybody in {community}", community=one_line(name)),
        "tag": lambda name: say(language, "everybody with the tag {name}", name=name),
    }
    found = []
    for word in words:
        kind, _, name = word.partition(":")
        whom = named["community"](community) if kind not in named else named[kind](one_line(name))
        found.append(whom)
    return joined(", ", found)


def draft_sent(language: Language = EN) -> Marked:
    return say(language, "✅ Agreed: the announcement is on its way.")


def draft_planned(language: Language = EN) -> Marked:
    return say(language, "✅ Agreed: the announcement goes out at its time.")


def draft_too_late(mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        mark: what stands before commands in this room.
    """
    return say(
        language,
        "Its time has passed meanwhile, so nothing is scheduled. Edit your message to give another time, or drop it "
        "with ❌ (or `{mark}no`).",
        mark=mark,
    )


def draft_dropped(language: Language = EN) -> Marked:
    return say(language, "❌ Dropped: nothing was sent.")


def draft_lapsed(language: Language = EN) -> Marked:
    return say(language, "Nothing was decided in time: nothing was sent, and I have forgotten the text.")


def draft_reworded(language: Language = EN) -> Marked:
    return say(language, "There is a newer wording below.")


def draft_not_shown(language: Language = EN) -> Marked:
    return say(language, "The preview is still on its way. Please decide when you see it.")


def draft_asks_for_words(minutes: int, mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        mark: what stands before commands in this room.
    """
    return say(
        language,
        "What shall it say? Your next message here is the new text, within {minutes} minutes. "
        "With `{mark}no` it stays as it is.",
        minutes=minutes, mark=mark,
    )  # fmt: skip


def draft_words_stay(language: Language = EN) -> Marked:
    return say(language, "The text stays as it is; ✅ and ❌ still decide.")
