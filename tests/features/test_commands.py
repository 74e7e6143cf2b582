"""The chat door: who may what, and what is answered, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands.table import ChatDoor
from bridge.core import texts
from bridge.core.access import NEEDED, Deed, may
from bridge.core.community import Role
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, UserId
from bridge.core.messages import Said, Unreadable

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ANN = UserId("@ann:example.org")
CHAT = RoomId("!chat:example.org")
ROLES: list[Role | None] = [None, *Role]


@dataclass
class FakeDeeds:
    """Records what was asked for. Whoever writes has the same role in `school`, and none in `club`."""

    role: Role | None
    held_digest: str | None = "12ab"
    failures: list[str] = field(default_factory=list)
    error: Exception | None = None
    done: list[tuple[str, ...]] = field(default_factory=list)

    def communities(self) -> Sequence[CommunityId]:
        return [SCHOOL, CLUB]

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        return self.role if community == SCHOOL else None

    async def publish(
        self, communities: Sequence[CommunityId], text: str, *, source: str, author: str, reply_room: RoomId | None
    ) -> list[str]:
        if self.error is not None:
            raise self.error
        self.done.append(("publish", *communities, text, source, author, str(reply_room)))
        return ["job"]

    async def community_status(self, community: CommunityId) -> dict[str, Any]:
        return {"id": community, "name": "School", "members": {"owner": 1}, "rooms": [], "drift": [], "held": None}

    async def held(self, community: CommunityId) -> str | None:
        return self.held_digest

    async def agree(self, community: CommunityId, digest: str) -> list[str]:
        self.done.append(("agree", community, digest))
        return self.failures

    async def thaw(self, community: CommunityId) -> None:
        self.done.append(("thaw", community))


@dataclass
class Answers:
    given: dict[str, str] = field(default_factory=dict)

    async def __call__(self, room_id: RoomId, text: str, *, key: str) -> None:
        assert room_id == CHAT
        self.given.setdefault(key, text)


async def ask(deeds: FakeDeeds, text: str, *, in_control_room: bool = False, encrypted: bool = True) -> str | None:
    answers = Answers()
    door = ChatDoor(deeds, answers)
    for _ in range(2):  # after a crash the same event comes again
        event = Said(EventId("$event"), CHAT, ANN, 1, text, encrypted)
        await door.said(event, in_control_room=in_control_room)
    assert answers.given.keys() <= {"answer-$event"}
    return answers.given.get("answer-$event")


# --- who may --------------------------------------------------------------------------------------------------------

TABLE = {
    "announce school Hello": Role.ADMIN,
    "status": Role.ADMIN,
    "apply school 12ab": Role.OWNER,
    "thaw school": Role.OWNER,
}


def test_every_deed_has_a_role() -> None:
    assert NEEDED.keys() == set(Deed)
    assert not any(may(None, deed) for deed in Deed)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("text", TABLE)
async def test_who_may(text: str, role: Role | None) -> None:
    deeds = FakeDeeds(role)
    answer = await ask(deeds, text)
    allowed = role is not None and role >= TABLE[text]
    if text == "status":
        assert (answer == texts.NO_COMMUNITIES) is not allowed
    else:
        assert bool(deeds.done) is allowed
    if not allowed:
        assert answer


@pytest.mark.parametrize("text", ["announce club Hello", "apply club 12ab", "thaw club", "announce nowhere Hello"])
async def test_an_owner_of_one_community_is_nobody_in_another(text: str) -> None:
    deeds = FakeDeeds(Role.OWNER)
    assert await ask(deeds, text)
    assert deeds.done == []


@pytest.mark.parametrize("role", ROLES)
async def test_help_is_for_everybody_and_names_what_they_may(role: Role | None) -> None:
    answer = await ask(FakeDeeds(role), "help")
    assert answer is not None
    assert ("`announce school" in answer) is may(role, Deed.ANNOUNCE)
    assert "club" not in answer


# --- what is answered -----------------------------------------------------------------------------------------------


async def test_an_announcement_is_taken_under_the_events_own_id_and_answered_when_it_is_there() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await ask(deeds, "announce school Hello\nall") is None
    assert set(deeds.done) == {("publish", SCHOOL, "Hello\nall", "$event", ANN, CHAT)}


async def test_an_announcement_without_words() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await ask(deeds, "announce school") == texts.announce_what("school")
    assert deeds.done == []


async def test_a_refusal_is_told_with_its_remedy() -> None:
    deeds = FakeDeeds(Role.ADMIN, error=Refused("the text is too long", remedy="shorten it"))
    assert await ask(deeds, "announce school Hello") == "the text is too long. shorten it."


async def test_what_passes_is_tried_again_and_not_answered() -> None:
    deeds = FakeDeeds(Role.ADMIN, error=Unreachable("HTTP 502"))
    with pytest.raises(Unreachable):
        await ask(deeds, "announce school Hello")


@pytest.mark.parametrize(("text", "held", "answer"), [
    ("apply school", "12ab", texts.which_plan("school", "12ab")),
    ("apply school 99", "12ab", texts.which_plan("school", "12ab")),
    ("apply school 12ab", None, texts.NOTHING_HELD),
    ("apply school 12AB", "12ab", texts.applied([])),
])  # fmt: skip
async def test_a_held_plan_needs_its_name(text: str, held: str | None, answer: str) -> None:
    deeds = FakeDeeds(Role.OWNER, held_digest=held)
    assert await ask(deeds, text) == answer
    assert bool(deeds.done) is (answer == texts.applied([]))


async def test_what_could_not_be_done_is_told() -> None:
    answer = await ask(FakeDeeds(Role.OWNER, failures=["space: invite @x:y: no"]), "apply school 12ab")
    assert answer is not None
    assert "space: invite @x:y: no" in answer


async def test_words_in_the_clear_are_not_acted_on() -> None:
    deeds = FakeDeeds(Role.OWNER)
    assert await ask(deeds, "announce school Hello", encrypted=False) == texts.ENCRYPTED_ONLY
    assert deeds.done == []


async def test_people_in_a_control_room_are_left_in_peace() -> None:
    deeds = FakeDeeds(Role.OWNER)
    assert await ask(deeds, "announce school Hello", in_control_room=True) is None
    assert deeds.done == []
    assert await ask(deeds, "!thaw school", in_control_room=True) == texts.THAWED


@pytest.mark.parametrize(("in_control_room", "answer"), [(False, texts.UNREADABLE), (True, None)])
async def test_a_message_that_cannot_be_read(in_control_room: bool, answer: str | None) -> None:
    answers = Answers()
    door = ChatDoor(FakeDeeds(Role.OWNER), answers)
    await door.unreadable(Unreadable(EventId("$event"), CHAT, ANN, 1), in_control_room=in_control_room)
    assert answers.given.get("answer-$event") == answer


WORDS = st.sampled_from(("announce ", "apply ", "thaw ", "status ", "school ", "club ", "12ab ", "!", "\n", "\0"))


@given(st.sampled_from(ROLES), st.lists(WORDS | st.text(max_size=5), max_size=6).map("".join), st.booleans())
async def test_whatever_somebody_writes_they_do_no_more_than_they_may(
    role: Role | None, text: str, in_control_room: bool
) -> None:
    deeds = FakeDeeds(role)
    answer = await ask(deeds, text, in_control_room=in_control_room)
    needed: dict[str, Callable[[], bool]] = {
        "publish": lambda: may(role, Deed.ANNOUNCE),
        "agree": lambda: may(role, Deed.APPLY_HELD_PLAN),
        "thaw": lambda: may(role, Deed.THAW),
    }
    assert all(needed[what]() and where == SCHOOL for what, where, *_ in deeds.done)
    assert in_control_room or answer or deeds.done
