"""The operator's mail server (SMTP, RFC 5321), asked with a deadline; each letter in a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiosmtplib

from bridge.core.errors import MailAway, MailRefused
from bridge.core.mail import Letter, message

DEADLINE_SECONDS = 60.0
_PERMANENT = range(500, 600)


class MailServer:
    """Implements `ports.PostOffice`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: str,
        username: str,
        password: str,
        sender: str,
        now_ms: Callable[[], int],
        deadline: float = DEADLINE_SECONDS,
    ) -> None:
        """
        Args:
            security: `starttls`, `tls` or `none`.
            sender: `Name <address>`, or an address alone.
        """
        self._host = host
        self._port = port
        self._security = security
        self._username = username
        self._password = password
        self._sender = sender
        self._now_ms = now_ms
        self._deadline = deadline

    async def send(self, letter: Letter) -> None:
        """Hand one letter over.

        Raises:
            MailRefused: the server will never take a letter for that address.
            MailAway: it cannot be asked, does not take letters from us, or asks to come later.
        """
        where = f"{self._host}:{self._port}"
        try:
            async with asyncio.timeout(self._deadline):
                await aiosmtplib.send(
                    message(letter, self._sender, self._now_ms()),
                    hostname=self._host,
                    port=self._port,
                    use_tls=self._security == "tls",
                    start_tls=self._security == "starttls",
                    username=self._username or None,
                    password=self._password or None,
                    timeout=self._deadline,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [one.code for one in error.recipients]
            if all(code in _PERMANENT for code in codes):
                raise MailRefused(
                    f"the mail server takes no letters for that address ({codes[0]})", where=where
                ) from None
            raise MailAway(f"the mail server asks to come later ({codes[0]})", where=where) from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            # Its words may quote an address; the kind of failure is enough.
            code = getattr(error, "code", None)
            reason = type(error).__name__ if code is None else f"{type(error).__name__}, {code}"
            raise MailAway(
                f"the mail server did not take a letter ({reason})",
                where=where,
                remedy="see `email` in the configuration",
            ) from None
