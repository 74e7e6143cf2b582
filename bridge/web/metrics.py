"""`/metrics`: a few gauges as Prometheus text, for whoever has the secret of the local door."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

PREFIX = "matrix_communities_"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Gauge:
    """One number; None where it is not known, which then is not shown."""

    name: str
    help: str
    value: float | None
    labels: Mapping[str, str] = field(default_factory=dict)


def render(gauges: Iterable[Gauge]) -> str:
    """The text exposition format of Prometheus, version 0.0.4; gauges of one name follow each other."""
    lines: list[str] = []
    named = None
    for gauge in gauges:
        if gauge.value is None:
            continue
        name = PREFIX + gauge.name
        if name != named:
            lines += [f"# HELP {name} {gauge.help}", f"# TYPE {name} gauge"]
            named = name
        labels = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in sorted(gauge.labels.items()))
        lines.append(f"{name}{{{labels}}} {gauge.value}" if labels else f"{name} {gauge.value}")
    return "".join(f"{line}\n" for line in lines)


class Metrics:
    """The endpoint."""

    def __init__(self, secret: str, gauges: Callable[[], Awaitable[Iterable[Gauge]]]) -> None:
        self._secret = secret.encode()
        self._gauges = gauges

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/metrics", self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret):
            return web.Response(status=403, text="the bearer token is not control.secret\n")
        return web.Response(
            body=render(await self._gauges()).encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )
