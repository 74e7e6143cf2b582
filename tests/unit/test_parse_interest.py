"""Which events are kept."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.community import RoomKind
from bridge.intake.interest import Interest
from bridge.intake.sieve import Sieve
from tests.unit.test_parse import ACCOUNTS, ANNOUNCER, STEWARD, raw

ROOMS = {f"!{interest.name}": interest for interest in Interest} | {"!voting": Interest.GROUP}
STATE = raw("m.room.name", state_key="")
REDACTION = raw("m.room.redaction", redacts="$0")
ENCRYPTED = raw("m.room.encrypted")
MESSAGE = raw("m.room.message")
REACTION = raw("m.reaction")
STICKER = raw("m.sticker")
VERIFICATION = raw("m.key.verification.start")
TIMELINE = [REDACTION, ENCRYPTED, MESSAGE, REACTION, STICKER, VERIFICATION]
KEPT = {
    Interest.GROUP: [REDACTION],
    Interest.SPACE: [REDACTION],
    Interest.ANNOUNCEMENTS: TIMELINE,
    Interest.CONTROL: [REDACTION, ENCRYPTED, MESSAGE, REACTION, VERIFICATION],
    Interest.CHAT: [REDACTION, ENCRYPTED, MESSAGE, REACTION, VERIFICATION],
}


class Known:
    def interest(self, room_id: str) -> Interest | None:
        return ROOMS.get(room_id)

    def is_voting(self, room_id: str) -> bool:
        return room_id == "!voting"


SIEVE = Sieve(Known(), ACCOUNTS)


def kept(events: list[dict[str, Any]], room: str, **members: Any) -> list[dict[str, Any]]:
    placed = [{**event, "event_id": f"${at}", "room_id": room, **members} for at, event in enumerate(events)]
    wanted, malformed = SIEVE.sift(placed)
    assert malformed == 0
    return [events[int(event["event_id"][1:])] for event in wanted]


@pytest.mark.parametrize("interest", list(Interest))
def test_what_people_send(interest: Interest) -> None:
    assert kept([STATE, *TIMELINE], f"!{interest.name}") == [STATE, *KEPT[interest]]


@pytest.mark.parametrize("sender", ACCOUNTS)
@pytest.mark.parametrize("interest", list(Interest))
def test_of_ourselves_what_can_change_state_and_what_people_read_up_to(interest: Interest, sender: str) -> None:
    read = {"m.room.encrypted", "m.reaction"}
    wanted = {"m.room.redaction"} | (read if interest is Interest.ANNOUNCEMENTS else set())
    events = [event for event in TIMELINE if event["type"] in wanted]
    assert {event["type"] for event in events} == wanted
    assert kept([STATE, *TIMELINE], f"!{interest.name}", sender=sender) == [STATE, *events]


def test_of_a_group_in_which_a_poll_is_voted_on_by_reaction_the_reactions_too() -> None:
    assert kept([STATE, *TIMELINE], "!voting") == [STATE, REDACTION, REACTION]
    assert kept(TIMELINE, "!voting", sender=ANNOUNCER) == [REDACTION]


def test_of_other_rooms_our_own_membership_alone() -> None:
    ours = [raw("m.room.member", {"membership": "invite"}, state_key=user) for user in (STEWARD, ANNOUNCER)]
    theirs = raw("m.room.member", {"membership": "invite"}, state_key="@bob:example.org")
    assert kept([STATE, theirs, *ours, *TIMELINE], "!elsewhere") == ours


@pytest.mark.parametrize("kind", list(RoomKind))
def test_every_kind_of_room_is_of_interest(kind: RoomKind) -> None:
    assert Interest.of_kind(kind).is_read == (kind is RoomKind.CONTROL)


@pytest.mark.parametrize(
    "broken", [None, [], "x", {}, {**STATE, "room_id": []}, {**STATE, "room_id": "!GROUP", "event_id": 3}]
)
def test_malformed_events_are_counted(broken: Any) -> None:
    assert SIEVE.sift([broken]) == ([], 1)
