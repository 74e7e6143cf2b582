"""Every sentence that is shown to people on Matrix, in the languages that we speak.

A function gives one text, in the markup of `core/markup`. What others wrote comes in as an argument of `say`, which
quotes it. The sentences in English stand here, those in other languages in `core/locale`; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.core.community import Role
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention

# --- chats ----------------------------------------------------------------------------------------------------------


def greeting(language: Language = EN) -> Marked:
    return say(
        language,
        "Hello! I am the announcer. I carry announcements into the communities on this server.\n"
        "Write `help` to see what you can ask of me.",
    )


def encrypted_only(language: Language = EN) -> Marked:
    return say(language, "I only talk in encrypted chats of two. Please start a new chat with me, with encryption on.")


def two_only(language: Language = EN) -> Marked:
    return say(language, "I only talk in chats of two, so I leave this one.")


def unreadable(language: Language = EN) -> Marked:
    return say(
        language,
        "I could not read your message: its key did not reach me. Please send it again; "
        "if that does not help, restart your app.",
    )


def stranger(language: Language = EN) -> Marked:
    """For somebody who is in no community."""
    return say(
        language,
        "Hello! I carry announcements for the communities on this server. You are in none of them, so there is nothing "
        "that I can do for you here. If you should be in one, please ask whoever invited you.",
    )


def ended(name: str, language: Language = EN) -> Marked:
    """For somebody who is in no community any more, since theirs was deactivated."""
    return say(
        language,
        "Hello! “{name}” has ended: it was deactivated. Past announcements can still be read, and you are in no other "
        "community that I carry announcements for, so there is nothing that I can do for you here.",
        name=name,
    )


def too_fast(language: Language = EN) -> Marked:
    return say(language, "That is more than I can keep up with. Please wait a minute, and then write again.")


# --- understanding --------------------------------------------------------------------------------------------------


def not_understood(word: str, nearest: Sequence[str] = (), mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        mark: what stands before commands in this room.
    """
    word = one_line(word, 40)
    if not word:
        return say(language, "Write `{mark}help` to see what you can ask of me.", mark=mark)
    if nearest:
        names = joined(", ", [_code(mark + name) for name in nearest])
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
        text = joined(" ", [text, say(language, "It can be: {choices}.", choices=_several(choices))])
    return joined(" ", [text, say(language, "The form is `{form}`.", form=form)])


def too_much(given: str, form: str, language: Language = EN) -> Marked:
    return say(
        language, "I did nothing, since I do not know what “{given}” means there. The form is `{form}`.",
        given=one_line(given, LONGEST_NAME), form=form,
    )  # fmt: skip


def which_community(communities: Sequence[str], form: str, language: Language = EN) -> Marked:
    return say(
        language, "Which community do you mean: {communities}? Write it like this: `{form}`.",
        communities=_several(communities), form=form,
    )  # fmt: skip


def unknown_community(name: str, may: Sequence[str], nearest: str | None = None, language: Language = EN) -> Marked:
    """Also where there is one of that name in which the person may not do it: that it exists is not told."""
    text = say(language, "I know no community “{name}” in which you may do that.", name=one_line(name, LONGEST_NAME))
    if nearest is not None:
        return joined(" ", [text, say(language, "Did you mean `{nearest}`?", nearest=nearest)])
    if may:
        return joined(" ", [text, say(language, "You can do it in: {communities}.", communities=_several(may))])
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
    return _with_list(head, [_code(reading) for reading in readings])


def not_allowed(needed: Role, language: Language = EN) -> Marked:
    if needed is Role.OWNER:
        return say(language, "Only an owner of a community can do that, and you are an owner of none.")
    return say(language, "Only owners and admins of a community can do that, and you are not one of them.")


def refused(where: str, what: str, remedy: str) -> Marked:
    """A rule of ours said no, in the words of the error."""
    remedy = remedy[:1].upper() + remedy[1:]
    text = f"{where}: {what}. {remedy}" if where else f"{what}. {remedy}"
    return literal(text.rstrip(". ") + ".")


# --- help -----------------------------------------------------------------------------------------------------------


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
    lines = [joined(" – ", [_code(mark + form), purpose]) for form, purpose in commands]
    head = _with_list(say(language, "You can write to me:"), lines)
    tail = say(language, "Write `{mark}help` and a command to see an example.", mark=mark)
    if communities:
        tail = joined(
            " ", [tail, say(language, "Your communities here: {communities}.", communities=_several(communities))]
        )
    return joined("\n\n", [head, tail])


def help_family(word: str, names: Sequence[str], mark: str = "", language: Language = EN) -> Marked:
    """What stands for commands with the same first word.

    Args:
        mark: what stands before commands in this room.
    """
    return say(language, "{names}; `{mark}help {word}` says more", names=", ".join(names), word=word, mark=mark)


def help_nothing(language: Language = EN) -> Marked:
    """For members: they are in a community, and there is nothing to be asked for."""
    return say(
        language,
        "I carry announcements. Owners and admins of a community can write to me here; you are neither, "
        "so there is nothing for you to do: announcements reach you in the announcement room.",
    )


def help_one(
    form: str, purpose: str, example: str, names: Sequence[str], needed: Role, confirmed: bool, mark: str = "",
    language: Language = EN,
) -> Marked:  # fmt: skip
    """One command.

    Args:
        mark: what stands before commands in this room.
    """
    lines = [
        joined(" – ", [_bold(mark + form), purpose]),
        say(language, "For example: `{mark}{example}`", mark=mark, example=example),
    ]
    if names:
        lines.append(say(language, "It is also called: {names}", names=joined(", ", [_code(name) for name in names])))
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
        say(language, "sends your text to everybody in the community"),
        say(language, "There is no school tomorrow."),
    )


def explain_apply(language: Language = EN) -> Explained:
    return Explained(say(language, "carries out a change that was held back"))


def explain_thaw(language: Language = EN) -> Explained:
    return Explained(say(language, "lifts a lock after a dispute over settings"))


def explain_members(language: Language = EN) -> Explained:
    return Explained(
        say(language, "shows who is in the community, or who matches a word; with `csv` as a file"), "csv teacher"
    )


def explain_who(language: Language = EN) -> Explained:
    return Explained(say(language, "shows what somebody is in the community"), "@homer:example.org")


def explain_yes(language: Language = EN) -> Explained:
    return Explained(say(language, "confirms what I have asked you about"))


def explain_no(language: Language = EN) -> Explained:
    return Explained(say(language, "drops what I have asked you about"))


# --- confirmation ---------------------------------------------------------------------------------------------------


def please_confirm(what: str, minutes: int, mark: str = "", language: Language = EN) -> Marked:
    """
    Args:
        what: what will happen, as a text of ours.
        mark: what stands before commands in this room.
    """
    ask = say(
        language, "Write `{mark}yes` within {minutes} minutes if you want that, or `{mark}no`.",
        mark=mark, minutes=minutes,
    )  # fmt: skip
    return joined("\n\n", [Marked(what), ask])


def nothing_to_confirm(language: Language = EN) -> Marked:
    return say(
        language, "There is nothing that waits for your word. What I asked more than ten minutes ago has lapsed."
    )


def dropped(language: Language = EN) -> Marked:
    return say(language, "I leave it.")


# --- announcements --------------------------------------------------------------------------------------------------


def announced(community: str, devices: int, unreached: int = 0, language: Language = EN) -> Marked:
    can = say_many(
        language,
        "Sent to {community}. {count} device can read it.",
        "Sent to {community}. {count} devices can read it.",
        devices,
        community=community,
    )
    if not unreached:
        return can
    cannot = say_many(
        language,
        "{count} member cannot: none of their devices was given the key. The operator's `status` says why.",
        "{count} members cannot: none of their devices was given the key. The operator's `status` says why.",
        unreached,
    )
    return joined(" ", [can, cannot])


def announcement_failed(community: str, why: str, language: Language = EN) -> Marked:
    return say(language, "Your announcement did not reach {community}: {why}", community=community, why=why)


# --- held plans, fights, what was taken over ------------------------------------------------------------------------


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
    return joined("\n\n", [_with_list(head, list(reasons)), how])


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
    return _with_list(head, list(reasons))


def applied(failures: Iterable[str], language: Language = EN) -> Marked:
    """What came of an owner's word."""
    lines = list(failures)
    if not lines:
        return say(language, "Done: the change was carried out.")
    return _with_list(say(language, "Most of it is done, but not this:"), lines)


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


# --- people and standing ----------------------------------------------------------------------------------------------


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
        lines.append(_with_list(say(language, "Not as it should be:"), found))
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
    text = _with_list(head, [person_line(person, language) for person in people])
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


def who(person: Mapping[str, Any], community: str, language: Language = EN) -> Marked:
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
        lines.append(say(language, "Here since {time}", time=utc(person["since"])))
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


# --- tags -----------------------------------------------------------------------------------------------------------


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
        line = joined(" – ", [_code(tag["name"]), count])
        lines.append(joined(", ", [line, say(language, "by the configuration")]) if tag["declared"] else line)
    return _with_list(say(language, "Tags in {community}:", community=community), lines)


# --- people: who comes, goes and rises -------------------------------------------------------------------------------


def the_operator(language: Language = EN) -> Marked:
    """Who is named where a command was given on the command line."""
    return say(language, "the operator")


def the_service(language: Language = EN) -> Marked:
    return say(language, "the service")


def by_whom(by: str) -> str:
    """Who did something: a person as clients show them, the operator and the service by these words."""
    return mention(by) if by.startswith("@") else by


def explain_link_new(language: Language = EN) -> Explained:
    purpose = say(language, "makes an invite link, for a week unless you say otherwise")
    return Explained(purpose, "--expires 12h --uses 30")


def explain_link_list(language: Language = EN) -> Explained:
    return Explained(say(language, "shows the invite links by which somebody can come in"), "")


def explain_link_revoke(language: Language = EN) -> Explained:
    return Explained(say(language, "takes an invite link back"), "k3x9")


def explain_link_reset(language: Language = EN) -> Explained:
    return Explained(say(language, "takes all invite links back, and makes one"), "--uses 30")


def link_made(link: Mapping[str, Any], language: Language = EN) -> Marked:
    """The one time that a link's address is shown.

    Args:
        link: as `app/links` shows it, with `role` as a Role, and with `url`; with `revoked`, how many were taken back
            for it.
    """
    head = say(language, "This link leads into {community}. I cannot show it again:", community=link["community"])
    lines = [head, literal(link["url"]), link_line(link, language)]
    if link.get("revoked") is not None:
        lines.append(say_many(language, "{count} link was taken back.", "{count} links were taken back.",
                              link["revoked"]))  # fmt: skip
    return joined("\n", lines)


def link_line(link: Mapping[str, Any], language: Language = EN) -> Marked:
    """What a link is, on one line."""
    parts = [_code(link["id"])]
    if link["uses"] is None:
        parts.append(say_many(language, "used by {count} person", "used by {count} people", link["used"]))
    else:
        parts.append(say(language, "used by {used} of {uses}", used=str(link["used"]), uses=str(link["uses"])))
    if link["expires_at"] is not None:
        parts.append(say(language, "until {time}", time=utc(link["expires_at"])))
    if link["needs_approval"]:
        parts.append(say(language, "an admin has to agree"))
    if link["role"] is not Role.MEMBER:
        parts.append(say(language, "makes people {role}", role=role_name(link["role"], language)))
    if link["groups"]:
        parts.append(say(language, "Groups: {groups}", groups=joined(", ", list(link["groups"]))))
    return joined(" – ", parts)


def utc(at: int) -> str:
    """A time (milliseconds since 1970) as people read it."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def links(
    community: str, shown: Sequence[Mapping[str, Any]], usable: int, every: int, language: Language = EN
) -> Marked:
    """
    Args:
        usable: how many links somebody can come in by.
        every: how many there are, with those that expired, are used up or were taken back.
    """
    if not usable:
        head = say(language, "Nobody can come into {community} by a link now.", community=community)
    else:
        head = say_many(
            language, "{count} link leads into {community}:", "{count} links lead into {community}:", usable,
            community=community,
        )  # fmt: skip
    text = _with_list(head, [link_line(link, language) for link in shown]) if shown else head
    if every > len(shown):
        more = say_many(language, "{count} more is not shown.", "{count} more are not shown.", every - len(shown))
        text = joined("\n", [text, more])
    return text


def link_revoked(link: Mapping[str, Any], language: Language = EN) -> Marked:
    return say_many(
        language, "The link {link} is taken back. {count} person had come by it.",
        "The link {link} is taken back. {count} people had come by it.", link["used"], link=_code(link["id"]),
    )  # fmt: skip


def link_reset_caution(community: str, language: Language = EN) -> Marked:
    return say(
        language, "All invite links of {community} stop working, and nobody who holds one comes in any more.",
        community=community,
    )  # fmt: skip


def explain_invite(language: Language = EN) -> Explained:
    return Explained(say(language, "invites people to the community, and to groups"), "@lisa:example.org")


def explain_remove(language: Language = EN) -> Explained:
    return Explained(say(language, "removes somebody from every room of the community"), "@nelson:example.org")


def explain_ban(language: Language = EN) -> Explained:
    return Explained(say(language, "removes somebody, and keeps them out"), "@nelson:example.org")


def explain_unban(language: Language = EN) -> Explained:
    return Explained(say(language, "lifts a ban"), "@nelson:example.org")


def explain_promote(language: Language = EN) -> Explained:
    return Explained(say(language, "makes somebody an owner or an admin"), "@edna:example.org admin")


def explain_demote(language: Language = EN) -> Explained:
    return Explained(say(language, "makes an owner or admin a member again"), "@edna:example.org")


def explain_moderator_add(language: Language = EN) -> Explained:
    return Explained(say(language, "makes somebody a moderator of a group"), "chess @edna:example.org")


def explain_moderator_remove(language: Language = EN) -> Explained:
    return Explained(say(language, "ends that somebody is a moderator of a group"), "chess @edna:example.org")


def explain_transfer(language: Language = EN) -> Explained:
    return Explained(say(language, "hands your ownership over to somebody"), "@edna:example.org")


def explain_requests(language: Language = EN) -> Explained:
    return Explained(say(language, "shows who asks to join and waits for an answer"))


def explain_approve(language: Language = EN) -> Explained:
    return Explained(say(language, "lets somebody in who asks to join"), "@lisa:example.org")


def explain_reject(language: Language = EN) -> Explained:
    return Explained(say(language, "turns somebody away who asks to join"), "@nelson:example.org")


def invited(user: str, community: str, groups: Sequence[str], language: Language = EN) -> Marked:
    if groups:
        return say(
            language, "{user} is invited to {community}, and to {groups}.",
            user=mention(user), community=community, groups=_several(groups),
        )  # fmt: skip
    return say(language, "{user} is invited to {community}.", user=mention(user), community=community)


def invited_already(user: str, community: str, groups: Sequence[str], language: Language = EN) -> Marked:
    if groups:
        return say(
            language, "{user} is in {community} already, and is invited to {groups}.",
            user=mention(user), community=community, groups=_several(groups),
        )  # fmt: skip
    return say(language, "{user} is in {community} already.", user=mention(user), community=community)


def bidden_by(users: Sequence[str], by: str, language: Language = EN) -> Marked:
    people = joined(", ", [mention(user) for user in users])
    return say(language, "{users}: invited, as {by} asked.", users=people, by=by_whom(by))


def removal_begins(user: str, what: str, language: Language = EN) -> Marked:
    """What is answered at once; what was done is told in the control room."""
    who_ = mention(user)
    match what:
        case "ban":
            return say(language, "{user} is being removed from every room, and kept out.", user=who_)
        case "unban":
            return say(language, "The ban of {user} is being lifted in every room.", user=who_)
        case _:
            return say(language, "{user} is being removed from every room.", user=who_)


def membership_changed(user: str, what: str, by: str, reason: str, language: Language = EN) -> Marked:
    who_ = mention(user)
    match what:
        case "ban":
            text = say(language, "{user} is banned, as {by} decided.", user=who_, by=by_whom(by))
        case "unban":
            text = say(language, "{user} is banned no longer, as {by} decided.", user=who_, by=by_whom(by))
        case _:
            text = say(language, "{user} is removed, as {by} decided.", user=who_, by=by_whom(by))
    return _with_reason(text, reason, language)


def ownership_handed_over(giver: str, user: str, by: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} is now owner in the place of {giver}, as {by} decided.",
        user=mention(user), giver=mention(giver), by=by_whom(by),
    )  # fmt: skip


def transfer_caution(user: str, community: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} becomes an owner of {community}, and you an admin. Only they can give it back.",
        user=mention(user), community=community,
    )  # fmt: skip


def moderator_added(user: str, group: str, by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "{user} is now a moderator of {group}, as {by} decided.",
        user=mention(user),
        group=group,
        by=by_whom(by),
    )


def moderator_removed(user: str, group: str, by: str, language: Language = EN) -> Marked:
    return say(
        language, "{user} is no longer a moderator of {group}, as {by} decided.",
        user=mention(user), group=group, by=by_whom(by),
    )  # fmt: skip


def welcome(community: str, text: str, rules: str, groups: Sequence[str], language: Language = EN) -> Marked:
    """What whoever joins is told, in the community's own words and in ours.

    Args:
        groups: the names of the groups that they can find in the space.
    """
    parts = [say(language, "Welcome to {community}!", community=one_line(community, LONGEST_NAME))]
    if text:
        parts.append(literal(text))
    parts.append(say(language, "News for everybody come in the announcement room, where only admins post."))
    if groups:
        parts.append(say(language, "You find these groups in the space: {groups}.", groups=_several(groups)))
    if rules:
        parts.append(joined("\n", [say(language, "The rules here:"), literal(rules)]))
    return joined("\n\n", parts)


def please_agree(welcome: str, language: Language = EN) -> Marked:
    """The welcome, where more rooms open only after an agreement to the rules."""
    ask = say(language, "Please react with ✅ to this message if you agree to the rules. Then the other rooms open.")
    return joined("\n\n", [welcome, ask])


def thanks_for_agreeing(language: Language = EN) -> Marked:
    return say(language, "Thank you! The rooms are open for you: see your invitations.")


# --- join requests ---------------------------------------------------------------------------------------------------


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
        lines.append(say(language, "They would also be invited to: {groups}.", groups=_several(groups)))
    return joined("\n", lines)


def _way(how: str, detail: str, language: Language) -> Marked:
    match how:
        case "knock":
            return say(language, "They knocked.")
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
    return joined(" ", [head, _how_people_come(kind, language)])


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
    return _with_reason(text, reason, language)


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
    return joined("\n", [facts, _with_reason(_outcome(state, by, language), reason, language)])


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
    return _with_reason(text, reason, language)


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
            return _with_reason(text, reason, language)
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


def _with_reason(text: Marked, reason: str, language: Language) -> Marked:
    if not reason:
        return text
    return joined(" ", [text, say(language, "The reason: {reason}", reason=one_line(reason))])


# --- pieces of sentences ----------------------------------------------------------------------------------------------


def _code(text: str) -> Marked:
    return Marked(f"`{literal(one_line(text))}`")


def _bold(text: str) -> Marked:
    return Marked(f"**{literal(text)}**")


def _several(names: Sequence[str]) -> Marked:
    return joined(", ", [literal(one_line(name)) for name in names])


def _with_list(head: Marked, lines: Sequence[str]) -> Marked:
    if not lines:
        return head
    return joined("\n", [head, *(Marked(f"- {joined('', [line])}") for line in lines)])


# --- groups ---------------------------------------------------------------------------------------------------------


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
    return joined(" ", [head, _how_people_come(kind, language)])


def _how_people_come(kind: str, language: Language) -> Marked:
    match kind:
        case "hidden":
            return say(language, "It is not shown in the space, and people come in by invitation alone.")
        case "request":
            return say(language, "Members see it in the space and can ask to join; its moderators decide.")
        case _:
            return say(language, "Members see it in the space, and can join by themselves.")


def group_kind(key: str, kind: str, language: Language = EN) -> Marked:
    head = say(language, "`{key}` changes its kind; whoever is in it stays in it.", key=key)
    return joined(" ", [head, _how_people_come(kind, language)])


def group_posting(key: str, moderators_only: bool, language: Language = EN) -> Marked:
    if moderators_only:
        return say(language, "From now on only moderators and admins post in `{key}`.", key=key)
    return say(language, "From now on everybody in `{key}` may post.", key=key)


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
    return _with_list(say(language, "Communities within {community}:", community=head), lines)


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
        _how_people_come(kind, language),
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
        text = joined("\n", [text, _with_list(say(language, "In the room I would:"), [*map(literal, changes)])])
    if remains:
        head = say(language, "What I cannot change there, and what helps:")
        text = joined("\n", [text, _with_list(head, [*map(literal, remains)])])
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
        line = joined(" – ", [_code(key), literal(one_line(name, LONGEST_NAME)), literal(kind)])
        lines.append(joined(", ", [line, say(language, "archived")]) if archived else line)
    return _with_list(say(language, "Groups in {community}:", community=community), lines)


# --- the life of a community ----------------------------------------------------------------------------------------


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
        case "join":
            return say(language, "how people enter")
        case "groups_by":
            return say(language, "who makes groups")
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
            line = joined(" ", [line, say(language, "(decided by {key} in the configuration)", key=_code(key))])
        lines.append(line)
    return _with_list(say(language, "How {community} is set up:", community=community), lines)


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
        groups = _several(alone)
        parts.append(
            say(
                language,
                "Nobody would be in charge of: {groups}. Make somebody a moderator there first, if that shall not be.",
                groups=groups,
            )
        )
    parts.append(say(language, "If you are certain, write: {form}", form=_code(form)))
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
