"""What the pages tell people to type exists, and the pages that explain what goes wrong leave nothing out."""

import re
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.cli import create_cli
from adapters.inbound.cli.doctor import local_probes
from tests.support.front_desk import FrontDesk
from tests.support.pages import PAGES, ROOT, command_lines, shell_blocks
from worker.wiring import SettingsWiring

TROUBLE = (ROOT / "docs/troubleshooting.md").read_text()
SOURCES = [path for layer in ("adapters", "tasks", "worker") for path in (ROOT / layer).rglob("*.py")]
# Events of a calm day: they tell what is done, nothing that is wrong.
CALM = {"api.action", "api_keys.read", "request_accepted", "worker.started", "worker.stopping"}


@cache
def group() -> Any:
    return typer.main.get_command(create_cli(SettingsWiring()))


def fault_of(words: Sequence[str]) -> str | None:
    """What is wrong with a trimtab command line: an unknown command or option, a value too few, a word too many."""
    command, rest = group(), list(words[1:])
    while getattr(command, "commands", None):
        if not rest or rest[0] not in command.commands:
            return None if rest[:1] in (["--help"], ["--version"]) else f"no command {' '.join(rest[:1])!r}"
        command = command.commands[rest.pop(0)]
    options = {
        name: option
        for option in command.params
        if option.param_type_name == "option"
        for name in (*option.opts, *option.secondary_opts)
    }
    given = 0
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            given += 1
            continue
        name, _, value = word.partition("=")
        if name not in options and name != "--help":
            return f"no option {name}"
        if name in options and not options[name].is_flag and not value:
            if not rest:
                return f"{name} wants a value"
            rest.pop(0)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    most = float("inf") if any(each.nargs == -1 for each in arguments) else len(arguments)
    return None if sum(each.required for each in arguments) <= given <= most else f"{given} arguments"


# ------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    ours = [words for words in command_lines(page) if Path(words[0]).name == "trimtab"]

    assert [f"{' '.join(words)}: {fault}" for words in ours if (fault := fault_of(words))] == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("trimtab send", "no command 'send'"),
        ("trimtab submit --modell growth", "no option --modell"),
        ("trimtab submit --model", "--model wants a value"),
        ("trimtab watch", "0 arguments"),
        ("trimtab models show a b", "2 arguments"),
        ("trimtab keys add ops --role=admin", None),
        ("trimtab solve -", None),
    ],
)
def test_a_command_that_is_none_would_be_found(line: str, fault: str | None) -> None:
    assert fault_of(line.split()) == fault


def test_commands_are_found_however_a_page_writes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "    CRASH_AT=after.publish:3 trimtab worker\n\n"
        "```sh\n"
        "export A=b\n"
        "cat > file <<'END'\ntrimtab not-a-command\nEND\n"
        "JOB=$(trimtab jobs --json | python3 -c 'import sys')   # trimtab comment\n"
        'trimtab submit --model m \\\n  --key "$(date)" || echo "trimtab failed"\n'
        "```\n"
    )

    found = [words for words in command_lines(page) if words[0] == "trimtab"]
    assert found == [
        ["trimtab", "jobs", "--json"],
        ["trimtab", "submit", "--model", "m", "--key", "X"],
        ["trimtab", "worker"],
    ]


def test_every_call_on_a_page_is_one_that_the_api_has(tmp_path: Path) -> None:
    with closing(FrontDesk.open(tmp_path)) as desk:
        paths = create_app(desk.services, ApiOptions(version="0")).openapi()["paths"]
    known = [
        re.compile(re.sub(r"\{\w+\}", "[^/?]+", path.removeprefix("/api/v1")) + r"(\?.*)?$") for path in paths
    ]
    called = [
        word.partition("API")[2].lstrip("}").removeprefix("/api/v1")
        for page in PAGES
        for words in command_lines(page)
        if words[0] == "curl"
        for word in words
        if re.match(r"\$\{?API\}?/", word)
    ]

    assert [path for path in called if not any(each.match(path) for each in known)] == []


def test_every_file_that_a_command_names_is_there() -> None:
    named = {
        word
        for page in PAGES
        for block in shell_blocks(page)
        for word in re.findall(r"\bdeploy/[\w./-]+", block)
    }

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# ------------------------------------------------------------------------------------------------ trouble


def test_troubleshooting_knows_every_part_that_the_doctor_looks_at() -> None:
    wiring = SettingsWiring()
    rows = re.findall(r"^\| (`.+?) \|", TROUBLE.split("## Jobs that do not move")[0], re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}

    assert {probe.name for probe in (*local_probes(wiring), *wiring.probes())} <= told


def test_troubleshooting_knows_every_code_of_an_error() -> None:
    errors = (ROOT / "docs/messages.md").read_text().split("## Errors")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [\d, ]+ \| (.+) \|$", errors, re.MULTILINE)
    codes = {code for row in rows for code in re.findall(r"`([a-z_]+)`", row)}
    section = TROUBLE.split("## The API refuses")[1].split("\n## ")[0]

    assert len(codes) > len(rows)
    assert sorted(codes - set(re.findall(r"`([a-z_]+)`", section))) == []


def test_troubleshooting_knows_every_reason_of_a_failed_portfolio() -> None:
    (row,) = re.findall(
        r"^\| `failed` \(not published\) \| (.+) \|$", (ROOT / "docs/messages.md").read_text(), re.MULTILINE
    )
    section = TROUBLE.split("## Portfolios that fail")[1].split("\n## ")[0]

    assert set(re.findall(r"`([a-z_]+): …`", row)) == set(
        re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE)
    )


def test_every_event_that_tells_of_something_wrong_is_on_a_page() -> None:
    logged = {
        event
        for path in SOURCES
        for event in re.findall(r'\blog\.(?:warning|error|exception)\(\s*"([a-z_.]+)"', path.read_text())
    }
    pages = TROUBLE + (ROOT / "docs/operations.md").read_text()

    assert len(logged) > 20
    assert [event for event in sorted(logged - CALM) if f"`{event}`" not in pages] == []
