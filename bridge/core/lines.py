"""Words of others within lines of ours."""

from __future__ import annotations

LONGEST_NAME = 80


def one_line(text: str, longest: int | None = None) -> str:
    """A text of others, such as a room's name, as it may stand within a line: nothing in it breaks or steers that."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if longest is None or len(line) <= longest else line[: longest - 1] + "…"
