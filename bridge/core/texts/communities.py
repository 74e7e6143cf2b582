"""Communities within communities, what people set, and how a community ends."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.languages import EN, Language, joined, say
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import code, several, with_list


def explain_subcommunity_create(language: Language = EN) -> Explained:
    return Explained(say(language, "makes a community within this one, such as a year or a department"), "Year 1")


def explain_subcommunity_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the communities within this one"))


def explain_subcommunity_move(language: Language = EN) -> Explained:
    return Explained(say(language, "has this community stand within another; its people stay"), "year-2")


def explain_subcommunity_rename(language: Language = EN) -> Explained:
    return Explained(say(language, "gives this community another name"), "Year 1")


def subcommunity_created(name: str, key: str, parent: str, language: Language = EN) -> Marked:
    return say(
        language,
        "I make “{name}” within {parent}; in commands it is called `{key}`. Whoever is an admin of {parent} is one of "
        "it, too; others are invited to it with `invite {key} @name`.",
        name=one_line(name, LONGEST_NAME),
        key=key,
        parent=parent,
    )


def subcommunity_moved(key: str, parent: str, language: Language = EN) -> Marked:
    return say(
        language,
        "`{key}` stands within {parent} from now on. Its people stay, and are members of {parent}, too.",
        key=key,
        parent=parent,
    )


def subcommunities_listed(found: Sequence[tuple[str, str, int]], language: Language = EN) -> Marked:
    """
    Args:
        found: id, name and depth of a community and of those within it, which is all there is of the first.
    """
    lines = [
        joined(" – ", [literal("· " * depth + key), literal(one_line(name, LONGEST_NAME))])
        for key, name, depth in found[1:]
    ]
    head = found[0][0] if found else ""
    if not lines:
        return say(language, "There is no community within {community}.", community=head)
    return with_list(say(language, "Communities within {community}:", community=head), lines)


def explain_about(language: Language = EN) -> Explained:
    return Explained(say(language, "shows how the community is set up, and what the configuration decides"))


def explain_set(language: Language = EN) -> Explained:
    return Explained(
        say(language, "changes the name, the rules, the language and other settings of the community"),
        "rules Be kind to each other.",
    )


def explain_reset(language: Language = EN) -> Explained:
    return Explained(say(language, "takes back what was set"), "welcome")


def explain_community_picture(language: Language = EN) -> Explained:
    return Explained(
        say(language, "gives the community the picture under which you write it, or that of the message you answer")
    )


def community_picture(removed: bool, language: Language = EN) -> Marked:
    if removed:
        return say(language, "The community has no picture any more.")
    return say(
        language, "The community has a new picture. Pictures of rooms are not encrypted: the homeserver can see it."
    )


def explain_deactivate(language: Language = EN) -> Explained:
    return Explained(
        say(language, "ends the community: its groups go on by themselves, and announcements can only be read"),
        "Springfield School",
    )


def setting_name(key: str, language: Language = EN) -> Marked:
    """What can be set, as people call it.

    Args:
        key: its name in the configuration.
    """
    match key:
        case "name":
            return say(language, "name")
        case "description":
            return say(language, "description")
        case "avatar":
            return say(language, "picture")
        case "welcome":
            return say(language, "welcome")
        case "rules":
            return say(language, "rules")
        case "rules_required":
            return say(language, "newcomers have to agree to the rules")
        case "language":
            return say(language, "language")
        case "timezone":
            return say(language, "time zone")
        case "join":
            return say(language, "how people enter")
        case "groups_by":
            return say(language, "who makes groups")
        case _:
            return _switch_name(key, language)


def _switch_name(key: str, language: Language) -> Marked:
    match key:
        case "discussion":
            return say(language, "announcements have threads in a discussion room")
        case "reach_names":
            return say(language, "admins see who has read announcements")
        case _:
            return say(language, "members may invite")


def setting_changed(key: str, language: Language = EN) -> Marked:
    return say(language, "Done: “{what}” is changed. The rooms follow.", what=setting_name(key, language))


def setting_reset(key: str, language: Language = EN) -> Marked:
    return say(language, "Done: “{what}” is as if nobody had set it.", what=setting_name(key, language))


def settings_shown(community: str, settings: Sequence[tuple[str, str, bool]], language: Language = EN) -> Marked:
    """
    Args:
        settings: name in the configuration, what it is (empty where nothing), and whether the configuration decides it.
    """
    lines = []
    for key, value, declared in settings:
        shown = literal(one_line(value, 200)) if value else say(language, "nothing")
        line = joined(": ", [setting_name(key, language), shown])
        if declared:
            line = joined(" ", [line, say(language, "(decided by {key} in the configuration)", key=code(key))])
        lines.append(line)
    return with_list(say(language, "How {community} is set up:", community=community), lines)


def deactivate_caution(name: str, form: str, alone: Sequence[str], language: Language = EN) -> Marked:
    """What somebody is told who would end a community, before they typed its name.

    Args:
        form: what they have to write.
        alone: groups in which nobody would be in charge.
    """
    parts = [
        say(
            language,
            "“{name}” would end. Its groups go on by themselves, with their moderators and admins in charge. "
            "Announcements can be read, and nobody writes any more. Invite links stop working, requests are closed, "
            "and nobody is invited or removed by me any more. Whoever runs the service can begin the community again, "
            "but not bring the groups back.",
            name=name,
        )
    ]
    if alone:
        groups = several(alone)
        parts.append(
            say(
                language,
                "Nobody would be in charge of: {groups}. Make somebody a moderator there first, if that shall not be.",
                groups=groups,
            )
        )
    parts.append(say(language, "If you are certain, write: {form}", form=code(form)))
    return joined("\n\n", parts)


def deactivation_begins(name: str, language: Language = EN) -> Marked:
    return say(language, "“{name}” ends now. The control room will say when everything is done.", name=name)


def deactivated(name: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "“{name}” is deactivated, as {by} decided. Announcements can be read, and nobody writes any more. Its groups "
        "go on by themselves. I do nothing here any more.",
        name=name, by=by,
    )  # fmt: skip


def closed_name(name: str, language: Language = EN) -> Marked:
    """What the space of a community is called that has ended."""
    return say(language, "{name} (deactivated)", name=name)


def closed_topic(day: str, language: Language = EN) -> Marked:
    """
    Args:
        day: when it ended, as `2026-11-26`.
    """
    return say(
        language,
        "This community was deactivated on {day}. Its groups go on by themselves; what was announced can still be "
        "read.",
        day=day,
    )


def closed_to_newcomers(language: Language = EN) -> Marked:
    return say(language, "The community has ended.")
