"""Files of the operator's that become pictures, as they go through the local door."""

from __future__ import annotations

import base64
from pathlib import Path

from bridge.core.errors import Refused


def content_of(file: Path | None) -> str:
    """A file in base64; empty where none is named.

    Raises:
        Refused: it cannot be read.
    """
    if file is None:
        return ""
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Refused(f"cannot be read: {reason}", where=str(file), remedy="name another file") from error
