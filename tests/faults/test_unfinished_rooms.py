"""A service that was killed and is back before the homeserver has finished a room which the dead one asked for."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.errors import BadRequest, Forbidden, NotFound
from bridge.core.ids import RoomId
from bridge.matrix.executor import Executor
from bridge.matrix.reader import Reader
from bridge.plan.state import Accounts
from tests.harness.community import ANNOUNCER, STEWARD

ALIAS = "#_communities_abc:example.org"


class SlowHomeserver:
    """Has the alias of a room that it is still making."""

    def __init__(self, looks: int) -> None:
        """The room is there at the last of so many looks."""
        self.looks = looks
        self.alias: str | None = ALIAS
        self.made = 0

    async def request(self, method: str, url_path: str, **_: Any) -> dict[str, Any]:
        """Answer as a homeserver would."""
        if url_path.endswith("/createRoom"):
            if self.alias is not None:
                raise BadRequest("Room alias already taken", status=400, errcode="M_ROOM_IN_USE")
            self.made += 1
            return {"room_id": "!second"}
        if method == "DELETE":
            self.alias = None
            return {}
        if "/directory/room/" in url_path:
            if self.alias is None:
                raise NotFound("no such alias", status=404)
            return {"room_id": "!first"}
        self.looks -= 1
        if self.looks > 0:
            raise Forbidden("not in the room", status=403)
        return {}


def executor(homeserver: SlowHomeserver, seconds: float) -> Executor:
    """The service's hands."""
    accounts = Accounts(STEWARD, ANNOUNCER)  # type: ignore[arg-type]
    return Executor(homeserver, Reader(homeserver), accounts, unfinished_seconds=seconds)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr("bridge.matrix.executor.LOOK_AGAIN_SECONDS", 0.01)


async def test_a_room_in_the_making_is_waited_for() -> None:
    homeserver = SlowHomeserver(looks=5)
    made = await executor(homeserver, 10).create(ALIAS, {})
    assert (made.room_id, made.whole) == (RoomId("!first"), False)
    assert homeserver.made == 0


async def test_a_room_that_never_comes_is_made_again() -> None:
    homeserver = SlowHomeserver(looks=10**6)
    made = await executor(homeserver, 0.1).create(ALIAS, {})
    assert (made.room_id, made.whole) == (RoomId("!second"), True)
    assert homeserver.made == 1
