"""The feed as readers take it."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.feed import ATOM, MOST_ENTRIES, Entry, atom, fingerprint, token_from

URL = "https://join.example.org/feed/abc.atom"
NAMES = {"a": ATOM}


def read(document: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(document)


def text_of(element: ElementTree.Element, path: str) -> str:
    found = element.find(path, NAMES)
    assert found is not None
    return found.text or ""


def test_what_a_reader_needs_is_there_and_the_newest_is_first() -> None:
    entries = [
        Entry(f"urn:matrix-communities:school:{at}", at * 1000, f"title {at}", f"<b>text</b> & {at}", f"https://x/{at}")
        for at in range(1, MOST_ENTRIES + 5)
    ]
    feed = read(atom("school", "School", URL, entries))
    assert feed.tag == f"{{{ATOM}}}feed"
    assert text_of(feed, "a:id") == "urn:matrix-communities:school"
    assert text_of(feed, "a:title") == "School"
    assert text_of(feed, "a:author/a:name") == "School"
    assert text_of(feed, "a:updated") == "1970-01-01T00:00:24Z"
    shown = feed.findall("a:entry", NAMES)
    assert len(shown) == MOST_ENTRIES
    assert text_of(shown[0], "a:content") == "<b>text</b> & 24"
    assert [one.attrib["type"] for one in shown[0].findall("a:content", NAMES)] == ["text"]
    assert [one.attrib["href"] for one in shown[0].findall("a:link", NAMES)] == ["https://x/24"]


def test_a_feed_of_nothing_is_a_feed() -> None:
    assert read(atom("school", "School", URL, [])).findall("a:entry", NAMES) == []


@given(st.text(), st.text())
def test_any_words_make_a_document_that_can_be_read(title: str, words: str) -> None:
    document = atom("school", title, URL, [Entry("urn:x", 1, title, words, URL)])
    entry = read(document).find("a:entry", NAMES)
    assert entry is not None
    kept = text_of(entry, "a:content")
    assert len(kept) == len(words.replace("\r\n", "\n"))


def test_the_same_message_is_the_same_feed_and_nobody_can_tell_its_secret_from_what_is_stored() -> None:
    one = token_from(b"secret", "$a")
    assert one == token_from(b"secret", "$a")
    assert len({one, token_from(b"secret", "$b"), token_from(b"other", "$a")}) == 3
    assert one not in fingerprint(one)
    assert len(one) == 22
    assert fingerprint("\ud800")
