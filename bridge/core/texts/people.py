"""Who comes, goes and rises."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.languages import EN, Language, joined, say
from bridge.core.lines import LONGEST_NAME, one_line
from bridge.core.markup import Marked, literal, mention
from bridge.core.texts.discussions import discussion_is_read
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, several, with_reason
from bridge.core.texts.reach import members_are_told


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
            user=mention(user), community=community, groups=several(groups),
        )  # fmt: skip
    return say(language, "{user} is invited to {community}.", user=mention(user), community=community)


def invited_already(user: str, community: str, groups: Sequence[str], language: Language = EN) -> Marked:
    if groups:
        return say(
            language, "{user} is in {community} already, and is invited to {groups}.",
            user=mention(user), community=community, groups=several(groups),
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
    return with_reason(text, reason, language)


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


def welcome(
    community: str,
    text: str,
    rules: str,
    groups: Sequence[str],
    names: bool,
    discussion: bool,
    language: Language = EN,
) -> Marked:
    """What whoever joins is told, in the community's own words and in ours.

    Args:
        groups: the names of the groups that they can find in the space.
        names: whether admins see by name who has read an announcement.
        discussion: whether there is a discussion room.
    """
    parts = [say(language, "Welcome to {community}!", community=one_line(community, LONGEST_NAME))]
    if text:
        parts.append(literal(text))
    parts.append(say(language, "News for everybody come in the announcement room, where only admins post."))
    if discussion:
        parts.append(discussion_is_read(language))
    if groups:
        parts.append(say(language, "You find these groups in the space: {groups}.", groups=several(groups)))
    if rules:
        parts.append(joined("\n", [say(language, "The rules here:"), literal(rules)]))
    parts.append(members_are_told(names, language))
    return joined("\n\n", parts)


def recommend_notifications(welcome: str, language: Language = EN) -> Marked:
    """The welcome, with what to set so that announcements ring and groups keep quiet, in Element's own words."""
    how = say(
        language,
        "So that you miss no announcement and groups keep quiet: in Element, open the announcement room, tap its name, "
        "then “Notifications”, and choose “All messages”; in groups choose “Mentions and keywords”.",
    )
    return joined("\n\n", [welcome, how])


def please_agree(welcome: str, language: Language = EN) -> Marked:
    """The welcome, where more rooms open only after an agreement to the rules."""
    ask = say(language, "Please react with ✅ to this message if you agree to the rules. Then the other rooms open.")
    return joined("\n\n", [welcome, ask])


def thanks_for_agreeing(language: Language = EN) -> Marked:
    return say(language, "Thank you! The rooms are open for you: see your invitations.")
