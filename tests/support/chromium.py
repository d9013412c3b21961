"""The system's Chromium under playwright: a browser for tests that click. Missing: a skip on a laptop, a failure in CI.

Playwright's own loop runs in the thread that uses it, for as long as it is open; so it is opened for one module of tests.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

PATIENCE_MS = 30_000  # with two cores and as many stacks, a worker's first portfolio takes a while
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """TRIMTAB_TEST_CHROMIUM, else what is on PATH."""
    found = os.getenv("TRIMTAB_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        message = "no Chromium: install Debian's chromium, or set TRIMTAB_TEST_CHROMIUM"
        if os.getenv("CI", "").lower() in {"1", "true"}:
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    path = chromium_path()
    expect.set_options(timeout=PATIENCE_MS)
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*as_root, "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@contextmanager
def opened(context: BrowserContext) -> Iterator[Page]:
    """A page that must not complain: no script error, nothing the policy forbids, nothing that was not found."""
    complaints: list[str] = []
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console", lambda line: complaints.append(line.text) if line.type in {"error", "warning"} else None
    )
    try:
        yield page
    finally:
        context.close()
    assert complaints == []
