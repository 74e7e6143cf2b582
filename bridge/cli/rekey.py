"""`matrix-communities rekey`."""

from __future__ import annotations

import asyncio

from bridge.app.rekeying import change_pickle_key
from bridge.cli.options import DEFAULT_CONFIG, ConfigFile, say, working


def rekey(config: ConfigFile = DEFAULT_CONFIG) -> None:
    """Encrypt the announcer's keys in the database under another pickle key, while the service is stopped."""
    with working("encrypting the keys anew"):
        changed = asyncio.run(change_pickle_key(config))
    if changed.pickles:
        say(f"{changed.pickles} keys and sessions in the database are encrypted under the new pickle key.")
    else:
        say("The database was under the new pickle key already, or holds no keys yet.")
    say(f"{config} has the new key alone.")
    if changed.copy is not None:
        say(
            f"The file with the old key is kept as {changed.copy}: older backups of the database need it. "
            "Delete it once you need those no more."
        )
