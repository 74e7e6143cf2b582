"""What no single key can tell: rules between keys, on the values that were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.config.nodes import Report, shown_key
from bridge.config.reading import People
from bridge.config.secret import Secret
from bridge.config.sections import WILDCARD_HOSTS
from bridge.core.community import RoomKind
from bridge.core.ids import MAX_USER_ID_BYTES, UserId

Values = Mapping[str, Any]


def check(values: Values, places: Mapping[str, str], report: Report) -> None:
    """Put every contradiction into the report.

    Args:
        places: the path of each community.
    """
    _listen(values["listen"], report)
    _email(values["email"], report)
    _secrets(values, report)
    _accounts(values, report)
    ours = _our_accounts(values)
    limit = values["limits"].get("groups_per_community")
    if not values["communities"]:
        report.warn("communities", "no community is declared, so there is nothing to do yet")
    for community_id, community in values["communities"].items():
        path = places[community_id]
        _owners(community, path, report)
        _people(community, path, ours, report)
        _groups(community, path, limit, report)
        _tags(community, path, report)
        _removed_above(values["communities"], places, community_id, report)


def _listen(listen: Values, report: Report) -> None:
    host = listen.get("host")
    if host in WILDCARD_HOSTS and listen.get("url") == "":
        sentence = f"is missing: with host {host} the homeserver has to be told which address to use"
        report.fault("listen.url", sentence, line=report.line_of("listen.host"))


def _email(email: Values, report: Report) -> None:
    if email.get("host") and email.get("sender") == "":
        sentence = "is missing: letters need somebody whom they come from, such as School <news@example.org>"
        report.fault("email.sender", sentence, line=report.line_of("email.host"))


def _secrets(values: Values, report: Report) -> None:
    """Each secret serves one purpose."""
    seen: dict[Secret, str] = {}
    for section in ("registration", "encryption", "control"):
        for name, value in values[section].items():
            if not isinstance(value, Secret):
                continue
            path = f"{section}.{name}"
            if value in seen:
                report.fault(path, f"is the same as {seen[value]}; each secret must be its own")
            seen.setdefault(value, path)


def _accounts(values: Values, report: Report) -> None:
    accounts = values["accounts"]
    steward, announcer = accounts["steward"].get("localpart"), accounts["announcer"].get("localpart")
    if steward is not None and steward == announcer:
        report.fault("accounts.announcer.localpart", "is the steward's; the two accounts must differ")
    for user, word in _our_accounts(values).items():
        if len(user) > MAX_USER_ID_BYTES:
            report.fault(f"accounts.{word}.localpart", f"makes a user id longer than {MAX_USER_ID_BYTES} bytes")


def _our_accounts(values: Values) -> dict[UserId, str]:
    """The user ids of the service's own accounts, as far as they are known, with their names."""
    domain = values["homeserver"].get("domain")
    found: dict[UserId, str] = {}
    for word in ("steward", "announcer"):
        localpart = values["accounts"][word].get("localpart")
        if domain is not None and localpart is not None:
            found.setdefault(UserId(f"@{localpart}:{domain}"), word)
    return found


def _owners(community: Values, path: str, report: Report) -> None:
    if community.get("owners", ()) is None and "parent" not in community:
        report.warn(path, "declares no owner: a new community has none until somebody is made one")


def _people(community: Values, path: str, ours: Mapping[UserId, str], report: Report) -> None:
    named: dict[UserId, str] = {}
    for list_path, people in _lists(community, path):
        for user, place in people.items():
            if user in ours:
                report.fault(place, f"{user} is the service's own {ours[user]}, which cannot be listed")
            named.setdefault(user, list_path)
    owners, admins = community.get("owners") or {}, community.get("admins") or {}
    for user in owners:
        if user in admins:
            report.fault(admins[user], f"{user} is an owner already, and an owner may do all that an admin may")
    for user, place in (community.get("removed") or {}).items():
        if user in named:
            report.fault(place, f"{user} cannot be removed and named in {named[user]} at once")
        if user in ours:
            report.fault(place, f"{user} is the service's own {ours[user]}, which cannot be removed")
    if community.get("rules_required") and not community.get("rules"):
        report.fault(f"{path}.rules_required", "asks people to agree to rules, and there are none: give `rules`")
    fallback = community.get("fallback_owner")
    if fallback is not None and fallback in ours:
        report.fault(f"{path}.fallback_owner", f"{fallback} is the service's own {ours[fallback]}")
    if fallback is not None and fallback in (community.get("removed") or {}):
        report.fault(f"{path}.fallback_owner", f"{fallback} stands in `removed`, too")


def _removed_above(communities: Values, places: Mapping[str, str], community_id: str, report: Report) -> None:
    """Whoever is kept out of a community is kept out of those within it."""
    named = {
        user: place for path, people in _lists(communities[community_id], places[community_id])
        for user, place in people.items()
    }  # fmt: skip
    above = communities[community_id].get("parent")
    while above is not None:
        for user in communities[above].get("removed") or {}:
            if user in named:
                report.fault(named[user], f"{user} stands in {places[above]}.removed, and so is kept out here, too")
        above = communities[above].get("parent")


def _lists(community: Values, path: str) -> Iterator[tuple[str, People]]:
    """Every list that names people who belong to the community, with its path."""
    for name in ("owners", "admins", "members"):
        if people := community.get(name):
            yield f"{path}.{name}", people
    for key, group in community["groups"].items():
        for name in ("moderators", "members"):
            if people := group.get(name):
                yield f"{path}.groups.{shown_key(key)}.{name}", people


def _tags(community: Values, path: str, report: Report) -> None:
    for tag in community.get("tags") or ():
        if tag.group is not None and tag.group not in community["groups"]:
            report.warn(
                f"{path}.tags",
                f"{tag.name} is carried by the members of {tag.group}, which is no group of this file; "
                "nobody carries it unless people made that group",
            )


def _groups(community: Values, path: str, limit: int | None, report: Report) -> None:
    groups = community["groups"]
    if limit is not None and len(groups) > limit:
        report.fault(f"{path}.groups", f"has {len(groups)} groups; limits.groups_per_community allows {limit}")
    for key, group in groups.items():
        kind = group.get("kind")
        if group.get("members_may_invite") and kind in (RoomKind.REQUEST, RoomKind.HIDDEN):
            report.fault(
                f"{path}.groups.{shown_key(key)}.members_may_invite",
                f"members can invite into open groups only; into a {kind} group its moderators do",
            )
