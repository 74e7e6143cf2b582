"""Secrets: where they may come from, and that nothing ever shows them."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path

import pytest

from bridge.config import Config, Secret, load, parse
from bridge.core.errors import ConfigError

VALUES = {
    "AS_TOKEN": "correct-horse-battery",
    "HS_TOKEN": "staple-correct-horses",
    "IDENTITY": "battery-staple-correct",
    "PICKLE": "horse-battery-staples",
    "DOOR": "tiger-battery-staples",
    "PASSWORD": "hunter2hunter2hunter2",
}
TEXT = """\
homeserver: {{url: "http://127.0.0.1:8008", domain: example.org}}
registration:
  as_token: {AS_TOKEN}
  hs_token: {HS_TOKEN}
encryption:
  identity_secret: {IDENTITY}
  pickle_key: {PICKLE}
control:
  secret: {DOOR}
database:
  url: postgresql://me:{PASSWORD}@localhost/communities
""".format(**VALUES)
SECRETS = ["as_token", "hs_token", "identity_secret", "pickle_key", "secret", "url"]


def read(text: str, environ: dict[str, str] | None = None, folder: Path = Path()) -> Config:
    return parse(text, folder / "config.yaml", environ=environ or {})


def faults(text: str, environ: dict[str, str] | None = None, folder: Path = Path()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, environ, folder)
    shown = str(caught.value) + repr(caught.value) + "".join(traceback.format_exception(caught.value))
    assert not [value for value in VALUES.values() if value in shown]
    return caught.value.faults


def test_config_shows_no_secret() -> None:
    config = read(TEXT)
    assert config.database.url.reveal() == f"postgresql://me:{VALUES['PASSWORD']}@localhost/communities"
    shown = f"{config} {config!r} {dataclasses.asdict(config)}"
    assert not [value for value in VALUES.values() if value in shown]


def test_secret_shows_nothing_and_compares_by_value() -> None:
    secret = Secret("correct-horse-battery")
    assert (str(secret), repr(secret), f"{secret}") == ("…", "Secret(…)", "…")
    assert secret == Secret("correct-horse-battery")
    assert secret != Secret("correct-horse")
    assert secret != "correct-horse-battery"
    assert len({secret, Secret("correct-horse-battery")}) == 1


@pytest.mark.parametrize("key", SECRETS)
def test_secret_from_a_file_beside_the_configuration(tmp_path: Path, key: str) -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith(f"  {key}:"))
    value = line.split(": ", 1)[1]
    (tmp_path / "kept").write_text(f"{value}\n")
    (tmp_path / "kept").chmod(0o600)
    config = read(TEXT.replace(line, f"  {key}_file: kept"), folder=tmp_path)
    assert config == read(TEXT)
    assert len(config.warnings) == 1, "nothing but the missing communities"


@pytest.mark.parametrize("key", SECRETS)
def test_secret_from_the_environment(key: str) -> None:
    line = next(line for line in TEXT.splitlines() if line.startswith(f"  {key}:"))
    value = line.split(": ", 1)[1]
    assert read(TEXT.replace(line, f"  {key}_env: KEPT"), {"KEPT": value}) == read(TEXT)


def test_file_that_everybody_can_read_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(VALUES["DOOR"])
    (tmp_path / "kept").chmod(0o644)
    text = TEXT.replace(f"secret: {VALUES['DOOR']}", "secret_file: kept") + "communities: {s: {owners: ['@a:b.c']}}"
    (warning,) = read(text, folder=tmp_path).warnings
    assert "config.yaml:9: control.secret_file: everybody on this machine can read the file" in warning


def test_warning_of_a_readable_configuration_needs_a_secret_in_it(tmp_path: Path) -> None:
    lines = [line for line in TEXT.splitlines() if not line.startswith("  ")]
    sections = {
        "registration:": ["as_token", "hs_token"],
        "encryption:": ["identity_secret", "pickle_key"],
        "control:": ["secret"],
    }
    text = "".join(
        f"{line}\n" + "".join(f"  {key}_env: {key.upper()}\n" for key in sections.get(line, ())) for line in lines
    )
    path = tmp_path / "config.yaml"
    path.write_text(text + "communities: {s: {owners: ['@a:b.c']}}\n")
    path.chmod(0o644)
    environ = {key.upper(): f"the-secret-called-{key}" for keys in sections.values() for key in keys}
    assert load(path, environ=environ).warnings == ()


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ("secret: short", "control.secret: is shorter than 16 characters"),
        ("secret: replace-me-with-something", "control.secret: is still the example's placeholder"),
        ("secret: 'tiger battery staples'", "control.secret: must be one line of printable ASCII"),
        ("secret: 1234567890123456789", "control.secret: is a whole number, not text (put it in quotes)"),
        ("secret: [tiger-battery-staples]", "control.secret: is a list, not text"),
        ("secret:", "control.secret: is empty"),
        ("other: 1", "control.secret: is missing (secret_file or secret_env would do as well)"),
        ("secret_env: NOWHERE", "control.secret_env: the environment has no variable NOWHERE, or it is empty"),
        ("secret_env: tiger-battery-staples=", "control.secret_env: the environment has no variable of that name"),
        ("secret_file: nowhere", "control.secret_file: the file cannot be read (No such file or directory)"),
        ("secret_file: .", "control.secret_file: the file cannot be read (Is a directory)"),
        ('secret_file: "a\\0"', "control.secret_file: the file cannot be read (not a path)"),
        ("secret_file: [a]", "control.secret_file: is a list, not text"),
    ],
)
def test_fault_of_a_secret_shows_no_secret(after: str, fault: str) -> None:
    found = faults(TEXT.replace(f"secret: {VALUES['DOOR']}", after))
    assert any(one.startswith(f"config.yaml:{one.split(':')[1]}: {fault}") for one in found), found


@pytest.mark.parametrize("second", ["secret_env: DOOR", "secret_file: door"])
def test_secret_given_twice_is_a_fault(second: str) -> None:
    (fault,) = faults(TEXT.replace("database:", f"  {second}\ndatabase:"))
    name = second.split(":", maxsplit=1)[0]
    assert fault == f"config.yaml:10: control.{name}: secret and {name} are given at once; keep one of them"


def test_secret_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"\xff\xfe\xfd")
    (fault,) = faults(TEXT.replace(f"secret: {VALUES['DOOR']}", "secret_file: kept"), folder=tmp_path)
    assert fault.endswith("control.secret_file: the file is not text")


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("as_token: ", "as_token:"),
        TEXT.replace("as_token: ", "as_token: *"),
        TEXT.replace("as_token: ", "as_token: !"),
        TEXT.replace("as_token: ", "as_token: &"),
        TEXT.replace("as_token: ", "as_token: 'x' "),
        TEXT.replace("as_token: ", "as_token: {") + "}",
        TEXT.replace("as_token: ", "as_tokne: "),
        TEXT.replace("registration:\n  as_token: ", "registration: ").replace("  hs_token", "#"),
        TEXT.replace("registration:\n  as_token: ", "registration: {as_token:").replace("\n  hs_token: ", "}\n#"),
        TEXT.replace("postgresql://", "mysql://"),
        TEXT.replace("@localhost", "@[localhost"),
        TEXT.replace(VALUES["HS_TOKEN"], VALUES["AS_TOKEN"]),
    ],
)
def test_slip_of_the_pen_shows_no_secret(text: str) -> None:
    assert faults(text)
