"""`matrix-communities check`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.app import checks
from bridge.app.house import House
from bridge.app.listening import listening_alone
from bridge.cli.door import Door
from bridge.cli.options import DEFAULT_CONFIG, AsJson, ConfigFile, print_json, say, working
from bridge.config import Config, load
from bridge.core.errors import CommunitiesError, ServiceUnreachable

_STYLE = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "bold red")}


def check(
    config: ConfigFile = DEFAULT_CONFIG,
    json: AsJson = False,
    homeserver_config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The homeserver's config: names the rate limits that will hurt.")
    ] = None,
) -> int:
    """Look whether everything is set up, and say what helps where it is not. Changes nothing in any room."""
    try:
        loaded = load(config)
        with working("looking"):
            findings = [_config_finding(loaded), *asyncio.run(_check(loaded))]
    except CommunitiesError as error:
        if not json:
            raise
        findings = [checks.failed("config", error).as_json()]
    findings += [finding.as_json() for finding in _limits(homeserver_config, config)]
    good = all(finding["verdict"] != "failed" for finding in findings)
    if json:
        print_json({"ok": good, "checks": findings})
    else:
        _show(findings)
    return 0 if good else 1


def _limits(homeserver_config: Path | None, config: Path) -> list[checks.Finding]:
    """What only the homeserver's own files say."""
    try:
        found = checks.rate_limits(homeserver_config)
        if homeserver_config is not None:
            found = [*checks.receipts(homeserver_config, load(config).registration.id), *found]
        return found
    except CommunitiesError as error:
        return [checks.failed("rate limits", error)]


def _config_finding(config: Config) -> dict[str, Any]:
    count = len(config.communities)
    what = f"{config.path}: {count} {'community' if count == 1 else 'communities'}"
    if config.warnings:
        return checks.warning("config", f"{what}; {'; '.join(config.warnings)}").as_json()
    return checks.ok("config", what).as_json()


async def _check(config: Config) -> list[dict[str, Any]]:
    try:
        found = await Door(config).check()
    except ServiceUnreachable:
        return [finding.as_json() for finding in await _alone(config)]
    service = checks.ok("service", f"runs, and answers at {config.listen.local_url}")
    return [service.as_json(), *found]


async def _alone(config: Config) -> list[checks.Finding]:
    findings = [checks.warning("service", "does not run", "start it with `matrix-communities run`")]
    house = House(config)
    try:
        await house.own()
        findings.append(checks.ok("database", house.database.shown_url))
        async with listening_alone(house) as wait_ping:
            findings += await checks.alone(house, wait_ping)
    except CommunitiesError as error:
        findings.append(checks.failed("database" if len(findings) == 1 else "service", error))
    finally:
        await house.close()
    return findings


def _show(findings: list[dict[str, Any]]) -> None:
    for finding in findings:
        sign, style = _STYLE[finding["verdict"]]
        say(f"{sign} {finding['name']}: {finding['what']}", style)
        if finding["remedy"]:
            say(f"    Remedy: {finding['remedy']}")
