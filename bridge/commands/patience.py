"""How much one person may write: a generous bucket each, one answer when it is empty, and then silence. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from bridge.core.ids import EventId, UserId

BURST = 30
REFILL_MS = 2_000
"""One message more after so long."""
SPEAK_AGAIN = 10
"""After silence, so many have to be free again before the next is answered."""
MOST_PEOPLE = 10_000
SAME = 64
"""So many of somebody's last messages are known again: what has to be tried again costs once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a message: answered; `over`, which is said once; or `silent`."""

    over: bool = False
    silent: bool = False


@dataclass(slots=True)
class _Bucket:
    left: float
    at: int
    quiet: bool = False
    verdicts: OrderedDict[EventId, Verdict] = field(default_factory=OrderedDict)


class Patience:
    """The buckets of everybody who wrote lately. A restart fills them, which harms nobody."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[UserId, _Bucket] = OrderedDict()

    def take(self, person: UserId, event_id: EventId, now: int) -> Verdict:
        """Count a message, at `now` in milliseconds; the same one again costs nothing and has the same verdict."""
        bucket = self._buckets.setdefault(person, _Bucket(BURST, now))
        self._buckets.move_to_end(person)
        if len(self._buckets) > MOST_PEOPLE:
            self._buckets.popitem(last=False)
        if event_id in bucket.verdicts:
            return bucket.verdicts[event_id]
        bucket.left = min(float(BURST), bucket.left + max(0, now - bucket.at) / REFILL_MS)
        bucket.at = now
        verdict = _judged(bucket)
        bucket.verdicts[event_id] = verdict
        if len(bucket.verdicts) > SAME:
            bucket.verdicts.popitem(last=False)
        return verdict


def _judged(bucket: _Bucket) -> Verdict:
    if bucket.quiet and bucket.left < SPEAK_AGAIN:
        return Verdict(silent=True)
    bucket.quiet = False
    if bucket.left < 1:
        bucket.quiet = True
        return Verdict(over=True)
    bucket.left -= 1
    return Verdict()
