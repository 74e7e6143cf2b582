"""All pickles of the database, piece by piece, on both databases."""

from __future__ import annotations

import pytest

from bridge.core.ids import UserId
from bridge.store import keys, repickling
from bridge.store.database import Database
from bridge.store.keys import InboundRow, OlmRow, OutboundRow

ME = UserId("@announcements:example.org")


async def test_every_pickle_is_changed_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repickling, "PAGE", 3)
    async with database.transaction() as tx:
        await keys.begin_device(tx, ME, "DEVICE", b"account")
        await keys.save_olm_sessions(tx, [OlmRow(f"s{n}", "c", "e", f"olm {n}".encode(), 1, 1) for n in range(7)])
        for number in range(5):
            room, original = f"!{number % 2}", b"made" if number == 2 else None
            row = InboundRow(room, f"s{number}", ME, "c", "e", True, True, 0, f"in {number}".encode(), original)
            await keys.save_inbound(tx, row, now_ms=1)
        await keys.begin_outbound(tx, OutboundRow("!0", "s2", b"out", 1, 0, "digest"))

    async def change(pickles: list[bytes]) -> list[bytes]:
        return [b"new " + one for one in pickles]

    async with database.transaction() as tx:
        counts = [await repickling.rewrite(tx, shelf, change) for shelf in repickling.SHELVES]
    assert counts == [1, 7, 1, 5, 1]
    async with database.transaction() as tx:
        account = await keys.load_account(tx, ME)
        assert account is not None
        assert account.pickle == b"new account"
        assert {row.pickle for row in (await keys.olm_sessions(tx, ["c"]))["c"]} == {
            f"new olm {number}".encode() for number in range(7)
        }
        two, three = await keys.inbound(tx, "!0", "s2", ME), await keys.inbound(tx, "!1", "s3", ME)
        assert two is not None
        assert three is not None
        assert (two.pickle, two.original, three.pickle, three.original) == (b"new in 2", b"new made", b"new in 3", None)
        out = await keys.outbound(tx, "!0")
        assert out is not None
        assert out.pickle == b"new out"
