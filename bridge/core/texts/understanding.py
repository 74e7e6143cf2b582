"""What was not understood, and what is not allowed."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.pieces import code, several, with_list


def not_understood(word: str, nearest: Sequence[str] = (), mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        mark: what stands before commands in this room.
    """
    word = one_line(word, 40)
    if not word:
        return say(language, "Write `{mark}help` to see what you can ask of me.", mark=mark)
    if nearest:
        names = joined(", ", [code(mark + name) for name in nearest])
        return say(
            language, "I do not know “{word}”. Did you mean {names}? Write `{mark}help` to see what you can ask of me.",
            word=word, names=names, mark=mark,
        )  # fmt: skip
    return say(
        language, "I do not know “{word}”. Write `{mark}help` to see what you can ask of me.", word=word, mark=mark
    )


def missing(argument: str, form: str, example: str, language: Language = EN) -> Marked:
    return say(
        language, "Something is missing: `{argument}`. Write it like this: `{form}` – for example `{example}`.",
        argument=argument, form=form, example=one_line(example),
    )  # fmt: skip


def wrong(
    argument: str, given: str, choices: Sequence[str], nearest: str | None, form: str, language: Language = EN
) -> Marked:
    given = one_line(given, LONGEST_NAME)
    text = say(language, "“{given}” is not what I expected as `{argument}`.", given=given, argument=argument)
    if nearest is not None:
        text = joined(" ", [text, say(language, "Did you mean `{nearest}`?", nearest=nearest)])
    elif choices:
        text = joined(" ", [text, say(language, "It can be: {choices}.", choices=several(choices))])
    return joined(" ", [text, say(language, "The form is `{form}`.", form=form)])


def too_much(given: str, form: str, language: Language = EN) -> Marked:
    return say(
        language, "I did nothing, since I do not know what “{given}” means there. The form is `{form}`.",
        given=one_line(given, LONGEST_NAME), form=form,
    )  # fmt: skip


def which_community(communities: Sequence[str], form: str, language: Language = EN) -> Marked:
    return say(
        language, "Which community do you mean: {communities}? Write it like this: `{form}`.",
        communities=several(communities), form=form,
    )  # fmt: skip


def unknown_community(name: str, may: Sequence[str], nearest: str | None = None, language: Language = EN) -> Marked:
    """Also where there is one of that name in which the person may not do it: that it exists is not told."""
    text = say(language, "I know no community “{name}” in which you may do that.", name=one_line(name, LONGEST_NAME))
    if nearest is not None:
        return joined(" ", [text, say(language, "Did you mean `{nearest}`?", nearest=nearest)])
    if may:
        return joined(" ", [text, say(language, "You can do it in: {communities}.", communities=several(may))])
    return text


def unclear_community(word: str, readings: Sequence[str], language: Language = EN) -> Marked:
    """
    Args:
        readings: the commands that can be meant, with their community before a colon.
    """
    head = say(
        language,
        "I did nothing yet: “{word}” is the name of a community, and can be the beginning of your text, too. "
        "Put the community before a colon, so that I know what you mean:",
        word=one_line(word, LONGEST_NAME),
    )
    return with_list(head, [code(reading) for reading in readings])


def not_allowed(needed: Role, language: Language = EN) -> Marked:
    if needed is Role.OWNER:
        return say(language, "Only an owner of a community can do that, and you are an owner of none.")
    if needed is Role.MODERATOR:
        return say(
            language,
            "Only owners and admins of a community and moderators of its groups can do that, and you are none of them.",
        )
    return say(language, "Only owners and admins of a community can do that, and you are not one of them.")


def refused(where: str, what: str, remedy: str) -> Marked:
    """A rule of ours said no, in the words of the error."""
    remedy = remedy[:1].upper() + remedy[1:]
    text = f"{where}: {what}. {remedy}" if where else f"{what}. {remedy}"
    text = text.rstrip(". ")
    return literal(text if text.endswith(("?", "!")) else f"{text}.")
