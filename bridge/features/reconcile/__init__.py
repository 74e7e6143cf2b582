"""Bringing rooms to what is declared, and holding them there: level-triggered, resumable, safe to repeat."""

from bridge.features.reconcile.outcome import Failure, Outcome, Progress
from bridge.features.reconcile.reconciler import Reconciler
from bridge.features.reconcile.recovery import Recovery
from bridge.features.reconcile.rules import Rules

__all__ = ["Failure", "Outcome", "Progress", "Reconciler", "Recovery", "Rules"]
