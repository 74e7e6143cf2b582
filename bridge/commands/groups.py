"""Commands about groups: made, changed, archived and released by people."""

from __future__ import annotations

from typing import Any

from bridge.commands import arguments
from bridge.commands.deeds import Deeds
from bridge.commands.row import Caution, Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.ids import CommunityId
from bridge.core.languages import DE
from bridge.core.markup import Marked

KINDS = {
    "open": "open",
    "request": "request",
    "hidden": "hidden",
    "offen": "open",
    "anfrage": "request",
    "verborgen": "hidden",
}
POSTING = {"members": "members", "moderators": "moderators", "mitglieder": "members", "moderatoren": "moderators"}

GROUP = arguments.group()
NAME = arguments.text("name", names={DE: "Name"})
TEXT = arguments.text("description", names={DE: "Beschreibung"})
KEY = arguments.word("key", names={DE: "Schlüssel"}).as_option()
KIND = arguments.choice("kind", KINDS, names={DE: "Art"})
KIND_OPTION = KIND.as_option()
REMOVE = arguments.flag("remove", names={DE: "entfernen"})
ROOM = arguments.room()
PLAN = arguments.word("plan", names={DE: "Plan"}).as_option()
WHICH = arguments.word("group", names={DE: "Gruppe"})
"""A group that may have moved already, so that the same message again says so."""
WHERE = arguments.word("target", names={DE: "wohin"})
WHO_POSTS = arguments.choice("who", POSTING, names={DE: "wer"})


async def _ask(deeds: Deeds, request: Request, deed: str, **what: Any) -> str:
    """Have it done; the rooms follow, and the answer does not wait for them."""
    answer = await deeds.groups(
        deed, request.community, request.person, source=str(request.event_id), wait=False, **what
    )
    return Marked("\n".join(answer["said"]))


def _are_asked(deeds: Deeds, community: CommunityId) -> bool:
    return deeds.members_ask_for_groups(community)


async def create(deeds: Deeds, request: Request) -> str:
    asked = request.asked
    return await _ask(
        deeds, request, "create", text=asked[NAME], kind=asked.get(KIND_OPTION) or "open", key=asked.get(KEY)
    )


async def list_(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "list")


async def rename(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "rename", key=request.asked[GROUP], text=request.asked[NAME])


async def describe(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "describe", key=request.asked[GROUP], text=request.asked[TEXT])


async def picture(deeds: Deeds, request: Request) -> str:
    """The picture is the one under which the command stands, or that of the message that it answers."""
    return await _ask(
        deeds,
        request,
        "picture",
        key=request.asked[GROUP],
        remove=request.asked.get(REMOVE) is True,
        picture=request.picture,
        reply_to=request.reply_to,
        room=request.room_id,
    )


async def posting(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "posting", key=request.asked[GROUP], posting=request.asked[WHO_POSTS])


async def kind(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "kind", key=request.asked[GROUP], kind=request.asked[KIND])


async def archive(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "archive", key=request.asked[GROUP])


async def unarchive(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "unarchive", key=request.asked[GROUP])


async def adopt(deeds: Deeds, request: Request) -> str:
    """Whoever comes here has said yes to what the caution says, encryption included."""
    return await _ask(deeds, request, "adopt", encrypt=True, digest=request.asked.get(PLAN), **_adopted(request))


def _adopted(request: Request) -> dict[str, Any]:
    asked = request.asked
    return {"room": asked[ROOM], "key": asked.get(KEY), "kind": asked.get(KIND_OPTION)}


async def adopt_caution(deeds: Deeds, request: Request) -> Caution:
    """What changes in the room is shown first; and what is shown is what is done, or nothing."""
    found = await deeds.groups("propose", request.community, request.person, **_adopted(request))
    asked = request.asked.having(KEY, found["key"]).having(KIND_OPTION, found["kind"]).having(PLAN, found["digest"])
    return Caution(what=Marked(found["said"][0]), asked=asked)


async def move(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "move", key=request.asked[WHICH], target=request.asked[WHERE])


async def release(deeds: Deeds, request: Request) -> str:
    return await _ask(deeds, request, "release", key=request.asked[GROUP])


async def release_caution(deeds: Deeds, request: Request) -> Caution:
    """It cannot be undone: the service has no power in the room any more."""
    key = request.asked[GROUP]
    answer = await deeds.groups("heirs", request.community, request.person, key=key)
    return Caution(what=texts.release_caution(key, answer["heirs"], request.language), asked=request.asked)


ROWS = (
    Row(
        name="group create",
        names={DE: "gruppe neu"},
        aliases=("group new",),
        arguments=(KIND_OPTION, KEY, NAME),
        deed=Deed.MAKE_GROUPS,
        explain=texts.explain_group_create,
        run=create,
        for_members=_are_asked,
    ),
    Row(
        name="group list",
        names={DE: "gruppen"},
        aliases=("groups",),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_list,
        run=list_,
    ),
    Row(
        name="group rename",
        names={DE: "gruppe umbenennen"},
        arguments=(GROUP, NAME),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_rename,
        run=rename,
    ),
    Row(
        name="group describe",
        names={DE: "gruppe beschreiben"},
        arguments=(GROUP, TEXT),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_describe,
        run=describe,
    ),
    Row(
        name="group picture",
        names={DE: "gruppe bild"},
        arguments=(GROUP, REMOVE),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_picture,
        run=picture,
    ),
    Row(
        name="group posting",
        names={DE: "gruppe schreiben"},
        arguments=(GROUP, WHO_POSTS),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_posting,
        run=posting,
    ),
    Row(
        name="group kind",
        names={DE: "gruppe art"},
        arguments=(GROUP, KIND),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_kind,
        run=kind,
    ),
    Row(
        name="group archive",
        names={DE: "gruppe archivieren"},
        arguments=(GROUP,),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_archive,
        run=archive,
    ),
    Row(
        name="group unarchive",
        names={DE: "gruppe wiederbeleben"},
        arguments=(GROUP,),
        deed=Deed.CHANGE_GROUPS,
        explain=texts.explain_group_unarchive,
        run=unarchive,
    ),
    Row(
        name="group adopt",
        names={DE: "gruppe aufnehmen"},
        arguments=(ROOM, KEY, KIND_OPTION, PLAN),
        deed=Deed.ADOPT_GROUPS,
        explain=texts.explain_group_adopt,
        run=adopt,
        confirm=adopt_caution,
    ),
    Row(
        name="group move",
        names={DE: "gruppe verlegen"},
        arguments=(WHICH, WHERE),
        deed=Deed.MOVE_GROUPS,
        explain=texts.explain_group_move,
        run=move,
    ),
    Row(
        name="group release",
        names={DE: "gruppe entlassen"},
        arguments=(GROUP,),
        deed=Deed.RELEASE_GROUPS,
        explain=texts.explain_group_release,
        run=release,
        confirm=release_caution,
    ),
)
