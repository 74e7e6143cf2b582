"""A small picture of numbers over time, as SVG and as PNG: three bars a step, one within the other. Pure.

A PNG is drawn here, without text and without a library for pictures: it has three colours and straight edges.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

Bars = Sequence[tuple[int, int, int]]
"""Of each step: the whole, and two parts of it."""

HEIGHT, BAR, GAP, EDGE = 160, 16, 8, 12
"""In pixels."""
COLOURS = ((221, 225, 230), (120, 169, 255), (0, 67, 206))
"""Of the whole and its parts: they differ in lightness, too, for who sees no colours."""
_PAPER = (255, 255, 255)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def size_of(bars: Bars) -> tuple[int, int]:
    """Width and height of the picture, in pixels."""
    return 2 * EDGE + max(1, len(bars)) * (BAR + GAP) - GAP, HEIGHT + 2 * EDGE


def as_svg(bars: Bars, title: str, legend: str) -> str:
    """The picture as SVG 1.1, with a title and a legend for who cannot see it."""
    width, height = size_of(bars)
    drawn = [
        f'<rect x="{left}" y="{top}" width="{BAR}" height="{HEIGHT + EDGE - top}" fill="{_hex(colour)}"/>'
        for left, top, colour in _rectangles(bars)
    ]
    lines = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img">\n<title>{_escaped(title)}</title>\n<desc>{_escaped(legend)}</desc>\n'
        f'<rect width="{width}" height="{height}" fill="{_hex(_PAPER)}"/>\n{lines}\n</svg>\n'
    )


def as_png(bars: Bars) -> bytes:
    """The picture as PNG (ISO/IEC 15948): 8 bits, a palette of four colours."""
    width, height = size_of(bars)
    rows = [bytearray(width) for _ in range(height)]
    for left, top, colour in _rectangles(bars):
        for row in rows[top : HEIGHT + EDGE]:
            row[left : left + BAR] = bytes([COLOURS.index(colour) + 1]) * BAR
    pixels = b"".join(b"\0" + bytes(row) for row in rows)  # each row with its filter, none
    palette = bytes(part for colour in (_PAPER, *COLOURS) for part in colour)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _rectangles(bars: Bars) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Left, top and colour of each bar, those that lie above others behind them."""
    most = max((number for step in bars for number in step), default=0) or 1
    return [
        (EDGE + at * (BAR + GAP), EDGE + HEIGHT - round(HEIGHT * number / most), colour)
        for at, step in enumerate(bars)
        for number, colour in zip(step, COLOURS, strict=True)
        if number > 0
    ]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
