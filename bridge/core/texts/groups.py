"""Groups: made, changed, taken in, moved and let go."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, code, with_list


def explain_group_create(language: Language = EN) -> Explained:
    return Explained(
        say(language, "makes a group that you then moderate, or suggests it to the admins"), "--kind request Chess"
    )


def explain_group_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the groups of the community"))


def explain_group_rename(language: Language = EN) -> Explained:
    return Explained(say(language, "gives a group another name"), "chess Chess and Go")


def explain_group_describe(language: Language = EN) -> Explained:
    return Explained(say(language, "gives a group another description"), "chess Tuesdays at four")


def explain_group_picture(language: Language = EN) -> Explained:
    return Explained(
        say(language, "gives a group the picture under which you write it, or that of the message that you answer"),
        "chess",
    )


def group_picture(key: str, removed: bool, language: Language = EN) -> Marked:
    if removed:
        return say(language, "`{key}` has no picture any more.", key=key)
    return say(
        language,
        "`{key}` has a new picture. Pictures of rooms are not encrypted: the homeserver can see it.",
        key=key,
    )


def explain_group_posting(language: Language = EN) -> Explained:
    return Explained(say(language, "says who may post in a group"), "chess moderators")


def explain_group_kind(language: Language = EN) -> Explained:
    return Explained(say(language, "says how people come into a group"), "chess hidden")


def explain_group_archive(language: Language = EN) -> Explained:
    return Explained(say(language, "closes a group: it can be read, and nobody posts any more"), "chess")


def explain_group_unarchive(language: Language = EN) -> Explained:
    return Explained(say(language, "opens an archived group again"), "chess")


def explain_group_release(language: Language = EN) -> Explained:
    return Explained(say(language, "lets a group leave the community, with its own people in charge"), "chess")


def explain_group_move(language: Language = EN) -> Explained:
    return Explained(
        say(language, "moves a group to a community above, below or beside this one; its room and its people stay"),
        "chess year-2",
    )


def group_move_begins(key: str, target: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group `{key}` belongs to {target} now. Who is in it stays in it, and is invited to {target}.",
        key=key,
        target=target,
    )


def group_moved_already(key: str, target: str, language: Language = EN) -> Marked:
    return say(language, "The group `{key}` belongs to {target} already.", key=key, target=target)


def group_moved_away(key: str, target: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group `{key}` belongs to {target} now, as {by} decided. Links lead into it no longer.",
        key=key,
        target=target,
        by=by_whom(by),
    )


def group_moved_here(key: str, source: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group `{key}` came from {source}, as {by} decided. Who is in it is invited to the community.",
        key=key,
        source=source,
        by=by_whom(by),
    )


def group_created(name: str, key: str, kind: str, language: Language = EN) -> Marked:
    head = say(
        language, "I make the group “{name}”; in commands it is called `{key}`.",
        name=one_line(name, LONGEST_NAME), key=key,
    )  # fmt: skip
    return joined(" ", [head, how_people_come(kind, language)])


def how_people_come(kind: str, language: Language) -> Marked:
    match kind:
        case "hidden":
            return say(language, "It is not shown in the space, and people come in by invitation alone.")
        case "request":
            return say(language, "Members see it in the space and can ask to join; its moderators decide.")
        case _:
            return say(language, "Members see it in the space, and can join by themselves.")


def group_kind(key: str, kind: str, language: Language = EN) -> Marked:
    head = say(language, "`{key}` changes its kind; whoever is in it stays in it.", key=key)
    return joined(" ", [head, how_people_come(kind, language)])


def group_posting(key: str, moderators_only: bool, language: Language = EN) -> Marked:
    if moderators_only:
        return say(language, "From now on only moderators and admins post in `{key}`.", key=key)
    return say(language, "From now on everybody in `{key}` may post.", key=key)


def group_changed(key: str, language: Language = EN) -> Marked:
    return say(language, "Done: `{key}` is changed. In commands it is called as before.", key=key)


def group_archived(key: str, language: Language = EN) -> Marked:
    return say(
        language,
        "`{key}` is archived: whoever is in it can read it, and nobody but admins posts. "
        "`group unarchive` opens it again.",
        key=key,
    )


def group_unarchived(key: str, language: Language = EN) -> Marked:
    return say(language, "`{key}` is open again.", key=key)


def release_caution(key: str, heirs: Sequence[str], language: Language = EN) -> Marked:
    head = say(
        language,
        "`{key}` would leave the community for good: I take it out of the space and leave the room. It keeps its "
        "members and messages; people can come in by invitation or as they ask for it. Whoever is removed from the "
        "community later stays in it.",
        key=key,
    )
    if not heirs:
        return head
    people = joined(", ", [mention(user) for user in heirs[:10]])
    return joined(" ", [head, say(language, "In charge of it are then: {people}.", people=people)])


def explain_group_adopt(language: Language = EN) -> Explained:
    return Explained(
        say(language, "makes a group of a room that exists; invite the steward to it first, as an admin"),
        "#chess:example.org",
    )


def adoption_caution(
    name: str,
    key: str,
    kind: str,
    changes: Sequence[str],
    remains: Sequence[str],
    invited: int,
    encrypts: bool,
    language: Language = EN,
) -> Marked:
    """
    Args:
        changes: what would change in the room, in the words of a plan.
        remains: what cannot be as it should, and what helps.
        invited: how many of its members would be invited to the community.
    """
    parts = [
        say(
            language, "“{name}” would become the group `{key}`.",
            name=one_line(name, LONGEST_NAME), key=key,
        ),
        how_people_come(kind, language),
    ]  # fmt: skip
    if invited:
        parts.append(
            say_many(
                language,
                "{count} person in it is not in the community, is invited to it, and leaves the group if they decline.",
                "{count} people in it are not in the community, are invited to it, and leave the group if they "
                "decline.",
                invited,
            )
        )
    text = joined(" ", parts)
    if changes:
        text = joined("\n", [text, with_list(say(language, "In the room I would:"), [*map(literal, changes)])])
    if remains:
        head = say(language, "What I cannot change there, and what helps:")
        text = joined("\n", [text, with_list(head, [*map(literal, remains)])])
    if encrypts:
        text = joined(
            "\n",
            [
                text,
                say(
                    language,
                    "**The room is not encrypted. Your yes encrypts it, and that can never be undone.** What was "
                    "written before stays readable as it was.",
                ),
            ],
        )
    return text


def group_adoption_begins(key: str, language: Language = EN) -> Marked:
    return say(language, "`{key}` is a group of the community now. Its members are being invited.", key=key)


def group_adopted(name: str, key: str, by: str, language: Language = EN) -> Marked:
    return say(
        language, "“{name}” is the group `{key}` now, as {by} decided.",
        name=one_line(name, LONGEST_NAME), key=key, by=by,
    )  # fmt: skip


def group_moved(name: str, key: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "{by} moved the group “{name}” (`{key}`) to another room. I hold that one now, and invite whoever was in the "
        "old one.",
        by=mention(by), name=one_line(name, LONGEST_NAME), key=key,
    )  # fmt: skip


def group_release_begins(key: str, language: Language = EN) -> Marked:
    return say(language, "`{key}` leaves the community; its own people are in charge of it now.", key=key)


def group_released(key: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group `{key}` has left the community, as {by} decided. I am not in it any more.",
        key=key,
        by=by_whom(by),
    )


def group_left_alone(key: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group `{key}` has left the community, as {by} decided. Nobody in it is in charge, so I stay in it and "
        "leave everything as it is: people can go on talking, and nobody can change, invite or remove anything.",
        key=key, by=by,
    )  # fmt: skip


def groups_listed(groups: Sequence[tuple[str, str, str, bool]], community: str, language: Language = EN) -> Marked:
    """
    Args:
        groups: key, name, kind, and whether it is archived.
    """
    if not groups:
        return say(language, "There is no group in {community}.", community=community)
    lines = []
    for key, name, kind, archived in groups:
        line = joined(" – ", [code(key), literal(one_line(name, LONGEST_NAME)), literal(kind)])
        lines.append(joined(", ", [line, say(language, "archived")]) if archived else line)
    return with_list(say(language, "Groups in {community}:", community=community), lines)
