"""Pure: notices that the homeserver passed a transaction over.

Synapse numbers its transactions. While it recovers from our absence, one that is made in the very moment in which it
finds nothing more to send is stored, sent by nobody, and left lying until the next recovery: hours, if all goes well.
Its neighbour with the next number does come; refusing that one once begins a recovery, which sends the oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass

EXPECTED_MS = 60_000
"""For how long after a recovery a gap may come to light."""
MOST_REFUSALS = 3
"""Numbers are shared with other application services of the homeserver, whose share looks like gaps of ours."""


@dataclass(slots=True)
class Gaps:
    """The numbers of the transactions that came. Ids that are no numbers tell nothing, and are never refused."""

    _last: int | None = None
    _refused: int | None = None
    _until_ms: int = 0
    _refusals: int = 0

    def expect(self, now_ms: int) -> None:
        """The homeserver may be recovering: for a while, a gap is worth a refusal."""
        self._until_ms = now_ms + EXPECTED_MS
        self._refusals = MOST_REFUSALS

    def before(self, txn_id: str, now_ms: int) -> bool:
        """Whether a transaction seems to lie between the last one and `txn_id`, which then should be refused, once."""
        if not (txn_id.isascii() and txn_id.isdecimal()):
            return False
        number = int(txn_id[:32])
        if self._last is None or number <= self._last + 1 or number == self._refused:
            self._last = number if self._last is None else max(self._last, number)
            return False
        if now_ms >= self._until_ms or not self._refusals:
            self._last = number
            return False
        self._refused = number
        self._refusals -= 1
        return True
