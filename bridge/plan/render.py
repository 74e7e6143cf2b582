"""A plan in words and as JSON."""

from __future__ import annotations

from typing import Any

from bridge.plan.actions import Plan


def as_json(plan: Plan, unsafe: list[str]) -> dict[str, Any]:
    """The documented JSON shape: `{"digest", "actions": […], "blocked": […], "unsafe": […]}`."""
    return {
        "community": plan.community,
        "digest": plan.digest,
        "actions": [
            {"kind": action.kind, "room": action.room, "summary": action.summary} for action in plan.actions
        ],
        "blocked": [{"room": item.room, "reason": item.reason} for item in plan.blocked],
        "unsafe": list(unsafe),
        "notes": list(plan.notes),
    }  # fmt: skip


def as_lines(plan: dict[str, Any]) -> list[str]:
    """The plan (its JSON shape) as plain lines for a terminal or a chat."""
    lines = [f"{plan['community']}: " + _headline(plan)]
    lines += [f"  {_SIGNS.get(item['kind'], '~')} {item['room']}: {item['summary']}" for item in plan["actions"]]
    lines += [f"  ! {item['room']} is blocked: {item['reason']}" for item in plan["blocked"]]
    lines += [f"  ⚠ unsafe: {reason}" for reason in plan["unsafe"]]
    lines += [f"  · {note}" for note in plan["notes"]]
    return ["".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line) for line in lines]


def _headline(plan: dict[str, Any]) -> str:
    count = len(plan["actions"])
    if count == 0:
        return "nothing to do"
    return f"{count} action{'s' if count != 1 else ''} (plan {plan['digest']})"


_SIGNS = {"create": "+", "invite": "+", "link": "+", "join": "+", "kick": "-", "ban": "-", "adopt": "<"}
