"""What may be asked of a rebalance beyond the model's own targets and bounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain import money
from domain.errors import Invalid
from domain.faults import Faults


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

    ``cash_floor`` is a weight of market value (0 to 1), ``cash_floor_amount`` an amount of money (at least 0).

    Raises:
        Invalid: a value out of its range or of the wrong kind; ``details`` names every one.
    """

    cash_floor: Decimal = Decimal(0)
    cash_floor_amount: Decimal = Decimal(0)
    missing_price: MissingPrice = MissingPrice.REJECT
    fractional_holding: FractionalHolding = FractionalHolding.REJECT
    short_holding: ShortHolding = ShortHolding.REJECT
    negative_cash: NegativeCash = NegativeCash.REJECT

    def __post_init__(self) -> None:
        faults = Faults()
        if not (money.fits(self.cash_floor) and 0 <= self.cash_floor <= 1):
            faults.add("cash_floor", f"cash_floor {money.shown(self.cash_floor)} is not a weight from 0 to 1")
        if not (money.fits(self.cash_floor_amount) and self.cash_floor_amount >= 0):
            faults.add(
                "cash_floor_amount",
                f"cash_floor_amount {money.shown(self.cash_floor_amount)} is not an amount from 0 up",
            )
        for name, choice in _CHOICES.items():
            if not isinstance(getattr(self, name), choice):
                faults.add(name, _choice_fault(name, getattr(self, name), choice))
        faults.refuse_if_any("the policy cannot be used")

    def with_changes(self, changes: Mapping[str, Any]) -> "Policy":
        """This policy with the named values set, as text or as the domain's own types.

        Raises:
            Invalid: an unknown key, or a value that cannot be read or is out of its range; ``details`` names
                every one that cannot be read.
        """
        faults = Faults()
        values: dict[str, Any] = {}
        for name, value in changes.items():
            read = _READERS.get(name)
            if read is None:
                known = ", ".join(_READERS)
                faults.add(name, f"{money.shown(name)} is not a policy: the policies are {known}")
                continue
            try:
                values[name] = read(name, value)
            except Invalid as fault:
                faults.add(name, str(fault))
        faults.refuse_if_any("the policy cannot be used")
        return replace(self, **values)

    def cash_floor_money(self, market_value: Decimal) -> Decimal:
        """What must stay in cash at least: the larger of the two floors, exact."""
        return max(money.multiply(market_value, self.cash_floor), self.cash_floor_amount)


_CHOICES: Mapping[str, type[StrEnum]] = {
    "missing_price": MissingPrice,
    "fractional_holding": FractionalHolding,
    "short_holding": ShortHolding,
    "negative_cash": NegativeCash,
}


def _choice_fault(name: str, value: object, choice: type[StrEnum]) -> str:
    return f"{name} {money.shown(value)} is not one of {', '.join(choice)}"


def _read_decimal(name: str, value: object) -> Decimal:
    try:
        return money.parse_decimal(value)
    except Invalid as fault:
        raise Invalid(f"{name} {fault}", code=fault.code) from None


def _read_choice(name: str, value: object) -> StrEnum:
    choice = _CHOICES[name]
    if isinstance(value, str) and value in set(choice):
        return choice(value)
    raise Invalid(_choice_fault(name, value, choice))


_READERS: Mapping[str, Callable[[str, object], object]] = {
    "cash_floor": _read_decimal,
    "cash_floor_amount": _read_decimal,
    **dict.fromkeys(_CHOICES, _read_choice),
}
