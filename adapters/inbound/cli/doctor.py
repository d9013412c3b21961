"""``trimtab doctor``: look at every part, and say what to do about each that is not as it must be."""

import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import typer

from adapters.inbound.cli.output import AsJson, Exit, guarded, print_line, print_table
from adapters.inbound.cli.wiring import Probe, Wiring
from adapters.inbound.tiny_problem import solve_tiny

_LIBRARIES = (
    "celery",
    "kombu",
    "redis",
    "pymongo",
    "httpx",
    "fastapi",
    "pydantic",
    "cvxpy",
    "highspy",
    "numpy",
)
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``red`` where something needed is not as it must be, ``warning`` where it is not needed."""

    name: str
    status: Literal["ok", "warning", "red"]
    detail: str
    remedy: str | None
    needed: bool
    seconds: float


def add_doctor_command(app: typer.Typer, wiring: Wiring) -> None:
    """``doctor``."""

    @app.command()
    @guarded
    def doctor(*, as_json: AsJson = False) -> None:
        """Check every part. Status 1 when something that is needed is red."""
        findings = [examine(probe) for probe in (*local_probes(wiring), *wiring.probes())]
        healthy = all(finding.status != "red" for finding in findings)
        if as_json:
            print_line(json.dumps({"ok": healthy, "checks": [asdict(finding) for finding in findings]}))
        else:
            _print_findings(findings, healthy=healthy)
        if not healthy:
            raise typer.Exit(Exit.FAILED)


def examine(probe: Probe) -> Finding:
    """Look once. Whatever the look raises is what is wrong."""
    began = time.perf_counter()
    status: Literal["ok", "warning", "red"] = "ok"
    try:
        detail = probe.look()
    except Exception as error:  # noqa: BLE001 - a doctor reports what it finds and goes on to the next part
        detail = str(error) or type(error).__name__
        status = "red" if probe.needed else "warning"
    return Finding(
        name=probe.name,
        status=status,
        detail=detail,
        remedy=None if status == "ok" else probe.remedy,
        needed=probe.needed,
        seconds=round(time.perf_counter() - began, 3),
    )


def _print_findings(findings: Sequence[Finding], *, healthy: bool) -> None:
    print_table(
        ("part", "status", "what was found", "what to do"),
        ((finding.name, finding.status, finding.detail, finding.remedy) for finding in findings),
    )
    red = [finding.name for finding in findings if finding.status == "red"]
    print_line("everything needed is in order" if healthy else f"red: {', '.join(red)}")


# ------------------------------------------------------------------------------------------------ local


def local_probes(wiring: Wiring) -> tuple[Probe, ...]:
    """What can be checked without any service."""
    return (
        Probe(name="python", look=_python, remedy="install Python 3.11 or newer"),
        Probe(
            name="libraries", look=library_versions, remedy="install again: make demo, or pip install trimtab"
        ),
        Probe(
            name="solver",
            look=lambda: solve_tiny(wiring.solver()),
            remedy="install cvxpy again; its solver HiGHS comes as the package highspy",
        ),
    )


def _python() -> str:
    if sys.version_info < _OLDEST_PYTHON:  # pragma: no cover - this one cannot even read the sources
        raise RuntimeError(f"Python {platform.python_version()} is too old")
    return f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"


def library_versions(names: Sequence[str] = _LIBRARIES) -> str:
    """What is installed.

    Raises:
        RuntimeError: something is not.
    """
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)}")
    return ", ".join(found)
