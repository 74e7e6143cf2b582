"""Direct chats: greetings, and whom the announcer talks to."""

from __future__ import annotations

from bridge.core.languages import EN, Language, say
from bridge.core.markup import Marked


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
