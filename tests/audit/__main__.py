"""Audit of what is shipped: ``make audit``, and with ``--offline`` what of it needs no network (``make lint``).

Offline: what is installed fits together (``pip check``), every library of the runtime lock is pinned by hash, and its
licence is on the list. Online, besides: no library of the lock has a known vulnerability, as `pip-audit` learns from
the advisories of the Python Packaging Authority. Where those cannot be reached the audit fails and says so: nothing
was looked at, which is not the same as nothing was found.
"""

import subprocess
import sys
from pathlib import Path

from tests.audit.licences import faults

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements/runtime.txt"
ADVISORIES = (
    "pip_audit",
    "--strict",
    "--require-hashes",
    "--disable-pip",  # the lock names everything: nothing is resolved or downloaded
    "--progress-spinner=off",
    "--requirement",
)
KNOWN = ("known vulnerability", "known vulnerabilities")


def main() -> int:
    """Status 1 when anything is wrong, or could not be looked at."""
    told = [*_fits_together(), *_pinned(LOCK.read_text()), *_licences(LOCK.read_text())]
    if "--offline" not in sys.argv[1:]:
        told += _advisories(ADVISORIES)
    for line in told:
        sys.stderr.write(f"audit: {line}\n")
    return 1 if told else 0


def _fits_together() -> list[str]:
    done = _run("pip", "--disable-pip-version-check", "check")
    return [] if done.returncode == 0 else [f"pip check: {line}" for line in done.stdout.splitlines()]


def _pinned(lock: str) -> list[str]:
    """A pin without a hash would let whoever serves the package choose what it is."""
    lines = lock.splitlines()
    after = {line.partition("==")[0]: lines[at + 1 : at + 2] for at, line in enumerate(lines) if "==" in line}
    bare = [name for name, rest in after.items() if not any("--hash=sha256:" in line for line in rest)]
    return [f"{name}: no hash in the lock" for name in bare] if after else ["the lock names nothing"]


def _licences(lock: str) -> list[str]:
    return [f"licence of {name}: {fault}" for name, fault in faults(lock).items()]


def _advisories(command: tuple[str, ...]) -> list[str]:
    done = _run(*command, str(LOCK))
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if any(words in line for words in KNOWN for line in lines):
        return lines
    last = lines[-1] if lines else f"status {done.returncode}"
    return [f"the advisories could not be reached, so nothing is known about vulnerabilities: {last}"]


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
