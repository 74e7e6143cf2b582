"""Every command and option is in the documentation, and what the documentation shows exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from bridge.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {page.name: page.read_text() for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
GROUP = typer.main.get_group(app)
COMMANDS = dict(GROUP.commands)


SUBCOMMANDS = {
    f"{name} {inner}": command
    for name, group in COMMANDS.items()
    if isinstance(group, typer.core.TyperGroup)
    for inner, command in group.commands.items()
}


def options_of(name: str) -> set[str]:
    """The long options of a command, with those of the commands below it."""
    return {
        option
        for called, command in {**COMMANDS, **SUBCOMMANDS}.items()
        if called == name or called.startswith(f"{name} ")
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }


def test_the_commands_are_those_that_were_agreed() -> None:
    agreed = {"init", "registration", "check", "plan", "apply", "run", "status", "announce", "parked", "demo"}
    agreed |= {"verify", "rotate-device"}
    assert agreed <= COMMANDS.keys()


@pytest.mark.parametrize("name", sorted(SUBCOMMANDS))
def test_every_command_below_a_command_is_documented_and_says_what_it_does(name: str) -> None:
    assert any(re.search(rf"\bmatrix-communities {name}\b", text) for text in PAGES.values())
    assert SUBCOMMANDS[name].help
    for parameter in SUBCOMMANDS[name].params:
        assert getattr(parameter, "help", None) or parameter.name == "help", f"{name} {parameter.name}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"\bmatrix-communities {name}\b", README)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_says_what_it_does(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None) or parameter.name == "help", f"{name} {parameter.name}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented(name: str) -> None:
    text = "\n".join(PAGES.values())
    assert [option for option in sorted(options_of(name)) if not re.search(rf"{option}\b", text)] == []


def shown() -> list[tuple[str, str]]:
    """Every command line that a page shows."""
    found = []
    for page, text in PAGES.items():
        for block in re.findall(r"```[a-z]*\n(.*?)```", text, re.S):
            for line in block.replace("\\\n", " ").splitlines():
                said = re.search(r"(?:^|\s|/)(?:matrix-communities|python -m bridge) ([a-z]+\b[^|>&;#]*)", line)
                begins = re.match(r"\s*(?:\$ )?(?:matrix-communities|python -m bridge) ", line)
                if said and (begins or said.group(1).split()[0] in COMMANDS):
                    found.append((page, said.group(1).strip()))
    return found


@pytest.mark.parametrize(("page", "line"), shown())
def test_command_lines_that_are_shown_exist(page: str, line: str) -> None:
    name, *arguments = shlex.split(line.replace("…", "x").replace("`", ""), comments=True)
    assert name in COMMANDS
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    assert given <= options_of(name)


def test_the_make_targets_that_are_shown_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    used = {target for text in PAGES.values() for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.M)}
    assert used <= targets
    assert {"demo", "test", "check"} <= targets
