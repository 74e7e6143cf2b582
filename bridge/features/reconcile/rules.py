"""The operator's settings of reconciliation."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.plan.safety import Thresholds


@dataclass(frozen=True, slots=True)
class Rules:
    """How reconciliation behaves."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    parallel_rooms: int = 8
    every_seconds: float = 1800.0
    freeze_after: int = 5
    """How many changes against us within the window are a fight."""
    freeze_window_ms: int = 60_000
