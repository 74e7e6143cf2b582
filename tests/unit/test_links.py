"""What an invite link is, and when it may be used."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.core.community import Role
from bridge.core.ids import CommunityId, RoomKeyName
from bridge.core.links import LONGEST_SPAN_MS, OBSTACLES, Link, Verdict, fingerprint, may_grant, parse_span

NOW = 1_000_000_000
WEEK = 7 * 24 * 3600 * 1000


def link(**what: object) -> Link:
    return replace(Link("1a2b3c4d", CommunityId("school"), "operator", NOW), **what)  # type: ignore[arg-type]


LINKS = st.builds(
    Link,
    id=st.just("1a2b3c4d"),
    community=st.just(CommunityId("school")),
    maker=st.just("operator"),
    made_at=st.just(NOW),
    expires_at=st.none() | st.integers(NOW + 1, NOW + LONGEST_SPAN_MS),
    uses=st.none() | st.integers(1, 5),
    used=st.integers(0, 6),
    revoked_at=st.none() | st.integers(NOW, NOW + WEEK),
)
TIMES = st.integers(NOW, NOW + 2 * LONGEST_SPAN_MS)


@given(LINKS, TIMES)
def test_a_link_is_ok_when_nothing_speaks_against_it(one: Link, now: int) -> None:
    fine = (
        one.revoked_at is None
        and (one.expires_at is None or now < one.expires_at)
        and (one.uses is None or one.used < one.uses)
    )
    assert (one.verdict(now) is Verdict.OK) == fine


@given(LINKS, TIMES, TIMES)
def test_what_is_over_stays_over(one: Link, first: int, second: int) -> None:
    assume(first <= second)
    if one.verdict(first) is not Verdict.OK:
        assert one.verdict(second) is not Verdict.OK
        assert one.verdict(first) in OBSTACLES


@given(LINKS, TIMES)
def test_a_revoked_link_tells_nothing_else_of_itself(one: Link, now: int) -> None:
    assert replace(one, revoked_at=NOW).verdict(now) is Verdict.REVOKED


def test_it_cannot_be_used_from_the_moment_on_at_which_it_expires() -> None:
    one = link(expires_at=NOW + WEEK)
    assert one.verdict(NOW + WEEK - 1) is Verdict.OK
    assert one.verdict(NOW + WEEK) is Verdict.EXPIRED


@pytest.mark.parametrize("what", [
    {"uses": 0},
    {"uses": 1_000_001},
    {"expires_at": NOW},
    {"expires_at": NOW + LONGEST_SPAN_MS + 1},
    {"role": Role.OWNER},
    {"role": Role.MODERATOR},
    {"role": Role.ADMIN, "needs_approval": True},
])  # fmt: skip
def test_terms_that_contradict_themselves_are_refused(what: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="link"):
        link(**what)


def test_a_link_may_make_moderators_of_its_groups() -> None:
    assert link(role=Role.MODERATOR, groups=(RoomKeyName("chess"),)).verdict(NOW) is Verdict.OK


@pytest.mark.parametrize(("maker", "role", "allowed"), [
    (Role.OWNER, Role.ADMIN, True),
    (Role.OWNER, Role.OWNER, False),
    (Role.ADMIN, Role.ADMIN, False),
    (Role.ADMIN, Role.MODERATOR, True),
    (Role.ADMIN, Role.MEMBER, True),
    (Role.MODERATOR, Role.MEMBER, False),
    (Role.MEMBER, Role.MEMBER, False),
])  # fmt: skip
def test_nobody_gives_more_than_they_may(maker: Role, role: Role, allowed: bool) -> None:
    assert may_grant(maker, role) is allowed


@pytest.mark.parametrize(("text", "span"), [
    ("30m", 30 * 60_000), ("12h", 12 * 3_600_000), ("7d", WEEK), (" 2W ", 2 * WEEK), ("never", None), ("Never", None),
])  # fmt: skip
def test_spans_are_read(text: str, span: int | None) -> None:
    assert parse_span(text) == span


@pytest.mark.parametrize("text", ["", "7", "d", "7y", "0d", "-1d", "1.5h", "9999d", "7d7", "٣d"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="span of time"):
        parse_span(text)


@given(st.text(st.characters(), max_size=40))
def test_any_text_has_a_fingerprint_of_which_it_is_no_part(text: str) -> None:
    print_ = fingerprint(text)
    assert len(print_) == 64
    assert len(text) < 16 or text not in print_
