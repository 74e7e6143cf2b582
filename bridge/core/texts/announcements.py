"""What becomes of an announcement."""

from __future__ import annotations

from bridge.core.languages import EN, Language, joined, say, say_many
from bridge.core.markup import Marked


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
