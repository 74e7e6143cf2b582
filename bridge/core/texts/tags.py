"""Marks of members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.markup import Marked, mention
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import code, with_list


def explain_tag(language: Language = EN) -> Explained:
    return Explained(say(language, "marks people with a word, to find them by it"), "@edna:example.org teacher")


def explain_untag(language: Language = EN) -> Explained:
    return Explained(say(language, "takes a tag from people"), "@edna:example.org teacher")


def explain_tags(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the tags that there are"))


def tagged(users: Sequence[str], tag: str, give: bool, language: Language = EN) -> Marked:
    """
    Args:
        give: whether they were given it; else it was taken from them.
    """
    people = joined(", ", [mention(user) for user in users])
    if give:
        return say(language, "Tagged `{tag}`: {people}.", tag=tag, people=people)
    return say(language, "No longer tagged `{tag}`: {people}.", tag=tag, people=people)


def tags_listed(tags: Sequence[Mapping[str, Any]], community: str, language: Language = EN) -> Marked:
    """
    Args:
        tags: of each `name`, how many `people` carry it, and whether it is `declared`.
    """
    if not tags:
        return say(language, "Nobody in {community} has a tag.", community=community)
    lines = []
    for tag in tags:
        count = say_many(language, "{count} person", "{count} people", tag["people"])
        line = joined(" – ", [code(tag["name"]), count])
        lines.append(joined(", ", [line, say(language, "by the configuration")]) if tag["declared"] else line)
    return with_list(say(language, "Tags in {community}:", community=community), lines)
