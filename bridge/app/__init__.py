"""Wiring: alone knows every class."""

from bridge.app.house import House
from bridge.app.operations import Operations
from bridge.app.service import Service

__all__ = ["House", "Operations", "Service"]
