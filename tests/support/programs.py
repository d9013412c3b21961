"""Programs that a test drives and a machine may lack."""

import os
import shutil

import pytest


def program(*names: str) -> str:
    """The first of these on PATH, or the end of the test: a skip on a laptop, a failure where CI is set."""
    for name in names:
        if found := shutil.which(name):
            return found
    message = f"no {' or '.join(names)} on PATH"
    if os.getenv("CI", "").lower() in {"1", "true"}:
        pytest.fail(message)
    pytest.skip(message)
