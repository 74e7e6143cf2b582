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


@dataclass(slots=True)
class Gaps:
    """The numbers of the transactions that came. Ids that are no numbers tell nothing, and are never refused.

    Numbers are shared with the other application services of a homeserver, whose share looks like gaps of ours. One
    refusal by which nothing came to light is the last.
    """

    _last: int | None = None
    _refused: int | None = None
    _last_then: int | None = None
    """The last one that had come when one was refused."""
    _until_ms: int = 0
    _refusals: int = 0

    def expect(self, now_ms: int) -> None:
        """The homeserver may be recovering: for a while, a gap is worth a refusal. Such a refusal is no reason to call
        this."""
        self._until_ms = now_ms + EXPECTED_MS
        self._refusals = MOST_REFUSALS

    def before(self, txn_id: str, now_ms: int) -> bool:
        """Whether a transaction seems to lie between the last one and `txn_id`, which then should be refused, once."""
        if not (txn_id.isascii() and txn_id.isdecimal()):
            return False
        number = int(txn_id[:32])
        if number == self._refused and self._last == self._last_then:
            self._refusals = 0
        suspicious = self._last is not None and number > self._last + 1 and number != self._refused
        if suspicious and now_ms < self._until_ms and self._refusals:
            self._refused, self._last_then = number, self._last
            self._refusals -= 1
            return True
        self._last = number if self._last is None else max(self._last, number)
        return False
