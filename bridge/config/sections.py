"""The configuration as the wiring sees it: frozen sections. A field without a default is a key that must be given.

The names are those of the file; `schema` says how each key is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bridge.config.secret import Secret
from bridge.core.community import Community
from bridge.core.ids import UserId

WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound


class Trust(StrEnum):
    """Which devices of members receive keys, and whose commands are believed."""

    ALL = "all"
    SIGNED = "signed"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Homeserver:
    """The homeserver that the service belongs to."""

    url: str
    """Where the client-server API answers, without a slash at the end."""
    domain: str
    """The server name: what stands after the colon in its user ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the service listens, and what the homeserver calls it."""

    host: str = "127.0.0.1"
    port: int = 29350
    url: str = ""
    """The address under which the homeserver reaches the service; made of host and port where the file has none."""

    def __post_init__(self) -> None:
        if not self.url:
            object.__setattr__(self, "url", self.local_url)

    @property
    def local_url(self) -> str:
        """The address of the service for processes on the same machine."""
        host = "127.0.0.1" if self.host in WILDCARD_HOSTS else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the homeserver and the service know each other by."""

    id: str = "communities"
    as_token: Secret
    hs_token: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One of the service's two accounts, as people see it."""

    localpart: str
    displayname: str
    avatar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steward(Account):
    """The account that makes and manages every room, and never has a device."""

    localpart: str = "communities"
    displayname: str = "Communities"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcer(Account):
    """The account that announces and talks to people."""

    localpart: str = "announcements"
    displayname: str = "Announcements"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The service's two accounts."""

    steward: Steward = field(default_factory=Steward)
    announcer: Announcer = field(default_factory=Announcer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The one database."""

    url: Secret = field(default_factory=lambda: Secret("sqlite:///communities.db"))
    """`sqlite:////absolute/path` (a relative path in the file starts at the file's folder) or `postgresql://…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """What protects the announcer's keys, and who receives those of announcements."""

    identity_secret: Secret
    """The announcer's cross-signing identity is derived from it."""
    pickle_key: Secret
    """What the keys in the database are encrypted with."""
    next_pickle_key: Secret | None = None
    """What `rekey` will encrypt them with."""
    trust: Trust = Trust.SIGNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The local door, by which the commands ask the running service."""

    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPage:
    """The page on which people use invite links."""

    enabled: bool = True
    url: str = ""
    """What stands before `/join/…` in links; empty where nobody outside can reach the page."""
    account_url: str = ""
    """Where somebody without a Matrix account gets one."""
    account_text: str = ""
    """What they are told about it, in the place of our own words."""
    element_url: str = "https://app.element.io"
    """The Element Web that people are sent to."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose `X-Forwarded-For` is believed."""


class MailSecurity(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """The mail server that letters go by; none where `host` is empty."""

    host: str = ""
    port: int = 587
    security: MailSecurity = MailSecurity.STARTTLS
    username: str = ""
    password: Secret | None = None
    sender: str = ""
    """Whom letters come from: `Name <address>`, or an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconcile:
    """How the service holds the rooms as declared, and when it stops and asks."""

    every_minutes: int = 30
    parallel_rooms: int = 8
    max_removed_share: float = 0.3
    max_removed_at_least: int = 5
    freeze_after_changes: int = 5
    freeze_within_seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much of the past newcomers are given; the smaller of both bounds holds."""

    announcements: int = 100
    days: int = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that the operator sets."""

    groups_per_community: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How long join requests wait."""

    remind_hours: int = 24
    expire_days: int = 14
    again_hours: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """What is logged to standard error, and how."""

    level: str = "info"
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole configuration. Two of them are equal where they say the same, wherever they were read from."""

    homeserver: Homeserver
    listen: Listen = field(default_factory=Listen)
    registration: Registration
    accounts: Accounts = field(default_factory=Accounts)
    database: Database = field(default_factory=Database)
    encryption: Encryption
    control: Control
    join: JoinPage = field(default_factory=JoinPage)
    email: Email = field(default_factory=Email)
    reconcile: Reconcile = field(default_factory=Reconcile)
    history: History = field(default_factory=History)
    limits: Limits = field(default_factory=Limits)
    requests: Requests = field(default_factory=Requests)
    logging: Logging = field(default_factory=Logging)
    room_version: str | None = None
    """The version of new rooms; None means the homeserver's default. Each community carries its own already."""
    communities: tuple[Community, ...] = ()
    path: Path = field(default=Path("config.yaml"), compare=False)
    """The file that was read."""
    warnings: tuple[str, ...] = field(default=(), compare=False)
    """What the operator should know, and what stops nothing; each with its place."""

    @property
    def steward(self) -> UserId:
        """The steward's user id."""
        return UserId(f"@{self.accounts.steward.localpart}:{self.homeserver.domain}")

    @property
    def announcer(self) -> UserId:
        """The announcer's user id."""
        return UserId(f"@{self.accounts.announcer.localpart}:{self.homeserver.domain}")

    def community(self, community_id: str) -> Community | None:
        """The declared community of that id, or None."""
        return next((community for community in self.communities if community.id == community_id), None)
