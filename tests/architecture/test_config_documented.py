"""Every key that the configuration knows stands in its reference and in the example, and no other does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.config import parse, registration_of
from bridge.config.registration import registration_text
from bridge.config.schema import COMMUNITY, GROUP, ID, SCHEMA, Named, SecretKey, Section, keys
from bridge.config.secret import Secret
from bridge.config.writing import template
from bridge.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.yaml").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<key>[a-z_.<>]+)` \| (?P<default>[^|]*) \| (?P<what>.+) \|$", re.MULTILINE)
PLACEHOLDER = re.compile(r"replace-me-(\d)")
OPTIONAL = re.compile(r"^( *)#(?=[a-z_]+:)", re.MULTILINE)
SAID_IN_WORDS = {
    "listen.url": "`http://host:port`",
    "encryption.next_pickle_key": "none",
    "join.url": "none",
    "join.account_url": "none",
    "join.account_text": "none",
    "join.trusted_proxies": "none",
    **{f"email.{key}": "none" for key in ("host", "username", "password", "sender")},
    "room_version": "the homeserver's",
    "templates": "none",
    f"communities.{ID}.room_version": "`room_version`",
    f"communities.{ID}.removed": "nobody",
    **{
        f"communities.{ID}.{key}": "none"
        for key in ("fallback_owner", "welcome", "rules", "tags", "subcommunities", "use")
    },
}


def documented() -> dict[str, re.Match[str]]:
    return {row["key"]: row for row in ROW.finditer(REFERENCE)}


def usable(text: str) -> str:
    """The example with real secrets in the place of its placeholders."""
    return PLACEHOLDER.sub(lambda match: f"secret-number-{match[1]}-", text)


def defaults(section: Section = SCHEMA, path: str = "") -> dict[str, object]:
    """The default of each key that has one, by its path."""
    found: dict[str, object] = {}
    for name, entry in section.keys.items():
        place = f"{path}.{name}" if path else name
        if isinstance(entry, Section):
            found |= defaults(entry, place)
        elif isinstance(entry, Named):
            found |= defaults(entry.section, f"{place}.{ID}")
        elif name in section.defaults:
            found[place] = section.defaults[name]
    return found


def paths(value: object, path: str = "") -> set[str]:
    """The paths of all values of a plain YAML tree."""
    # there stands the same again, or names that the operator chooses
    if not isinstance(value, dict) or path.endswith((".tags", "subcommunities", "templates")):
        return {path}
    found: set[str] = set()
    for name, inner in value.items():
        part = ID if path.endswith(("communities", "groups")) else name
        found |= paths(inner, f"{path}.{part}" if path else part)
    return found


def test_every_key_is_documented_and_nothing_else() -> None:
    assert list(documented()) == [path for path, _ in keys()]


@pytest.mark.parametrize("key", [path for path, _ in keys()])
def test_documented_default_is_the_real_one(key: str) -> None:
    said = documented()[key]["default"].strip()
    if key in SAID_IN_WORDS:
        assert said == SAID_IN_WORDS[key]
    elif key not in defaults():
        assert said == "required"
    elif (default := defaults()[key]) is None:
        assert said == ("none" if key.startswith("accounts") else "the people's")
    else:
        value = default.reveal() if isinstance(default, Secret) else default
        assert said == f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_secrets_are_marked() -> None:
    marked = {key for key, row in documented().items() if row["what"].startswith("*secret*")}
    assert marked == {path for path, key in keys() if isinstance(key, SecretKey)}


def test_example_holds_every_key() -> None:
    tree = YAML(typ="safe", pure=True).load(OPTIONAL.sub(r"\1", EXAMPLE))
    assert paths(tree) == {path for path, _ in keys()}


def test_example_is_without_fault_secrets_aside() -> None:
    config = parse(usable(EXAMPLE), Path("config.yaml"))
    assert [community.id for community in config.communities] == ["springfield"]
    assert config.warnings == ()
    assert parse(usable(OPTIONAL.sub(r"\1", EXAMPLE)), Path("config.yaml")).room_version == "12"


def test_example_cannot_be_used_with_the_secrets_that_everybody_knows() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(EXAMPLE, Path("config.yaml"))
    assert len(caught.value.faults) == len(PLACEHOLDER.findall(EXAMPLE))
    assert all("placeholder" in fault for fault in caught.value.faults)


def test_defaults_shown_in_the_example_are_the_real_ones() -> None:
    """Whoever deletes a line of the settings gets what the line said."""
    tree = YAML(typ="safe", pure=True).load(EXAMPLE)
    for path, default in defaults().items():
        if path.startswith("communities."):
            continue
        value: object = tree
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            assert value == (default.reveal() if isinstance(default, Secret) else default), path


def test_init_writes_the_same_text_as_the_example() -> None:
    assert template() == EXAMPLE


def test_registration_example_is_what_the_example_config_gives() -> None:
    text = registration_text(parse(usable(EXAMPLE), Path("config.yaml")))
    for number in "12":
        text = text.replace(f"secret-number-{number}-", f"replace-me-{number}")
    assert (ROOT / "registration.yaml.example").read_text(encoding="utf-8") == text


def test_registration_text_says_what_the_registration_is() -> None:
    config = parse(usable(EXAMPLE), Path("config.yaml"))
    assert YAML(typ="safe", pure=True).load(registration_text(config)) == registration_of(config)


PEOPLES_OWN = {"own", "archived", "history_visibility", "stated", "set_by_people"}
"""What no declaration says: people made, archived or brought in a group, or set something; and which keys it states."""


@pytest.mark.parametrize("section", [SCHEMA, COMMUNITY, GROUP], ids=["config", "community", "group"])
def test_every_field_has_its_key(section: Section) -> None:
    def check(section: Section) -> None:
        fields = set(section.make.__dataclass_fields__) - {"path", "warnings", "id", "key"} - PEOPLES_OWN
        assert set(section.keys) - {"id", "subcommunities", "use", "templates"} == fields - {"parent"}
        for entry in section.keys.values():
            if isinstance(entry, Section):
                check(entry)

    check(section)
