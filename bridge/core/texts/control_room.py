"""What owners and admins are told in the control room of people who come and go."""

from __future__ import annotations

from bridge.core.languages import EN, Language, say
from bridge.core.markup import Marked, mention
from bridge.core.texts.pieces import by_whom


def control_room_greeting(community: str, language: Language = EN) -> Marked:
    return say(
        language,
        "Welcome! Only the owners and admins of {community} are here. I report here, ask here what has to be decided, "
        "and do what you ask: write `!help` to see what that can be, here or to me in a direct chat.",
        community=community,
    )


def departed(user: str, how: str, by: str, language: Language = EN) -> Marked:
    """Who is not in the community any more.

    Args:
        how: `left`, `removed` or `banned`.
    """
    who = mention(user)
    match how:
        case "left":
            return say(language, "{user} has left the community.", user=who)
        case "banned":
            return say(language, "{by} has banned {user} from the community.", user=who, by=by_whom(by))
        case _:
            return say(language, "{by} has removed {user} from the community.", user=who, by=by_whom(by))
