"""The Atom feed of a community's announcements (RFC 4287), for whoever has its address. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree import ElementTree

ATOM = "http://www.w3.org/2005/Atom"
MOST_ENTRIES = 20
TOKEN_BYTES = 16
# XML 1.0, section 2.2: what no document may hold, not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Shown(NamedTuple):
    """What is shown outside."""

    document: bytes
    changed_at: int
    """Since when it is this, as far as it is known; in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One announcement, as it is read outside."""

    id: str
    """Stable, and the same for nothing else."""
    at: int
    """When it was sent, in milliseconds since 1970."""
    title: str
    text: str
    link: str


def token_from(secret: bytes, source: str) -> str:
    """The secret of the feed that a message asked for: the same message is the same feed."""
    digest = hmac.new(secret, b"feed " + source.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:TOKEN_BYTES]).decode().rstrip("=")


def fingerprint(token: str) -> str:
    """What is stored of a feed's secret."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def atom(community: str, name: str, url: str, entries: Sequence[Entry]) -> bytes:
    """The feed as XML, newest first.

    Args:
        community: its id, which makes the feed's own.
        url: where the feed is, for readers that move on by it.
    """
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    _add(feed, "id", f"urn:matrix-communities:{community}")
    _add(feed, "title", name)
    _add(feed, "updated", _time(max((one.at for one in entries), default=0)))
    ElementTree.SubElement(feed, f"{{{ATOM}}}link", {"rel": "self", "href": url})
    author = ElementTree.SubElement(feed, f"{{{ATOM}}}author")
    _add(author, "name", name)
    for one in sorted(entries, key=lambda entry: entry.at, reverse=True)[:MOST_ENTRIES]:
        entry = ElementTree.SubElement(feed, f"{{{ATOM}}}entry")
        _add(entry, "id", one.id)
        _add(entry, "title", one.title)
        _add(entry, "updated", _time(one.at))
        ElementTree.SubElement(entry, f"{{{ATOM}}}link", {"href": one.link})
        _add(entry, "content", one.text).set("type", "text")
    document: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return document


def _add(parent: ElementTree.Element, name: str, text: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}")
    element.text = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    return element


def _time(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
