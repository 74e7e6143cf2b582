"""What the homeserver has to know of the service (application service API, "Registration")."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from bridge.config.sections import Config

RESERVED_PREFIX = "_communities_"
"""What our further users and the aliases of rooms in the making begin with."""

HEADER = """\
# What the homeserver has to know of matrix-communities, made of its configuration by `matrix-communities registration`.
# Name this file in the homeserver's app_service_config_files, and restart the homeserver. It holds both tokens.
"""

_REGEX_SIGNS = re.compile(r"[.+\[\]]")


def registration_of(config: Config) -> dict[str, Any]:
    """The registration as the homeserver reads it. It holds both tokens in the clear.

    The namespaces are as narrow as can be: a wider one would bring other people's private rooms to the service.
    """
    domain = _literally(config.homeserver.domain)
    users = [
        f"@{_literally(config.accounts.steward.localpart)}:{domain}",
        f"@{_literally(config.accounts.announcer.localpart)}:{domain}",
        f"@{RESERVED_PREFIX}.*:{domain}",
    ]
    return {
        "id": config.registration.id,
        "url": config.listen.url,
        "as_token": config.registration.as_token.reveal(),
        "hs_token": config.registration.hs_token.reveal(),
        "sender_localpart": config.accounts.steward.localpart,
        "rate_limited": False,
        "namespaces": {
            "users": [{"exclusive": True, "regex": regex} for regex in users],
            "aliases": [{"exclusive": True, "regex": f"#{RESERVED_PREFIX}.*:{domain}"}],
            "rooms": [],
        },
        "receive_ephemeral": True,
        "io.element.msc4190": True,
    }


def registration_text(config: Config) -> str:
    """The registration as a YAML file. It holds both tokens in the clear."""
    registration = registration_of(config)
    for token in ("as_token", "hs_token"):
        registration[token] = DoubleQuotedScalarString(registration[token])
    for namespace in (*registration["namespaces"]["users"], *registration["namespaces"]["aliases"]):
        namespace["regex"] = SingleQuotedScalarString(namespace["regex"])
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    written = StringIO()
    yaml.dump(registration, written)
    return HEADER + written.getvalue()


def _literally(text: str) -> str:
    """A localpart or server name as a regular expression that matches nothing else."""
    return _REGEX_SIGNS.sub(lambda sign: "\\" + sign.group(), text)
