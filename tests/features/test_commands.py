"""The chat door: who may what, what is answered, once; what is asked first, and who is not answered again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands.arguments import Setting
from bridge.commands.door import ChatDoor
from bridge.commands.grammar import Asked, Found, read, recognise
from bridge.commands.patience import BURST, REFILL_MS, SPEAK_AGAIN, Patience
from bridge.commands.row import Row
from bridge.commands.table import TABLE
from bridge.core import texts
from bridge.core.access import NEEDED, Deed, may
from bridge.core.community import Role
from bridge.core.errors import Refused, Unreachable
from bridge.core.ids import CommunityId, EventId, RoomId, RoomKeyName, UserId
from bridge.core.languages import DE, EN, LANGUAGES, Language
from bridge.core.markup import html, plain
from bridge.core.messages import Pill, Said, SendMembers, ShowLink, Unreadable
from bridge.features.conversations import CONFIRM_MS, DAY_MS, Conversations
from bridge.store.database import Database
from tests.fakes.scene import FakeClock, url_in

SCHOOL, CLUB = CommunityId("school"), CommunityId("club")
ANN, BOB = UserId("@ann:example.org"), UserId("@bob:example.org")
CHAT = RoomId("!chat:example.org")
ROLES: list[Role | None] = [None, *Role]
CAME: dict[str, Any] = {"tags": [], "since": None, "how": "", "by": "", "detail": ""}
MEMBERS: list[dict[str, Any]] = [
    {"user": ANN, "role": Role.OWNER, "groups": ["chess"], "state": "join", "moderates": [], **CAME},
    {"user": BOB, "role": Role.MEMBER, "groups": [], "state": "join", "moderates": [], **CAME, "tags": ["teacher"]},
]


class FakeLinks:
    """Makes one link, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def _link(self, **more: Any) -> dict[str, Any]:
        fixed = {"groups": [], "role": "member", "needs_approval": False, "expires_at": None, "verdict": "ok"}
        return {"id": "k3x9", "community": SCHOOL, "uses": 30, "used": 2, **fixed, **more}

    async def new(self, community: str, **terms: Any) -> dict[str, Any]:
        self.asked.append(("new", community, terms))
        return self._link(url="https://join.example.org/join/secret")

    async def reset(self, community: str, **terms: Any) -> dict[str, Any]:
        self.asked.append(("reset", community, terms))
        return self._link(url="https://join.example.org/join/secret")

    async def list(self, community: str | None, *, by: UserId) -> list[dict[str, Any]]:
        return [self._link(), self._link(id="gone", verdict="revoked")]

    async def revoke(self, link_id: str, *, by: UserId) -> dict[str, Any]:
        self.asked.append(("revoke", link_id, {"by": by}))
        return self._link()


class Memory:
    """What outlives a message, without a database."""

    def __init__(self) -> None:
        self.strangers: dict[UserId, EventId] = {}
        self.waiting: dict[UserId, str] = {}

    async def ask_to_confirm(self, room_id: RoomId, user: UserId, command: str, event_id: EventId) -> None:
        self.waiting[user] = command

    async def confirmed(self, room_id: RoomId, user: UserId, event_id: EventId) -> str | None:
        return self.waiting.get(user)

    async def let_be(self, room_id: RoomId, user: UserId, event_id: EventId) -> bool:
        return user in self.waiting

    async def first_today(self, user: UserId, event_id: EventId) -> bool:
        return self.strangers.setdefault(user, event_id) == event_id


@dataclass
class FakeDeeds:
    """Records what was asked for. Whoever writes has the same role in `school`, and `elsewhere` in `club`."""

    role: Role | None
    elsewhere: Role | None = None
    held_digest: str | None = "12ab"
    failures: list[str] = field(default_factory=list)
    error: Exception | None = None
    language: Language = EN
    zone: tzinfo = UTC
    groups_by_members: bool = False
    ended: tuple[str, Language] | None = None
    done: list[tuple[str, ...]] = field(default_factory=list)
    asked_of_announcements: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    memory: Any = field(default_factory=Memory)
    links: FakeLinks = field(default_factory=FakeLinks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.memory, name)

    def communities(self) -> Sequence[CommunityId]:
        return [SCHOOL, CLUB]

    async def draft_awaits(self, room_id: RoomId, user: UserId, event_id: EventId) -> EventId | None:
        return None

    async def answer_draft(self, room_id: RoomId, user: UserId, event_id: EventId, *, send: bool) -> bool | None:
        return None

    async def ended_for(self, user: UserId) -> tuple[str, Language] | None:
        return self.ended

    def groups_of(self, community: CommunityId) -> Sequence[RoomKeyName]:
        return [RoomKeyName("chess")]

    async def name_of(self, community: CommunityId) -> str:
        return {SCHOOL: "The School"}.get(community, str(community))

    def language_of(self, community: CommunityId) -> Language:
        return self.language

    def zone_of(self, community: CommunityId) -> tzinfo:
        return self.zone

    async def role_of(self, community: CommunityId, user: UserId) -> Role | None:
        return self.role if community == SCHOOL else self.elsewhere

    async def announcements(
        self, deed: str, community: str, what: Mapping[str, Any], by: UserId | None = None
    ) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        if deed == "write":
            to = [*what["to"], *(("ack",) if what["acknowledge"] else ())]
            self.done.append(("write", community, what["text"], what["source"], str(by), what["room"], *to))
        else:
            self.done.append(("announcements", deed, community, str(by)))
        self.asked_of_announcements.append((deed, dict(what)))
        return {"said": [f"{deed} {community}"] if deed != "write" or what["at"] else []}

    async def community_status(self, community: CommunityId) -> dict[str, Any]:
        return {"id": community, "name": "School", "members": {"owner": 1}, "rooms": [], "drift": [], "held": None}

    async def community(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        self.done.append((deed, community))
        return {"said": [texts.deactivate_caution("School", what["form"].format(name="School"), [])]}

    async def held(self, community: CommunityId) -> str | None:
        return self.held_digest

    async def held_since(self, community: CommunityId) -> Sequence[str]:
        return ["it removes 12 people"]

    async def agree(self, community: CommunityId, digest: str) -> list[str]:
        self.done.append(("agree", community, digest))
        return self.failures

    async def thaw(self, community: CommunityId) -> None:
        self.done.append(("thaw", community))

    async def members(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        self.done.append(("members", community))
        return MEMBERS

    async def groups(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        self.done.append(
            (f"groups {deed}", community, str(what.get("key")), str(what.get("text")), what.get("kind", ""))
        )
        found = {"key": "altos", "kind": "hidden", "digest": "12ab"} if deed == "propose" else {"heirs": [BOB]}
        return {"said": ["done"], "done": False, **found}

    def groups_to_ask_for(self, community: CommunityId) -> Sequence[RoomKeyName]:
        return [RoomKeyName("chess")] if self.groups_by_members else []

    def members_ask_for_groups(self, community: CommunityId) -> bool:
        return self.groups_by_members and community == SCHOOL

    async def person(self, community: CommunityId, user: UserId) -> Mapping[str, Any]:
        self.done.append(("person", community, user))
        return {"user": user, "role": Role.MEMBER, "groups": ["chess"], "state": "join", "moderates": ["chess"], **CAME}

    async def tag(
        self, community: CommunityId, by: UserId | None, users: Sequence[UserId], tag: str, *, give: bool
    ) -> str:
        self.done.append(("tag" if give else "untag", community, str(by), *users, tag))
        return tag

    async def tags(self, community: CommunityId) -> Sequence[Mapping[str, Any]]:
        return [
            {"name": "teacher", "people": 1, "declared": False},
            {"name": "year-5", "people": 2, "declared": True},
        ]

    async def send_members(self, file: SendMembers, source: EventId) -> None:
        self.done.append(("send members", file.community, file.by, file.word))


@dataclass
class Answers:
    given: dict[str, str] = field(default_factory=dict)
    formatted: dict[str, str | None] = field(default_factory=dict)

    async def __call__(self, room_id: RoomId, text: str, *, key: str) -> None:
        assert room_id == CHAT
        self.given.setdefault(key, plain(text))
        self.formatted.setdefault(key, html(text))


class Chat:
    """One person and the announcer. Every message comes twice, as after a crash."""

    def __init__(self, deeds: Any, *, control_of: CommunityId | None = None, person: UserId = ANN) -> None:
        self.answers = Answers()
        self.deeds = deeds
        self.clock = FakeClock()
        self.door = ChatDoor(deeds, self.answers, self.clock)
        self.control_of = control_of
        self.person = person
        self.count = 0

    async def says(self, text: str, *pills: Pill, encrypted: bool = True) -> str | None:
        self.count += 1
        event = Said(EventId(f"${self.count}"), CHAT, self.person, 1, text, encrypted, pills)
        for _ in range(2):
            await self.door.said(event, control_of=self.control_of)
        return self.answers.given.get(f"answer-${self.count}")


async def ask(deeds: FakeDeeds, text: str, *, in_control_room: bool = False, encrypted: bool = True) -> str | None:
    chat = Chat(deeds, control_of=SCHOOL if in_control_room else None)
    return await chat.says(text, encrypted=encrypted)


# --- invite links -----------------------------------------------------------------------------------------------------


async def test_an_admin_makes_a_link_in_words() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    answer = await ask(deeds, "link new chess --expires 12h --uses 30 --needs-approval --role moderator")
    assert answer is None, "it is shown by a job: an answer would be stored, and the secret with it"
    (what, community, terms), *_ = deeds.links.asked
    assert (what, community) == ("new", SCHOOL)
    assert terms == {
        "groups": ["chess"], "expires": "12h", "uses": 30, "needs_approval": True, "role": "moderator", "by": ANN,
        "show": ShowLink(CHAT, terms["show"].source, ANN, "en", None),
    }  # fmt: skip


@pytest.mark.parametrize(("language", "family", "inside"), [
    (EN, "group", "group rename"), (DE, "gruppe", "gruppe umbenennen"),
    (EN, "link", "link reset"), (DE, "link", "link neu"), (EN, "moderator", "moderator add"),
])  # fmt: skip
async def test_help_folds_families_and_unfolds_them_by_name(language: Language, family: str, inside: str) -> None:
    deeds = FakeDeeds(Role.OWNER, language=language)
    whole = str(await ask(deeds, "help"))
    assert sum(line.startswith(f"- `{family}") for line in whole.splitlines()) == 1
    assert inside.partition(" ")[2] in whole
    assert len(whole) < 2800
    unfolded = str(await ask(deeds, f"help {family}"))
    assert f"- `{inside}" in unfolded
    assert "status" not in unfolded


async def test_links_are_listed_without_those_that_nobody_can_use() -> None:
    answer = await ask(FakeDeeds(Role.ADMIN), "links")
    assert answer is not None
    assert "1 link leads into The School" in answer
    assert "1 more is not shown" in answer
    assert "join/" not in answer


async def test_all_links_are_taken_back_after_a_yes_alone() -> None:
    deeds = FakeDeeds(Role.OWNER)
    chat = Chat(deeds)
    asked = await chat.says("link reset --uses 5")
    assert asked is not None
    assert "stop working" in asked
    assert deeds.links.asked == []
    await chat.says("yes")
    assert deeds.links.asked[0][0] == "reset"
    assert deeds.links.asked[0][2]["uses"] == 5


async def test_a_member_has_nothing_to_do_with_links() -> None:
    deeds = FakeDeeds(Role.MEMBER)
    for text in ("link new", "link revoke k3x9", "link list"):
        assert "Only owners and admins" in str(await ask(deeds, text))
    assert deeds.links.asked == []


# --- the table --------------------------------------------------------------------------------------------------------


def test_no_name_stands_in_two_rows() -> None:
    names = [name for row in TABLE for name in row.all_names]
    assert len(names) == len(set(names))
    assert all(len(name.split()) <= 2 for name in names)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
@pytest.mark.parametrize("language", LANGUAGES)
def test_examples_are_what_they_show(row: Row, language: Language) -> None:
    for where, named in (((SCHOOL,), None), ((SCHOOL, CLUB), SCHOOL)):
        found = recognise(plain(row.example(language, named if row.about == "one" else None)), TABLE)
        assert isinstance(found, Found)
        assert found.command is row
        asked = read(found, Setting((SCHOOL, CLUB), where, groups={SCHOOL: (RoomKeyName("chess"),)}))
        assert isinstance(asked, Asked), asked


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_every_command_has_help(row: Row) -> None:
    for elsewhere, form in ((None, row.form(named=False)), (Role.OWNER, row.form())):
        answer = await ask(FakeDeeds(Role.OWNER, elsewhere=elsewhere), f"help {row.name}")
        assert answer is not None
        assert answer.startswith(f"{form} – ") or f"`{form}` – " in answer
        assert plain(row.explain(EN).purpose) in answer


@pytest.mark.parametrize(
    ("text", "deed", "what"),
    [
        ("scheduled", "scheduled", {}),
        ("geplant school", "scheduled", {}),
        ("schedule show 3", "schedule show", {"number": 3}),
        (
            "schedule edit school 3 at every day at 9",
            "schedule edit",
            {"number": 3, "when": "every day at 9", "pills": ()},
        ),
        ("planen ändern 3 um täglich um 9", "schedule edit", {"number": 3, "when": "täglich um 9", "pills": ()}),
        ("schedule edit 3 text Hello: you", "schedule edit", {"number": 3, "text": "Hello: you", "pills": ()}),
        ("schedule skip 3", "schedule skip", {"number": 3}),
        ("schedule cancel 3", "schedule cancel", {"number": 3}),
    ],
)
async def test_schedules_are_asked_for_in_words(text: str, deed: str, what: dict[str, Any]) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    await ask(deeds, text)
    assert deeds.asked_of_announcements[-1] == (deed, {"source": "$1", "room": CHAT, "reply_to": None, **what})
    member = FakeDeeds(Role.MEMBER)
    assert await ask(member, text) == plain(texts.not_allowed(Role.ADMIN))
    assert member.asked_of_announcements == []


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("schedule tomorrow 8:00: Hello: you", "tomorrow 8:00", "Hello: you"),
        ("schedule school: every monday at 8\nHello\nall", "every monday at 8", "Hello\nall"),
        ("planen FREQ=DAILY;BYHOUR=8: Hi", "FREQ=DAILY;BYHOUR=8", "Hi"),
    ],
)
async def test_what_is_scheduled_is_an_announcement_for_later(text: str, at: str, words: str) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    await ask(deeds, text)
    deed, what = deeds.asked_of_announcements[-1]
    assert (deed, what["at"], what["text"], what["to"], what["ring"]) == ("write", at, words, [], False)
    for role in (Role.MODERATOR, Role.MEMBER):
        other = FakeDeeds(role)
        assert await ask(other, text) == plain(texts.not_allowed(Role.ADMIN))
        assert other.asked_of_announcements == []


@pytest.mark.parametrize("text", [
    "announce school: --to group:chess,tag:team --at friday 17:00: --to below --ack --ring Hello",
    "schedule school: --to group:chess,tag:team friday 17:00: --to below --ack --ring Hello",
])  # fmt: skip
async def test_an_announcement_is_for_whom_and_when_its_options_say(text: str) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await ask(deeds, text) == "write school"
    [deed, what] = deeds.asked_of_announcements[-1]
    asked = {name: what[name] for name in ("text", "at", "to", "acknowledge", "ring", "template", "single")}
    assert (deed, asked) == (
        "write",
        {
            "text": "Hello", "at": "friday 17:00", "to": ["group:chess,tag:team", "below"], "acknowledge": True,
            "ring": True, "template": None, "single": False,
        },
    )  # fmt: skip
    moderator = FakeDeeds(Role.MODERATOR)
    assert await ask(moderator, text) == plain(texts.not_allowed(Role.ADMIN)), "runs are of owners and admins"
    assert moderator.asked_of_announcements == []


@pytest.mark.parametrize("text", ["schedule tomorrow 8:00 Hello", "schedule : Hello", "schedule tomorrow 8:00:"])
async def test_a_schedule_without_a_colon_or_a_text_is_shown_how_it_is_written(text: str) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    answer = await ask(deeds, text)
    assert answer is not None
    assert "`schedule" in answer
    assert deeds.asked_of_announcements == []


async def test_help_shows_a_command_that_is_the_first_word_of_others_with_them() -> None:
    lines = str(await ask(FakeDeeds(Role.ADMIN), "help schedule")).splitlines()
    shown = [line for line in lines if line.startswith("- ")]
    assert shown[0].startswith("- `schedule [--ack] [--to …] [--ring] [--template …] [--single] <when> <text>`")
    assert len(shown) == 6
    whole = str(await ask(FakeDeeds(Role.ADMIN), "help"))
    assert "<when> <text>`" not in whole
    assert "- `schedule …`" in whole


# --- who may ----------------------------------------------------------------------------------------------------------

OFFERED = {
    "announce school Hello": Role.MODERATOR,
    "announce There is news": Role.MODERATOR,
    "announcements school": Role.MODERATOR,
    "stats": Role.MODERATOR,
    "ack #1": Role.MODERATOR,
    "edit #1 Other": Role.MODERATOR,
    "pin #1": Role.MODERATOR,
    "retry #1": Role.MODERATOR,
    "forward #1 club": Role.ADMIN,
    "status": Role.ADMIN,
    "members": Role.ADMIN,
    "who @bob:example.org": Role.ADMIN,
    "apply school 12ab": Role.OWNER,
    "thaw school": Role.OWNER,
    "auftauen": Role.OWNER,
}


def test_every_deed_has_a_role() -> None:
    assert NEEDED.keys() == set(Deed)
    assert not any(may(None, deed) for deed in Deed)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("text", OFFERED)
async def test_who_may(text: str, role: Role | None) -> None:
    deeds = FakeDeeds(role)
    answer = await ask(deeds, text)
    if role is None:
        assert answer == plain(texts.stranger())
    elif role < OFFERED[text]:
        assert answer == plain(texts.not_allowed(OFFERED[text]))
    if text != "status":
        assert bool(deeds.done) is (role is not None and role >= OFFERED[text])


@pytest.mark.parametrize(
    "text", ["announce club Hello", "apply club 12ab", "thaw club", "members club", "thaw nowhere"]
)
async def test_an_owner_of_one_community_is_nobody_in_another(text: str) -> None:
    deeds = FakeDeeds(Role.OWNER, elsewhere=Role.MEMBER)
    answer = await ask(deeds, text)
    assert answer
    if "members" not in text:  # `club` could be what is looked for; it is answered about the own community
        assert deeds.done == []
    assert all(CLUB not in one for one in deeds.done)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.MODERATOR, Role.ADMIN, Role.OWNER])
async def test_help_shows_what_somebody_may_and_nothing_else(role: Role) -> None:
    answer = await ask(FakeDeeds(role), "help")
    assert answer is not None
    for name, deed in (("announce", Deed.ANNOUNCE_IN_GROUPS), ("members", Deed.SEE_MEMBERS), ("thaw", Deed.THAW)):
        assert (f"- `{name}" in answer) is may(role, deed)
    assert "club" not in answer


@pytest.mark.parametrize(("text", "parts"), [
    (
        "!help",
        (
            "- `!announce [--ack] [--at …] [--to …] [--ring] [--template …] [--single] <text>` – ",
            "- `!link …` – new, list, revoke, reset",
            "Write `!help` and a command",
        ),
    ),
    ("!help transfer", ("!transfer <user> – ", "For example: `!transfer @edna:example.org`", "I ask for your `!yes`")),
    ("!anounce Hello", ("Did you mean `!announce`? Write `!help` to see",)),
    ("!sing", ("Write `!help` to see",)),
])  # fmt: skip
async def test_what_is_shown_in_a_control_room_works_there_as_it_is_written(text: str, parts: tuple[str, ...]) -> None:
    chat = Chat(FakeDeeds(Role.OWNER, elsewhere=Role.OWNER), control_of=SCHOOL)
    answer = str(await chat.says(text))
    for part in parts:
        assert part in answer
    sent = str(chat.answers.formatted.get("answer-$1"))
    assert "`" not in sent, "no sign of markup is left over"


# --- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"), [("announce school Hello\nall", "Hello\nall"), ("Announce Well, all", "Well, all")]
)
async def test_an_announcement_is_taken_under_the_events_own_id_and_answered_when_it_is_there(
    text: str, words: str
) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await ask(deeds, text) is None
    assert set(deeds.done) == {("write", SCHOOL, words, "$1", ANN, CHAT)}


@pytest.mark.parametrize(("text", "part"), [
    ("announce", "`announce [community] [--ack] [--at …] [--to …] [--ring] [--template …] [--single] <text>`"),
    ("announce school", "for example `announce There is no school tomorrow.`"),
    ("anounce Hello", "Did you mean `announce`?"),
    ("thaw shcool", "Did you mean `school`?"),
    ("who bob", "“bob” is not what I expected as `user`. It can be: @name:example.org. The form is `who"),
    ("thaw school now", "I do not know what “now” means there"),
    ("sing a song", "I do not know “sing”."),
    ("help sing", "I do not know “sing”."),
    ("hello there", "You can write to me:"),
])  # fmt: skip
async def test_a_mistake_is_named_with_the_right_form(text: str, part: str) -> None:
    deeds = FakeDeeds(Role.OWNER)
    answer = await ask(deeds, text)
    assert answer is not None
    assert part in answer
    assert deeds.done == []


@pytest.mark.parametrize(("text", "part"), [
    ("announce", "Which community do you mean: school, club?"),
    ("announce schol Hello", "Did you mean `school`?"),
    ("announce School is closed", "- `announce school: School is closed`"),
    ("announce School is closed", "- `announce school: is closed`"),
])  # fmt: skip
async def test_with_two_communities_none_is_guessed(text: str, part: str) -> None:
    deeds = FakeDeeds(Role.OWNER, elsewhere=Role.ADMIN)
    answer = await ask(deeds, text)
    assert answer is not None
    assert part in answer
    assert deeds.done == []


async def test_groups_are_made_by_name_and_released_after_a_yes() -> None:
    deeds = FakeDeeds(Role.OWNER)
    chat = Chat(deeds)
    assert await chat.says("group create --kind request Chess Club") == "done"
    assert set(deeds.done) == {("groups create", SCHOOL, "None", "Chess Club", "request")}
    deeds.done.clear()
    assert str(BOB) in str(await chat.says("group release chess"))
    assert "groups release" not in [what for what, *_ in deeds.done]
    assert await chat.says("yes") == "done"
    assert ("groups release", SCHOOL, "chess", "None", "") in deeds.done


@pytest.mark.parametrize(
    "room",
    [
        "!abc",
        "#altos:example.org",
        "https://matrix.to/#/!abc?via=example.org",
        "https://matrix.to/#/%23altos%3Aexample.org",
        "matrix:r/altos:example.org",
        "[Altos](https://matrix.to/#/#altos:example.org)",
    ],
)
async def test_a_room_is_adopted_as_it_was_shown_after_a_yes(room: str) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    chat = Chat(deeds)
    assert "within 10 minutes" in str(await chat.says(f"group adopt {room}"))
    assert {what for what, *_ in deeds.done} == {"groups propose"}
    deeds.done.clear()
    assert await chat.says("yes") == "done"
    assert set(deeds.done) == {("groups adopt", SCHOOL, "altos", "None", "hidden")}
    deeds.done.clear()
    assert "#…:example.org" in str(await chat.says("group adopt choir"))
    assert deeds.done == []


async def test_a_group_is_moved_also_where_it_may_have_moved_already() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await Chat(deeds).says("group move gone year-2") == "done"  # the house knows whether it has
    assert set(deeds.done) == {("groups move", SCHOOL, "gone", "None", "")}


async def test_members_may_make_groups_where_the_community_lets_them_and_change_none() -> None:
    deeds = FakeDeeds(Role.MEMBER)
    chat = Chat(deeds)
    assert "group create" not in str(await chat.says("help"))
    deeds.groups_by_members = True
    assert "group create" in str(await chat.says("help"))
    assert await chat.says("group create Chess") == "done"  # the house knows whether the community lets them
    deeds.done.clear()
    assert "Only owners and admins" in str(await chat.says("group archive chess"))
    assert deeds.done == []


async def test_members_are_shown_and_found() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    answer = await ask(deeds, "members")
    assert answer == f"2 people are in The School.\n- {ANN}: owner · chess\n- {BOB}: member · #teacher"
    people = (("bob", BOB), ("owner", ANN), ("Eigentümer", ANN), ("chess", ANN), ("teacher", BOB), ("#Teacher", BOB))
    for word, found in people:
        answer = await ask(deeds, f"members {word}")
        assert answer is not None
        assert answer.startswith("2 people are in The School. 1 matches:\n")
        assert found in answer
        assert len(answer.splitlines()) == 2


async def test_the_table_of_members_comes_as_a_file() -> None:
    deeds = FakeDeeds(Role.ADMIN)
    assert await ask(deeds, "members csv teacher") == "Here is the table, of 1 person:"
    assert deeds.done[-1] == ("send members", SCHOOL, ANN, "teacher")
    await ask(deeds, "members --csv")
    assert deeds.done[-1] == ("send members", SCHOOL, ANN, "")
    assert ("send members", SCHOOL, ANN, "") not in (await asked(Role.MEMBER, "members csv")).done


async def asked(role: Role, text: str) -> FakeDeeds:
    deeds = FakeDeeds(role)
    await ask(deeds, text)
    return deeds


@pytest.mark.parametrize("words", ["tag", "tag add", "markieren"])
async def test_people_are_tagged(words: str) -> None:
    deeds = FakeDeeds(Role.ADMIN)
    answer = await ask(deeds, f"{words} {BOB} {ANN} teacher")
    assert answer == f"Tagged `teacher`: {BOB}, {ANN}."
    assert set(deeds.done) == {("tag", SCHOOL, ANN, BOB, ANN, "teacher")}
    assert "No longer" in str(await ask(deeds, f"untag {BOB} teacher"))
    assert deeds.done[-1] == ("untag", SCHOOL, ANN, BOB, "teacher")


async def test_tags_are_listed() -> None:
    assert await ask(FakeDeeds(Role.ADMIN), "tags") == (
        "Tags in The School:\n- `teacher` – 1 person\n- `year-5` – 2 people, by the configuration"
    )


async def test_who_somebody_is_by_mention() -> None:
    chat = Chat(FakeDeeds(Role.ADMIN))
    answer = await chat.says("who Bob Builder", Pill("Bob Builder", BOB))
    assert answer == f"{BOB}: member\nGroups: chess\nModerates: chess"


async def test_times_are_told_in_the_time_zone_of_the_community() -> None:
    class Since(FakeDeeds):
        async def person(self, community: CommunityId, user: UserId) -> Mapping[str, Any]:
            return {**await super().person(community, user), "since": 1_790_000_000_000}

    chat = Chat(Since(Role.ADMIN, zone=ZoneInfo("Europe/Berlin")))
    answer = await chat.says("who Bob Builder", Pill("Bob Builder", BOB))
    assert answer is not None
    assert "Here since 2026-09-21 16:13 CEST" in answer


async def test_a_refusal_is_told_with_its_remedy() -> None:
    deeds = FakeDeeds(Role.ADMIN, error=Refused("the text is too long", remedy="shorten it"))
    assert await ask(deeds, "announce school Hello") == "the text is too long. Shorten it."


async def test_what_passes_is_tried_again_and_not_answered() -> None:
    deeds = FakeDeeds(Role.ADMIN, error=Unreachable("HTTP 502"))
    with pytest.raises(Unreachable):
        await ask(deeds, "announce school Hello")


@pytest.mark.parametrize(("text", "held", "answer"), [
    ("apply school 99", "12ab", texts.which_plan("school", "12ab")),
    ("apply school 12ab", None, texts.nothing_held()),
    ("apply", None, texts.nothing_held()),
    ("apply school 12AB", "12ab", texts.applied([])),
    ("apply 12ab", "12ab", texts.applied([])),
])  # fmt: skip
async def test_a_held_plan_needs_its_name(text: str, held: str | None, answer: str) -> None:
    deeds = FakeDeeds(Role.OWNER, held_digest=held)
    assert await ask(deeds, text) == plain(answer)
    assert bool(deeds.done) is (answer == texts.applied([]))


async def test_what_could_not_be_done_is_told() -> None:
    answer = await ask(FakeDeeds(Role.OWNER, failures=["space: invite @x:y: no"]), "apply school 12ab")
    assert answer is not None
    assert "space: invite @x:y: no" in answer


async def test_words_in_the_clear_are_not_acted_on() -> None:
    deeds = FakeDeeds(Role.OWNER)
    assert await ask(deeds, "announce school Hello", encrypted=False) == plain(texts.encrypted_only())
    assert deeds.done == []


async def test_people_in_a_control_room_are_left_in_peace() -> None:
    deeds = FakeDeeds(Role.OWNER)
    assert await ask(deeds, "announce school Hello", in_control_room=True) is None
    assert deeds.done == []
    assert await ask(deeds, "!thaw school", in_control_room=True) == plain(texts.thawed())


async def test_a_command_in_a_control_room_is_about_its_community() -> None:
    deeds = FakeDeeds(Role.OWNER, elsewhere=Role.OWNER)
    assert await ask(deeds, "!announce News", in_control_room=True) is None
    assert {one[:3] for one in deeds.done} == {("write", SCHOOL, "News")}


async def test_the_language_of_the_community_is_spoken() -> None:
    answer = await ask(FakeDeeds(Role.OWNER, language=DE), "hilfe")
    assert answer is not None
    assert "`ankündigen [--bestätigen] [--um …] [--an …] [--läuten]" in answer


@pytest.mark.parametrize("control_of", [None, SCHOOL])
async def test_a_message_that_cannot_be_read(control_of: CommunityId | None) -> None:
    answers = Answers()
    door = ChatDoor(FakeDeeds(Role.OWNER), answers, FakeClock())
    await door.unreadable(Unreadable(EventId("$event"), CHAT, ANN, 1), control_of=control_of)
    assert answers.given.get("answer-$event") == (plain(texts.unreadable()) if control_of is None else None)


# --- confirmation -----------------------------------------------------------------------------------------------------


@dataclass
class Lasting:
    """A database that outlives the process, and the conversations that it remembers."""

    url: str
    clock: FakeClock = field(default_factory=FakeClock)

    async def start(self) -> Conversations:
        self.database = Database(self.url)
        await self.database.start()
        return Conversations(self.database, self.clock)


@pytest.fixture
async def lasting(tmp_path: Path) -> Any:
    lasting = Lasting(url_in(tmp_path))
    yield lasting
    await lasting.database.stop()


def owner(memory: Conversations) -> FakeDeeds:
    return FakeDeeds(Role.OWNER, memory=memory)


async def test_what_cannot_be_undone_is_asked_first_and_done_once(lasting: Lasting) -> None:
    deeds = owner(await lasting.start())
    chat = Chat(deeds)
    question = await chat.says("apply")
    assert question is not None
    assert "it removes 12 people" in question
    assert "Write `yes` within 10 minutes" in question
    assert deeds.done == []
    assert await chat.says("yes") == plain(texts.applied([]))
    assert set(deeds.done) == {("agree", SCHOOL, "12ab")}
    deeds.done.clear()
    assert await chat.says("yes") == plain(texts.nothing_to_confirm())
    assert deeds.done == []


@pytest.mark.parametrize("answer", ["no", "Nein"])
async def test_no_is_no(lasting: Lasting, answer: str) -> None:
    deeds = owner(await lasting.start())
    chat = Chat(deeds)
    await chat.says("apply")
    assert await chat.says(answer) == plain(texts.dropped())
    assert await chat.says("yes") == plain(texts.nothing_to_confirm())
    assert deeds.done == []


async def test_yes_but_is_no_yes(lasting: Lasting) -> None:
    deeds = owner(await lasting.start())
    chat = Chat(deeds)
    await chat.says("apply")
    answer = await chat.says("ok, but what does it do?")
    assert answer is not None
    assert "I did nothing" in answer or "I do not know" in answer
    assert deeds.done == []
    assert await chat.says("Yes!") == plain(texts.applied([]))


async def test_a_question_outlives_a_restart_and_lapses(lasting: Lasting) -> None:
    chat = Chat(owner(await lasting.start()))
    await chat.says("apply")
    await lasting.database.stop()
    again = owner(await lasting.start())
    chat.door = ChatDoor(again, chat.answers, chat.clock)
    assert await chat.says("Ja") == plain(texts.applied([]))
    assert again.done
    again.done.clear()
    await chat.says("apply")
    lasting.clock.now += CONFIRM_MS + 1
    assert await chat.says("yes") == plain(texts.nothing_to_confirm())
    assert again.done == []


async def test_a_yes_counts_for_its_author_in_its_room_for_what_was_asked(lasting: Lasting) -> None:
    deeds = owner(await lasting.start())
    await Chat(deeds).says("apply")
    other = Chat(deeds, person=BOB)
    other.count = 5
    assert await other.says("yes") == plain(texts.nothing_to_confirm())
    chat = Chat(deeds)
    chat.count = 10
    deeds.held_digest = "99"  # it has changed since
    assert await chat.says("yes") == plain(texts.which_plan(SCHOOL, "99"))
    assert deeds.done == []


async def test_whoever_lost_their_role_meanwhile_confirms_nothing(lasting: Lasting) -> None:
    deeds = owner(await lasting.start())
    chat = Chat(deeds)
    await chat.says("apply")
    deeds.role, deeds.elsewhere = Role.MEMBER, Role.OWNER
    answer = await chat.says("yes")
    assert answer == "I know no community “school” in which you may do that. You can do it in: club."
    assert deeds.done == []


async def test_in_a_control_room_a_yes_has_its_mark(lasting: Lasting) -> None:
    deeds = owner(await lasting.start())
    chat = Chat(deeds, control_of=SCHOOL)
    question = await chat.says("!apply")
    assert question is not None
    assert "Write `!yes` within" in question
    assert await chat.says("yes") is None
    assert await chat.says("!yes") == plain(texts.applied([]))


@pytest.mark.parametrize(("in_control_room", "mark"), [(True, "!"), (False, "")])
async def test_what_ends_a_community_is_shown_as_it_is_written_there(in_control_room: bool, mark: str) -> None:
    answer = await ask(FakeDeeds(Role.OWNER), f"{mark}community deactivate school", in_control_room=in_control_room)
    assert str(answer).endswith(f"If you are certain, write: `{mark}community deactivate school School`")


# --- strangers and floods ---------------------------------------------------------------------------------------------


async def test_a_stranger_is_answered_once_a_day(lasting: Lasting) -> None:
    deeds = FakeDeeds(None, memory=await lasting.start())
    chat = Chat(deeds)
    assert [await chat.says(text) for text in ("hello", "help", "announce school: x")] == [
        plain(texts.stranger()), None, None,
    ]  # fmt: skip
    lasting.clock.now += DAY_MS + 1
    assert await chat.says("hello?") == plain(texts.stranger())
    deeds.role = Role.MEMBER
    assert "digest" in str(await chat.says("help"))


async def test_whose_community_was_deactivated_is_told_so_in_its_language_once() -> None:
    chat = Chat(FakeDeeds(None, ended=("Die Schule", DE)))
    assert "„Die Schule“ gibt es nicht mehr" in str(await chat.says("hello"))
    assert await chat.says("hello") is None


async def test_a_flood_is_answered_so_often_and_then_no_more_until_there_was_peace() -> None:
    chat = Chat(FakeDeeds(Role.ADMIN))
    answers = [await chat.says("status") for _ in range(BURST + 20)]
    assert answers[BURST] == plain(texts.too_fast())
    assert plain(texts.too_fast()) not in answers[:BURST]
    assert set(answers[BURST + 1 :]) == {None}
    chat.clock.now += SPEAK_AGAIN * REFILL_MS
    assert "School" in str(await chat.says("status"))
    assert "School" in str(await Chat(chat.deeds, person=BOB).says("status"))


async def test_a_flood_that_cannot_be_read_is_answered_no_more_than_another() -> None:
    answers = Answers()
    door = ChatDoor(FakeDeeds(Role.OWNER), answers, FakeClock())
    for number in range(BURST + 5):
        await door.unreadable(Unreadable(EventId(f"${number}"), CHAT, ANN, 1), control_of=None)
        await door.said(Said(EventId(f"$c{number}"), CHAT, BOB, 1, "x", encrypted=False), control_of=None)
    for text in (texts.unreadable(), texts.encrypted_only()):
        assert list(answers.given.values()).count(plain(text)) == BURST
    assert list(answers.given.values()).count(plain(texts.too_fast())) == 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30_000))))
def test_nobody_gets_more_than_the_bucket_holds(steps: list[tuple[int, int]]) -> None:
    patience, now, passed = Patience(), 0, 0
    for number, (again, wait) in enumerate(steps):
        now += wait
        verdicts = {patience.take(ANN, EventId(f"${number}"), now) for _ in range(again + 1)}
        assert len(verdicts) == 1
        [verdict] = verdicts
        assert not (verdict.over and verdict.silent)
        passed += not (verdict.over or verdict.silent)
    assert passed <= BURST + now / REFILL_MS


# --- anything ---------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from((
    "announce ", "apply ", "thaw ", "status ", "members ", "who ", "school ", "club ", "12ab ", "!", "\n", "\0", "yes ",
))  # fmt: skip


@given(
    st.sampled_from(ROLES),
    st.lists(st.lists(WORDS | st.text(max_size=5), max_size=6).map("".join), max_size=3),
    st.sampled_from((None, SCHOOL, CLUB)),
)
async def test_whatever_somebody_writes_they_do_no_more_than_they_may(
    role: Role | None, said: list[str], control_of: CommunityId | None
) -> None:
    deeds = FakeDeeds(role)
    chat = Chat(deeds, control_of=control_of)
    for number, text in enumerate(said):
        before = len(deeds.done)
        answer = await chat.says(text)
        assert control_of or answer or len(deeds.done) > before or (role is None and number)
    needed: dict[str, Callable[[], bool]] = {
        "write": lambda: may(role, Deed.ANNOUNCE_IN_GROUPS),
        "groups announcements": lambda: may(role, Deed.ADMIT_ANNOUNCER),
        "groups may announcements": lambda: may(role, Deed.ADMIT_ANNOUNCER),
        "agree": lambda: may(role, Deed.APPLY_HELD_PLAN),
        "thaw": lambda: may(role, Deed.THAW),
        "groups create": lambda: may(role, Deed.MAKE_GROUPS),
        "groups heirs": lambda: may(role, Deed.RELEASE_GROUPS),
        "groups release": lambda: may(role, Deed.RELEASE_GROUPS),
        "groups propose": lambda: may(role, Deed.ADOPT_GROUPS),
        "groups adopt": lambda: may(role, Deed.ADOPT_GROUPS),
        **{
            f"groups {deed}": lambda: may(role, Deed.CHANGE_GROUPS)
            for deed in ("list", "rename", "describe", "posting", "kind", "archive", "unarchive")
        },
        "members": lambda: may(role, Deed.SEE_MEMBERS),
        "person": lambda: may(role, Deed.SEE_MEMBERS),
    }
    assert all(needed[what]() and where == SCHOOL for what, where, *_ in deeds.done)


@dataclass
class DeclaredOwners(FakeDeeds):
    """The file says who the owners are."""

    async def people(self, deed: str, community: str, by: UserId | None = None, **what: Any) -> dict[str, Any]:
        self.done.append((deed, community))
        raise Refused("communities.school.owners in the configuration decides that", remedy="change it there")


async def test_what_the_file_forbids_is_refused_before_anybody_has_to_say_yes() -> None:
    deeds = DeclaredOwners(Role.OWNER)
    answer = await ask(deeds, f"transfer {BOB}")
    assert "communities.school.owners in the configuration decides that" in str(answer)
    assert set(deeds.done) == {("may transfer", SCHOOL)}
    assert deeds.memory.waiting == {}


async def test_members_are_shown_how_to_ask_for_groups_where_there_are_some() -> None:
    assert "`ask <group>`" in str(await ask(FakeDeeds(Role.MEMBER, groups_by_members=True), "help"))
    assert "`ask <group>`" not in str(await ask(FakeDeeds(Role.MEMBER), "help"))


@pytest.mark.parametrize("text", ["stats", "stats #1", "ack 1", "ack 1 csv", "reichweite 1"])
async def test_members_are_not_told_who_has_read_and_confirmed(text: str) -> None:
    deeds = FakeDeeds(Role.MEMBER)
    assert "Only owners and admins" in str(await ask(deeds, text))
    assert deeds.done == []
    for role in (Role.MODERATOR, Role.ADMIN):  # what a moderator is told of is decided by whom it went to
        deeds = FakeDeeds(role)
        await ask(deeds, text)
        assert {one[0] for one in deeds.done} == {"announcements"}


async def test_a_confirmation_is_asked_for_with_two_dashes_since_the_rest_is_the_text() -> None:
    for text, asked in (("announce --ack News", True), ("announce —ack News", True), ("announce ack News", False)):
        deeds = FakeDeeds(Role.OWNER)
        await ask(deeds, text)
        assert {"ack" in one for one in deeds.done} == {asked}
