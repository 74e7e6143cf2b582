"""Rate limits in bounded memory: a bucket of tokens for each address, link or ticket."""

from __future__ import annotations

from collections import OrderedDict


class Buckets:
    """Token buckets by key. Beyond `most` of them the one that was not used for longest is forgotten, and is full."""

    def __init__(self, burst: float, per_second: float, *, most: int = 10_000) -> None:
        self._burst = burst
        self._rate = per_second
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When each bucket will be full again, in seconds of the caller's clock."""

    def take(self, key: str, now: float) -> float:
        """Take one token; gives 0, or for how many seconds there is none, which then costs nothing."""
        full_at = max(self._full_at.pop(key, now), now)
        wait = full_at + 1 / self._rate - now - self._burst / self._rate
        if wait <= 1e-9:
            full_at += 1 / self._rate
            wait = 0.0
        if full_at > now:
            self._full_at[key] = full_at
        while len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return wait

    def __len__(self) -> int:
        return len(self._full_at)
