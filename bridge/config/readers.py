"""How one value is read: a node in, a value out, or a ValueError with the sentence for the operator."""

from __future__ import annotations

import difflib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from ruamel.yaml.nodes import MappingNode, Node

from bridge.config.nodes import is_empty, items, kind_of, shown, text_of, words_for
from bridge.core.community import Tag
from bridge.core.ids import RoomKeyName, UserId, parse_stable_id, parse_user_id
from bridge.core.mail import parse_sender
from bridge.core.tags import MOST_TAGS, parse_tag

T = TypeVar("T")

MAX_NAME_BYTES = 255
MAX_DESCRIPTION_BYTES = 10_000
MIN_SECRET_CHARACTERS = 16
PLACEHOLDER = "replace-me"
"""What the secrets of the example begin with."""

_LOCALPART = re.compile(r"[a-z0-9._=/+-]{1,200}\Z")
_REGISTRATION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_SERVER_NAME = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,228}[A-Za-z0-9])?)(?::[0-9]{1,5})?\Z"
)
_HOST = re.compile(r"(?:[0-9A-Fa-f:.]{2,45}|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)\Z")
_MXC = re.compile(r"mxc://[A-Za-z0-9.\-\[\]:]+/[A-Za-z0-9_-]+\Z")
_WHOLE = re.compile(r"[-+]?[0-9]{1,15}\Z")
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(?:\.[0-9]{0,15})?\Z")
_SECRET = re.compile(r"[!-~]+\Z")
_DATABASE_REFUSAL = (
    "is neither sqlite:///file.db nor postgresql://user:password@host/database "
    "(in a user name or password write / as %2F, # as %23, ? as %3F, @ as %40, % as %25)"
)
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})


def text(node: Node) -> str:
    """Any text that is not empty."""
    if kind_of(node) != "str":
        if is_empty(node):
            raise ValueError("is empty; give it a value, or leave the key out")
        quotes = "" if kind_of(node) in ("map", "seq") else " (put it in quotes)"
        raise ValueError(f"is {words_for(node)}, not text{quotes}")
    return text_of(node)


def name(node: Node) -> str:
    """One line of text that people see."""
    value = text(node)
    if not value.strip():
        raise ValueError("is empty; give it a value, or leave the key out")
    if any(unicodedata.category(character) in _CONTROL for character in value):
        raise ValueError(f"{shown(value)} has a line break or a control character in it")
    _must_fit(value, MAX_NAME_BYTES)
    return value


def description(node: Node) -> str:
    """Text of several lines that people see."""
    value = text(node)
    if any(unicodedata.category(character) in _CONTROL and character not in "\n\t" for character in value):
        raise ValueError("has a control character in it")
    _must_fit(value, MAX_DESCRIPTION_BYTES)
    return value


def _must_fit(value: str, limit: int) -> None:
    size = len(value.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise ValueError(f"has {size} bytes; at most {limit} are allowed")


def boolean(node: Node) -> bool:
    """`true` or `false`."""
    value = text_of(node).lower() if kind_of(node) == "bool" else ""
    if value not in ("true", "false"):
        raise ValueError(f"{_seen(node)}, not true or false")
    return value == "true"


def whole(low: int, high: int) -> Callable[[Node], int]:
    """A reader of whole numbers from `low` to `high`."""

    def read(node: Node) -> int:
        if kind_of(node) != "int":
            raise ValueError(f"{_seen(node)}, not a whole number")
        digits = text_of(node)
        if not _WHOLE.match(digits) or not low <= int(digits) <= high:
            raise ValueError(f"{shown(digits)} is not between {low} and {high}, in plain digits")
        return int(digits)

    return read


def share(node: Node) -> float:
    """A number from 0 to 1."""
    if kind_of(node) not in ("int", "float") or not _NUMBER.match(text_of(node)):
        raise ValueError(f"{_seen(node)}, not a number from 0 to 1")
    value = float(text_of(node))
    if not 0 <= value <= 1:
        raise ValueError(f"{text_of(node)} is not between 0 and 1 (0.3 means 30 %)")
    return value


def choice(allowed: Mapping[str, T]) -> Callable[[Node], T]:
    """A reader of one of some words."""
    words = "one of " + ", ".join(allowed)

    def read(node: Node) -> T:
        if kind_of(node) not in ("str", "int"):
            raise ValueError(f"{_seen(node)}, not {words}")
        word = text_of(node)
        if word not in allowed:
            raise ValueError(f"{shown(word)} is not {words}{did_you_mean(word, allowed)}")
        return allowed[word]

    return read


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` where a known word is near."""
    near = difflib.get_close_matches(word.lower()[:40], list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def mxc(node: Node) -> str:
    """The address of a picture in the homeserver's media repository."""
    return _matching(node, _MXC, "is not the address of an uploaded picture (it looks like mxc://example.org/abc123)")


def user_id(node: Node) -> UserId:
    """A Matrix user id."""
    return parse_user_id(text(node))


def localpart(node: Node) -> str:
    """The part of a user id between @ and the colon, by today's grammar."""
    return _matching(node, _LOCALPART, "is not a localpart (a-z, 0-9 and . _ = - / + are allowed)")


def registration_id(node: Node) -> str:
    """The id of the registration."""
    return _matching(node, _REGISTRATION_ID, "is not an id (letters, digits and . _ - are allowed)")


def server_name(node: Node) -> str:
    """A Matrix server name."""
    return _matching(node, _SERVER_NAME, "is not a server name (it looks like example.org, without https://)")


def host(node: Node) -> str:
    """A host name or an IP address to listen on."""
    return _matching(node, _HOST, "is not a host name or an IP address")


def mail_sender(node: Node) -> str:
    """Whom letters come from: `School <news@example.org>`, or an address alone."""
    value = name(node)
    parse_sender(value)
    return value


def tags(node: Node) -> tuple[Tag, ...]:
    """Tags by their names: of each a list of user ids, or the group whose members carry it (`{group: chess}`)."""
    if not isinstance(node, MappingNode):
        raise ValueError(f"{_seen(node)}, not names of tags with their people")
    found: dict[str, Tag] = {}
    for key, value in node.value:
        name = parse_tag(text(key))
        if name in found:
            raise ValueError(f"{shown(name)} appears twice")
        found[name] = _tag(name, value)
    if len(found) > MOST_TAGS:
        raise ValueError(f"has {len(found)} tags; at most {MOST_TAGS} are allowed")
    return tuple(found.values())


def _tag(name: str, node: Node) -> Tag:
    if kind_of(node) == "seq":
        users = [parse_user_id(text(item)) for item in items(node)]
        if len(set(users)) != len(users):
            raise ValueError(f"{shown(name)} lists somebody twice")
        return Tag(name, frozenset(users))
    if isinstance(node, MappingNode) and [text_of(key) for key, _ in node.value] == ["group"]:
        return Tag(name, group=RoomKeyName(parse_stable_id(text(node.value[0][1]))))
    raise ValueError(f"{shown(name)} is neither a list of user ids nor a group (such as `{{group: chess}}`)")


def networks(node: Node) -> tuple[str, ...]:
    """A list of IP addresses and networks."""
    if kind_of(node) != "seq":
        raise ValueError(f"{_seen(node)}, not a list of addresses and networks")
    found = []
    for item in items(node):
        value = text(item)
        try:
            found.append(str(ipaddress.ip_network(value)))
        except ValueError:
            raise ValueError(
                f"{shown(value)} is not an address or a network (they look like 127.0.0.1 and 10.0.0.0/8)"
            ) from None
    return tuple(found)


def _matching(node: Node, pattern: re.Pattern[str], refusal: str) -> str:
    value = text(node)
    if not pattern.match(value):
        raise ValueError(f"{shown(value)} {refusal}")
    return value


def http_url(node: Node) -> str:
    """The address of a server, without a slash at its end. Never quoted in a refusal: it might hold a password."""
    return parse_http_url(text(node))


def parse_http_url(value: str) -> str:
    """Give `value` back as the address of a server, without a slash at its end.

    Raises:
        ValueError: with a sentence that does not quote it.
    """
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[^!-~]", value):
        raise ValueError("is not the address of a server (it looks like https://matrix.example.org)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or a password")
    if parts.query or parts.fragment or value.endswith(("?", "#")):
        raise ValueError("must end with the host, the port or a path")
    return value.rstrip("/")


def _split(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a valid address") from None
    return parts


def parse_server_name(value: str) -> str:
    """Give `value` back as a Matrix server name.

    Raises:
        ValueError: with a sentence that says how one looks.
    """
    if not _SERVER_NAME.match(value):
        raise ValueError("is not a server name (it looks like example.org, without https://)")
    return value


def secret_text(value: str) -> str:
    """A secret as given. No refusal quotes it."""
    if value.startswith(PLACEHOLDER):
        raise ValueError("is still the example's placeholder; make one with: openssl rand -base64 32")
    if not _SECRET.match(value):
        raise ValueError("must be one line of printable ASCII characters without spaces")
    if len(value) < MIN_SECRET_CHARACTERS:
        raise ValueError(f"is shorter than {MIN_SECRET_CHARACTERS} characters; make one with: openssl rand -base64 32")
    return value


def given_secret(value: str) -> str:
    """A secret that others chose: it may be as short as they like."""
    if not value:
        raise ValueError("is empty")
    return value


def database_url(value: str) -> str:
    """The database's address. No refusal quotes it: it may hold a password."""
    try:
        parts = _split(value)
    except ValueError:
        raise ValueError(_DATABASE_REFUSAL) from None
    if parts.scheme == "sqlite" and value.startswith("sqlite:///") and parts.path.strip("/"):
        return value
    if parts.scheme in ("postgres", "postgresql") and value.startswith(f"{parts.scheme}://") and parts.path.strip("/"):
        return value
    raise ValueError(_DATABASE_REFUSAL)


def _seen(node: Node) -> str:
    """The beginning of a refusal: the value where it is short and simple, and what it is."""
    if kind_of(node) in ("map", "seq", "null", ""):
        return f"is {words_for(node)}"
    return f"{shown(text_of(node))} is {words_for(node)}"
