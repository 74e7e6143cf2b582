"""Files at the homeserver, uploaded as one of our accounts."""

from __future__ import annotations

from bridge.core.errors import MatrixError
from bridge.core.ids import UserId
from bridge.matrix.client import Client


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
