"""Room keys of others in one encrypted file (MSC4268), which is an encrypted attachment like any other."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from bridge.e2ee.machine import MEGOLM, OlmFailure, export_room_key
from bridge.store.keys import InboundRow

ROOM_KEY_BUNDLE = "m.room_key_bundle"


def bundle_of(keys: Iterable[tuple[InboundRow, int]], pickle_key: str) -> bytes | None:
    """The bundle of these keys, each from its index on; None where not one of them can be given.

    A client takes a bundle as a whole or not at all, so each key is read back first, and left out where it is broken.
    """
    found = []
    for row, index in keys:
        try:
            exported = export_room_key(row.pickle, pickle_key, index, row.session_id)
        except OlmFailure:
            continue
        found.append(
            {
                "algorithm": MEGOLM,
                "room_id": row.room_id,
                "sender_key": row.curve25519,
                "sender_claimed_keys": {"ed25519": row.ed25519},
                "session_id": row.session_id,
                "session_key": exported,
            }
        )
    return orjson.dumps({"room_keys": found, "withheld": []}) if found else None
