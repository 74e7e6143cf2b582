"""Polls: what they ask, and how people voted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import one_line
from bridge.core.markup import Marked, literal
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import bold


def explain_poll(language: Language = EN) -> Explained:
    return Explained(
        say(
            language,
            "asks everybody something; they vote by reaction, or with `--hidden` on a ballot in their direct chat",
        ),
        "--until 2026-12-24 18:30 When do we meet? | Monday | Tuesday",
    )


def explain_poll_show(language: Language = EN) -> Explained:
    return Explained(say(language, "shows how people voted so far, or in the end"), "#12")


def explain_poll_close(language: Language = EN) -> Explained:
    return Explained(say(language, "ends a poll and announces the result"), "#12")


def explain_poll_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the polls that there were, and which are open"))


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
        one = say(
            language,
            "Votes are secret: I send everybody a ballot in our direct chat. You can also write `vote` and the number "
            "of your choice to me there.",
        )
        more = say(language, "You may choose several.")
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


def ballot(
    community: str,
    number: int,
    question: str,
    options: Sequence[tuple[str, str]],
    multiple: bool,
    closes: str,
    language: Language = EN,
) -> Marked:
    """A ballot of a secret poll, as one person gets it in their chat.

    Args:
        options: of each its sign and its words.
        closes: until when it is open, as people read it; empty where it has no end yet.
    """
    yours = say(language, "This is your ballot for poll #{number} in {community}.", number=number, community=community)
    how = say(language, "Vote by pressing the sign of your choice below.")
    more = (
        say(language, "You may choose several.")
        if multiple
        else say(language, "Each person has one vote; the latest choice counts.")
    )
    lines = [
        joined(" ", [Marked("📊"), bold(one_line(question))]),
        with_options([(sign, words, -1) for sign, words in options], language),
        joined(" ", [yours, how, more]),
    ]
    if closes:
        lines.append(say(language, "Open until {closes}.", closes=closes))
    lines.append(
        say(
            language,
            "No member sees what you press. Whoever runs the server could, since signs are not encrypted: if you mind, "
            "write `vote #{number} 2` to me instead, with the number of your choice.",
            number=number,
        )
    )
    return joined("\n\n", lines)


def ballots_out(number: int, sent: int, waiting: int, missed: int, language: Language = EN) -> Marked:
    """How many people have a ballot.

    Args:
        waiting: were invited to a chat, and have not entered it.
        missed: left, declined the chat, or cannot be invited to one.
    """
    lines = [
        say_many(
            language,
            "Poll #{number}: {count} person has a ballot in their direct chat.",
            "Poll #{number}: {count} people have a ballot in their direct chat.",
            sent,
            number=number,
        )
    ]
    if waiting:
        lines.append(
            say_many(
                language,
                "{count} person was invited to a chat with me, and gets theirs there.",
                "{count} people were invited to a chat with me, and get theirs there.",
                waiting,
            )
        )
    if missed:
        lines.append(
            say_many(
                language, "{count} person cannot be given one.", "{count} people cannot be given one.", missed,
            )
        )  # fmt: skip
    return joined(" ", lines)


def polls_listed(polls: Sequence[Mapping[str, Any]], community: str, language: Language = EN) -> Marked:
    """
    Args:
        polls: each as `app/polling` shows it.
    """
    if not polls:
        return say(language, "There are no polls in {community}.", community=community)
    lines = [say(language, "Polls in {community}, the newest first:", community=community)]
    for one in polls:
        words = bold(one_line(one["question"]))
        said = joined(" ", [Marked(f"#{one['number']}"), words, Marked("–"), _state(one, language)])
        lines.append(Marked(f"- {said}"))
    return joined("\n", lines)


def _state(one: Mapping[str, Any], language: Language) -> Marked:
    if one["withdrawn"]:
        return say(language, "withdrawn")
    if one["native"]:
        return say(language, "open, in a group") if one["open"] else say(language, "ended, in a group")
    if not one["open"]:
        return say_many(language, "ended, {count} person voted", "ended, {count} people voted", one["people"])
    people = say_many(language, "{count} person has voted so far", "{count} people have voted so far", one["people"])
    kind = [say(language, "secret")] if one["hidden"] else []
    until = [say(language, "open until {closes}", closes=one["closes"])] if one["closes"] else [say(language, "open")]
    return joined(", ", [*until, *kind, people])


def native_poll(question: str, options: Sequence[str], closes: str, over: bool, language: Language = EN) -> Marked:
    """A poll of the clients, of which the service sees no votes, as whoever asks is shown it."""
    lines = [
        joined(" ", [Marked("📊"), bold(one_line(question))]),
        joined("\n", [Marked(f"- {literal(one_line(words))}") for words in options]),
        say(
            language,
            "The votes are counted by the apps of those who are in the group, and shown there: I do not read what is "
            "said in groups.",
        ),
    ]
    if over:
        lines.append(native_poll_over(language))
    elif closes:
        lines.append(say(language, "Open until {closes}.", closes=closes))
    return joined("\n\n", lines)


def native_poll_over(language: Language = EN) -> Marked:
    return say(language, "The poll has ended.")


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


def poll_ends(number: int, native: bool, language: Language = EN) -> Marked:
    """
    Args:
        native: whether it is a poll of the clients, which show the result by themselves.
    """
    if native:
        return say(language, "Poll #{number} has ended; apps show the result in the group.", number=number)
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
