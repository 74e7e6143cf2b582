"""The two commands that write files: what they write, what they ask, and what they never overwrite."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from bridge.cli.init import init
from bridge.cli.registration import registration
from bridge.config import load, registration_of, writing
from bridge.core.errors import CommunitiesError, ConfigError, Refused

URL = "https://matrix.example.com"


class Terminal(io.StringIO):
    """Standard input or output of somebody who sits at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_init_writes_is_usable_at_once(config: Path) -> None:
    init(homeserver=f"{URL}/", domain="example.com", config=config)
    written = load(config)
    assert (written.homeserver.url, written.homeserver.domain) == (URL, "example.com")
    assert written.database.url.reveal() == f"sqlite:///{config.parent}/communities.db"
    assert written.communities == ()
    assert [warning for warning in written.warnings if "no community" not in warning] == []
    assert mode(config) == 0o600
    assert list(config.parent.iterdir()) == [config]


def test_init_keeps_the_comments(config: Path) -> None:
    init(homeserver=URL, domain="example.com", config=config)
    comments = [line.partition("#")[2] for line in writing.template().partition("communities:\n")[0].splitlines()]
    text = config.read_text()
    assert len([comment for comment in comments if comment]) > 20
    assert [comment for comment in comments if comment not in text] == []


def test_commented_communities_are_a_working_example(config: Path) -> None:
    init(homeserver=URL, domain="example.com", config=config)
    head, mark, example = config.read_text().partition("communities:\n")
    config.write_text(head + mark + "".join(line.removeprefix("#") for line in example.splitlines(keepends=True)))
    (springfield,) = load(config).communities
    assert springfield.owners == frozenset({"@principal:example.com"})
    assert len(springfield.groups) == 5


def test_secrets_are_fresh_each_time(tmp_path: Path) -> None:
    seen = set()
    for name in ("one.yaml", "two.yaml"):
        init(homeserver=URL, domain="example.com", config=tmp_path / name)
        written = load(tmp_path / name)
        seen |= {
            written.registration.as_token,
            written.registration.hs_token,
            written.encryption.identity_secret,
            written.encryption.pickle_key,
            written.control.secret,
        }
    assert len(seen) == 10
    assert min(len(secret.reveal()) for secret in seen) >= 43


@pytest.mark.parametrize("url", ["postgresql://me:p%40ss: %23'\"word@localhost/communities", "sqlite:////var/lib/c.db"])
def test_database_is_written_as_given(config: Path, url: str) -> None:
    init(homeserver=URL, domain="example.com", database=url, config=config)
    assert load(config).database.url.reveal() == url


def test_init_never_overwrites(config: Path) -> None:
    config.write_text("mine")
    with pytest.raises(Refused, match="exists already") as caught:
        init(homeserver=URL, domain="example.com", config=config)
    assert "--force" in caught.value.remedy
    assert config.read_text() == "mine"


def test_force_keeps_every_copy(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_bytes(b"mine \xff")
    config.chmod(0o644)
    for _ in range(2):
        init(homeserver=URL, domain="example.com", config=config, force=True)
    first, second = config.with_name("config.yaml.bak"), config.with_name("config.yaml.bak2")
    assert first.read_bytes() == b"mine \xff"
    assert second.read_text() != config.read_text()
    assert [mode(path) for path in (config, first, second)] == [0o600] * 3
    assert "config.yaml.bak2" in capsys.readouterr().out


def test_file_is_private_from_its_first_moment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    replace = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append(mode(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    before = os.umask(0)
    try:
        init(homeserver=URL, domain="example.com", config=config)
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_failed_write_leaves_the_old_file_and_no_other(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        writing.write_private(config, "new")
    assert config.read_text() == "old"
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"homeserver": "matrix.example.com", "domain": "example.com"}, "--homeserver"),
        ({"homeserver": "https://me:secret@example.com", "domain": "example.com"}, "--homeserver"),
        ({"homeserver": URL, "domain": "https://example.com"}, "--domain"),
        ({"homeserver": URL, "domain": ""}, "--domain"),
        ({"homeserver": URL, "domain": "example.com", "database": "mysql://me:secret@host/d"}, "--database"),
        ({"homeserver": URL, "domain": "example.com", "database": "postgresql://me:secret#1@host/d"}, "--database"),
        ({"domain": "example.com"}, "--homeserver"),
        ({"homeserver": URL}, "--domain"),
    ],
)
def test_wrong_or_missing_option_is_refused_with_the_remedy(
    config: Path, options: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(Refused) as caught:
        init(config=config, **options)  # type: ignore[arg-type]
    assert caught.value.where == where
    assert "matrix-communities init" in caught.value.remedy
    assert "secret" not in str(caught.value)
    assert not config.exists()


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        init(homeserver=URL, domain="example.com", config=tmp_path / "nowhere" / "config.yaml")


def test_init_asks_at_a_terminal_and_again_after_a_wrong_answer(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(f"nonsense\n{URL}\n\n"))
    monkeypatch.setattr(sys, "stdout", said := Terminal())
    init(config=config)
    assert "that is not the address of a server" in said.getvalue()
    assert load(config).homeserver.domain == "example.com", "guessed from the address"


def test_domain_is_not_guessed_from_a_number(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("example.org\n"))
    monkeypatch.setattr(sys, "stdout", Terminal())
    init(homeserver="http://127.0.0.1:8008", config=config)
    assert load(config).homeserver.domain == "example.org"


@pytest.fixture
def written(config: Path) -> Path:
    init(homeserver=URL, domain="example.com", config=config)
    return config


def test_registration_is_written_for_the_homeserver(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = written.with_name("registration.yaml")
    capsys.readouterr()
    registration(config=written, output=str(output))
    assert YAML(typ="safe", pure=True).load(output.read_text()) == registration_of(load(written))
    assert mode(output) == 0o600
    said = capsys.readouterr()
    assert said.out == ""
    assert f'app_service_config_files:\n  - "{output}"' in said.err
    assert load(written).registration.as_token.reveal() not in said.err


def test_registration_to_standard_output_is_nothing_but_yaml(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    registration(config=written, output="-")
    said = capsys.readouterr()
    assert YAML(typ="safe", pure=True).load(said.out) == registration_of(load(written))
    assert "app_service_config_files" in said.err


def test_same_registration_again_changes_nothing(written: Path) -> None:
    output = written.with_name("registration.yaml")
    registration(config=written, output=str(output))
    before = output.stat()
    registration(config=written, output=str(output))
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_different_registration_is_replaced_by_force_alone(written: Path) -> None:
    output = written.with_name("registration.yaml")
    output.write_text("another's")
    with pytest.raises(Refused, match="says something else"):
        registration(config=written, output=str(output))
    assert output.read_text() == "another's"
    registration(config=written, output=str(output), force=True)
    assert "as_token" in output.read_text()


def test_registration_without_a_config_names_init(config: Path) -> None:
    with pytest.raises(ConfigError, match="matrix-communities init"):
        registration(config=config)


def test_registration_into_a_missing_folder_is_refused(written: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        registration(config=written, output=str(written.with_name("nowhere") / "registration.yaml"))


def test_options_are_those_of_the_command_line(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(init)
    app.command()(registration)
    config, output = tmp_path / "c.yaml", tmp_path / "r.yaml"
    options = ["--homeserver", URL, "--domain", "example.com", "--config", str(config)]
    assert CliRunner().invoke(app, ["init", *options]).exit_code == 0
    again = CliRunner().invoke(app, ["init", *options])
    assert isinstance(again.exception, CommunitiesError)
    assert CliRunner().invoke(app, ["init", *options, "--force"]).exit_code == 0
    assert CliRunner().invoke(app, ["registration", "--config", str(config), "--output", str(output)]).exit_code == 0
    assert output.exists()
