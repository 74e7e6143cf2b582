"""How communities stand, and who is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import Any

from bridge.core import moments
from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.texts.pieces import the_operator, with_list


def role_name(role: Role, language: Language = EN) -> Marked:
    match role:
        case Role.OWNER:
            return say(language, "owner")
        case Role.ADMIN:
            return say(language, "admin")
        case Role.MODERATOR:
            return say(language, "moderator")
        case Role.MEMBER:
            return say(language, "member")


def _role_count(word: str, count: int, language: Language) -> Marked:
    match word:
        case "owner":
            return say_many(language, "{count} owner", "{count} owners", count)
        case "admin":
            return say_many(language, "{count} admin", "{count} admins", count)
        case "moderator":
            return say_many(language, "{count} moderator", "{count} moderators", count)
        case _:
            return say_many(language, "{count} member", "{count} members", count)


def status(community: Mapping[str, Any], language: Language = EN) -> Marked:
    """How a community stands, for its owners and admins (the JSON of `status` as words)."""
    members = community["members"]
    total = sum(members.values())
    roles = joined(", ", [_role_count(word, count, language) for word, count in members.items() if count])
    people = say_many(language, "{count} person", "{count} people", total)
    if roles:
        people = Marked(f"{people} ({roles})")
    rooms = say_many(language, "{count} room", "{count} rooms", len(community["rooms"]))
    name = literal(one_line(community["name"], LONGEST_NAME))
    lines = [Marked(f"**{name}** ({literal(community['id'])}): {people}, {rooms}.")]
    if community.get("parent"):
        lines.append(say(language, "It is part of {parent}.", parent=community["parent"]))
    if community.get("held"):
        lines.append(
            say(
                language,
                "A change waits for an owner: `apply {community} {held}`.",
                community=community["id"],
                held=community["held"],
            )
        )
    if community["drift"]:
        found = [one_line(line) for line in community["drift"]]
        lines.append(with_list(say(language, "Not as it should be:"), found))
    else:
        lines.append(say(language, "Everything is as it should be."))
    return joined("\n", lines)


def members(
    community: str, total: int, people: Sequence[Mapping[str, Any]], matching: int, language: Language = EN
) -> Marked:
    """Who is in a community: one line a person.

    Args:
        total: how many people are in it.
        people: as many as are shown, as `app/roster` gives them.
        matching: how many there are to be shown.
    """
    head = say_many(
        language, "{count} person is in {community}.", "{count} people are in {community}.", total, community=community
    )
    if matching != total:
        head = joined(" ", [head, say_many(language, "{count} matches:", "{count} match:", matching)])
    text = with_list(head, [person_line(person, language) for person in people])
    if len(people) < matching:
        more = say_many(
            language, "… and {count} more. Narrow it down with a word: `members <filter>`.",
            "… and {count} more. Narrow it down with a word: `members <filter>`.", matching - len(people),
        )  # fmt: skip
        text = joined("\n", [text, more])
    return text


def person_line(person: Mapping[str, Any], language: Language = EN) -> Marked:
    """One person as a line: who, role, groups."""
    groups = f" · {joined(', ', list(person['groups']))}" if person["groups"] else ""
    tags = f" · {_tags(person['tags'])}" if person["tags"] else ""
    what = invited_word(language) if person["state"] == "invite" else role_name(person["role"], language)
    return Marked(f"{mention(person['user'])}: {what}{groups}{tags}")


def _tags(names: Sequence[str]) -> Marked:
    return joined(" ", [literal(f"#{name}") for name in names])


def invited_word(language: Language = EN) -> Marked:
    """What somebody is who has an invitation and has not answered it."""
    return say(language, "invited")


def who(person: Mapping[str, Any], community: str, language: Language = EN, zone: tzinfo = UTC) -> Marked:
    """What somebody is in a community: role, groups, tags, since when, and by whom they came."""
    lines = [person_line({**person, "groups": (), "tags": ()}, language)]
    state = person["state"]
    if state != "join":
        lines = [_not_in(person, community, language)]
    if person["groups"]:
        lines.append(say(language, "Groups: {groups}", groups=joined(", ", list(person["groups"]))))
    if person["moderates"]:
        lines.append(say(language, "Moderates: {groups}", groups=joined(", ", list(person["moderates"]))))
    if person["tags"]:
        lines.append(say(language, "Tags: {tags}", tags=_tags(person["tags"])))
    if person["since"] is not None:
        lines.append(say(language, "Here since {time}", time=moments.shown(person["since"], zone)))
    if person["how"]:
        lines.append(_origin(person, language))
    return joined("\n", lines)


def _origin(person: Mapping[str, Any], language: Language) -> Marked:
    by = literal(person["by"]) if person["by"].startswith("@") else the_operator(language)
    match person["how"]:
        case "link":
            return say(language, "Came by the link `{link}`, which {by} made", link=person["detail"], by=by)
        case "request":
            return say(language, "Asked to join, and was let in by {by}", by=by)
        case "configuration":
            return say(language, "Named in the configuration")
        case _:
            return say(language, "Invited by {by}", by=by)


def members_file(count: int, language: Language = EN) -> Marked:
    """What is answered where the table comes as a file."""
    return say_many(language, "Here is the table, of {count} person:", "Here is the table, of {count} people:", count)


def _not_in(person: Mapping[str, Any], community: str, language: Language) -> Marked:
    user = mention(person["user"])
    match person["state"]:
        case "invite":
            return say(language, "{user} is invited to {community}.", user=user, community=community)
        case "ban":
            return say(language, "{user} is banned from {community}.", user=user, community=community)
        case "knock":
            return say(language, "{user} asks to enter {community}.", user=user, community=community)
        case _:
            return say(language, "{user} is not in {community}.", user=user, community=community)
