"""The house holds together: every file that names a process, a command or a package names the same ones."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer.main

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.cli import create_cli
from adapters.inbound.cli.solve import solve_document
from adapters.solver.cvxpy_solver import CvxpySolver
from domain.item import ITEM_MOVES
from domain.job import JOB_MOVES
from tests.support.front_desk import FrontDesk
from worker import __version__
from worker.wiring import SettingsWiring

ROOT = Path(__file__).parents[2]
PROCESSES = ["api", "worker", "steward", "requests", "beat", "flower", "sandbox"]
LAYERS = ["worker", "adapters", "tasks", "domain"]
PACKAGES = sorted([*LAYERS, "config"])
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
# Folders of somebody's own machine: a home, or where a workspace is mounted.
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:home|root|Users|work|mnt|workspace)/[\w.-]")


def text(name: str) -> str:
    return (ROOT / name).read_text()


def tracked_files() -> Iterator[Path]:
    """What git keeps, as far as it is text. Without git (an unpacked archive) there is nothing to look at."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in path.read_bytes()[:1024]:
            yield path


def compose_commands() -> Mapping[str, list[str]]:
    """Service to command, of those that run our image. The file is simple enough to read without a YAML library."""
    services = text("docker-compose.yml").split("\nservices:\n")[1].split("\nvolumes:\n")[0]
    blocks = re.split(r"^  (\w+):\n", services, flags=re.MULTILINE)[1:]
    return {
        name: json.loads(command[1])
        for name, block in zip(blocks[::2], blocks[1::2], strict=True)
        if "<<: *trimtab" in block and (command := re.search(r"^    command: (\[.+\])$", block, re.MULTILINE))
    }


def cli_commands() -> set[str]:
    group: Any = typer.main.get_command(create_cli(SettingsWiring()))
    return set(group.commands)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))


def pyproject() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


# ------------------------------------------------------------------------------------------------ processes


def test_procfile_and_compose_name_every_process_with_the_same_command() -> None:
    procfile = dict(line.split(": ", 1) for line in text("Procfile").splitlines())

    assert procfile == {name: f"trimtab {name}" for name in PROCESSES}
    assert compose_commands() == {name: command.split() for name, command in procfile.items()}


def test_every_process_has_its_command() -> None:
    assert set(PROCESSES) <= cli_commands()


def test_the_image_holds_every_package() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", text("Dockerfile"), re.MULTILINE)

    assert sorted(copied) == PACKAGES
    assert sorted(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES


def test_version_and_image_are_of_one_release() -> None:
    assert pyproject()["tool"]["hatch"]["version"]["path"] == "worker/__init__.py"
    assert f"image: trimtab:{__version__}" in text("docker-compose.yml")
    assert f"## [{__version__}]" in text("CHANGELOG.md")


# ------------------------------------------------------------------------------------------------ building


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_pins_by_hash_and_names_no_address(lock: Path) -> None:
    body = lock.read_text()

    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|^-[if] ", body, re.MULTILINE)
    pins = re.findall(r"^[A-Za-z0-9].*$", body, re.MULTILINE)
    assert pins
    assert [pin for pin in pins if "==" not in pin or not pin.endswith("\\")] == []


def test_imports_are_checked_to_go_one_way() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]

    assert [each["layers"] for each in contracts if each["type"] == "layers"] == [LAYERS]
    forbidden = {
        source: set(each["forbidden_modules"])
        for each in contracts
        if each["type"] == "forbidden"
        for source in each["source_modules"]
        if {"config"} & {source, *each["forbidden_modules"]}
    }
    assert forbidden["config"] == set(LAYERS)
    assert forbidden.keys() == {"config", "adapters", "tasks", "domain"}
    assert "lint-imports" in text("Makefile")


def test_the_build_machine_runs_lint_types_docs_and_tests() -> None:
    asked = re.findall(r"^make (\w+)$", text(".ci/run"), re.MULTILINE)

    assert asked == ["lint", "types", "docs", "test"]
    assert set(asked) <= make_targets()


def test_commit_hooks_are_local_and_the_tools_of_make_lint() -> None:
    hooks = text(".pre-commit-config.yaml")
    checks = text("Makefile").replace("$(BIN)", ".venv/bin")

    assert re.findall(r"- repo: (\S+)", hooks) == ["local"]
    tools = {entry.split()[0] for entry in re.findall(r"^ +entry: (.+)$", hooks, re.MULTILINE)}
    assert tools
    assert [tool for tool in tools if f"\t{tool}" not in checks] == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked_files()
        for match in MACHINE_PATH.finditer(path.read_text(errors="replace"))
    ]

    assert found == []


# ------------------------------------------------------------------------------------------------ pages


def test_the_pages_ask_make_only_for_what_it_has() -> None:
    lines = [
        line
        for page in PAGES
        for line in re.findall(r"^(?:    |`)make ([a-z ]+)", page.read_text(), re.MULTILINE)
    ]
    asked = {word for line in lines for word in re.split(r"  +", line)[0].split()}

    assert {"demo", "test"} <= asked
    assert asked <= make_targets()


def test_the_pages_name_only_commands_that_exist() -> None:
    named = {
        command
        for page in PAGES
        for command in re.findall(r"(?:`|^|/bin/)trimtab ([a-z]+)", page.read_text(), re.MULTILINE)
    }

    assert set(PROCESSES) <= named
    assert named <= cli_commands()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_points_only_to_files_that_are_there(page: Path) -> None:
    body = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", body)

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_pages_name_only_source_files_that_are_there() -> None:
    named = {
        name for page in PAGES for name in re.findall(r"`([a-z][\w/]*\.(?:py|yml|toml))`", page.read_text())
    }
    sources = [path for layer in (*PACKAGES, "tests") for path in (ROOT / layer).rglob("*.py")]
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (*sources, *ROOT.glob("*.*"), *(ROOT / "deploy").rglob("*.yml"))
    }

    assert named
    assert [
        name for name in sorted(named) if not any(f"/{path}".endswith(f"/{name}") for path in there)
    ] == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    records = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    listed = re.findall(r"\]\((0[^)]+)\)", text("docs/decisions/README.md"))

    assert records
    assert listed == records
    assert [name[:4] for name in records] == [f"{number:04}" for number in range(1, len(records) + 1)]


def test_every_transition_of_the_code_is_on_the_page_of_the_protocol() -> None:
    page = text("docs/job-protocol.md")
    numbers = set()
    for name in ("domain/job.py", "domain/item.py", "domain/ports.py"):
        numbers |= set(re.findall(r"\b[JI]\d{1,2}\b", text(name)))

    assert len(numbers) >= len(JOB_MOVES) + len(ITEM_MOVES)
    assert [number for number in sorted(numbers) if f"| {number} |" not in page] == []


def test_every_endpoint_is_on_the_page_of_messages(tmp_path: Path) -> None:
    with closing(FrontDesk.open(tmp_path)) as desk:
        app = create_app(desk.services, ApiOptions(version="0"))
    served = {
        f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods
    }

    assert set(re.findall(r"^\| `([A-Z]+ /\S+)` \|", text("docs/messages.md"), re.MULTILINE)) == served


def test_the_readmes_solve_example_is_what_solve_answers() -> None:
    request, answer = re.findall(r"```json\n(.+?)```", text("README.md"), re.DOTALL)
    assert json.loads(solve_document(request.encode(), CvxpySolver())) == json.loads(answer)
