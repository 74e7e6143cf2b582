"""Communities within communities, as the file has them, into a row of communities that name their parent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.config.nodes import Report, join, shown_key

INHERITED = ("language", "timezone", "room_version")
"""What a sub-community has from its parent where it says nothing itself."""


def flatten(values: dict[str, Any], report: Report) -> dict[str, str]:
    """Put every community at the top, parents before their children, each of these with its `parent`.

    Gives the path of each. A community's id is one of the whole file and has nothing to do with its place, so that it
    can be moved; one that appears twice is a fault.
    """
    flat: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    values.pop("templates", None)  # they were put into those that use them
    _take(values["communities"], "communities", None, flat, places, report)
    values["communities"] = flat
    return places


def _take(
    communities: Mapping[str, dict[str, Any]],
    path: str,
    parent: str | None,
    flat: dict[str, dict[str, Any]],
    places: dict[str, str],
    report: Report,
) -> None:
    for name, community in communities.items():
        place = join(path, shown_key(name))
        within = community.pop("subcommunities", {})
        community.pop("use", None)
        if name in places:
            report.fault(place, f"has the id of {places[name]}; every community needs one of its own, wherever it is")
            continue
        if parent is not None:
            community["parent"] = parent
            for key in INHERITED:
                if join(place, key) not in report.lines and key in flat[parent]:
                    community[key] = flat[parent][key]
        flat[name], places[name] = community, place
        _take(within, join(place, "subcommunities"), name, flat, places, report)
