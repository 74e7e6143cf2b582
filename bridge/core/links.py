"""An invite link: what it carries, and whether it may be used. Pure; its secret is never part of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.core.community import Role
from bridge.core.ids import CommunityId, RoomKeyName

TOKEN_BYTES = 16
"""How many random bytes the secret of a link has: 128 bits."""
MOST_USES = 1_000_000
LONGEST_SPAN_MS = 10 * 366 * 24 * 3600 * 1000
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"([0-9]{1,6})\s*([mhdw])\Z")


class Verdict(StrEnum):
    """Whether a link may be used."""

    OK = "ok"
    REVOKED = "revoked"
    EXPIRED = "expired"
    USED_UP = "used_up"


class Obstacle(StrEnum):
    """Why somebody does not come in by a link. Each has a sentence of its own on the join page."""

    UNKNOWN = "unknown"
    """There is no such link, or it was revoked: nobody can tell one from the other."""
    EXPIRED = "expired"
    USED_UP = "used_up"
    FULL = "full"
    MALFORMED = "malformed"
    """What was typed is no Matrix ID."""
    NO_SUCH_PERSON = "no_such_person"
    UNREACHABLE = "unreachable"
    """A homeserver did not answer, ours or that of the person."""
    ALREADY_IN = "already_in"
    BARRED = "barred"
    """They are banned or removed; they are told no more than that this link does not help them."""


class Stage(StrEnum):
    """How far somebody has come who used a link."""

    WAITING = "waiting"
    """Their invitation goes out when those before them have theirs."""
    ASKED = "asked"
    """An admin has to agree first."""
    DECLINED = "declined"
    """An admin did not agree, or nobody answered in time."""
    INVITED = "invited"
    INSIDE = "inside"
    BARRED = "barred"
    FAILED = "failed"
    """The homeserver refused to invite them."""


@dataclass(frozen=True, slots=True)
class Link:
    """An invite link as it is remembered. Times are milliseconds since 1970."""

    id: str
    """By what people name it (`link revoke`); it says nothing of the secret."""
    community: CommunityId
    maker: str
    """The user id of who made it, or `operator`."""
    made_at: int
    groups: tuple[RoomKeyName, ...] = ()
    """Groups to be invited to, beside the community itself."""
    expires_at: int | None = None
    """The first moment at which it cannot be used any more; None means never."""
    uses: int | None = None
    """How many people may use it; None means any number."""
    needs_approval: bool = False
    role: Role = Role.MEMBER
    """What whoever enters becomes; moderators are so in the link's groups."""
    used: int = 0
    revoked_at: int | None = None

    def __post_init__(self) -> None:
        if self.uses is not None and not 1 <= self.uses <= MOST_USES:
            raise ValueError(f"a link may be used by 1 to {MOST_USES:,} people, not {self.uses:,}")
        if self.expires_at is not None and not 0 < self.expires_at - self.made_at <= LONGEST_SPAN_MS:
            raise ValueError("a link expires after it was made, and within ten years")
        if self.role is Role.OWNER:
            raise ValueError("a link makes nobody an owner; promote them once they are in")
        if self.role is Role.MODERATOR and not self.groups:
            raise ValueError("a link for moderators needs the groups that they are to moderate")
        if self.role is not Role.MEMBER and self.needs_approval:
            raise ValueError("a link that needs approval lets members in; promote them once they are in")

    def verdict(self, now: int) -> Verdict:
        """Whether somebody new may use it at that time; where several things speak against it, the most final one."""
        if self.revoked_at is not None:
            return Verdict.REVOKED
        if self.expires_at is not None and now >= self.expires_at:
            return Verdict.EXPIRED
        if self.uses is not None and self.used >= self.uses:
            return Verdict.USED_UP
        return Verdict.OK


OBSTACLES = {
    Verdict.REVOKED: Obstacle.UNKNOWN,
    Verdict.EXPIRED: Obstacle.EXPIRED,
    Verdict.USED_UP: Obstacle.USED_UP,
}
"""What a verdict is to whoever holds the link."""


def may_grant(maker: Role, role: Role) -> bool:
    """Whether somebody of the role `maker` may make a link that gives `role`: owners make admins, admins the rest."""
    if role is Role.OWNER:
        return False
    return maker >= (Role.OWNER if role is Role.ADMIN else Role.ADMIN)


def fingerprint(token: str) -> str:
    """What is stored of a link's secret: its SHA-256, as hexadecimal digits. Any text has one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def shown(link: Link, now: int) -> dict[str, Any]:
    """A link without its secret, as the commands show it."""
    return {
        "id": link.id,
        "community": link.community,
        "groups": list(link.groups),
        "expires_at": link.expires_at,
        "uses": link.uses,
        "used": link.used,
        "needs_approval": link.needs_approval,
        "role": link.role.word,
        "maker": link.maker,
        "made_at": link.made_at,
        "revoked_at": link.revoked_at,
        "verdict": link.verdict(now).value,
    }


def token_from(secret: bytes, source: str) -> str:
    """The secret of the link that was asked for by an event: the same whenever it is asked for, and known to nobody who
    lacks our secret (HMAC-SHA-256, cut to 128 bits).

    Args:
        source: the id of the event.
    """
    derived = hmac.new(secret, b"invite link " + source.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(derived[:TOKEN_BYTES]).decode().rstrip("=")


def parse_span(text: str) -> int | None:
    """A span of time such as `30m`, `12h`, `7d` or `2w` in milliseconds; `never` is None.

    Raises:
        ValueError: with a sentence that says how one looks.
    """
    if text.strip().lower() == "never":
        return None
    found = _SPAN.match(text.strip().lower())
    span = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < span <= LONGEST_SPAN_MS:
        raise ValueError(f"{text[:40]!r} is not a span of time (it looks like 30m, 12h, 7d, 2w or never)")
    return span
