"""Join requests and suggestions, and how they were decided."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.texts.groups import how_people_come
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, several, with_reason


def explain_ask(language: Language = EN) -> Explained:
    return Explained(say(language, "asks to be let into a group"), "chess")


def asked_for_group(place: str, language: Language = EN) -> Marked:
    return say(
        language, "I have shown the admins that you ask to join {place}, and tell you what they decide.", place=place
    )


def moderator_asked(user: str, place: str, language: Language = EN) -> Marked:
    return say(
        language,
        "{user} asks to join {place}, of which you are a moderator. If you agree, invite them to it in your app; the "
        "admins were asked, too.",
        user=mention(user), place=place,
    )  # fmt: skip


def group_in(group: str, community: str, language: Language = EN) -> Marked:
    """A group as the place that somebody asks to join."""
    return say(language, "{group} in {community}", group=one_line(group, LONGEST_NAME), community=community)


def join_request(
    community: str,
    user: str,
    name: str,
    how: str,
    detail: str,
    groups: Sequence[str],
    words: str = "",
    since: str = "",
    language: Language = EN,
) -> Marked:
    """The facts of a join request: who asks, by which way, and what they wrote.

    Args:
        words: what was written with it by somebody of whom nobody knows that they are the person.
        since: the day since which they are on this server; empty where that is not known.
    """
    lines = [say(language, "{user} asks to join {community}.", user=mention(user), community=community)]
    if name:
        lines.append(say(language, "They call themselves {name}.", name=one_line(name, LONGEST_NAME)))
    if since:
        lines.append(say(language, "They have had their account on this server since {day}.", day=since))
    lines.append(_way(how, detail, language))
    if detail and how != "link":
        lines.append(say(language, "They wrote: “{detail}”", detail=one_line(detail)))
    if words:
        lines.append(say(language, "Written on the join page, by whoever typed this name there: “{words}”",
                         words=one_line(words)))  # fmt: skip
    if groups:
        lines.append(say(language, "They would also be invited to: {groups}.", groups=several(groups)))
    return joined("\n", lines)


def _way(how: str, detail: str, language: Language) -> Marked:
    match how:
        case "knock":
            return say(language, "They knocked.")
        case "ask":
            return say(language, "They are a member, and asked me in a chat.")
        case "link":
            return say(language, "They used the link “{link}”.", link=one_line(detail))
        case _:
            return literal(one_line(how, LONGEST_NAME))


def join_request_open(facts: str, user: str, language: Language = EN) -> Marked:
    """The card of a join request while nobody has decided it."""
    ask = say(
        language,
        "✅ lets them in, ❌ turns them away; whoever decides first decides. "
        "You can also write `!approve {user}` or `!reject {user}` here.",
        user=user,
    )
    return joined("\n", [facts, ask])


def suggestion(community: str, user: str, name: str, kind: str, language: Language = EN) -> Marked:
    """The facts of a suggested group."""
    head = say(
        language, "{user} suggests a group for {community}: “{name}”.",
        user=mention(user), community=community, name=one_line(name, LONGEST_NAME),
    )  # fmt: skip
    return joined(" ", [head, how_people_come(kind, language)])


def suggestion_open(facts: str, user: str, language: Language = EN) -> Marked:
    """The card of a suggested group while nobody has decided it."""
    ask = say(
        language,
        "✅ makes it, with them as its moderator, ❌ declines; whoever decides first decides. "
        "You can also write `!approve {user}` or `!reject {user}` here.",
        user=user,
    )
    return joined("\n", [facts, ask])


def suggestion_waits(user: str, community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The group that {user} suggests for {community} still waits for an answer: react ✅ or ❌ to the card above.",
        user=mention(user), community=community,
    )  # fmt: skip


def group_suggested(name: str, language: Language = EN) -> Marked:
    return say(
        language, "I have shown your suggestion “{name}” to the admins, and tell you what they decide.",
        name=one_line(name, LONGEST_NAME),
    )  # fmt: skip


def answer_to_suggestion(name: str, community: str, state: str, reason: str, language: Language = EN) -> Marked:
    """What somebody is told whose group is not made."""
    words = {"name": one_line(name, LONGEST_NAME), "community": community}
    if state == "expired":
        return say(language, "Nobody answered your suggestion of “{name}” for {community} in time.", **words)
    text = say(language, "Your suggestion of “{name}” for {community} was declined.", **words)
    return with_reason(text, reason, language)


def suggestion_made(name: str, key: str, language: Language = EN) -> Marked:
    return say(
        language,
        "The admins agreed: I make the group “{name}”, and you moderate it. See your invitations; in commands it is "
        "called `{key}`.",
        name=one_line(name, LONGEST_NAME), key=key,
    )  # fmt: skip


def suggestion_failed(name: str, why: str, language: Language = EN) -> Marked:
    return say(
        language, "The group “{name}” was agreed to, and cannot be made: {why}.",
        name=one_line(name, LONGEST_NAME), why=one_line(why),
    )  # fmt: skip


def join_request_decided(facts: str, state: str, by: str, reason: str, language: Language = EN) -> Marked:
    """The card of a join request once it is decided."""
    return joined("\n", [facts, with_reason(_outcome(state, by, language), reason, language)])


def _outcome(state: str, by: str, language: Language) -> Marked:
    match state:
        case "approved":
            return say(language, "✅ Approved by {by}.", by=by_whom(by))
        case "rejected":
            return say(language, "❌ Rejected by {by}.", by=by_whom(by))
        case "withdrawn":
            return say(language, "Withdrawn by {by}.", by=by_whom(by))
        case "closed":
            return say(language, "Closed: {by} has deactivated the community.", by=by_whom(by))
        case _:
            return say(language, "Expired: nobody decided in time.")


def request_decided(user: str, state: str, by: str, reason: str, language: Language = EN) -> Marked:
    text = joined(" ", [mention(user), _outcome(state, by, language)])
    return with_reason(text, reason, language)


def request_waits(user: str, community: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} still waits for an answer to join {community}: react ✅ or ❌ to the card above.",
        user=mention(user), community=community,
    )  # fmt: skip


def requests_waiting(requests: Sequence[str], community: str, language: Language = EN) -> Marked:
    """
    Args:
        requests: the facts of each, as texts of ours.
    """
    if not requests:
        return say(language, "Nobody waits for an answer to join {community}.", community=community)
    return joined("\n\n", list(requests))


def answer_to_request(community: str, state: str, reason: str, hours: int, language: Language = EN) -> Marked:
    """What somebody is told who asked to join. Whoever is let in sees the invitation, too."""
    match state:
        case "approved":
            return say(language, "You may join {community}: see your invitations.", community=community)
        case "rejected":
            text = say(language, "Your request to join {community} was declined.", community=community)
            return with_reason(text, reason, language)
        case "expired":
            return say(
                language, "Nobody answered your request to join {community} in time. You may ask again.",
                community=community,
            )  # fmt: skip
        case "too soon":
            return say_many(
                language,
                "Thank you for asking again. {community} declined a short while ago; you may ask again {count} hour "
                "after that.",
                "Thank you for asking again. {community} declined a short while ago; you may ask again {count} hours "
                "after that.",
                hours,
                community=community,
            )
        case _:
            return say(language, "Your request to join {community} is closed.", community=community)
