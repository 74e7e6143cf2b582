"""An owner has announcements read outside, and somebody has the week summed up: by chat, upon a real homeserver."""

from __future__ import annotations

from xml.etree import ElementTree

from bridge.core.feed import ATOM
from tests.harness.community import Estate
from tests.harness.joining import JOIN_URL, Visitor, path_of
from tests.synapse.conftest import School
from tests.synapse.test_chats import answer, chat_with_announcer

TEXT = "School is **closed** on Monday & Tuesday"


async def test_an_owner_opens_a_feed_that_shows_what_was_announced(estate: Estate, schools: dict[str, School]) -> None:
    school = schools["12"]
    owner, place, room = school.owner, school.community.id, school.community.announcements
    await school.community.announce(TEXT)
    chat = await chat_with_announcer(owner)
    await owner.send(chat, f"feed {place} on")
    await answer(owner, chat, "leaves encryption")
    await owner.send(chat, "yes")
    text = (await answer(owner, chat, "the feed's address", JOIN_URL)).text
    [url] = [line for line in text.splitlines() if line.startswith(JOIN_URL)]
    assert (await owner.wait_text(room, lambda message: "outside of it" in message.text)).decrypted
    async with Visitor(estate) as reader:
        shown = await reader.open(path_of({"url": url}))
        assert shown.status == 200
        assert TEXT in [one.text for one in ElementTree.fromstring(shown.text.encode()).iter(f"{{{ATOM}}}content")]
        await owner.send(chat, f"feed {place} off")
        await answer(owner, chat, "leads nowhere")
        assert (await reader.open(path_of({"url": url}))).status == 404


async def test_a_member_asks_for_a_summary_in_their_chat(schools: dict[str, School]) -> None:
    homer = schools["12"].homer
    chat = await chat_with_announcer(homer)
    await homer.send(chat, "digest on")
    await answer(homer, chat, "every Monday, the first on 20")
    await homer.send(chat, "digest off")
    await answer(homer, chat, "no summaries")
    await homer.send(chat, "digest homer@example.org")
    await answer(homer, chat, "do not go out by e-mail here")
