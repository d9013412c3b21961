"""The audit of what is shipped finds what it is for, and never takes "could not look" for "found nothing"."""

import subprocess
import sys

import pytest

from tests.audit import __main__ as audit
from tests.audit.licences import Stated, faults, pins, stated

LOCK = """\
good==1.0 \\
    --hash=sha256:00
    # via something
elsewhere==2.0 ; sys_platform == 'win32' \\
    --hash=sha256:00
"""


def states(
    expression: str | None = None, *, classifiers: tuple[str, ...] = (), text: str | None = None
) -> Stated:
    return Stated(expression=expression, classifiers=classifiers, text=text)


def test_the_lock_is_read_with_its_markers() -> None:
    assert [(pin.name, pin.version, pin.marker) for pin in pins(LOCK)] == [
        ("good", "1.0", None),
        ("elsewhere", "2.0", "sys_platform == 'win32'"),
    ]


def test_permissive_licences_pass_however_they_are_stated() -> None:
    for licence in (
        states("MIT"),
        states("(BSD-3-Clause OR Apache-2.0) AND Zlib"),
        states(classifiers=("MIT License", "Apache Software License")),
        states(text="BSD-3-Clause\nCopyright ..."),
    ):
        assert faults(LOCK, lambda name, it=licence: it if name == "good" else None) == {}  # type: ignore[misc]


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        (states("MIT AND GPL-3.0-only"), "GPL-3.0-only is not on the list"),
        (
            states(classifiers=("GNU Affero General Public License v3",)),
            "GNU Affero General Public License v3 is not on the list",
        ),
        (states(text="  \n"), "states no licence"),
        (None, "not installed, so nobody can tell"),
    ],
)
def test_what_is_not_on_the_list_is_named(licence: Stated | None, told: str) -> None:
    assert faults(LOCK, lambda name: licence if name == "good" else None) == {"good": told}


def test_what_other_machines_need_is_not_asked_for_here() -> None:
    assert faults(LOCK, lambda name: states("MIT") if name == "good" else None) == {}


def test_everything_that_is_shipped_has_a_licence_of_the_list() -> None:
    assert faults(audit.LOCK.read_text()) == {}
    assert stated("no-such-library-at-all") is None


def test_a_pin_without_a_hash_is_named() -> None:
    assert audit._pinned(LOCK) == []
    assert audit._pinned("bare==1.0\n    # via something\n") == ["bare: no hash in the lock"]
    assert audit._pinned("") == ["the lock names nothing"]


def says(monkeypatch: pytest.MonkeyPatch, words: str, status: int) -> list[str]:
    """What the audit makes of a tool that ends so."""
    monkeypatch.setattr(audit, "_run", lambda *_: subprocess.CompletedProcess([], status, words, ""))
    return audit._advisories(("tool",))


def test_a_known_vulnerability_is_told_as_the_tool_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "Found 1 known vulnerability in 1 package\nName Version ID\ngood 1.0 PYSEC-1"

    assert says(monkeypatch, words, 1) == words.splitlines()


def test_advisories_out_of_reach_are_no_clean_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = says(monkeypatch, "ERROR:pip_audit: connection refused", 1)

    assert "could not be reached" in told
    assert "connection refused" in told


def test_nothing_known_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert says(monkeypatch, "No known vulnerabilities found", 0) == []


def test_the_status_tells_whether_anything_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "--offline"])
    monkeypatch.setattr(
        audit, "_run", lambda *_: subprocess.CompletedProcess([], 1, "a 1 has requirement b>2", "")
    )

    assert audit.main() == 1
    assert "audit: pip check: a 1 has requirement b>2" in capsys.readouterr().err
