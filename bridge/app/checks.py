"""What `check` looks at. It changes nothing in any room."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.app.house import FALLBACK_ROOM_VERSION, House
from bridge.core.errors import BadRequest, CommunitiesError, ConfigError, Forbidden, MatrixError, NotFound
from bridge.e2ee.establishment import Standing
from bridge.matrix.client import path
from bridge.store.keys import load_account
from bridge.store.links import count_live

PING_SECONDS = 10.0
LOOK_SECONDS = 5.0
NEEDED_VERSION = (1, 8)
"""Of the specification: pings of application services came with v1.7, room version 11 with v1.8."""
TESTED_ROOM_VERSIONS = frozenset({"11", "12"})


WaitPing = Callable[[str, float], Awaitable[bool]]


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was found, and what helps."""

    name: str
    verdict: Verdict
    what: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "verdict": self.verdict.value, "what": self.what, "remedy": self.remedy}


def ok(name: str, what: str) -> Finding:
    return Finding(name, Verdict.OK, what)


def warning(name: str, what: str, remedy: str = "") -> Finding:
    return Finding(name, Verdict.WARNING, what, remedy)


def failed(name: str, error: CommunitiesError) -> Finding:
    where = f"{error.where}: " if error.where else ""
    return Finding(name, Verdict.FAILED, f"{where}{error.what}", error.remedy)


async def homeserver(house: House) -> list[Finding]:
    """Reachable, new enough, and knowing our registration."""
    findings = []
    try:
        answer = await house.client.request("GET", "/_matrix/client/versions", retries=1, deadline=10)
    except MatrixError as error:
        if error.errcode != "M_UNKNOWN_TOKEN":
            return [failed("homeserver", error)]
        answer = {}  # it is there, and asks who we are before it says anything
    findings.append(_speaks(answer.get("versions"), f"answers at {house.config.homeserver.url}"))
    findings.append(await _registration(house))
    if findings[-1].verdict is not Verdict.FAILED:
        findings.append(await _room_versions(house))
    return findings


def _speaks(listed: object, where: str) -> Finding:
    """Judge the versions of the specification that `GET /_matrix/client/versions` lists."""
    if not isinstance(listed, list) or not listed:
        return ok("homeserver", f"{where}, does not say which version of Matrix it speaks")
    found = [re.fullmatch(r"v(\d+)\.(\d+)", str(version)) for version in listed]
    newest = max(((int(version[1]), int(version[2])) for version in found if version), default=(0, 0))
    what = f"{where}, speaks Matrix up to {_version(newest) if any(found) else listed[-1]}"
    if newest >= NEEDED_VERSION:
        return ok("homeserver", what)
    return Finding("homeserver", Verdict.FAILED, f"{what}; {_version(NEEDED_VERSION)} is needed", "update it")


def _version(numbers: tuple[int, int]) -> str:
    return f"v{numbers[0]}.{numbers[1]}"


async def _room_versions(house: House) -> Finding:
    """Whether new rooms can be of the version that they should have, and of one that is tested."""
    name = "room versions"
    try:
        answer = await house.client.request("GET", path("v3", "capabilities"), retries=1)
    except MatrixError as error:
        return failed(name, error)
    capability = _mapping(_mapping(answer.get("capabilities")).get("m.room_versions"))
    offered = _mapping(capability.get("available")).keys()
    default = str(capability.get("default", FALLBACK_ROOM_VERSION))
    wanted = {community.room_version or default for community in house.config.communities} or {default}
    tested = " and ".join(sorted(offered & TESTED_ROOM_VERSIONS)) or "neither 11 nor 12"
    what = f"offers {tested}, its default is {default}"
    if lacking := sorted(wanted - offered):
        remedy = f"let the homeserver be updated, or set `room_version` to one of {', '.join(sorted(offered))}"
        return Finding(name, Verdict.FAILED, f"{what}; declared is {', '.join(lacking)}", remedy)
    if untested := sorted(wanted - TESTED_ROOM_VERSIONS):
        remedy = 'set `room_version: "12"` or `"11"` in the configuration; for that the homeserver may need an update'
        return warning(
            name, f"{what}; new rooms would be of version {', '.join(untested)}, which is not tested", remedy
        )
    return ok(name, what)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


async def _registration(house: House) -> Finding:
    remedy = (
        "write the registration (`matrix-communities registration`), name it in the homeserver's "
        "`app_service_config_files`, and restart the homeserver"
    )
    try:
        answer = await house.client.request("GET", path("v3", "account", "whoami"), retries=1)
        found = str(answer.get("user_id"))
        if found != house.config.steward:
            return Finding("registration", Verdict.FAILED, f"our token is that of {found}", remedy)
        await house.client.request("GET", path("v3", "account", "whoami"), as_user=house.config.announcer, retries=1)
    except Forbidden as error:
        if "registered" in error.what or error.errcode == "M_FORBIDDEN":
            return warning("registration", f"known; {house.config.announcer} is made at the first run")
        return Finding("registration", Verdict.FAILED, error.what, remedy)
    except MatrixError as error:
        return Finding("registration", Verdict.FAILED, error.what, error.remedy or remedy)
    return ok("registration", f"known; we are {house.config.steward} and {house.config.announcer}")


async def steward_devices(house: House) -> list[str]:
    """The steward's devices; there must be none."""
    answer = await house.client.request(
        "GET", path("v3", "devices"), as_user=house.config.steward, retries=0, deadline=LOOK_SECONDS
    )
    return [str(device.get("device_id")) for device in answer.get("devices", []) if isinstance(device, dict)]


async def _steward(house: House) -> Finding:
    name = "steward without a device"
    try:
        devices = await steward_devices(house)
    except (Forbidden, NotFound):
        return warning(name, "the steward is made at the first run")
    except MatrixError as error:
        return failed(name, error)
    if devices:
        return Finding(
            name,
            Verdict.FAILED,
            f"{house.config.steward} owns {', '.join(devices)}: members' clients encrypt to it, "
            "so the service could read groups",
            "delete the device (DELETE /devices/… with the as_token), and never log in as the steward",
        )
    return ok(name, f"{house.config.steward} has none: nobody can encrypt to it")


async def ping(house: House, wait_ping: WaitPing) -> Finding:
    """Ask the homeserver to ping us, and wait for it (client-server API, `POST …/appservice/{id}/ping`)."""
    transaction_id = secrets.token_hex(8)
    url = path("v1", "appservice", house.config.registration.id, "ping")
    remedy = (
        f"see that the homeserver reaches us at {house.config.listen.url} (`listen.url`), and that the registration "
        "that it has loaded carries that address and our tokens"
    )
    try:
        await house.client.request("POST", url, body={"transaction_id": transaction_id}, retries=0, deadline=30)
    except MatrixError as error:
        # what counts is that it came: homeservers have been seen to stumble over our answer
        if not await wait_ping(transaction_id, 0.1):
            return Finding("ping", Verdict.FAILED, f"the homeserver cannot ping us: {error.what}", remedy)
    if not await wait_ping(transaction_id, PING_SECONDS):
        return Finding("ping", Verdict.FAILED, "the homeserver says that it pinged us, but nothing came", remedy)
    return ok("ping", "both ways")


async def _announcer(house: House) -> list[Finding]:
    """The device and the identity of the announcer."""
    device = await _device(house)
    try:
        standing = await house.keys.describe()
    except CommunitiesError as error:
        return [device, failed("announcer's identity", error)]
    return [device, _only_device(standing), _identity(house, standing)]


def _only_device(standing: Standing) -> Finding:
    name = "announcer's only device"
    if others := standing.foreign_devices:
        return Finding(
            name,
            Verdict.FAILED,
            f"there are others that are not ours: {', '.join(others)}. Somebody uses the announcer's account",
            "find out who has the as_token, and change it; a restart of the service deletes these devices",
        )
    return ok(name, "there is no other")


def _identity(house: House, standing: Standing) -> Finding:
    name = "announcer's identity"
    if standing.identity == "another":
        return Finding(
            name,
            Verdict.FAILED,
            "people see another identity than `encryption.identity_secret` makes: somebody has replaced it",
            "put back the identity secret that was in the configuration before; if it is the right one, find out who "
            "has the as_token",
        )
    people = "1 person" if standing.verified == 1 else f"{standing.verified} people"
    return ok(
        name,
        f"{house.config.announcer}: identity {in_fours(standing.master_key)}, session {standing.device_id} "
        f"{in_fours(standing.device_key)}; {people} verified",
    )


def in_fours(key: str) -> str:
    """A public key as Element shows it: in groups of four."""
    return " ".join(key[start : start + 4] for start in range(0, len(key), 4))


async def _device(house: House) -> Finding:
    name = "announcer's device"
    try:
        health = await house.keys.health()
    except CommunitiesError as error:
        return failed(name, error)
    if not health.cross_signed:
        return Finding(
            name,
            Verdict.FAILED,
            f"{health.device_id} is not cross-signed: careful clients do not send it keys",
            "restart the service: it signs its device at start",
        )
    if not health.receives_to_device:
        return Finding(
            name,
            Verdict.FAILED,
            f"{health.device_id} is sent no to-device messages",
            "see that the registration has `io.element.msc4190: true`, and restart the homeserver",
        )
    return ok(name, f"{health.device_id} is cross-signed and receives to-device messages")


async def join_page(house: House) -> Finding:
    """Whether people can open the links that there are, and are told apart there."""
    name, page = "join page", house.config.join
    async with house.database.transaction() as tx:
        live = await count_live(tx, house.clock.now_ms())
    links = "1 link" if live == 1 else f"{live} links"
    if live and not (page.url and page.enabled):
        missing = "join.url is not set" if page.enabled else "join.enabled is false"
        return warning(
            name,
            f"{links} can be used, and nobody can open them: {missing}",
            "set it to the address under which people reach /join, or take the links back with `link revoke`",
        )
    if page.url.startswith("https://") and not page.trusted_proxies:
        return warning(
            name,
            f"at {page.url}, by a proxy that is not trusted: all visitors count as one, and are soon slowed down",
            "name the address from which the proxy asks in `join.trusted_proxies`",
        )
    return ok(name, f"at {page.url}, {links}" if page.url else "not used")


async def running(house: House) -> list[Finding]:
    """All checks that need the homeserver, from inside the running service."""
    findings = await homeserver(house)
    if findings[0].verdict is Verdict.FAILED:
        return findings
    if house.wait_ping is not None:
        findings.append(await ping(house, house.wait_ping))
    findings.append(await _steward(house))
    findings += await _announcer(house)
    findings.append(await join_page(house))
    findings += await owners(house)
    findings += deactivated(house)
    findings += await auto_join(house)
    return findings


async def auto_join(house: House) -> list[Finding]:
    """Whether we may join people where a community wants it; silent where none does.

    Asked as both accounts (Synapse's admin API, `GET /_synapse/admin/v1/users/{userId}/admin`): each invites into other
    rooms, and whoever joins somebody has to be able to invite them.
    """
    name = "auto_join"
    wanting = [str(community.id) for community in house.reconciler.declared.values() if community.auto_join]
    if not wanting:
        return []
    for account in (house.config.steward, house.config.announcer):
        url = f"/_synapse/admin/v1/users/{quote(account, safe='')}/admin"
        try:
            await house.client.request("GET", url, as_user=account, retries=1)
        except (Forbidden, NotFound, BadRequest) as error:
            return [
                Finding(
                    name,
                    Verdict.FAILED,
                    f"{', '.join(wanting)} wants people joined, and {account} may not do that ({error.what}): "
                    "they are invited",
                    "make both accounts admins of the homeserver (the operator guide says how, and what it means), "
                    "or take `auto_join` out",
                )
            ]
        except MatrixError as error:
            return [failed(name, error)]
    return [ok(name, f"people of this server are joined in {', '.join(wanting)}")]


async def owners(house: House) -> list[Finding]:
    """Communities whose owners are all gone; silent where every one has an owner."""
    found = []
    for community in house.reconciler.declared.values():
        ownerless = (await house.reconciler.look(community)).comparison.ownerless
        found += [
            warning(f"owner of {community.id}", line.partition(": ")[0], line.partition(": ")[2]) for line in ownerless
        ]
    return found


def deactivated(house: House) -> list[Finding]:
    """Communities that are declared and were deactivated: nothing is done about them."""
    return [
        warning(
            f"community {one.community}",
            f"was deactivated by {one.by}, and the configuration still declares it",
            f"take it out there, or begin it again: `matrix-communities community reactivate {one.community}`",
        )
        for one in house.reconciler.ended_but_declared()
    ]


async def alone(house: House, wait_ping: WaitPing) -> list[Finding]:
    """The same where no service runs: what cannot be known before the first run is a warning."""
    findings = await homeserver(house)
    if any(finding.verdict is Verdict.FAILED for finding in findings[:2]):
        return findings
    findings.append(await ping(house, wait_ping))
    findings.append(await _steward(house))
    findings.append(await join_page(house))
    if findings[1].verdict is Verdict.OK:
        findings += await auto_join(house)
    if findings[1].verdict is Verdict.WARNING or not await _has_device(house):
        findings.append(warning("announcer's device", "is made at the first run"))
    else:
        try:
            await house.keys.start()
            findings += await _announcer(house)
        except CommunitiesError as error:
            findings.append(failed("announcer's device", error))
    return findings


async def _has_device(house: House) -> bool:
    async with house.database.transaction() as tx:
        return await load_account(tx, house.config.announcer) is not None


async def identities(house: House) -> dict[str, Any]:
    """Both accounts and their devices, for `status`."""
    try:
        devices: list[str] | None = await steward_devices(house)
    except MatrixError:
        devices = None
    announcer: dict[str, Any] = {
        "user_id": house.config.announcer,
        "device_id": None,
        "cross_signed": None,
        "fingerprint": None,
        "identity_fingerprint": in_fours(house.keys.master_key),
        "identity": None,
        "devices": None,
        "verified_people": None,
        "strange_devices": None,
    }
    if await _has_device(house):
        try:
            standing = await house.keys.describe()
            announcer |= {
                "device_id": standing.device_id,
                "cross_signed": standing.cross_signed,
                "fingerprint": in_fours(standing.device_key),
                "identity": standing.identity,
                "devices": list(standing.devices),
                "verified_people": standing.verified,
                "strange_devices": None
                if standing.strange_at is None
                else {"devices": list(standing.strange), "seen_at": standing.strange_at},
            }
        except CommunitiesError as error:
            announcer["error"] = error.what
    return {"steward": {"user_id": house.config.steward, "devices": devices}, "announcer": announcer}


# --- the homeserver's rate limits -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate limit of Synapse that people of a community run into, and what is comfortable."""

    keys: tuple[str, ...]
    default_per_second: float
    default_burst: int
    per_second: float
    burst: int
    why: str


LIMITS = (
    Limit(("rc_joins", "local"), 0.1, 10, 1, 50, "one person who joins more rooms than this at once has to wait"),
    Limit(("rc_joins_per_room",), 1, 10, 5, 100, "a crowd that joins one room has to wait"),
    Limit(("rc_message",), 0.2, 10, 1, 50, "people who react to many announcements have to wait"),
)


def rate_limits(file: Path | None) -> list[Finding]:
    """Which limits of the homeserver's config will hurt; without the file, the advice alone."""
    if file is None:
        names = ", ".join(".".join(limit.keys) for limit in LIMITS)
        return [
            warning(
                "rate limits",
                "not looked at (give the homeserver's config with --homeserver-config)",
                f"Synapse's defaults are tight for communities; raise {names}",
            )
        ]
    config = _homeserver_config(file)
    return [_limit(config, limit) for limit in LIMITS]


def receipts(file: Path, registration_id: str) -> list[Finding]:
    """Whether the registration that the homeserver's config names asks for receipts; silent where none is ours.

    A relative path is looked up from the config's folder: where the homeserver is started nobody knows here.
    """
    name = "receipts"
    remedy = (
        "write the registration anew (`matrix-communities registration`), put it in its place, and restart the "
        "homeserver; until then nobody is counted as having read anything"
    )
    listed = _homeserver_config(file).get("app_service_config_files")
    for one in listed if isinstance(listed, list) else []:
        place = file.parent / str(one)
        try:
            loaded = YAML(typ="safe", pure=True).load(place.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError):
            continue  # somebody else's, maybe: ours is looked at by asking the homeserver
        if isinstance(loaded, Mapping) and loaded.get("id") == registration_id:
            if loaded.get("receive_ephemeral") is True:
                return [ok(name, "the homeserver is told to send them")]
            return [warning(name, f"{place} lacks `receive_ephemeral: true`", remedy)]
    return []


def _homeserver_config(file: Path) -> Mapping[str, Any]:
    try:
        loaded = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(
            [f"cannot be read: {error}"], where=str(file), remedy="name the homeserver's YAML config"
        ) from error
    if not isinstance(loaded, Mapping):
        raise ConfigError(["is not a homeserver's config"], where=str(file), remedy="name the homeserver's YAML config")
    return loaded


def _limit(config: Mapping[str, Any], limit: Limit) -> Finding:
    name = ".".join(limit.keys)
    node: Any = config
    for key in limit.keys:
        node = node.get(key) if isinstance(node, Mapping) else None
    own = node if isinstance(node, Mapping) else {}
    rate, burst = own.get("per_second", limit.default_per_second), own.get("burst_count", limit.default_burst)
    numbers = isinstance(rate, int | float) and isinstance(burst, int | float)
    if numbers and rate >= limit.per_second and burst >= limit.burst:
        return ok(name, f"{rate} per second, {burst} at once")
    return warning(
        name,
        f"{rate} per second, {burst} at once: {limit.why}",
        f"set `{name}: {{per_second: {limit.per_second:g}, burst_count: {limit.burst}}}` in the homeserver's config",
    )
