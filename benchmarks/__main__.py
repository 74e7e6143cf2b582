"""Run all benchmarks, or those that are named: `python -m benchmarks [intake] [rooms] [heal] [start] [megolm] …`."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "intake",
    "receipts",
    "rooms",
    "heal",
    "start",
    "entering",
    "event",
    "hundred",
    "announce",
    "history",
    "megolm",
    "megolm_synapse",
    "olm_engines",
)


def main() -> int:
    """Run each in a process of its own; the exit code is the worst of them."""
    chosen = sys.argv[1:] or list(NAMES)
    if unknown := [name for name in chosen if name not in NAMES]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        return 1
    worst = 0
    for name in chosen:
        print(f"== {name} ==", flush=True)
        worst = max(worst, subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main())
