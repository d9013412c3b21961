"""Keep what native code prints away from standard output, on which our commands speak JSON."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1
_C_LIBRARY = None if sys.platform == "win32" else ctypes.CDLL(None)


@contextmanager
def native_stdout_silenced() -> Iterator[None]:
    """File descriptor 1 leads nowhere meanwhile: for all threads of the process, so keep it short.

    HiGHS 1.16 greets the process that first uses it on standard output, and 1.15 printed a debugging line, in both
    cases with its output switched off. Python's own ``sys.stdout`` keeps what it has buffered until later. The C
    library's buffers are flushed at either end, so that nothing goes where it was not meant to when printed.
    """
    try:
        saved = os.dup(_STDOUT)
    except OSError:  # standard output is closed: nothing to protect
        yield
        return
    try:
        _flush_c_streams()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDOUT)
        os.close(nowhere)
        yield
    finally:
        _flush_c_streams()
        os.dup2(saved, _STDOUT)
        os.close(saved)


def _flush_c_streams() -> None:
    if _C_LIBRARY is not None:
        _C_LIBRARY.fflush(None)
