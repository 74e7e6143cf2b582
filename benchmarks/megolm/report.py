"""The table: what each case costs, beside stock, beside the floor, and beside what is to be reached."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TITLES = {
    "lists": "device lists, newly seen",
    "cold": "cold: no Olm sessions",
    "warm": "warm: after a leave",
}
FEWER = 500
"""Members of the room with which memory is compared."""

MAX_STATEMENTS = 100
MAX_BODY = 900_000
MAX_MEMORY = 10_000_000
SAME_MEMORY = 3_000_000
"""How far memory with few members and with many may be apart and count as the same."""

BUSY = 1.1
"""Wall : processor time of the floor, which waits for nothing; on a quiet machine they are the same."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached with 5,000 members of two devices each."""

    ratio: dict[str, float]
    """Stock : ours, wall, by database."""
    cpu: float | None = None
    """Processor time of ours : that of the floor, at most."""
    wall: float | None = None
    """Wall of ours : that of the floor, at most."""
    statements: int | None = None


TARGETS = {
    "lists": Target({"sqlite": 15, "postgres": 20}),
    "cold": Target({"sqlite": 25, "postgres": 18}, cpu=1.15, wall=0.7, statements=MAX_STATEMENTS),
    "warm": Target({"sqlite": 140, "postgres": 45}, cpu=1.5, statements=MAX_STATEMENTS),
}

_SHAPE = "{:9} {:25}{:>8}{:>8}{:>7}{:>7}{:>13}{:>13}{:>17}{:>19}{:>19}{:>9}"
_HEADS = (
    *("database", "case", "stock", "ours", "ratio", "reach", "CPU:floor", "wall:floor"),
    *("statements", "largest body", "peak memory", ""),
)


def judge(found: dict[str, Any]) -> dict[str, Any]:
    """The ratios, and what of the targets is missed."""
    rows, missed = [], []
    for database, cases in found["databases"].items():
        for case, sides in cases.items():
            row = _row(database, case, sides, found)
            rows.append(row)
            missed += [f"{database}, {case}: {what}" for what in _missed(row)]
    return {"rows": rows, "missed": missed}


def _row(database: str, case: str, sides: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    ours, stock, floor = sides["ours"], sides.get("stock"), found["floor"][case]
    return {
        "database": database,
        "case": case,
        "stock": stock,
        "ours": ours,
        "fewer": sides.get("fewer"),
        "ratio": stock["wall"] / ours["wall"] if stock else None,
        "cpu_to_floor": ours["cpu"] / floor["cpu"],
        "wall_to_floor": ours["wall"] / floor["wall"],
    }


def _missed(row: dict[str, Any]) -> Iterable[str]:
    target, ours, fewer = TARGETS[row["case"]], row["ours"], row["fewer"]
    if row["ratio"] is not None and row["ratio"] < target.ratio[row["database"]]:
        yield f"{row['ratio']:.1f} × faster instead of {target.ratio[row['database']]:g} ×"
    if target.cpu is not None and row["cpu_to_floor"] > target.cpu:
        yield f"{row['cpu_to_floor']:.2f} × the floor's processor time instead of {target.cpu:g} ×"
    if target.wall is not None and row["wall_to_floor"] > target.wall:
        yield f"{row['wall_to_floor']:.2f} × the floor's wall instead of {target.wall:g} ×"
    if target.statements is not None and ours["statements"] >= target.statements:
        yield f"{ours['statements']:.0f} statements instead of less than {target.statements}"
    if ours["body"] >= MAX_BODY:
        yield f"a body of {_kilo(ours['body'])} instead of less than {_kilo(MAX_BODY)}"
    if ours["memory"] >= MAX_MEMORY:
        yield f"{_mega(ours['memory'])} of memory instead of less than {_mega(MAX_MEMORY)}"
    if fewer and ours["memory"] - fewer["memory"] > SAME_MEMORY:
        yield f"memory grows with the room: {_mega(fewer['memory'])} with {FEWER} members"


def show(found: dict[str, Any], judged: dict[str, Any]) -> None:
    """Print it all."""
    members, devices = found["members"], found["devices"]
    print(f"{members:,} members × {devices} devices; wall in seconds; stock | ours where there are two figures")
    print(_SHAPE.format(*_HEADS[:-1], f"with {min(FEWER, members)}"))
    for row in judged["rows"]:
        print(_SHAPE.format(*_cells(row)))
    floor = found["floor"]
    costs = (f"{case} {costs['cpu'] / (members * devices) * 1e6:.0f} µs" for case, costs in floor.items())
    print(f"floor, processor time of raw libolm calls in one thread, a device: {', '.join(costs)}")
    busy = max(costs["wall"] / costs["cpu"] for costs in floor.values())
    if busy > BUSY:
        print(
            f"the machine was busy: the floor's wall was {busy:.2f} × its processor time, so no wall is to be trusted"
        )
    readers = sum(row[side].get("readers", 0) for row in judged["rows"] for side in ("ours", "stock") if row[side])
    print(f"{readers:.0f} devices opened what they were sent and read a message with it; every device was sent one key")
    if found.get("stock_from"):
        print(f"stock as measured in an earlier run ({found['stock_from']}): the ratios are of two runs")
    for what in judged["missed"]:
        print(f"missed: {what}")


def _cells(row: dict[str, Any]) -> list[str]:
    ours, stock, fewer, target = row["ours"], row["stock"], row["fewer"], TARGETS[row["case"]]

    def pair(key: str, form: Any) -> str:
        return f"{form(stock[key])} | {form(ours[key])}" if stock else form(ours[key])

    return [
        row["database"],
        TITLES[row["case"]],
        f"{stock['wall']:.2f}" if stock else "–",
        f"{ours['wall']:.2f}",
        f"{row['ratio']:.1f}" if stock else "–",
        f"≥ {target.ratio[row['database']]:g}",
        f"{row['cpu_to_floor']:.2f}{f' ≤ {target.cpu:g}' if target.cpu else ''}",
        f"{row['wall_to_floor']:.2f}{f' ≤ {target.wall:g}' if target.wall else ''}",
        pair("statements", lambda count: f"{count:,.0f}"),
        pair("body", _kilo),
        pair("memory", _mega),
        _mega(fewer["memory"]) if fewer else "–",
    ]


def _kilo(size: int) -> str:
    return f"{size / 1e3:,.0f} kB"


def _mega(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def note(text: str) -> None:
    """Say what goes on, beside what is printed."""
    print(text, file=sys.stderr, flush=True)


def earlier(path: Path, found: dict[str, Any], databases: dict[str, Any]) -> dict[str, Any]:
    """Stock's figures of an earlier run with as many people."""
    if (databases["members"], databases["devices"]) != (found["members"], found["devices"]):
        raise SystemExit(f"{path} is of {databases['members']} members × {databases['devices']} devices")
    return {
        name: {case: sides["stock"] for case, sides in cases.items() if "stock" in sides}
        for name, cases in databases["databases"].items()
    }
