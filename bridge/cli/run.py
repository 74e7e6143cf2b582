"""`matrix-communities run`."""

from __future__ import annotations

import asyncio
import json as jsonlib
import logging
import signal

from bridge.app import Service
from bridge.app.memory import share_one_heap
from bridge.cli.options import DEFAULT_CONFIG, ConfigFile
from bridge.config import Config, load

log = logging.getLogger("bridge")


def run(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Run the service: hold every community as declared, carry announcements, answer people."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the config is about to be read anyway; the service listens later
    share_one_heap()
    loaded = load(config)
    set_up_logging(loaded)
    for line in loaded.warnings:
        log.warning("%s", line)
    asyncio.run(Service(loaded).run())


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "from": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return jsonlib.dumps(line, ensure_ascii=False)


def set_up_logging(config: Config) -> None:
    """Log to standard error as the configuration says; libraries speak up from warnings on."""
    handler = logging.StreamHandler()
    if config.logging.json:
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    log.setLevel(config.logging.level.upper())
