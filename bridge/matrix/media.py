"""Files at the homeserver: uploaded as one of our accounts, and fetched."""

from __future__ import annotations

import re

from bridge.core.errors import MatrixError, Refused
from bridge.core.ids import UserId
from bridge.matrix.client import Client, path

FETCH_SECONDS = 60.0
_MXC = re.compile(r"mxc://(?P<server>[A-Za-z0-9.\-\[\]:]+)/(?P<media>[A-Za-z0-9_-]+)\Z")


async def upload(
    client: Client, data: bytes, *, as_user: UserId | None = None, media_type: str = "application/octet-stream"
) -> str:
    """Put a file into the media repository (`POST /_matrix/media/v3/upload`); gives its `mxc://` address.

    It goes without a name.

    Args:
        as_user: the account; the steward if left out.
        media_type: what it is; bytes of no kind if left out, as of everything encrypted.

    Raises:
        MatrixError: the homeserver refuses (it may be too large for it), or cannot be reached.
    """
    answer = await client.request("POST", "/_matrix/media/v3/upload", as_user=as_user, data=data, media_type=media_type)
    uri = answer.get("content_uri")
    if not isinstance(uri, str):
        raise MatrixError("the homeserver took a file without naming its address", where="media repository")
    return uri


async def download(client: Client, url: str, most_bytes: int, *, deadline: float = FETCH_SECONDS) -> bytes:
    """Fetch a file (client-server API, `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`).

    Args:
        url: its `mxc://` address, as somebody wrote it.
        deadline: in seconds.

    Raises:
        Refused: it is no such address.
        MatrixError: it is larger than that, or cannot be fetched.
    """
    found = _MXC.match(url)
    if found is None:
        raise Refused("the message names no file", remedy="send it again")
    _, data = await client.download(
        path("v1", "media", "download", found["server"], found["media"]),
        query={},
        most_bytes=most_bytes,
        deadline=deadline,
    )
    return data
