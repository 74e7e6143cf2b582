"""Who people are, and what pictures look like: asked for the join page and for cards, quickly or not at all."""

from __future__ import annotations

import asyncio
import logging
import re
from urllib.parse import quote

from bridge.core.errors import Forbidden, MatrixError, NotFound, Unreachable
from bridge.core.ids import UserId
from bridge.matrix.client import Client, path
from bridge.matrix.servers import OtherServers

log = logging.getLogger(__name__)

PROFILE_SECONDS = 10.0
SINCE_SECONDS = 5.0
PICTURE_SECONDS = 10.0
PICTURE_PIXELS = "192"
MOST_SECONDS = 253_402_300_800
"""The year 10000: no date can be made of what is later."""
MOST_PICTURE_BYTES = 1024 * 1024
_MXC = re.compile(r"mxc://(?P<server>[A-Za-z0-9.\-\[\]:]+)/(?P<media>[A-Za-z0-9_-]+)\Z")
_BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
"""The kinds of picture that are passed on, and how such files begin. SVG is not among them: it may carry scripts."""


class Profiles:
    """Asks as the steward."""

    def __init__(self, client: Client, servers: OtherServers) -> None:
        self._client = client
        self._servers = servers

    async def exists(self, user: UserId) -> bool:
        """Whether there is such a person, as far as it can be known (client-server API, `GET /profile/{userId}`).

        Raises:
            Unreachable: our homeserver does not answer, or theirs does not answer it.
            MatrixError: the homeserver refuses.
        """
        try:
            await self._client.request("GET", path("v3", "profile", user), retries=0, deadline=PROFILE_SECONDS)
        except NotFound:
            return False
        except Forbidden as error:
            if self._servers.is_theirs(user):
                raise Unreachable(error.what, status=error.status, errcode=error.errcode) from error
            return True  # some homeservers show profiles to people who share a room alone: then the invite will tell
        self._servers.answered(user)
        return True

    async def here_since(self, user: UserId) -> int | None:
        """When somebody's account on our homeserver was made, in seconds since 1970 (Synapse's admin API,
        `GET /_synapse/admin/v2/users/{userId}`, `creation_ts`); None for people of other servers, and where the
        homeserver does not tell us within a few seconds: it tells only its admins.
        """
        if self._servers.is_theirs(user):
            return None
        url = f"/_synapse/admin/v2/users/{quote(user, safe='')}"
        try:
            async with asyncio.timeout(SINCE_SECONDS):  # that includes waiting for a turn
                answer = await self._client.request("GET", url, retries=0, deadline=SINCE_SECONDS)
        except (MatrixError, TimeoutError) as error:
            log.debug("it is not known since when %s is here: %s", user, error)
            return None
        since = answer.get("creation_ts")
        return since if type(since) is int and 0 < since < MOST_SECONDS else None

    async def picture(self, mxc: str) -> tuple[str, bytes] | None:
        """A small version of an uploaded picture, with its media type; None where it is not fit to be shown
        (client-server API, `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`).

        Raises:
            MatrixError: the homeserver refuses, or does not answer.
        """
        found = _MXC.match(mxc)
        if found is None:
            return None
        kind, data = await self._client.download(
            path("v1", "media", "thumbnail", found["server"], found["media"]),
            query={"width": PICTURE_PIXELS, "height": PICTURE_PIXELS, "method": "crop", "animated": "false"},
            most_bytes=MOST_PICTURE_BYTES,
            deadline=PICTURE_SECONDS,
        )
        beginning = _BEGINNINGS.get(kind)
        return (kind, data) if beginning is not None and data.startswith(beginning) else None
