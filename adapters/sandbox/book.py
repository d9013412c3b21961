"""The sandbox's book: modelled securities, portfolios that drifted away from the model, and a few odd ones.

Everything follows from the seed. Portfolios are worked out when they are asked for, each from a random stream
of its own, so a book of a million of them costs nothing to open.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cached_property
from pathlib import Path
from random import Random
from typing import NamedTuple

from adapters.sandbox.prices import Quote, invented_quotes, read_latest_quotes

_PLACES = 8  # the upstream's DECIMAL(18,8)
_UNIT = 10**_PLACES

_WEIGHT_STEP = Decimal("0.005")
_MODEL_STEPS = 190  # 0.95 in steps
MAX_MODELLED = 100

_LEAST_VALUE, _GREATEST_VALUE = 50_000, 5_000_000
_TINY_VALUE = 150
_INVESTED = 0.95
_SPREAD = 0.4  # a holding lies within this share of its target
_OUTSIDE_WEIGHT = 0.03

_LEAST_BOUND = Decimal("0.01")


class Kind(Enum):
    """What is odd about a portfolio, if anything."""

    DRIFTED = "drifted"
    OUTSIDE = "also holds securities outside the model"
    EMPTY = "has no balance of any kind"
    UNPRICED = "holds a security without a price"
    TINY = "too small for a whole share of everything"
    BALANCED = "already where the model wants it"
    FRACTIONAL = "holds a fraction of a share"


# By place in the book. A book shorter than this has fewer odd portfolios.
_ODD: Mapping[int, Kind] = {
    4: Kind.EMPTY,
    8: Kind.UNPRICED,
    12: Kind.TINY,
    16: Kind.BALANCED,
    20: Kind.FRACTIONAL,
}


@dataclass(frozen=True, slots=True)
class BookSecurity:
    """``price`` is the mean; None: the pricing service does not know the ticker."""

    security_id: str
    ticker: str
    description: str
    price: Decimal | None
    std: Decimal


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Weights of one security, as fractions of market value."""

    security_id: str
    target: Decimal
    low_drift: Decimal
    high_drift: Decimal


@dataclass(frozen=True, slots=True)
class BookModel:
    """The investment model every portfolio of the book follows."""

    positions: tuple[ModelRow, ...]
    portfolio_ids: tuple[str, ...]


class Holding(NamedTuple):
    """A row of the accounting service. Quantity 0: sold out, but the row stays."""

    security_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class BookPortfolio:
    """``cash`` is None when there is no balance of any kind. Holdings are in order of security id."""

    portfolio_id: str
    name: str
    kind: Kind
    cash: Decimal | None
    holdings: tuple[Holding, ...]

    @property
    def empty(self) -> bool:
        return self.cash is None


@dataclass(frozen=True)
class Book:
    """Modelled securities first, then the others; see `Book.generate`.

    ``stray_tickers`` have a price but no security. ``orphan`` is the id of a security nobody holds, for the
    switch that breaks the security list.
    """

    seed: int
    securities: tuple[BookSecurity, ...]
    model_rows: tuple[ModelRow, ...]
    outside: tuple[BookSecurity, ...]
    unpriced: BookSecurity
    orphan: BookSecurity
    stray: Quote
    portfolios: int
    odd: bool

    @classmethod
    def generate(
        cls, portfolios: int, securities: int, *, seed: int = 0, prices: Path | None = None, odd: bool = True
    ) -> "Book":
        """Make a book up.

        Args:
            portfolios: how many portfolios follow the model.
            securities: how many securities it has, 1 to 100. Targets are multiples of 0.005 and add up to 0.95.
            seed: the same seed gives the same book.
            prices: a file ``price_date,ticker,price,price_std``; the latest date in it is used.
            odd: whether some portfolios are odd: empty, too small, holding what has no price or a fraction.

        Raises:
            ValueError: numbers out of range, or a price file that is unreadable or has too few tickers.
        """
        if portfolios < 0 or not 1 <= securities <= MAX_MODELLED:
            raise ValueError(f"a book has 0 or more portfolios and 1 to {MAX_MODELLED} securities")
        random = Random(f"{seed}:book")  # noqa: S311  # repeatable on purpose, nothing secret
        outside_count = max(2, securities // 10)
        wanted = securities + outside_count + 2  # and one nobody holds, and one that is no security
        quotes = read_latest_quotes(prices) if prices else invented_quotes(random, wanted)
        if len(quotes) < wanted:
            raise ValueError(f"{prices}: {len(quotes)} tickers on the latest date, {wanted} are needed")
        chosen = random.sample(quotes, wanted)
        *listed, stray = chosen
        known = tuple(_security(seed, quote) for quote in listed)
        modelled = known[:securities]
        unpriced = BookSecurity(
            _id(seed, "security", "UNPRICED"), "UNPRICED", "Unpriced Inc.", None, Decimal(0)
        )
        return cls(
            seed=seed,
            securities=(*known, unpriced),
            model_rows=_model_rows(random, modelled),
            outside=known[securities : securities + outside_count],
            unpriced=unpriced,
            orphan=known[-1],
            stray=stray,
            portfolios=portfolios,
            odd=odd,
        )

    def model(self) -> BookModel:
        """What the demo creates the investment model from."""
        return BookModel(self.model_rows, self.portfolio_ids)

    @cached_property
    def portfolio_ids(self) -> tuple[str, ...]:
        return tuple(_id(self.seed, "portfolio", str(place)) for place in range(self.portfolios))

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Each portfolio's place in the book, by its id."""
        return {portfolio_id: place for place, portfolio_id in enumerate(self.portfolio_ids)}

    def kind(self, place: int) -> Kind:
        if not self.odd:
            return Kind.DRIFTED
        return _ODD.get(place, Kind.OUTSIDE if place % 10 == 5 else Kind.DRIFTED)

    def portfolio_name(self, place: int) -> str:
        return f"Sandbox portfolio {place:06d}"

    def portfolio(self, place: int) -> BookPortfolio:
        """The portfolio at this place, worked out anew: the same one every time."""
        kind = self.kind(place)
        random = Random(f"{self.seed}:portfolio:{place}")  # noqa: S311  # as above
        if kind is Kind.EMPTY:
            return BookPortfolio(self.portfolio_ids[place], self.portfolio_name(place), kind, None, ())
        cash, shares = self._fill(kind, random)
        if place % 6 == 2:
            shares.setdefault(self.outside[0].security_id, Decimal(0))
        holdings = tuple(Holding(security_id, shares[security_id]) for security_id in sorted(shares))
        return BookPortfolio(self.portfolio_ids[place], self.portfolio_name(place), kind, cash, holdings)

    # ---------------------------------------------------------------------------------------------

    @cached_property
    def _modelled(self) -> tuple[tuple[str, int, float], ...]:
        """Security id, price in units and target of each modelled security."""
        return tuple(
            (security.security_id, _units(security.price), float(row.target))
            for security, row in zip(self.securities, self.model_rows, strict=False)
        )

    def _fill(self, kind: Kind, random: Random) -> tuple[Decimal, dict[str, Decimal]]:
        """Cash, and shares by security id."""
        if kind is Kind.TINY:
            return Decimal(_TINY_VALUE), {}
        if kind is Kind.BALANCED:
            return self._balanced()
        extra = {
            Kind.OUTSIDE: [(security.security_id, _units(security.price)) for security in self.outside[:2]],
            Kind.UNPRICED: [(self.unpriced.security_id, 100 * _UNIT)],
        }.get(kind, [])
        cash, shares = self._drifted(random, extra)
        if kind is Kind.FRACTIONAL:
            shares[self._modelled[0][0]] = shares.get(self._modelled[0][0], Decimal(0)) + Decimal("0.5")
        return cash, shares

    def _drifted(
        self, random: Random, extra: Sequence[tuple[str, int]]
    ) -> tuple[Decimal, dict[str, Decimal]]:
        """Near its targets, worth $50,000 to $5,000,000 (evenly over the orders of magnitude), 5 % in cash."""
        cents = int(_LEAST_VALUE * (_GREATEST_VALUE / _LEAST_VALUE) ** random.random() * 100)
        value = cents * (_UNIT // 100)
        draw = random.random
        weights = [target * (1 - _SPREAD + 2 * _SPREAD * draw()) for _, _, target in self._modelled]
        scale = value * (_INVESTED - len(extra) * _OUTSIDE_WEIGHT) / sum(weights)
        lines = [
            (security_id, price, int(weight * scale / price))
            for (security_id, price, _), weight in zip(self._modelled, weights, strict=True)
        ]
        lines += [
            (security_id, price, max(1, int(value * _OUTSIDE_WEIGHT / price))) for security_id, price in extra
        ]
        spent = sum(price * count for _, price, count in lines)
        return _money(value - spent), {key: Decimal(count) for key, _, count in lines if count}

    def _balanced(self) -> tuple[Decimal, dict[str, Decimal]]:
        """The greatest value, in the whole shares nearest to target: there is nothing to trade."""
        value = _GREATEST_VALUE * _UNIT
        lines = [
            (security_id, price, round(target * value / price))
            for security_id, price, target in self._modelled
        ]
        spent = sum(price * count for _, price, count in lines)
        return _money(value - spent), {key: Decimal(count) for key, _, count in lines if count}


# ------------------------------------------------------------------------------------------------ the model


def _model_rows(random: Random, modelled: tuple[BookSecurity, ...]) -> tuple[ModelRow, ...]:
    steps = [1] * len(modelled)
    for _ in range(_MODEL_STEPS - len(modelled)):
        steps[random.randrange(len(steps))] += 1
    return tuple(
        ModelRow(security.security_id, count * _WEIGHT_STEP, _bound(security.price), _bound(security.price))
        for security, count in zip(modelled, steps, strict=True)
    )


def _bound(price: Decimal | None) -> Decimal:
    """Wide enough that the nearest whole share lies inside it in the smallest ordinary portfolio."""
    half_a_share = (price or Decimal(0)) / 2 / _LEAST_VALUE
    steps = math.ceil(half_a_share / _WEIGHT_STEP)
    return min(max(_LEAST_BOUND, steps * _WEIGHT_STEP), Decimal(1))


# ------------------------------------------------------------------------------------------------ the rest


def _security(seed: int, quote: Quote) -> BookSecurity:
    return BookSecurity(
        security_id=_id(seed, "security", quote.ticker),
        ticker=quote.ticker,
        description=f"{quote.ticker} Inc.",
        price=quote.price,
        std=quote.std,
    )


def _id(seed: int, what: str, key: str) -> str:
    """24 hexadecimal digits, as the real services' databases give them out."""
    return hashlib.sha256(f"{seed}:{what}:{key}".encode()).hexdigest()[:24]


def _units(price: Decimal | None) -> int:
    return int((price or Decimal(0)).scaleb(_PLACES))


def _money(units: int) -> Decimal:
    return Decimal(units).scaleb(-_PLACES).normalize()
