"""Decimal contexts and strategies for tests of exactness."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import (
    ROUND_UP,
    Clamped,
    Context,
    Decimal,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    Subnormal,
    Underflow,
    localcontext,
)

from hypothesis import strategies as st


@contextmanager
def hostile_context() -> Iterator[None]:
    """A thread's decimal context in which any operation that leans on it gets one digit, or raises."""
    traps = [Clamped, FloatOperation, Inexact, InvalidOperation, Overflow, Rounded, Subnormal, Underflow]
    with localcontext(Context(prec=1, rounding=ROUND_UP, Emin=-1, Emax=1, traps=traps)):
        yield


def decimals(
    *, low: str = "-999999999999", high: str = "999999999999", places: int = 8
) -> st.SearchStrategy[Decimal]:
    """Decimals as sources send them: up to ``places`` decimals, trailing zeros included."""
    return st.integers(0, places).flatmap(
        lambda shown: st.decimals(low, high, allow_nan=False, allow_infinity=False, places=shown)
    )
