"""What the operator's settings are to the parts of the house."""

from __future__ import annotations

from bridge.config import Config
from bridge.e2ee.identity import hkdf_sha256
from bridge.features.acknowledgements import Reminders
from bridge.features.reconcile import Rules
from bridge.features.requests import Patience
from bridge.features.schedules import Rules as Scheduling
from bridge.mail.smtp import MailServer
from bridge.plan.safety import Thresholds
from bridge.ports import Clock


def scheduling_of(config: Config) -> Scheduling:
    """The operator's settings of scheduled announcements."""
    own = config.announcements
    return Scheduling(config.timezone, own.late, own.grace_minutes * 60_000, config.limits.scheduled_per_community)


def patience_of(config: Config) -> Patience:
    """The operator's settings of join requests."""
    own = config.requests
    hour = 3_600_000
    return Patience(own.remind_hours * hour, own.expire_days * 24 * hour, own.again_hours * hour)


def reminders_of(config: Config) -> Reminders:
    """The operator's settings of acknowledgements."""
    return Reminders(config.acknowledgement.remind_hours, config.acknowledgement.until_hours)


def link_secret_of(config: Config) -> bytes:
    """Of which the secrets of links are made that people ask for in chats: the same for as long as the identity."""
    secret = config.encryption.identity_secret.reveal().encode()
    return hkdf_sha256(secret, salt=b"matrix-communities invite links", info=b"")


def rules_of(config: Config) -> Rules:
    """The operator's settings of reconciliation."""
    own = config.reconcile
    return Rules(
        thresholds=Thresholds(own.max_removed_share, own.max_removed_at_least),
        parallel_rooms=own.parallel_rooms,
        every_seconds=own.every_minutes * 60.0,
        freeze_after=own.freeze_after_changes,
        freeze_window_ms=own.freeze_within_seconds * 1000,
    )


def post_office_of(config: Config, clock: Clock) -> MailServer | None:
    """The operator's mail server; None where there is none."""
    mail = config.email
    if not mail.host:
        return None
    return MailServer(
        mail.host,
        mail.port,
        security=mail.security.value,
        username=mail.username,
        password="" if mail.password is None else mail.password.reveal(),
        sender=mail.sender,
        now_ms=clock.now_ms,
    )
