"""The configuration file: what it becomes, and each fault with its path and line."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from bridge.config import Config, load, parse, registration_of
from bridge.config.sections import Listen, Trust
from bridge.config.templates import shipped
from bridge.core.community import Join, Posting, RoomKind
from bridge.core.errors import ConfigError

REQUIRED = """\
homeserver: {url: "http://127.0.0.1:8008/", domain: example.org}
registration: {as_token: the-token-of-the-service, hs_token: the-token-of-the-homeserver}
encryption: {identity_secret: the-secret-of-the-identity, pickle_key: the-key-of-the-pickles}
control: {secret: the-secret-of-the-door}
"""
SPRINGFIELD = """\
communities:
  springfield:
    name: Springfield School
    owners: ["@principal:example.org"]
    admins: []
    groups:
      class-1a: {name: Class 1A, moderators: ["@edna:example.org"]}
      chess: {kind: request}
      notices: {posting: moderators, members: ["@homer:elsewhere.example:8448"]}
    join: request
"""
HERE = "# here"


def read(text: str) -> Config:
    return parse(text, Path("config.yaml"), environ={})


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.faults


NESTED = """\
room_version: "11"
communities:
  springfield:
    name: Springfield School
    owners: ["@principal:example.org"]
    language: de
    timezone: europe/berlin
    room_version: "12"
    removed: ["@nelson:example.org"]
    subcommunities:
      year-1:
        subcommunities:
          class-1a: {language: en, members: ["@homer:example.org"]}
      year-2: {}
  company: {owners: ["@boss:example.org"]}
"""


def test_communities_within_communities_become_a_row_with_parents_first() -> None:
    config = read(REQUIRED + NESTED)
    assert [(one.id, one.parent) for one in config.communities] == [
        ("springfield", None), ("year-1", "springfield"), ("class-1a", "year-1"), ("year-2", "springfield"),
        ("company", None),
    ]  # fmt: skip
    assert [(one.language, one.room_version) for one in config.communities] == [
        ("de", "12"), ("de", "12"), ("en", "12"), ("de", "12"), ("en", "11"),
    ]  # fmt: skip
    assert [one.timezone for one in config.communities] == [*["Europe/Berlin"] * 4, ""]
    assert config.warnings == ()  # who owns the school owns the years


def test_faults_of_communities_within_communities_name_their_place() -> None:
    place = "communities.springfield.subcommunities.year-1.subcommunities.class-1a"
    twice = NESTED.replace("      year-2: {}", "      class-1a: {}")
    assert faults(REQUIRED + twice) == [
        f"config.yaml:18: communities.springfield.subcommunities.class-1a: has the id of {place}; "
        "every community needs one of its own, wherever it is"
    ]
    [fault] = faults(REQUIRED + NESTED.replace("@homer", "@nelson"))
    assert f"{place}.members[0]: @nelson:example.org stands in communities.springfield.removed" in fault
    deep = "communities: {a: {owners: ['@a:b.c'], subcommunities: {b: {subcommunities: {c: {subcommunities: {d: "
    allowed = f"{deep}{{subcommunities: {{e: {{}}}}}}}}}}}}}}}}}}}}"
    assert [str(one.id) for one in read(REQUIRED + allowed).communities] == list("abcde")
    [fault] = faults(REQUIRED + allowed.replace("e: {}", "e: {subcommunities: {f: {}}}"))
    assert "is too deep: at most 5 communities stand in each other" in fault


TEMPLATES = """\
templates:
  class:
    join: request
    language: de
    groups:
      parents: {name: Parents, kind: request}
      staff: {name: Staff, kind: hidden}
    subcommunities:
      reading: {name: Reading circle}
  own:
    use: class
    general: false
communities:
  class-1a:
    use: own
    owners: ["@edna:example.org"]
    language: en
    groups:
      parents: {kind: open}
      chess: {}
    subcommunities:
      class-1a-reading: {description: A book a month}
"""


def test_a_template_gives_what_a_community_does_not_say() -> None:
    class_, reading = read(REQUIRED + TEMPLATES).communities
    assert (class_.join, class_.language, class_.general) == (Join.REQUEST, "en", False)
    assert [(group.key, group.name, group.kind) for group in class_.groups] == [
        ("parents", "Parents", RoomKind.OPEN), ("staff", "Staff", RoomKind.HIDDEN), ("chess", None, RoomKind.OPEN),
    ]  # fmt: skip
    assert (reading.id, reading.parent) == ("class-1a-reading", "class-1a")
    assert (reading.name, reading.description) == ("Reading circle", "A book a month")


@pytest.mark.parametrize("name", sorted(shipped()))
def test_templates_that_come_with_the_service_are_whole_and_can_be_used_twice(name: str) -> None:
    use = f"{{use: {name}, owners: ['@a:b.c']}}"
    config = read(f"{REQUIRED}communities: {{a: {use}, b: {{owners: ['@a:b.c'], subcommunities: {{c: {use}}}}}}}")
    assert [one.id for one in config.communities] == ["a", "b", "c"]
    assert config.communities[0].groups == config.communities[2].groups != ()
    mine = read(f"{REQUIRED}templates: {{{name}: {{general: true}}}}\ncommunities: {{a: {use}}}")
    assert mine.communities[0].groups == ()


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("communities: {a: {use: scool}}", "communities.a.use", "association, company, school (did you mean school?)"),
        ("templates: {x: {}}\ncommunities: {a: {use: y}}", "communities.a.use", "association, company, school, x"),
        ("templates: {x: {use: x}}\ncommunities: {a: {use: x}}", "communities.a.use", "the template x uses itself"),
        (
            "templates: {x: {subcommunities: {b: {use: x}}}}\ncommunities: {a: {use: x}}",
            "communities.a.subcommunities.a-b.use",
            "the template x uses itself",
        ),
        ("communities: {a: {use: company, groups_by: nobody}}", "communities.a.groups_by", "one of admins"),
        ("communities: {a: {timezone: Europe/Springfield}}", "communities.a.timezone", "is no time zone"),
        ("templates: {x: {nam: X}}\ncommunities: {}", "templates.x.nam", "did you mean name"),
        ("templates: &x {x: {subcommunities: *x}}\ncommunities: {a: {use: x}}", "", "is too deep"),
        ("communities: {a: {use: [school]}}", "communities.a.use", "is a list"),
    ],
)
def test_faults_of_templates(text: str, where: str, what: str) -> None:
    found = faults(REQUIRED + text)
    assert any(f" {where}" in fault and what in fault for fault in found), found


def test_what_must_be_given_is_enough() -> None:
    config = read(REQUIRED)
    assert config.homeserver.url == "http://127.0.0.1:8008"
    assert config.steward == "@communities:example.org"
    assert config.announcer == "@announcements:example.org"
    assert config.listen.url == "http://127.0.0.1:29350"
    assert config.registration.as_token.reveal() == "the-token-of-the-service"
    assert config.encryption.trust is Trust.SIGNED
    assert config.reconcile.max_removed_share == 0.3
    assert config.communities == ()
    assert config.warnings == ("config.yaml:1: communities: no community is declared, so there is nothing to do yet",)


def test_community_becomes_what_it_says() -> None:
    config = read(REQUIRED + SPRINGFIELD)
    springfield = config.community("springfield")
    assert springfield is not None
    assert config.community("shelbyville") is None
    assert springfield.owners == frozenset({"@principal:example.org"})
    assert springfield.join is Join.REQUEST
    assert [group.key for group in springfield.groups] == ["class-1a", "chess", "notices"]
    first, chess, notices = springfield.groups
    assert (first.name, first.kind, first.moderators) == ("Class 1A", RoomKind.OPEN, frozenset({"@edna:example.org"}))
    assert (chess.name, chess.kind) == (None, RoomKind.REQUEST)
    assert (notices.posting, notices.members) == (Posting.MODERATORS, frozenset({"@homer:elsewhere.example:8448"}))
    assert config.warnings == ()


def test_templates_of_announcements_keep_their_order_and_say_what_is_wrong_with_them() -> None:
    begin = REQUIRED + 'communities: {one: {owners: ["@a:b.c"], announcement_templates: '
    [one] = read(begin + '{snow: "No school on {day}.", bell: It rings.}}}\n').communities
    assert [(form.name, form.fields) for form in one.announcement_templates] == [("snow", ("day",)), ("bell", ())]
    for wrong, said in (
        ("[snow]", "not names of templates with their texts"),
        ("{Snow: x}", "is not a stable id"),
        ("{snow: [x]}", "is a list, not text"),
        ("{snow: ''}", "is empty"),
        ("{snow: x, snow: y}", "twice"),
    ):
        [fault] = faults(f"{begin}{wrong}}}}}\n")
        assert "communities.one.announcement_templates" in fault
        assert said in fault, fault


def test_absent_is_not_declared_and_empty_is() -> None:
    springfield = read(REQUIRED + SPRINGFIELD).communities[0]
    assert springfield.admins == frozenset()
    assert springfield.members is None
    assert springfield.description is None
    assert springfield.groups[1].moderators is None


def test_a_key_that_states_its_default_is_declared_as_well() -> None:
    silent, stating = read(
        REQUIRED + 'communities: {one: {owners: ["@a:b.c"]}, two: {owners: ["@a:b.c"], language: en, join: invite}}\n'
    ).communities
    for key in ("language", "join"):
        assert (silent.declares(key), stating.declares(key)) == (False, True)
    assert not stating.declares("welcome")


def test_community_takes_the_room_version_of_all_unless_it_has_its_own() -> None:
    text = REQUIRED + 'room_version: "12"\ncommunities: {one: {owners: ["@a:b.c"]}, two: {room_version: 11}}\n'
    assert [community.room_version for community in read(text).communities] == ["12", "11"]


def test_sections_may_be_empty() -> None:
    assert read(REQUIRED + "listen:\nlimits: {}\ncommunities:\n").communities == ()
    assert read(REQUIRED + "communities:\n  springfield:\n    groups:\n      chess:\n").communities[0].groups


def test_community_without_owners_is_a_warning() -> None:
    (warning,) = read(REQUIRED + "communities:\n  springfield:\n    admins: []\n").warnings
    assert warning.startswith("config.yaml:6: communities.springfield: declares no owner")


def test_owners_and_admins_may_be_named_again_where_members_are() -> None:
    everybody = '["@principal:example.org", "@office:example.org"]'
    config = read(
        REQUIRED
        + 'communities: {s: {owners: ["@principal:example.org"], admins: ["@office:example.org"], '
        + f"members: {everybody}, groups: {{board: {{moderators: {everybody}, members: {everybody}}}}}}}}}"
    )
    assert len(config.communities[0].named) == 2


def test_equal_where_they_say_the_same() -> None:
    again = read("# moved by a line\n" + REQUIRED + SPRINGFIELD)
    assert again == dataclasses.replace(read(REQUIRED + SPRINGFIELD), path=Path("elsewhere.yaml"), warnings=("x",))
    assert again != read(REQUIRED.replace("the-secret-of-the-door", "the-secret-of-the-gate") + SPRINGFIELD)


def test_sqlite_file_is_found_from_the_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    in_file = parse(REQUIRED, folder / "config.yaml").database.url.reveal()
    assert in_file == f"sqlite:///{tmp_path}/a%20folder/communities.db"
    absolute = REQUIRED + "database: {url: 'sqlite:////var/lib/c.db'}\n"
    assert parse(absolute, folder / "config.yaml").database.url.reveal() == "sqlite:////var/lib/c.db"
    postgres = REQUIRED + "database: {url: 'postgresql://me:pass@localhost/communities'}\n"
    assert parse(postgres, folder / "config.yaml").database.url.reveal().endswith("@localhost/communities")


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::1", "http://[::1]:1")],
)
def test_local_address(host: str, url: str) -> None:
    assert Listen(host=host, port=1, url="http://bridge:1").local_url == url


COMMUNITY = "communities:\n  springfield:\n    owners: ['@principal:example.org']\n"
GROUPS = COMMUNITY + "    groups:\n"
PEOPLE = f"communities:\n  springfield:\n    owners:\n      - '@principal:example.org'  {HERE}\n"


@pytest.mark.parametrize(
    ("text", "path", "sentence"),
    [
        (f"colour: red {HERE}", "colour", "is not a known key"),
        (f"listen:\n  prot: 1 {HERE}", "listen.prot", "is not a known key (did you mean port?)"),
        (f"listen:\n  port: 80\n  port: 81 {HERE}", "listen.port", "appears twice (first in line 6)"),
        (f"listen: [] {HERE}", "listen", "is a list, not a section with keys"),
        (f"listen:\n  port: '80' {HERE}", "listen.port", "'80' is text, not a whole number"),
        (f"listen:\n  port: 0x50 {HERE}", "listen.port", "'0x50' is not between 1 and 65535, in plain digits"),
        (f"listen:\n  port: 65536 {HERE}", "listen.port", "'65536' is not between 1 and 65535, in plain digits"),
        (f"listen:\n  port: {HERE}", "listen.port", "is empty, not a whole number"),
        (f"listen:\n  host: a b {HERE}", "listen.host", "'a b' is not a host name or an IP address"),
        (
            f"listen:\n  host: 0.0.0.0 {HERE}",
            "listen.url",
            "is missing: with host 0.0.0.0 the homeserver has to be told which address to use",
        ),
        (f"? [a]\n: b {HERE}".replace("[a]", f"[a] {HERE}"), "", "a key must be text, not a list"),
        (f"reconcile:\n  max_removed_share: 30 {HERE}", "reconcile.max_removed_share", None),
        (f"reconcile:\n  max_removed_share: .nan {HERE}", "reconcile.max_removed_share", None),
        (
            f"acknowledgement:\n  remind_hours: 24 {HERE}",
            "acknowledgement.remind_hours",
            "'24' is a whole number, not a list of hours such as [24, 72]",
        ),
        (f"acknowledgement:\n  remind_hours: [24, 0] {HERE}", "acknowledgement.remind_hours", None),
        (
            f"acknowledgement:\n  remind_hours: [24, 24] {HERE}",
            "acknowledgement.remind_hours",
            "is not in ascending order, each once",
        ),
        (f"logging:\n  level: inf {HERE}", "logging.level", None),
        (f"logging:\n  json: yes {HERE}", "logging.json", "'yes' is text, not true or false"),
        (f"room_version: '10' {HERE}", "room_version", "'10' is not one of 11, 12"),
        (f"database:\n  url: mysql://u:p@h/d {HERE}", "database.url", None),
        (f"accounts:\n  steward:\n    localpart: Communities {HERE}", "accounts.steward.localpart", None),
        (f"accounts:\n  steward:\n    avatar: https://example.org/a.png {HERE}", "accounts.steward.avatar", None),
        (
            f"accounts:\n  announcer:\n    localpart: communities {HERE}",
            "accounts.announcer.localpart",
            "is the steward's; the two accounts must differ",
        ),
        (f"communities:\n  Springfield: {{}} {HERE}", "communities.Springfield", None),
        (f"communities:\n  s: {{}}\n  s: {{}} {HERE}", "communities.s", "appears twice (first in line 6)"),
        (f"communities:\n  s: [] {HERE}", "communities.s", "is a list, not a section with keys"),
        (COMMUNITY + f"    name: 1984 {HERE}", "communities.springfield.name", None),
        (COMMUNITY + f"    name: '' {HERE}", "communities.springfield.name", None),
        (COMMUNITY + f'    name: "a\\nb" {HERE}', "communities.springfield.name", None),
        (COMMUNITY + f'    name: "\\ud800" {HERE}', "communities.springfield.name", None),
        (
            COMMUNITY + f"    name: {'é' * 128} {HERE}",
            "communities.springfield.name",
            "has 256 bytes; at most 255 are allowed",
        ),
        (COMMUNITY + f"    description: {'x' * 10_001} {HERE}", "communities.springfield.description", None),
        (COMMUNITY + f'    description: "a\\0" {HERE}', "communities.springfield.description", None),
        (
            COMMUNITY + f"    join: invited {HERE}",
            "communities.springfield.join",
            "'invited' is not one of invite, request (did you mean invite?)",
        ),
        (
            COMMUNITY + f"    general: maybe {HERE}",
            "communities.springfield.general",
            "'maybe' is text, not true or false",
        ),
        (
            f"communities:\n  springfield:\n    owners: [] {HERE}",
            "communities.springfield.owners",
            "is an empty list: a community needs an owner; leave the key out if the people choose them",
        ),
        (
            COMMUNITY + f"    admins: {HERE}",
            "communities.springfield.admins",
            "is empty, not a list of user ids; leave the key out, or write [] for nobody",
        ),
        (
            COMMUNITY + f"    admins: '@a:b.c' {HERE}",
            "communities.springfield.admins",
            "is text, not a list of user ids",
        ),
        (
            COMMUNITY + f"    members:\n      - '@a:b.c'\n      - homer {HERE}",
            "communities.springfield.members[1]",
            "'homer' is not a Matrix user id (it looks like @name:example.org)",
        ),
        (
            COMMUNITY + f"    members:\n      - '@a:b.c'\n      - '@a:b.c' {HERE}",
            "communities.springfield.members[1]",
            "@a:b.c is listed twice (first in line 9)",
        ),
        (
            COMMUNITY + f"    admins:\n      - '@principal:example.org' {HERE}",
            "communities.springfield.admins[0]",
            "@principal:example.org is an owner already, and an owner may do all that an admin may",
        ),
        (
            COMMUNITY + f"    removed:\n      - '@principal:example.org' {HERE}",
            "communities.springfield.removed[0]",
            "@principal:example.org cannot be removed and named in communities.springfield.owners at once",
        ),
        (
            COMMUNITY + f"    removed: ['@a:b.c'] {HERE}\n    groups: {{chess: {{members: ['@a:b.c']}}}}",
            "communities.springfield.removed[0]",
            "@a:b.c cannot be removed and named in communities.springfield.groups.chess.members at once",
        ),
        (
            COMMUNITY + f"    members:\n      - '@communities:example.org' {HERE}",
            "communities.springfield.members[0]",
            "@communities:example.org is the service's own steward, which cannot be listed",
        ),
        (
            COMMUNITY + f"    removed:\n      - '@announcements:example.org' {HERE}",
            "communities.springfield.removed[0]",
            "@announcements:example.org is the service's own announcer, which cannot be removed",
        ),
        (
            GROUPS + f"      chess: {{kind: opn}} {HERE}",
            "communities.springfield.groups.chess.kind",
            "'opn' is not one of open, request, hidden (did you mean open?)",
        ),
        (GROUPS + f"      chess: {{kind: space}} {HERE}", "communities.springfield.groups.chess.kind", None),
        (GROUPS + f"      chess: {{posting: admins}} {HERE}", "communities.springfield.groups.chess.posting", None),
        (
            GROUPS + f"      chess: {{kind: hidden, members_may_invite: true}} {HERE}",
            "communities.springfield.groups.chess.members_may_invite",
            "members can invite into open groups only; into a hidden group its moderators do",
        ),
        (
            GROUPS + f"      chess: {{moderators: ['@communities:example.org']}} {HERE}",
            "communities.springfield.groups.chess.moderators[0]",
            "@communities:example.org is the service's own steward, which cannot be listed",
        ),
        (
            f"limits: {{groups_per_community: 1}}\n{COMMUNITY}    groups: {HERE}\n      a: {{}}\n      b: {{}}",
            "communities.springfield.groups",
            "has 2 groups; limits.groups_per_community allows 1",
        ),
        (GROUPS + f"      a: {{}}\n      a: {{}} {HERE}", "communities.springfield.groups.a", None),
        *(
            (
                GROUPS + f"      {name}: {{}} {HERE}",
                f"communities.springfield.groups.{name}",
                "is a reserved name: every community has a room of that name",
            )
            for name in ("announcements", "general", "control", "space")
        ),
    ],
)
def test_fault_is_named_with_its_path_and_line(text: str, path: str, sentence: str | None) -> None:
    (fault,) = faults(REQUIRED + text)
    line = next(number for number, line in enumerate((REQUIRED + text).splitlines(), 1) if HERE in line)
    place = f"config.yaml:{line}: {path}: " if path else f"config.yaml:{line}: "
    assert fault.startswith(place)
    assert sentence is None or fault == place + sentence


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ("url: ", "url: ftp://example.org, x: ", "homeserver.url"),
        ("http://127.0.0.1", "http://user:pass@127.0.0.1", "homeserver.url"),
        ("http://127.0.0.1:8008/", "http://[::1", "homeserver.url"),
        ("http://127.0.0.1:8008/", "http://host:port", "homeserver.url"),
        ("http://127.0.0.1:8008/", "https://example.org/?a=b", "homeserver.url"),
        ("http://127.0.0.1:8008/", "matrix.example.org", "homeserver.url"),
        ("domain: example.org", "domain: https://example.org", "homeserver.domain"),
        ("domain: example.org", "domain: 12", "homeserver.domain"),
        (", domain: example.org", "", "homeserver.domain"),
        ("the-token-of-the-homeserver", "the-token-of-the-service", "registration.hs_token"),
    ],
)
def test_fault_in_what_must_be_given(before: str, after: str, path: str) -> None:
    assert any(f": {path}: " in fault for fault in faults(REQUIRED.replace(before, after, 1)))


def test_all_faults_at_once_in_the_order_of_the_file() -> None:
    found = faults(
        "homeserver: {url: nowhere}\n"
        "control: {secret: short}\n"
        "colour: red\n"
        "communities:\n"
        "  springfield:\n"
        "    owners: [principal]\n"
        "    groups:\n"
        "      general: {kind: opn}\n"
    )
    assert [fault.split(" ")[0] + " " + fault.split(" ")[1] for fault in found] == [
        "config.yaml:1: homeserver.url:",
        "config.yaml:1: homeserver.domain:",
        "config.yaml:1: registration.as_token:",
        "config.yaml:1: registration.hs_token:",
        "config.yaml:1: encryption.identity_secret:",
        "config.yaml:1: encryption.pickle_key:",
        "config.yaml:2: control.secret:",
        "config.yaml:3: colour:",
        "config.yaml:6: communities.springfield.owners[0]:",
        "config.yaml:8: communities.springfield.groups.general:",
        "config.yaml:8: communities.springfield.groups.general.kind:",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: b: c", 1),
        ("a: 1\nb: *nobody", 2),
        ("a: 1\n---\nb: 1", 2),
        ("a: [1,\n", 2),
        ("a: \0", 1),
        ("[" * 600, 1),
        ("%YAML 9.9\n---\n", 1),
    ],
)
def test_what_is_not_yaml_is_one_fault(text: str, line: int) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"config.yaml:{line}: not valid YAML: ")


@pytest.mark.parametrize("text", ["- a\n", "just text", "12"])
def test_what_is_not_a_section_as_a_whole(text: str) -> None:
    assert "not a section with keys" in faults(text)[0]


def test_missing_file_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load(tmp_path / "config.yaml")
    assert "matrix-communities init" in str(caught.value)
    assert str(tmp_path / "config.yaml") in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfa"])
def test_unreadable_file_is_a_config_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "config.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigError):
        load(path)


def test_path_with_a_null_character_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        load("config\0.yaml")


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_file_that_everybody_can_read_is_a_warning(tmp_path: Path, mode: int, warned: bool) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(REQUIRED + SPRINGFIELD)
    path.chmod(mode)
    assert any("everybody" in warning for warning in load(path).warnings) is warned


def test_comment_may_stand_anywhere() -> None:
    name = "name: Springfield School\n"
    commented = name.replace(": ", ": # a comment\n      ") + "\n# and another\n\n"
    assert read(REQUIRED + SPRINGFIELD.replace(name, commented)) == read(REQUIRED + SPRINGFIELD)


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(REQUIRED, encoding="utf-8-sig")
    assert load(str(path)).path == path


def test_registration_keeps_its_namespaces_narrow() -> None:
    text = REQUIRED.replace("example.org", '"[::1]:8448"') + "accounts: {steward: {localpart: a.b+c}}\n"
    registration = registration_of(read(text))
    assert registration["namespaces"]["users"] == [
        {"exclusive": True, "regex": r"@a\.b\+c:\[::1\]:8448"},
        {"exclusive": True, "regex": r"@announcements:\[::1\]:8448"},
        {"exclusive": True, "regex": r"@_communities_.*:\[::1\]:8448"},
    ]
    assert registration["sender_localpart"] == "a.b+c"
    assert registration["io.element.msc4190"] is True
    assert registration["receive_ephemeral"] is True
    assert registration["rate_limited"] is False


def test_environment_is_that_of_the_process_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_SECRET", "the-secret-of-the-environment")
    path = tmp_path / "config.yaml"
    path.write_text(REQUIRED.replace("secret: the-secret-of-the-door", "secret_env: DOOR_SECRET"))
    assert load(path).control.secret.reveal() == os.environ["DOOR_SECRET"]
