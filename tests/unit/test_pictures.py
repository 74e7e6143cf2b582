"""Pictures that people send: which message is one, and which file."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import CannotDecrypt, NotFound, Refused
from bridge.core.ids import EventId, UserId
from bridge.core.messages import Ignored, Picture, Said
from bridge.intake.interest import Interest
from bridge.intake.parse import parse, picture_of
from bridge.matrix.client import Client
from bridge.matrix.pictures import Pictures, kind_of

FILE = {"url": "mxc://example.org/abc", "v": "v2"}
IMAGE = {"msgtype": "m.image", "body": "a.png", "url": "mxc://example.org/abc"}


def said(**content: Any) -> Said | Ignored:
    event = {
        "event_id": "$event",
        "room_id": "!chat",
        "sender": "@ann:example.org",
        "type": "m.room.message",
        "origin_server_ts": 1,
        "content": content,
    }
    found = parse(event, interest=Interest.CHAT, accounts=())
    assert isinstance(found, Said | Ignored)
    return found


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (IMAGE, Picture("mxc://example.org/abc")),
        ({"msgtype": "m.image", "file": FILE}, Picture("mxc://example.org/abc", FILE)),
        ({"msgtype": "m.image", "file": {}, "url": "mxc://example.org/abc"}, None),
        ({"msgtype": "m.image", "url": ["mxc://example.org/abc"]}, None),
        ({"msgtype": "m.image", "url": "x" * 2000}, None),
        ({"msgtype": "m.file", "url": "mxc://example.org/abc"}, None),
        ({}, None),
    ],
)
def test_what_is_a_picture(content: dict[str, Any], picture: Picture | None) -> None:
    assert picture_of(content) == picture


def test_words_under_a_picture_are_a_message_and_its_name_is_none() -> None:
    found = said(**{**IMAGE, "filename": "a.png", "body": "group picture chess"})
    assert isinstance(found, Said)
    assert (found.text, found.picture) == ("group picture chess", Picture("mxc://example.org/abc"))
    assert isinstance(said(**IMAGE), Ignored)
    assert isinstance(said(**{**IMAGE, "filename": "a.png"}), Ignored)
    other = said(msgtype="m.file", filename="a", body="b", url="mxc://example.org/abc")
    assert isinstance(other, Said)
    assert (other.text, other.file, other.picture) == ("b", True, None)
    assert isinstance(said(msgtype="m.file", filename="a", body="b"), Ignored)


@pytest.mark.parametrize(
    ("relation", "to"),
    [
        ({"m.in_reply_to": {"event_id": "$other"}}, EventId("$other")),
        ({"m.in_reply_to": {"event_id": 7}}, None),
        ({"m.in_reply_to": "$other"}, None),
    ],
)
def test_which_message_is_answered(relation: dict[str, Any], to: EventId | None) -> None:
    found = said(**{"msgtype": "m.text", "body": "group picture chess", "m.relates_to": relation})
    assert isinstance(found, Said)
    assert found.reply_to == to


@pytest.mark.parametrize(
    ("begins", "kind"),
    [
        (b"\x89PNG\r\n\x1a\nIHDR", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
def test_kinds_of_picture_are_told_by_how_they_begin(begins: bytes, kind: str) -> None:
    assert kind_of(begins) == kind


@pytest.mark.parametrize("data", [b"", b"<svg xmlns=''/>", b"RIFF\x00\x00\x00\x00WAVE", b"\x00" * 100])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="no picture"):
        kind_of(data)


class Store(Client):
    """A media repository with one file, which counts what it is asked for."""

    def __init__(self, data: bytes) -> None:
        super().__init__("http://fake.invalid", "no token")
        self.data = data
        self.asked: list[str] = []

    async def download(self, url_path: str, **how: Any) -> tuple[str, bytes]:
        self.asked.append(url_path)
        assert how["most_bytes"] == 5 * 1024 * 1024
        if not url_path.endswith("/example.org/abc"):
            raise NotFound("there is no such file", status=404, errcode="M_NOT_FOUND")
        return "image/png", self.data

    async def request(self, method: str, url_path: str, **how: Any) -> dict[str, Any]:
        self.asked.append(f"{method} {url_path} {how['media_type']}")
        return {"content_uri": "mxc://example.org/new"}


def opened(data: bytes, info: Any) -> bytes:
    if info != FILE:
        raise CannotDecrypt("it is not the file that was sent", where="", remedy="")
    return data.removeprefix(b"locked")


async def test_a_picture_is_fetched_opened_and_uploaded_as_what_it_is() -> None:
    store = Store(b"lockedGIF89a")
    pictures = Pictures(store, UserId("@announcements:example.org"), opened)
    data = await pictures.fetch(Picture("mxc://example.org/abc", FILE))
    assert data == b"GIF89a"
    assert await pictures.upload(data) == "mxc://example.org/new"
    assert store.asked[-1] == "POST /_matrix/media/v3/upload image/gif"
    with pytest.raises(CannotDecrypt):
        await pictures.fetch(Picture("mxc://example.org/abc", {**FILE, "v": "v1"}))
    with pytest.raises(Refused, match="no picture"):  # it is encrypted, and its message does not say so
        await pictures.fetch(Picture("mxc://example.org/abc"))


@pytest.mark.parametrize("url", ["https://example.org/abc", "mxc://example.org/../../admin", "mxc://a/b?c", ""])
async def test_an_address_that_names_no_file_is_not_asked_for(url: str) -> None:
    store = Store(b"GIF89a")
    with pytest.raises(Refused, match="names no file"):
        await Pictures(store, UserId("@announcements:example.org"), opened).fetch(Picture(url))
    assert store.asked == []


async def test_a_large_file_is_not_uploaded() -> None:
    store = Store(b"")
    with pytest.raises(Refused, match="larger than 5 MiB"):
        await Pictures(store, UserId("@announcements:example.org"), opened).upload(b"GIF8" + bytes(5 * 1024 * 1024))
    assert store.asked == []
