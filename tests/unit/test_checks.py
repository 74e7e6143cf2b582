"""What `check` makes of the homeserver's versions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.app import checks
from bridge.app.checks import Finding, Verdict
from bridge.app.house import House
from bridge.core.errors import Unreachable

STEWARD, ANNOUNCER = "@communities:example.org", "@announcements:example.org"
GOOD = {"available": {"10": "stable", "11": "stable", "12": "stable"}, "default": "10"}


class FakeClient:
    """Answers by the last part of the path."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    async def request(self, _: str, url_path: str, *, as_user: str | None = None, **__: Any) -> Any:
        what = url_path.rpartition("/")[2]
        if what == "whoami":
            return {"user_id": as_user or STEWARD}
        answer = self._answers[what]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def look(*, versions: Any = None, rooms: Any = None, declared: tuple[str | None, ...] = ("12",)) -> list[Finding]:
    capabilities = rooms if isinstance(rooms, Exception) else {"capabilities": {"m.room_versions": rooms or GOOD}}
    spoken = {"versions": ["v1.8"] if versions is None else versions}
    config = SimpleNamespace(
        homeserver=SimpleNamespace(url="http://localhost"),
        steward=STEWARD,
        announcer=ANNOUNCER,
        communities=[SimpleNamespace(room_version=version) for version in declared],
    )
    house = SimpleNamespace(client=FakeClient({"versions": spoken, "capabilities": capabilities}), config=config)
    return await checks.homeserver(cast(House, house))


@pytest.mark.parametrize(("versions", "verdict", "says"), [
    (["r0.6.1", "v1.7", "v1.8"], Verdict.OK, "v1.8"),
    (["v1.10", "v1.9"], Verdict.OK, "v1.10"),
    (["v2.0"], Verdict.OK, "v2.0"),
    (["r0.6.1", "v1.7"], Verdict.FAILED, "v1.8 is needed"),
    (["r0.6.1"], Verdict.FAILED, "v1.8 is needed"),
    ([], Verdict.OK, "does not say"),
    ("nonsense", Verdict.OK, "does not say"),
])  # fmt: skip
async def test_versions_of_the_specification(versions: Any, verdict: Verdict, says: str) -> None:
    found = (await look(versions=versions))[0]
    assert (found.name, found.verdict) == ("homeserver", verdict)
    assert says in found.what
    assert bool(found.remedy) is (verdict is Verdict.FAILED)


@pytest.mark.parametrize(("rooms", "declared", "verdict", "says"), [
    (GOOD, ("11", "12"), Verdict.OK, "offers 11 and 12"),
    (GOOD, (None,), Verdict.WARNING, "version 10"),
    ({**GOOD, "default": "12"}, (None,), Verdict.OK, "default is 12"),
    ({**GOOD, "default": "12"}, (), Verdict.OK, "default is 12"),
    ({"available": {"11": "stable"}, "default": "11"}, (None, "12"), Verdict.FAILED, "declared is 12"),
    ({"available": {"11": "stable"}, "default": "11"}, ("11",), Verdict.OK, "offers 11,"),
    ({"available": {"10": "stable"}, "default": "10"}, (None,), Verdict.WARNING, "neither 11 nor 12"),
    ({"available": ["11"]}, ("11",), Verdict.FAILED, "declared is 11"),
    (Unreachable("away"), ("11",), Verdict.FAILED, "away"),
])  # fmt: skip
async def test_room_versions(rooms: Any, declared: tuple[str | None, ...], verdict: Verdict, says: str) -> None:
    found = (await look(rooms=rooms, declared=declared))[2]
    assert (found.name, found.verdict) == ("room versions", verdict)
    assert says in found.what
    assert found.remedy or verdict is Verdict.OK or isinstance(rooms, Exception)
