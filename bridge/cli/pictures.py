"""Files of the operator's that become pictures, as they go through the local door."""

from __future__ import annotations

import base64
from pathlib import Path

from bridge.core.errors import Refused


def content_of(file: Path | None, *, remove: bool) -> str:
    """A file in base64; empty where the picture is taken away.

    Raises:
        Refused: none is named, or it cannot be read.
    """
    if remove:
        return ""
    if file is None:
        raise Refused("no file is named", where="picture", remedy="name a PNG, JPEG, GIF or WebP file, or --remove")
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise Refused(f"cannot be read: {reason}", where=str(file), remedy="name another file") from error
