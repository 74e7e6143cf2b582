"""Held plans, fights, and what was taken over from people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.texts.pieces import by_whom, with_list
from bridge.core.texts.standing import role_name


def plan_held(
    digest: str, reasons: Iterable[str], community: str, owners: Iterable[str], language: Language = EN
) -> Marked:
    head = say(
        language, "{owners}: the configuration asks for a change that I hold back until an owner agrees:",
        owners=_owners(owners, language),
    )  # fmt: skip
    how = say(
        language, "An owner can agree by writing `!apply {community} {digest}` here, or to me in a direct chat.",
        community=community, digest=digest,
    )  # fmt: skip
    return joined("\n\n", [with_list(head, list(reasons)), how])


def frozen(room: str, community: str, owners: Iterable[str], language: Language = EN) -> Marked:
    how = say(
        language,
        "I have locked it. When this is settled, an owner can write `!thaw {community}` here, "
        "or to me in a direct chat.",
        community=community,
    )
    return joined(" ", [_fight(room, owners, language), how])


def fight_in_the_control_room(room: str, community: str, owners: Iterable[str], language: Language = EN) -> Marked:
    how = say(
        language,
        "I have not locked it, so that you can talk here. Only the service can change this, so "
        "somebody else has its token: tell whoever runs the service. When this is settled, an owner can write "
        "`!thaw {community}` here, or to me in a direct chat.",
        community=community,
    )
    return joined(" ", [_fight(room, owners, language), how])


def _fight(room: str, owners: Iterable[str], language: Language) -> Marked:
    return say(
        language, "{owners}: somebody keeps changing who may do what in “{room}”, and I keep putting it back.",
        owners=_owners(owners, language), room=one_line(room, LONGEST_NAME),
    )  # fmt: skip


def _owners(owners: Iterable[str], language: Language) -> str:
    return ", ".join(sorted(owners)) or say(language, "owners")


def fight_over_profile(room: str, event_type: str, language: Language = EN) -> Marked:
    return say(
        language,
        "Somebody keeps changing {what} of “{room}”, which the configuration holds. I no longer put it back.",
        what=aspect_name(event_type, language), room=one_line(room, LONGEST_NAME),
    )  # fmt: skip


def aspect_name(event_type: str, language: Language = EN) -> Marked:
    """What a piece of a room's profile is called."""
    match event_type:
        case "m.room.name":
            return say(language, "the name")
        case "m.room.topic":
            return say(language, "the description")
        case _:
            return say(language, "the picture")


def redacted_post(sender: str, room: str, why: str, language: Language = EN) -> Marked:
    return say(
        language,
        "I take back what {sender} wrote in “{room}”: {why}.",
        sender=mention(sender),
        room=room,
        why=Marked(why),
    )


def role_taken_over(user: str, role: Role, by: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} is now {role}, as {by} decided.",
        user=mention(user), role=role_name(role, language), by=by_whom(by),
    )  # fmt: skip


def role_put_back(user: str, role: Role, by: str, key: str, language: Language = EN) -> Marked:
    return say(
        language,
        "{by} made {user} {role} in the space, but `{key}` in the configuration decides that, so I put it back. "
        "Change it there, or ask whoever runs the service.",
        user=mention(user), role=role_name(role, language), by=by_whom(by), key=key,
    )  # fmt: skip


def report(lines: Sequence[str]) -> Marked:
    """What a look at a community found, in the operator's words."""
    return joined("\n", [Marked(f"- {literal(line)}") for line in lines])


def fallback_owner(user: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} is owner now, as the configuration has it for when all owners are gone.", user=mention(user)
    )


def which_plan(community: str, held: str, language: Language = EN) -> Marked:
    return say(
        language, "To carry out the change that waits, write exactly: `apply {community} {held}`",
        community=community, held=held,
    )  # fmt: skip


def apply_caution(community: str, reasons: Sequence[str], language: Language = EN) -> Marked:
    head = say(
        language, "In {community} I would now carry out the change that was held back. It was held back since:",
        community=community,
    )  # fmt: skip
    return with_list(head, list(reasons))


def applied(failures: Iterable[str], language: Language = EN) -> Marked:
    """What came of an owner's word."""
    lines = list(failures)
    if not lines:
        return say(language, "Done: the change was carried out.")
    return with_list(say(language, "Most of it is done, but not this:"), lines)


def thawed(language: Language = EN) -> Marked:
    return say(language, "The lock is lifted.")


def nothing_held(language: Language = EN) -> Marked:
    return say(language, "No change is waiting for you.")


def only_admins_post(language: Language = EN) -> Marked:
    return say(language, "only admins post in this room")


def not_entitled(language: Language = EN) -> Marked:
    return say(language, "they may not change that in this room")


def long_reaction(language: Language = EN) -> Marked:
    return say(language, "reactions and reasons in this room are short")
