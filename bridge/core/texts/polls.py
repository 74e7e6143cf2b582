"""Polls: what they ask, and how people voted."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import bold


def explain_poll(language: Language = EN) -> Explained:
    return Explained(
        say(language, "asks everybody something; they vote by reaction, or with `--hidden` in a direct chat"),
        "--until 2026-12-24 18:30 When do we meet? | Monday | Tuesday",
    )


def explain_poll_show(language: Language = EN) -> Explained:
    return Explained(say(language, "shows how people voted so far, or in the end"), "#12")


def explain_poll_close(language: Language = EN) -> Explained:
    return Explained(say(language, "ends a poll and announces the result"), "#12")


def explain_vote(language: Language = EN) -> Explained:
    return Explained(say(language, "votes in a secret poll, by the number of your choice"), "#12 2")


def poll(
    question: str,
    options: Sequence[tuple[str, str, int]],
    multiple: bool,
    hidden: bool,
    closes: str,
    people: int,
    closed: bool,
    language: Language = EN,
) -> Marked:
    """A poll as it stands in the announcement room.

    Args:
        options: of each its sign, its words, and how many chose it; -1 where that is not shown.
        closes: until when it is open, as people read it; empty where it has no end yet.
        people: how many voted; -1 where that is not shown.
    """
    head = joined(" ", [Marked("📊"), bold(one_line(question))])
    lines = [head, with_options(options, language)]
    if closed:
        lines.append(_in_the_end(people, language))
    else:
        lines.append(_how(multiple, hidden, language))
        if closes:
            lines.append(say(language, "Open until {closes}.", closes=closes))
        if people >= 0:
            lines.append(_so_far(people, language))
    return joined("\n\n", lines)


def with_options(options: Sequence[tuple[str, str, int]], language: Language) -> Marked:
    lines = []
    for sign, words, count in options:
        option = joined(" ", [Marked(sign), literal(one_line(words))]) if words else Marked(sign)
        votes = [] if count < 0 else [say_many(language, "{count} vote", "{count} votes", count)]
        lines.append(joined(" – ", [option, *votes]))
    return joined("\n", [Marked(f"- {line}") for line in lines])


def _how(multiple: bool, hidden: bool, language: Language) -> Marked:
    if hidden:
        one = say(language, "Votes are secret: write `vote` and the number of your choice to me in a direct chat.")
        more = say(language, "You may choose several: `vote 1 3`.")
    else:
        one = say(language, "Vote by pressing the sign of your choice below.")
        more = say(language, "You may choose several.")
    if multiple:
        return joined(" ", [one, more])
    return joined(" ", [one, say(language, "Each person has one vote; the latest choice counts.")])


def _so_far(people: int, language: Language) -> Marked:
    return say_many(language, "{count} person has voted so far.", "{count} people have voted so far.", people)


def _in_the_end(people: int, language: Language) -> Marked:
    return say_many(
        language, "The poll has ended. {count} person voted.", "The poll has ended. {count} people voted.", people
    )


def poll_result(
    question: str, options: Sequence[tuple[str, str, int]], leading: Sequence[str], people: int, language: Language = EN
) -> Marked:
    """What is announced when a poll has ended.

    Args:
        leading: the words of the options that most people chose.
    """
    head = joined(" ", [Marked("📊"), say(language, "The result of a poll:"), bold(one_line(question))])
    lines = [head, with_options(options, language)]
    if not leading:
        lines.append(say(language, "Nobody voted."))
    else:
        most = joined(", ", [bold(one_line(words)) for words in leading])
        lines.append(
            say_many(
                language,
                "Most votes: {leading}. {count} person voted.",
                "Most votes: {leading}. {count} people voted.",
                people,
                leading=most,
            )
        )
    return joined("\n\n", lines)


def poll_taken(community: str, closes: str, language: Language = EN) -> Marked:
    """
    Args:
        closes: until when it is open, as people read it; empty where it has no end yet.
    """
    taken = say(language, "Your poll goes to {community}. I tell you when it is there.", community=community)
    if closes:
        return joined(" ", [taken, say(language, "It is open until {closes}.", closes=closes)])
    return joined(" ", [taken, say(language, "`poll close` and its number ends it.")])


def poll_ends(number: int, language: Language = EN) -> Marked:
    return say(language, "Poll #{number} has ended; the result is announced in a moment.", number=number)


def vote_taken(number: int, chosen: Sequence[str], language: Language = EN) -> Marked:
    """
    Args:
        chosen: the options that they chose, as they are shown.
    """
    return say(
        language,
        "You voted in poll #{number}: {chosen}. Write again to change it.",
        number=number,
        chosen=joined(", ", list(chosen)),
    )
