"""Whom announcements reach: groups that let them in, and people one by one."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.announcements import Missed
from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.markup import Marked
from bridge.core.texts.help import Explained
from bridge.core.texts.pieces import by_whom, several, with_list

MOST_NAMES = 10
"""More names are a number."""


def explain_group_announcements(language: Language = EN) -> Explained:
    return Explained(say(language, "says whether announcements can be posted in a group"), "chess on")


def group_announcements_caution(key: str, language: Language = EN) -> Marked:
    """What moderators have to know before the announcer comes in."""
    return say(
        language,
        "This brings me into the group `{key}`, so that announcements can be posted there. I am then one of those whom "
        "everybody's clients encrypt for: from then on this service could read what is written there. It keeps none of "
        "the keys and looks at none of the messages, but nobody there can check that. The group is told.",
        key=key,
    )


def group_announcements_on(key: str, language: Language = EN) -> Marked:
    return say(language, "Announcements can be posted in `{key}` from now on. I come in, and tell the group.", key=key)


def group_announcements_off(key: str, language: Language = EN) -> Marked:
    return say(language, "Announcements are posted in `{key}` no longer. I tell the group, and go.", key=key)


def group_announcements_already(key: str, on: bool, language: Language = EN) -> Marked:
    if on:
        return say(language, "Announcements can be posted in `{key}` already.", key=key)
    return say(language, "Announcements cannot be posted in `{key}` anyway.", key=key)


def announcer_is_here(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "Hello! This group lets announcements of {community} in, and I bring them. Your clients encrypt for me, too, "
        "now: this service could read what is written here from now on. It keeps no keys of this group and looks at no "
        "messages here, but you cannot check that. The moderators of this group can end it: by removing me, or by "
        "writing `group announcements` to me.",
        community=community,
    )


def announcer_leaves(by: str, language: Language = EN) -> Marked:
    return say(
        language,
        "{by} ended announcements in this group. I go now, and can read nothing that is written here from then on.",
        by=by_whom(by),
    )


def missed(why: Missed, language: Language = EN) -> Marked:
    """Why somebody does not get an announcement in a direct chat."""
    match why:
        case Missed.LEFT:
            return say(language, "is in the community no longer")
        case Missed.DECLINED:
            return say(language, "declined or left the chat")
        case Missed.LET_LIE:
            return say(language, "let the invitation to a chat lie")
        case Missed.UNREACHABLE:
            return say(language, "cannot be invited to a chat")


def announced_to_several(
    names: Sequence[str],
    devices: int,
    unreached: int,
    people: int,
    invited: int,
    gone: Sequence[tuple[Missed, int]] = (),
    failed: Sequence[tuple[str, str]] = (),
    language: Language = EN,
) -> Marked:
    """The one summary of an announcement that went to several rooms, or to people one by one.

    Args:
        names: of the rooms that it is in.
        devices: how many there can read it.
        unreached: how many members there have no device that can.
        people: how many have it in a direct chat.
        invited: how many are still to accept their chat.
        gone: why others do not get it in theirs, and how many of them: nobody has to do anything about that.
        failed: the rooms and people that it did not reach, and why.
    """
    said = []
    if names:
        said.append(
            say_many(
                language,
                "Sent to {names}. {count} device can read it.",
                "Sent to {names}. {count} devices can read it.",
                devices,
                names=_some(names, language),
            )
        )
    if unreached:
        said.append(
            say_many(
                language,
                "{count} member cannot: none of their devices was given the key. The operator's `status` says why.",
                "{count} members cannot: none of their devices was given the key. The operator's `status` says why.",
                unreached,
            )
        )
    if people:
        said.append(
            say_many(
                language,
                "{count} person has it in a direct chat.",
                "{count} people have it in direct chats.",
                people,
            )
        )
    if invited:
        said.append(
            say_many(
                language,
                "{count} person was invited to a chat, and gets it when they accept.",
                "{count} people were invited to chats, and get it when they accept.",
                invited,
            )
        )
    lines = [say(language, "{name}: {why}", name=name, why=why) for name, why in failed[:MOST_NAMES]]
    if len(failed) > MOST_NAMES:
        lines.append(say(language, "… and {count} more", count=len(failed) - MOST_NAMES))
    if gone:
        counted = [say(language, "{count} × {why}", count=count, why=missed(why, language)) for why, count in gone]
        said.append(say(language, "Not sent in direct chats: {reasons}.", reasons=joined(", ", counted)))
    if lines:
        said.append(say(language, "It did not reach:"))
    return with_list(joined(" ", said), lines)


def _some(names: Sequence[str], language: Language) -> Marked:
    shown = several(names[:MOST_NAMES])
    if len(names) <= MOST_NAMES:
        return shown
    return joined(" ", [shown, say_many(language, "and {count} more", "and {count} more", len(names) - MOST_NAMES)])
