"""The command line: the same use cases as over HTTP, for people and for scripts."""

from adapters.inbound.cli.app import create_cli
from adapters.inbound.cli.wiring import (
    BenchOptions,
    BookOptions,
    DemoOptions,
    Probe,
    SandboxOptions,
    UpOptions,
    Wiring,
)

__all__ = [
    "BenchOptions",
    "BookOptions",
    "DemoOptions",
    "Probe",
    "SandboxOptions",
    "UpOptions",
    "Wiring",
    "create_cli",
]
