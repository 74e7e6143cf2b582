"""Files in encrypted chats: an independent client fetches, checks and opens them."""

from __future__ import annotations

import csv
import io
from typing import Any

import aiohttp
from nio.crypto import decrypt_attachment

from bridge.app.handouts import qr_code
from bridge.cli.demo.person import Client, ReceivedMessage
from tests.harness.community import Estate
from tests.harness.joining import JOIN_URL
from tests.synapse.conftest import School
from tests.synapse.test_chats import answer, chat_with_announcer


async def file_in(person: Client, message: ReceivedMessage, estate: Estate) -> bytes:
    """Fetch the file of a message as a client does (client-server API, `GET …/media/download`), and open it."""
    file: Any = message.content["file"]
    assert message.decrypted
    assert "url" not in message.content, "nothing of it is in the clear"
    url = f"{estate.synapse.url}/_matrix/client/v1/media/download/{file['url'].removeprefix('mxc://')}"
    headers = {"Authorization": f"Bearer {person.account.access_token}"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        sealed = await response.read()
    return bytes(decrypt_attachment(sealed, file["key"]["k"], file["hashes"]["sha256"], file["iv"]))


async def test_a_link_comes_with_its_qr_code_and_a_table_as_a_file(estate: Estate, schools: dict[str, School]) -> None:
    school = schools["12"]
    owner, place = school.owner, school.community.id
    room = await chat_with_announcer(owner)
    await owner.send(room, f"link new {place} --uses 5")
    text = (await answer(owner, room, f"leads into {place}", JOIN_URL)).text
    [url] = [line for line in text.splitlines() if line.startswith(JOIN_URL)]
    picture = await owner.wait_text(room, lambda message: message.content.get("msgtype") == "m.image")
    assert await file_in(owner, picture, estate) == qr_code(url).data
    about: Any = picture.content["info"]
    assert (about["mimetype"], about["size"]) == ("image/png", len(qr_code(url).data))
    secret = url.rpartition("/")[2]
    for name in ("job", "link", "audit", "inbox"):
        assert secret not in repr(estate.rows(f"SELECT * FROM {name}")), "it is stored nowhere"

    homer, edna = school.homer.user_id, school.edna.user_id
    await owner.send(room, f"tag {place} {homer} {edna} Parent")
    await answer(owner, room, "Tagged `parent`", homer)
    await owner.send(room, f"members {place} parent csv")
    await answer(owner, room, "Here is the table, of 2 people")
    table = await owner.wait_text(room, lambda message: message.content.get("msgtype") == "m.file")
    assert table.content["filename"] == f"members-{place}.csv"
    data = (await file_in(owner, table, estate)).decode("utf-8-sig")
    rows = {row["user"]: row for row in csv.DictReader(io.StringIO(data, newline=""))}
    assert rows.keys() == {homer, edna}
    assert (rows[edna]["role"], rows[edna]["tags"], rows[edna]["state"]) == ("moderator", "parent", "joined")
    assert "class-1a" in rows[edna]["moderates"].split(";")
    await owner.send(room, f"who {place} {homer}")
    await answer(owner, room, f"{homer}: member", "Tags: #parent", "Here since 20", "Named in the configuration")

    printed = (await estate.command("members", place, "parent", "--csv")).out
    assert data == printed.replace("\r\n", "\n").replace("\n", "\r\n")
    await owner.send(room, f"untag {place} {homer} {edna} parent")
    await answer(owner, room, "No longer tagged `parent`")
    await owner.send(room, f"tags {place}")
    await answer(owner, room, "Nobody in School 12 has a tag")
