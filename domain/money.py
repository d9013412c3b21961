"""The one module that reads, scales, rounds and prints numbers. Everything else adds and compares.

Two promises hold everywhere in it. Nothing depends on the thread's decimal context: every operation runs in a
context of this module's own. And nothing is rounded unless the function says so by name: the context traps
inexactness, so a result that does not fit raises instead of losing a digit.

Numbers that come in are bounded (`fits`): 18 digits before the point and 16 after it. That is every number a
``DECIMAL(18,8)`` column can hold, it is what a Decimal128 keeps exactly, and it means that a product of three
of them, summed over a million positions, still fits the context below.

Where something is rounded it is rounded half to even, for display and reporting only: no order, bound or cash
figure is ever computed from a rounded number.
"""

import math
import re
from collections.abc import Iterable, Sequence
from decimal import (
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import lru_cache
from itertools import repeat
from typing import cast

from domain.errors import Invalid

MAX_WHOLE_DIGITS = 18
MAX_PLACES = 16
_MAX_TEXT = 64
_SHOWN_TEXT = 40

_CENT = Decimal("0.01")
_FINEST = Decimal(1).scaleb(-MAX_PLACES)
_WHOLE_LIMIT = 10**MAX_WHOLE_DIGITS

_TRAPS = [Inexact, InvalidOperation, DivisionByZero, Overflow]
# The exponent limits keep a number like 1E+999999 from ever being written out or turned into an integer.
_EXACT = Context(prec=200, rounding=ROUND_HALF_EVEN, Emin=-200, Emax=200, capitals=1, clamp=0, traps=_TRAPS)
_BOUNDS = Context(prec=MAX_WHOLE_DIGITS + MAX_PLACES, rounding=ROUND_HALF_EVEN, traps=_TRAPS)
_ROUNDING = Context(prec=200, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_CUTTING = Context(prec=200, rounding=ROUND_DOWN, traps=[InvalidOperation])

# Stricter than Decimal(): no spaces, underscores, words or digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)

_ZERO = Decimal(0)


# ------------------------------------------------------------------------------------------------ reading


def fits(value: object) -> bool:
    """Whether this is a finite Decimal of at most 18 digits before the point and 16 after it."""
    if not isinstance(value, Decimal):
        return False
    try:
        return not _BOUNDS.quantize(value, _FINEST).is_nan()
    except ArithmeticError:  # too large, too fine, infinite or a signalling NaN
        return False


def all_fit(values: Sequence[object]) -> bool:
    """Whether each of them is one that `fits`."""
    if not {Decimal}.issuperset(map(type, values)):
        return all(map(fits, values))
    try:
        scaled = map(_BOUNDS.quantize, cast(Sequence[Decimal], values), repeat(_FINEST))
        return not any(map(Decimal.is_nan, scaled))
    except ArithmeticError:
        return False


def parse_decimal(value: object) -> Decimal:
    """Read a number from text, an integer or a Decimal, exactly. The answer prints without an exponent.

    Floats are refused, whatever their value: what a caller meant by one is not known. So is ``True``.

    Raises:
        Invalid: ``invalid_number``; not a number of these kinds, not finite, or out of bounds (`fits`).
    """
    number = _read(value)
    if number is None:
        raise Invalid(
            f"{shown(value)} is not a number: write a plain decimal such as '12.50'", code="invalid_number"
        )
    if not fits(number):
        raise Invalid(
            f"{shown(value)} is out of bounds: at most {MAX_WHOLE_DIGITS} digits before the point "
            f"and {MAX_PLACES} after it",
            code="invalid_number",
        )
    if "E" in str(number):
        number = tidy(number)
    return number or number.copy_abs()


def _read(value: object) -> Decimal | None:
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, str):
        return Decimal(value) if len(value) <= _MAX_TEXT and _NUMBER.fullmatch(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        # Past the limit any integer is as much out of bounds as the limit itself, and cheaper to handle.
        return Decimal(max(-_WHOLE_LIMIT, min(value, _WHOLE_LIMIT)))
    return None


def shown(value: object) -> str:
    """Enough of a refused value to recognise it by, however large it is."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN_TEXT else f"{value[:_SHOWN_TEXT]!r}..."
    if isinstance(value, Decimal):
        return shown(str(value))
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < _WHOLE_LIMIT):
        return f"{value!r} ({type(value).__name__})"
    return f"a value of type {type(value).__name__}"


# ------------------------------------------------------------------------------------------------ arithmetic


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum."""
    return _EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The exact difference."""
    return _EXACT.subtract(left, right)


def multiply(left: Decimal, right: Decimal | int) -> Decimal:
    """The exact product."""
    return _EXACT.multiply(left, right)


def total(values: Iterable[Decimal]) -> Decimal:
    """The exact sum of them all; 0 of none."""
    result = _ZERO
    for value in values:
        result = _EXACT.add(result, value)
    return result


def add_products(start: Decimal, factors: Iterable[tuple[Decimal, Decimal]]) -> Decimal:
    """``start`` plus the sum of the products, exact."""
    result, add_product = start, _EXACT.fma
    for left, right in factors:
        result = add_product(left, right, result)
    return result


def split_whole(quantity: Decimal) -> tuple[int, Decimal]:
    """The whole number at or below ``quantity``, and the rest: at least 0 and below 1, also for a negative one."""
    whole = math.floor(quantity)
    return whole, _ZERO if quantity == whole else _EXACT.subtract(quantity, whole)


def whole_numbers(values: Iterable[Decimal]) -> list[int] | None:
    """All of them as integers; None if one is not whole."""
    try:
        return list(map(int, map(_EXACT.to_integral_exact, values)))
    except Inexact:
        return None


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether ``value`` is a whole number of times ``step``."""
    return not _EXACT.remainder(value, step)


def nearest_multiple(amount: Decimal, step: Decimal) -> int:
    """How many times ``step`` (> 0) comes nearest to ``amount``; a tie goes to the smaller magnitude."""
    count, rest = _EXACT.divmod(amount.copy_abs(), step)
    nearest = int(count) + (1 if _EXACT.add(rest, rest) > step else 0)
    return -nearest if amount < 0 else nearest


# ------------------------------------------------------------------------------------------------ scaling


def places(value: Decimal) -> int:
    """How many decimal places the value needs: 2 for ``1.2500``, 0 for ``100``.

    Raises:
        Invalid: the value is not finite.
    """
    exponent = _EXACT.normalize(value).as_tuple().exponent
    if not isinstance(exponent, int):
        raise Invalid(f"{value} has no decimal places: it is not finite", code="invalid_number")
    return max(0, -exponent)


def to_units(value: Decimal, places: int) -> int:
    """``value`` x 10^places as an integer.

    Raises:
        Invalid: that is not a whole number, or one out of all proportion.
    """
    try:
        return int(_EXACT.to_integral_exact(_EXACT.scaleb(value, places)))
    except (ArithmeticError, ValueError):  # ValueError: int() of a NaN
        raise Invalid(
            f"{shown(value)} is not a whole number of units of 10^-{places}", code="invalid_number"
        ) from None


def from_units(units: int, places: int) -> Decimal:
    """``units`` / 10^places, exact, with at least 2 decimals and no needless zeros behind them."""
    return tidy(_EXACT.scaleb(Decimal(units), -places))


def tidy(value: Decimal) -> Decimal:
    """The same value with at least 2 decimals and no needless zeros behind them: one form for one value."""
    cents = _ROUNDING.quantize(value, _CENT)
    if cents == value:
        return cents or cents.copy_abs()
    return _EXACT.normalize(value)


# ------------------------------------------------------------------------------------------------ rounding


def weight4(numerator: Decimal | int, denominator: Decimal | int) -> Decimal:
    """The quotient to 4 decimals, half to even, rounded once from the exact ratio.

    Raises:
        ZeroDivisionError: ``denominator`` is 0.
    """
    return from_ten_thousandths(_rounded_ratio(numerator, denominator, 10**4))


def ten_thousandths(numerators: Iterable[int], denominator: int) -> list[int]:
    """`weight4` of each of them by the same whole, which is above 0, as a number of ten-thousandths."""
    # Half a unit more, rounded down; of a tie (nothing is left over) the even one.
    scale, half, whole = 2 * 10**4, denominator, 2 * denominator
    rounded = [divmod(scale * numerator + half, whole) for numerator in numerators]
    return [count if rest else count & -2 for count, rest in rounded]


@lru_cache(maxsize=2**15)  # weights of 0 to 1 are 10,001 numbers
def from_ten_thousandths(count: int) -> Decimal:
    """A weight of 4 decimals."""
    return _EXACT.scaleb(Decimal(count), -4)


@lru_cache(maxsize=2**15)
def ten_thousandths_text(count: int) -> str:
    """The same, as it stands in a document."""
    return plain(from_ten_thousandths(count))


def cut(value: Decimal) -> Decimal:
    """The value to as many places as a number may have here, rounded towards 0."""
    return tidy(_CUTTING.quantize(value, _FINEST))


def percent(part: Decimal | int, whole: Decimal | int = 1) -> str:
    """A weight for people, to one decimal, half to even: ``15.0%``, ``0.0%``, ``-12.5%``.

    Give the ``whole`` where there is one, rather than a weight that was rounded before.

    Raises:
        ZeroDivisionError: ``whole`` is 0.
    """
    tenths = _rounded_ratio(part, whole, 1000)
    sign = "-" if tenths < 0 else ""
    return f"{sign}{abs(tenths) // 10}.{abs(tenths) % 10}%"


def _rounded_ratio(numerator: Decimal | int, denominator: Decimal | int, scale: int) -> int:
    """``scale`` x numerator / denominator to the nearest integer, half to even."""
    upper_numerator, upper_denominator = numerator.as_integer_ratio()
    lower_numerator, lower_denominator = denominator.as_integer_ratio()
    dividend = scale * upper_numerator * lower_denominator
    divisor = upper_denominator * lower_numerator
    if divisor < 0:
        dividend, divisor = -dividend, -divisor
    quotient, rest = divmod(dividend, divisor)
    twice = 2 * rest
    return quotient + (twice > divisor or (twice == divisor and quotient % 2 == 1))


# ------------------------------------------------------------------------------------------------ printing


def plain(value: Decimal) -> str:
    """The value in full, digit for digit, never with an exponent and never as ``-0``.

    Raises:
        Invalid: not finite, or out of all proportion.
    """
    text = str(value)
    if len(text) <= _MAX_TEXT and text.replace(".", "", 1).isdecimal():
        return text  # as nearly all are
    try:
        tame = _EXACT.plus(value)  # refuses exponents that would print for ever
    except ArithmeticError:
        tame = value
    if tame is value or not tame.is_finite():
        raise Invalid(f"{shown(value)} cannot be printed as a plain number", code="invalid_number")
    return format(tame or tame.copy_abs(), "f")


def plain_each(values: Sequence[Decimal]) -> list[str]:
    """`plain` of each of them, which costs little where none needs more than its own text."""
    texts = list(map(str, values))
    if max(map(len, texts), default=0) <= _MAX_TEXT and "".join(texts).replace(".", "").isdecimal():
        return texts
    return list(map(plain, values))
