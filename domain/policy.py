"""What may be asked of a rebalance beyond the model's own targets and bounds."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class MissingPrice(StrEnum):
    """What to do when a held or modelled security has no price."""

    REJECT = "reject"
    EXCLUDE = "exclude"  # leave it alone: not valued, not traded, named in the notes


class FractionalHolding(StrEnum):
    """What to do with a holding that is not a whole number of shares."""

    REJECT = "reject"
    KEEP_FRACTION = "keep_fraction"  # the fraction stays, is valued, and only whole shares are traded


class ShortHolding(StrEnum):
    """What to do with a negative quantity."""

    REJECT = "reject"
    COVER = "cover"  # buy back at least to zero


class NegativeCash(StrEnum):
    """What to do with an overdrawn portfolio."""

    REJECT = "reject"
    RAISE = "raise"  # sell until the cash floor holds again


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model's policy, overridable per job. Cash must end at or above the larger of the two floors.

    ``cash_floor`` is a weight of market value, ``cash_floor_amount`` an amount of money.
    """

    cash_floor: Decimal = Decimal(0)
    cash_floor_amount: Decimal = Decimal(0)
    missing_price: MissingPrice = MissingPrice.REJECT
    fractional_holding: FractionalHolding = FractionalHolding.REJECT
    short_holding: ShortHolding = ShortHolding.REJECT
    negative_cash: NegativeCash = NegativeCash.REJECT
