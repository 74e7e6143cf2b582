"""Commands about events."""

from __future__ import annotations

from bridge.commands import arguments
from bridge.commands.asking import ask
from bridge.commands.deeds import Deeds
from bridge.commands.row import Request, Row
from bridge.core import texts
from bridge.core.access import Deed
from bridge.core.languages import DE

EVENT = arguments.text("title; when; place; description; seats", names={DE: "Titel; wann; Ort; Beschreibung; Plätze"})
NUMBER = arguments.word("number", names={DE: "Nummer"})
ANY_NUMBER = NUMBER.optionally()
FIELD = arguments.choice(
    "title|when|place|description|seats",
    {
        **{word: word for word in ("title", "when", "place", "description", "seats")},
        "titel": "title",
        "wann": "when",
        "ort": "place",
        "beschreibung": "description",
        "plätze": "seats",
    },
    names={DE: "Titel|wann|Ort|Beschreibung|Plätze"},
)
VALUE = arguments.text("text")
ANSWER = arguments.choice(
    "going|maybe|no",
    {
        **{word: word for word in ("going", "maybe", "no")},
        "yes": "going",
        "ja": "going",
        "vielleicht": "maybe",
        "nein": "no",
    },
    names={DE: "ja|vielleicht|nein"},
)
GUESTS = arguments.word("+guests", names={DE: "+Gäste"}).optionally()


async def event(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "event", text=request.asked[EVENT])


async def list_events(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "event list")


async def show(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "event show", announcement=request.asked.get(ANY_NUMBER))


async def change(deeds: Deeds, request: Request) -> str:
    asked = request.asked
    return await ask(deeds, request, "event change", announcement=asked[NUMBER], field=asked[FIELD], text=asked[VALUE])


async def cancel(deeds: Deeds, request: Request) -> str:
    return await ask(deeds, request, "event cancel", announcement=request.asked.get(ANY_NUMBER))


async def rsvp(deeds: Deeds, request: Request) -> str:
    asked = request.asked
    return await ask(deeds, request, "rsvp", announcement=asked[NUMBER], answer=asked[ANSWER], guests=asked.get(GUESTS))


ROWS = (
    Row(
        name="event",
        names={DE: "termin"},
        arguments=(EVENT,),
        deed=Deed.POLL,
        explain=texts.explain_event,
        run=event,
    ),
    Row(
        name="event list",
        names={DE: "termin liste"},
        aliases=("events", "termine"),
        deed=Deed.VOTE,
        explain=texts.explain_event_list,
        run=list_events,
    ),
    Row(
        name="event show",
        names={DE: "termin zeigen"},
        arguments=(ANY_NUMBER,),
        deed=Deed.VOTE,
        explain=texts.explain_event_show,
        run=show,
    ),
    Row(
        name="event change",
        names={DE: "termin ändern"},
        aliases=("termin aendern",),
        arguments=(NUMBER, FIELD, VALUE),
        deed=Deed.POLL,
        explain=texts.explain_event_change,
        run=change,
    ),
    Row(
        name="event cancel",
        names={DE: "termin absagen"},
        arguments=(ANY_NUMBER,),
        deed=Deed.POLL,
        explain=texts.explain_event_cancel,
        run=cancel,
    ),
    Row(
        name="rsvp",
        names={DE: "teilnehmen"},
        arguments=(NUMBER, ANSWER, GUESTS),
        deed=Deed.VOTE,
        explain=texts.explain_rsvp,
        run=rsvp,
    ),
)
