"""Whatever stands in the file: a Config or a ConfigError, and nothing else."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridge.config import Config, parse
from bridge.config.schema import SCHEMA, Entry, Named, Section
from bridge.core.errors import ConfigError

WORDS = ["@a:b.c", "@communities:example.org", "open", "hidden", "invite", "example.org", "0.0.0.0", "::", "12"]
ADDRESSES = ["http://127.0.0.1:8008", "http://[", "sqlite:///a.db", "postgres://u:p@h/d", "mxc://a/b"]
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.dates(),
    st.sampled_from([*WORDS, *ADDRESSES, "a-secret-of-some-length"]),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=4), st.dictionaries(SCALARS, inner, max_size=4))


ANYTHING = st.recursive(SCALARS, nested, max_leaves=12)
IDS = st.one_of(st.sampled_from(["springfield", "chess", "general", "Not an id", "a" * 41]), st.text(max_size=8))


def like(entry: Entry) -> st.SearchStrategy[Any]:
    """Trees of the shape of the schema, with anything in the place of the values, and now and then of a section."""
    if isinstance(entry, Section):
        keys = {name: like(inner) for name, inner in entry.keys.items()}
        keys |= {f"{name}_env": SCALARS for name in ("as_token", "secret")}
        return st.one_of(st.fixed_dictionaries({}, optional=keys), ANYTHING)
    if isinstance(entry, Named):
        return st.one_of(st.dictionaries(IDS, like(entry.section), max_size=3), ANYTHING)
    return st.one_of(SCALARS, st.lists(SCALARS, max_size=4), ANYTHING)


def outcome(text: str) -> Config | list[str]:
    """The Config, or the faults. Whatever else is raised fails the test."""
    try:
        return parse(text, Path("config.yaml"), environ={})
    except ConfigError as error:
        faults = error.faults
    assert faults
    assert all(fault.startswith("config.yaml:") for fault in faults)
    return faults


@given(like(SCHEMA))
@settings(max_examples=200, deadline=None)
def test_any_tree_is_a_config_or_a_config_error(tree: object) -> None:
    written = io.StringIO()
    # What YAML cannot say is no input.
    with contextlib.suppress(Exception):
        YAML(typ="safe", pure=True).dump(tree, written)
    outcome(written.getvalue())


@given(st.text(alphabet=st.one_of(st.sampled_from("ab:-?[]{}&*!|>'\"%@`#, \n\t0~<="), st.characters()), max_size=60))
@example("a: !!int x")
@example("&a [*a]")
@example("? ? ? a")
@example("%TAG ! tag:x,2000:\n---\n!a b: c")
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    outcome(text)


SPRINGFIELD = """\
homeserver: {url: "http://127.0.0.1:8008", domain: example.org}
registration: {as_token: the-token-of-the-service, hs_token: the-token-of-the-homeserver}
encryption: {identity_secret: the-secret-of-the-identity, pickle_key: the-key-of-the-pickles}
control: {secret: the-secret-of-the-door}
communities:
  springfield:
    owners: ["@principal:example.org"]
    members: &members ["@homer:example.org"]
    groups:
      chess: {kind: request, members: *members}
"""


@given(st.integers(0, len(SPRINGFIELD)), st.integers(0, 12), st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_slip_in_a_good_file_is_a_config_or_a_config_error(at: int, lost: int, typed: str) -> None:
    outcome(SPRINGFIELD[:at] + typed + SPRINGFIELD[at + lost :])


def test_the_good_file_is_good() -> None:
    assert isinstance(outcome(SPRINGFIELD), Config)
