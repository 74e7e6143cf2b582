"""Every error that the house raises on purpose, on one page.

CommunitiesError                what, where and the remedy: fit to be shown to a person
├── ConfigError                 the configuration is wrong: nothing was started
├── StoreError                  the database cannot be used as it is
│   └── OldDatabase             it is an old copy: what is in it was used since
├── Refused                     a rule of ours says no: told to whoever asked
├── ServiceUnreachable          the running service did not answer on its local door
└── MatrixError                 the homeserver said no, or could not be asked
    ├── Unreachable             no answer within the deadline and the retries: a later try may help
    │   └── ServerAway          ours answers, and that of the person who is meant does not
    ├── RateLimited             still 429 after all retries: a later try may help
    ├── Forbidden               403: power or membership is missing: a retry does not help
    ├── NotFound                404
    ├── DeviceUnknown           it has lost the announcer's device, which is made again: a later try may help
    └── BadRequest              any other refusal of the request itself
MailError                       the operator's mail server does not take a letter
├── MailAway                    it cannot be asked now: a later try may help
└── MailRefused                 it takes none for that address
CannotDecrypt                   an event whose key is not there (yet)
CannotEncrypt                   a message that would have gone out in the clear, or to nobody
"""

from __future__ import annotations


class CommunitiesError(Exception):
    """An error that a person is shown: what went wrong, where, and what helps."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  Remedy: {self.remedy}" if self.remedy else text


class ConfigError(CommunitiesError):
    """The configuration is wrong; `faults` has one line for each fault."""

    def __init__(self, faults: list[str], *, where: str = "", remedy: str = "") -> None:
        self.faults = faults
        super().__init__("\n".join(faults), where=where, remedy=remedy)

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where else ""
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "\n".join(f"  - {fault}" for fault in self.faults)
        tail = f"\n  Remedy: {self.remedy}" if self.remedy else ""
        return f"{head}the configuration has {count}:\n{lines}{tail}"


class StoreError(CommunitiesError):
    """The database is newer, foreign, read-only, locked or out of reach."""


class OldDatabase(StoreError):
    """The database is an old copy, put back: its keys and jobs were used since. Only a person can say to go on."""


class Refused(CommunitiesError):
    """A rule of the house says no to a request that was understood."""


class ServiceUnreachable(CommunitiesError):
    """No running service answers on the local door."""


class MatrixError(CommunitiesError):
    """The homeserver refused a request, or could not be asked.

    `status` is the HTTP status (0 where there was no answer), `errcode` the Matrix error code.
    """

    retry_helps = False

    def __init__(self, what: str, *, status: int = 0, errcode: str = "", where: str = "", remedy: str = "") -> None:
        self.status = status
        self.errcode = errcode
        super().__init__(what, where=where, remedy=remedy)


class Unreachable(MatrixError):
    """No answer from the homeserver within the deadline."""

    retry_helps = True


class ServerAway(Unreachable):
    """The homeserver of whoever is meant does not answer ours; `seconds` until it is asked again."""

    seconds: float = 0.0


class RateLimited(MatrixError):
    """Still told to wait after all retries (M_LIMIT_EXCEEDED); `seconds` as the homeserver asks, 0 if it does not."""

    retry_helps = True
    seconds: float = 0.0


class Forbidden(MatrixError):
    """403: the account lacks power or membership."""


class NotFound(MatrixError):
    """404: no such room, event, state or user."""


class BadRequest(MatrixError):
    """The homeserver rejects the request itself."""


class DeviceUnknown(MatrixError):
    """The homeserver does not know the announcer's device any more; the keys make it again."""

    retry_helps = True


class MailError(CommunitiesError):
    """The mail server does not take a letter."""

    retry_helps = False


class MailAway(MailError):
    """It cannot be asked, takes nothing from us, or asks to come later."""

    retry_helps = True


class MailRefused(MailError):
    """It takes no letters for that address."""


class CannotDecrypt(CommunitiesError):
    """The key for an event is not here (yet)."""


class CannotEncrypt(CommunitiesError):
    """Sending would have leaked plaintext, or reached nobody."""
