"""Another pickle key: the file and the database, also when it is killed in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bridge.app.rekeying import change_pickle_key
from bridge.config import load
from bridge.config.writing import new_config
from bridge.core.errors import ConfigError, StoreError
from bridge.e2ee.keys import Keys
from bridge.e2ee.machine import repickled
from bridge.store.database import Database
from bridge.store.ownership import Ownership
from tests.harness.key_world import ANNOUNCER, ROOM, Device, KeyWorld, StillClock


@dataclass
class Place:
    """A configuration and its database, in which the announcer has a device, sessions and room keys."""

    config: Path
    world: KeyWorld
    ann: Device

    async def with_keys(self, work: Callable[[Keys], Any]) -> Any:
        """Do something with the keys as the service has them, under the present key of the file."""
        config = load(self.config)
        database = Database(config.database.url.reveal())
        await database.start()
        try:
            keys = Keys(
                database,
                self.world,
                self.world,
                StillClock(),
                user_id=ANNOUNCER,
                identity_seed=b"a secret of the configuration",
                pickle_key=config.encryption.pickle_key.reveal(),
            )
            await keys.start()
            return await work(keys)
        finally:
            await database.stop()

    async def says(self, text: str) -> str | None:
        """Announce something; gives what a member reads."""
        content, _ = await self.with_keys(lambda keys: keys.encrypt(ROOM, "m.room.message", {"body": text}))
        return self.ann.reads(content)

    @property
    def present(self) -> str:
        return load(self.config).encryption.pickle_key.reveal()


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    config = tmp_path / "config.yaml"
    config.write_text(new_config("http://127.0.0.1:1", "example.org"))
    config.chmod(0o640)
    world = KeyWorld()
    (ann,) = world.add("@ann:example.org", "A")
    place = Place(config, world, ann)
    assert await place.says("before") == "before"
    return place


async def test_everything_is_under_the_new_key_and_nothing_is_lost(place: Place) -> None:
    before, old = place.config.read_text(), place.present
    changed = await change_pickle_key(place.config)
    assert changed.pickles == 1 + 1 + 1 + 2, "account, Olm session, our session, its room key as received and as made"
    assert place.present != old
    assert place.config.read_text().replace(place.present, old) == before, "comments and all"
    assert place.config.stat().st_mode & 0o777 == 0o640
    assert changed.copy is not None
    assert load(changed.copy).encryption.pickle_key.reveal() == old
    assert await place.says("after") == "after"
    assert len(place.ann.received) == 1, "in the same session"
    assert (await change_pickle_key(place.config)).pickles == changed.pickles


async def test_the_old_key_opens_nothing_any_more(place: Place) -> None:
    changed = await change_pickle_key(place.config)
    assert changed.copy is not None
    place.config = changed.copy
    with pytest.raises(StoreError, match="cannot be opened"):
        await place.says("with the old file")


@pytest.mark.parametrize("moment", ["before the database", "within it", "after it"])
async def test_killed_at_any_moment_it_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    old = place.present

    def die(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "before the database":
            patch.setattr("bridge.app.rekeying.rekey", die)
        elif moment == "within it":
            calls = [0]

            def die_at_the_third(*args: Any) -> bytes:
                calls[0] += 1
                return die() if calls[0] == 3 else repickled(*args)

            patch.setattr("bridge.e2ee.rekeying.repickled", die_at_the_third)
        else:
            patch.setattr("bridge.app.rekeying.with_next_in_place", die)
        with pytest.raises(KeyboardInterrupt):
            await change_pickle_key(place.config)
    assert place.present == old
    following = load(place.config).encryption.next_pickle_key
    assert following is not None
    changed = await change_pickle_key(place.config)
    assert place.present == following.reveal()
    assert changed.copy is None
    assert load(place.config).encryption.next_pickle_key is None
    assert await place.says("after") == "after"


@pytest.mark.parametrize("form", ["file", "env"])
async def test_a_key_of_the_operators_own_takes_the_place_in_its_form(
    place: Place, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    wanted = "a-key-of-the-operators-own"
    if form == "file":
        (place.config.parent / "new.key").write_text(wanted)
        (place.config.parent / "new.key").chmod(0o600)
    monkeypatch.setenv("NEW_KEY", wanted)
    value = "new.key" if form == "file" else "NEW_KEY"
    text = place.config.read_text().replace("  #next_pickle_key: made-with", f"  next_pickle_key_{form}: {value}  #")
    place.config.write_text(text)
    await change_pickle_key(place.config)
    assert f"  pickle_key_{form}: {value}" in place.config.read_text()
    assert place.present == wanted
    assert await place.says("after") == "after"


async def test_while_the_service_runs_it_is_refused(place: Place) -> None:
    before = place.config.read_text()
    ownership = Ownership(Database(load(place.config).database.url.reveal()))
    await ownership.take()
    try:
        with pytest.raises(StoreError, match="another"):
            await change_pickle_key(place.config)
    finally:
        await ownership.release()
    assert place.config.read_text() == before


async def test_where_neither_key_opens_the_database_nothing_is_changed(place: Place) -> None:
    old = place.present
    place.config.write_text(place.config.read_text().replace(old, "another-key-than-that"))
    with pytest.raises(StoreError, match="neither"):
        await change_pickle_key(place.config)
    place.config.write_text(place.config.read_text().replace("another-key-than-that", old))
    assert await place.says("after") == "after"


async def test_a_section_on_one_line_is_refused_with_the_remedy(place: Place) -> None:
    head, _, tail = place.config.read_text().partition("encryption:")
    _, _, rest = tail.partition("\ncontrol:")
    line = f"encryption: {{identity_secret: 0123456789abcdefg, pickle_key: {place.present}}}\n"
    place.config.write_text(f"{head}{line}\ncontrol:{rest}")
    with pytest.raises(ConfigError) as caught:
        await change_pickle_key(place.config)
    assert "one key a line" in caught.value.remedy
