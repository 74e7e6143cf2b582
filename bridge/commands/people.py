"""Commands that show who is in a community, and mark people with tags."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE
from bridge.core.messages import SendMembers
from bridge.core.roster import matching

MOST_SHOWN = 50
FILTER = arguments.word("filter", names={DE: "Filter"}).optionally()
CSV = arguments.flag("csv")
WHO, WHOM = arguments.user(), arguments.user().repeated()
TAG = arguments.word("tag", names={DE: "Markierung"})


async def members(deeds: Deeds, request: Request) -> str:
    everybody = await deeds.members(request.community)
    word = request.asked.get(FILTER) or ""
    found = matching(everybody, word)
    if request.asked.get(CSV):
        file = SendMembers(request.room_id, request.community, request.person, word)
        await deeds.send_members(file, request.event_id)
        return texts.members_file(len(found), request.language)
    total = len(matching(everybody, ""))
    name = await deeds.name_of(request.community)
    return texts.members(name, total, found[:MOST_SHOWN], len(found), request.language)


async def who(deeds: Deeds, request: Request) -> str:
    found = await deeds.person(request.community, request.asked[WHO])
    return texts.who(found, await deeds.name_of(request.community), request.language, deeds.zone_of(request.community))


async def tag(deeds: Deeds, request: Request) -> str:
    return await _tag(deeds, request, give=True)


async def untag(deeds: Deeds, request: Request) -> str:
    return await _tag(deeds, request, give=False)


async def _tag(deeds: Deeds, request: Request, *, give: bool) -> str:
    users = request.asked.all(WHOM)
    name = await deeds.tag(request.community, request.person, users, request.asked[TAG], give=give)
    return texts.tagged(users, name, give, request.language)


async def tags(deeds: Deeds, request: Request) -> str:
    name = await deeds.name_of(request.community)
    return texts.tags_listed(await deeds.tags(request.community), name, request.language)


ROWS = (
    Row(
        name="members",
        names={DE: "mitglieder"},
        aliases=("list members", "people"),
        arguments=(CSV, FILTER),
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
    Row(
        name="tag add",
        names={DE: "markierung setzen"},
        aliases=("tag", "markieren"),
        arguments=(WHOM, TAG),
        deed=Deed.TAG,
        explain=texts.explain_tag,
        run=tag,
    ),
    Row(
        name="tag remove",
        names={DE: "markierung weg"},
        aliases=("untag",),
        arguments=(WHOM, TAG),
        deed=Deed.TAG,
        explain=texts.explain_untag,
        run=untag,
    ),
    Row(
        name="tag list",
        names={DE: "markierung liste"},
        aliases=("tags", "markierungen"),
        deed=Deed.SEE_MEMBERS,
        explain=texts.explain_tags,
        run=tags,
    ),
)
