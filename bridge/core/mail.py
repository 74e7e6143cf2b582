"""Letters by e-mail: addresses, and the message as mail servers take it. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from bridge.core.ids import CommunityId, UserId

LONGEST_ADDRESS = 254
"""RFC 5321, section 4.5.3.1: a path of 256 octets, its angle brackets among them."""
CODE_DIGITS = 6
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}\Z"
)
"""Of what RFC 5321 allows what people have: ASCII, no quotes, a domain with a dot."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One e-mail to one person, in plain text."""

    to: str
    subject: str
    text: str
    id: str
    """Made of what it comes from, so that the same letter has the same `Message-ID`."""
    unsubscribe: str = ""
    """The address at which one request ends such letters (RFC 8058); empty for a letter that was asked for just now."""


def parse_address(text: str) -> str:
    """An e-mail address as it is kept.

    Raises:
        ValueError: it is none that we can write to, with a sentence.
    """
    address = text.strip(" ").removeprefix("mailto:")
    local = address.partition("@")[0]
    if len(address) > LONGEST_ADDRESS or not _ADDRESS.match(address) or ".." in local or local.strip(".") != local:
        raise ValueError(f"{address[:60]!r} is not an e-mail address that letters can be sent to")
    return address


def parse_sender(text: str) -> tuple[str, str]:
    """Name and address of `School <news@example.org>`; the name is empty where there is none.

    Raises:
        ValueError: it is no such thing.
    """
    name, address = parseaddr(text)
    return name, parse_address(address or text)


def message(letter: Letter, sender: str, now_ms: int) -> EmailMessage:
    """The letter as a message (RFC 5322), with one-click unsubscription (RFC 8058) where it has one.

    Args:
        sender: as `parse_sender` takes it.
    """
    name, address = parse_sender(sender)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = Address(addr_spec=letter.to)
    mail["Subject"] = " ".join(letter.subject.split())
    mail["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    mail["Message-ID"] = f"<{hashlib.sha256(letter.id.encode()).hexdigest()[:32]}@{address.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe:
        mail["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(letter.text)
    return mail


def code_from(secret: bytes, source: str, address: str) -> str:
    """The code that shows that an address is somebody's own: the same message is the same code."""
    digest = hmac.new(secret, f"code {source} {address}".encode(), hashlib.sha256).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 10**CODE_DIGITS:0{CODE_DIGITS}}"


def ticket_from(secret: bytes, community: CommunityId, user: UserId, address: str) -> str:
    """The secret in the address at which somebody's letters are ended."""
    text = f"unsubscribe {community} {user} {address}".encode()
    return hmac.new(secret, text, hashlib.sha256).hexdigest()[:32]
