"""Commands that show who is in a community."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.community import Role
from bridge.core.languages import DE, LANGUAGES

MOST_SHOWN = 50
FILTER = arguments.text("filter", names={DE: "Filter"}, optional=True)
WHO = arguments.user()


async def members(deeds: Deeds, request: Request) -> str:
    everybody = await deeds.members(request.community)
    word = (request.asked.get(FILTER) or "").casefold()
    found = [person for person in everybody if not word or _matches(person, word)]
    return texts.members(request.community, len(everybody), found[:MOST_SHOWN], len(found), request.language)


def _matches(person: Mapping[str, Any], word: str) -> bool:
    """By a role or a group exactly; by a part of their id."""
    role: Role = person["role"]
    exact = {role.word, *(texts.role_name(role, language) for language in LANGUAGES), *map(str, person["groups"])}
    return word in {one.casefold() for one in exact} or word in person["user"].casefold()


async def who(deeds: Deeds, request: Request) -> str:
    found = await deeds.person(request.community, request.asked[WHO])
    return texts.who(found, request.community, request.language)


ROWS = (
    Row(
        name="members",
        names={DE: "mitglieder"},
        aliases=("list members", "people"),
        arguments=(FILTER,),
        deed=Deed.SEE_MEMBERS,
        explain=texts.explain_members,
        run=members,
    ),
    Row(
        name="who",
        names={DE: "wer"},
        aliases=("whois", "who is", "wer ist"),
        arguments=(WHO,),
        deed=Deed.SEE_MEMBERS,
        explain=texts.explain_who,
        run=who,
    ),
)
