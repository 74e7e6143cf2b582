"""What can be asked of the announcer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say
from bridge.core.markup import Marked
from bridge.core.texts.pieces import bold, code, several, with_list


@dataclass(frozen=True, slots=True)
class Explained:
    """What a command is for, and what may stand behind its name (and community)."""

    purpose: str
    example: str = ""


def help_list(
    commands: Iterable[tuple[str, str]], communities: Sequence[str], mark: str = "", language: Language = EN
) -> Marked:
    """What somebody may ask.

    Args:
        commands: the form of each command, and what it is for.
        mark: what stands before commands in this room.
    """
    lines = [joined(" – ", [code(mark + form), purpose]) for form, purpose in commands]
    head = with_list(say(language, "You can write to me:"), lines)
    tail = say(language, "Write `{mark}help` and a command or word of these to see more.", mark=mark)
    if communities:
        tail = joined(
            " ", [tail, say(language, "Your communities here: {communities}.", communities=several(communities))]
        )
    return joined("\n\n", [head, tail])


def help_one(
    form: str, purpose: str, example: str, names: Sequence[str], needed: Role, confirmed: bool, mark: str = "",
    language: Language = EN,
) -> Marked:  # fmt: skip
    """One command.

    Args:
        mark: what stands before commands in this room.
    """
    lines = [
        joined(" – ", [bold(mark + form), purpose]),
        say(language, "For example: `{mark}{example}`", mark=mark, example=example),
    ]
    if names:
        lines.append(say(language, "It is also called: {names}", names=joined(", ", [code(name) for name in names])))
    if needed is Role.OWNER:
        lines.append(say(language, "Only owners can do this."))
    elif needed is Role.ADMIN:
        lines.append(say(language, "Owners and admins can do this."))
    if confirmed:
        lines.append(say(language, "I ask for your `{mark}yes` before I do it.", mark=mark))
    return joined("\n", lines)


def explain_help(language: Language = EN) -> Explained:
    return Explained(say(language, "shows what you can ask of me"), "status")


def explain_status(language: Language = EN) -> Explained:
    return Explained(say(language, "shows how your communities stand"))


def explain_announce(language: Language = EN) -> Explained:
    return Explained(
        say(
            language,
            "sends your text, or what you answer, to everybody or to whom `--to` names",
        ),
        say(language, "There is no school tomorrow."),
    )


def explain_apply(language: Language = EN) -> Explained:
    return Explained(say(language, "carries out a change that was held back"))


def explain_thaw(language: Language = EN) -> Explained:
    return Explained(say(language, "lifts a lock after a dispute over settings"))


def explain_members(language: Language = EN) -> Explained:
    return Explained(say(language, "shows who is in the community, or who matches a word"), "csv teacher")


def explain_who(language: Language = EN) -> Explained:
    return Explained(say(language, "shows what somebody is in the community"), "@homer:example.org")


def explain_yes(language: Language = EN) -> Explained:
    return Explained(say(language, "confirms what I have asked you about"))


def explain_no(language: Language = EN) -> Explained:
    return Explained(say(language, "drops what I have asked you about"))
