"""What may be asked of a rebalance beyond the model's own targets and bounds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain import money
from domain.errors import Invalid
from domain.faults import Faults
from domain.ids import SECURITY_ID_RULE, SecurityId, is_security_id


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


class RunType(StrEnum):
    """What a rebalance is to achieve."""

    TO_TARGET = "to_target"  # least drift (and cost)
    TO_BAND = "to_band"  # the least trading that brings every position inside its bounds
    IF_OUTSIDE = "if_outside"  # to target, but only where something is outside its bounds
    INVEST_CASH = "invest_cash"  # buys only
    RAISE_CASH = "raise_cash"  # sells only, for an amount


class Bounds(StrEnum):
    """What a model's drift bounds are weights of."""

    ABSOLUTE = "absolute"  # of market value: 0.10 with a bound of 0.02 is 0.08 to 0.12
    RELATIVE = "relative"  # of the target: 0.10 with a bound of 0.02 is 0.098 to 0.102


class OnInfeasible(StrEnum):
    """What to do when the rules leave no answer."""

    REPORT = "report"  # say which rules are in conflict, trade nothing
    RELAX = "relax"  # take the answer of least relaxation, marked, with every amount


@dataclass(frozen=True, slots=True, order=True)
class Lot:
    """An order of this security is a multiple of ``size`` shares."""

    security_id: SecurityId
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The securities of one sector or of any other label, and what they may be worth together.

    ``min`` and ``max`` are weights of market value, both included. A security may be in several groups.
    """

    name: str
    security_ids: tuple[SecurityId, ...]
    min: Decimal = Decimal(0)
    max: Decimal = Decimal(1)


MAX_NAMED_SECURITIES = 10_000
MAX_GROUPS = 100
MAX_LOT = 10**9
MAX_ORDERS = 10**6
MAX_GROUP_NAME = 100
MAX_TURNOVER = Decimal(2)  # all sold and all bought anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A model's policy, overridable per job and per portfolio. Everything left out asks for nothing.

    Money, weights and what they bind (MV: market value before trading; trades at the job's prices):

    - cash after all trades and costs >= the larger of ``cash_floor`` (weight, 0 to 1) x MV and
      ``cash_floor_amount`` (money); and, where ``raise_cash`` (money) is above 0, >= cash before + ``raise_cash``.
    - ``run_type``, ``bounds``, ``on_infeasible``: see there.
    - an order is a multiple of its security's lot (``lot_sizes``, else ``lot_size``) and worth ``min_trade`` (money)
      or more; closing a position is exempt from both.
    - ``max_orders`` orders at most; ``max_turnover`` (weight) x MV >= what is bought and sold together.
    - each order costs ``cost_rate`` (a fraction of its notional) and ``cost_per_order`` (money); paid from cash and
      added to the drift that is minimised.
    - ``no_buy``, ``no_sell``, ``no_trade``: securities, in order of id.
    - ``groups``: see `Group`.

    Raises:
        Invalid: a value out of its range or of the wrong kind; ``details`` names every one.
    """

    cash_floor: Decimal = Decimal(0)
    cash_floor_amount: Decimal = Decimal(0)
    raise_cash: Decimal = Decimal(0)
    run_type: RunType = RunType.TO_TARGET
    bounds: Bounds = Bounds.ABSOLUTE
    on_infeasible: OnInfeasible = OnInfeasible.REPORT
    lot_size: int = 1
    lot_sizes: tuple[Lot, ...] = ()
    min_trade: Decimal = Decimal(0)
    max_orders: int | None = None
    max_turnover: Decimal | None = None
    cost_rate: Decimal = Decimal(0)
    cost_per_order: Decimal = Decimal(0)
    no_buy: tuple[SecurityId, ...] = ()
    no_sell: tuple[SecurityId, ...] = ()
    no_trade: tuple[SecurityId, ...] = ()
    groups: tuple[Group, ...] = ()
    missing_price: MissingPrice = MissingPrice.REJECT
    fractional_holding: FractionalHolding = FractionalHolding.REJECT
    short_holding: ShortHolding = ShortHolding.REJECT
    negative_cash: NegativeCash = NegativeCash.REJECT

    def __post_init__(self) -> None:
        faults = Faults()
        for name, is_one, what in _NUMBERS:
            value = getattr(self, name)
            if not is_one(value):
                faults.add(name, f"{name} {money.shown(value)} is not {what}")
        for name, choice in _CHOICES.items():
            if not isinstance(getattr(self, name), choice):
                faults.add(name, _choice_fault(name, getattr(self, name), choice))
        for name in _LISTS:
            _check_securities(name, getattr(self, name), faults)
        _check_lots(self.lot_sizes, faults)
        _check_groups(self.groups, faults)
        if self.run_type is RunType.RAISE_CASH and self.raise_cash == 0:
            faults.add("raise_cash", "run type raise_cash needs an amount above 0 in raise_cash")
        if self.run_type is RunType.INVEST_CASH and self.raise_cash != 0:
            faults.add("raise_cash", "cash is not raised by buying: run type invest_cash takes no raise_cash")
        faults.refuse_if_any("the policy cannot be used")
        for name in _LISTS:
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        object.__setattr__(self, "lot_sizes", tuple(sorted(self.lot_sizes)))

    def with_changes(self, changes: Mapping[str, Any]) -> "Policy":
        """This policy with the named values set, as text or as the domain's own types.

        A list, a mapping or the groups are replaced as a whole.

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

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked beyond targets, bounds and the floors: `domain.rebalance` then goes the short way."""
        return all(getattr(self, name) == default for name, default in _PLAIN.items())


def _is_amount(value: object) -> bool:
    return money.fits(value) and isinstance(value, Decimal) and value >= 0


def _is_weight(value: object) -> bool:
    return _is_amount(value) and isinstance(value, Decimal) and value <= 1


def _is_turnover(value: object) -> bool:
    return _is_amount(value) and isinstance(value, Decimal) and value <= MAX_TURNOVER


def _is_count(most: int, *, least: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _or_none(is_one: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_one(value)


_NUMBERS: Sequence[tuple[str, Callable[[object], bool], str]] = (
    ("cash_floor", _is_weight, "a weight from 0 to 1"),
    ("cash_floor_amount", _is_amount, "an amount from 0 up"),
    ("raise_cash", _is_amount, "an amount from 0 up"),
    ("lot_size", _is_count(MAX_LOT, least=1), f"a whole number from 1 to {MAX_LOT}"),
    ("min_trade", _is_amount, "an amount from 0 up"),
    ("max_orders", _or_none(_is_count(MAX_ORDERS, least=0)), f"a whole number from 0 to {MAX_ORDERS}"),
    ("max_turnover", _or_none(_is_turnover), f"a weight from 0 to {MAX_TURNOVER}"),
    ("cost_rate", _is_weight, "a weight from 0 to 1"),
    ("cost_per_order", _is_amount, "an amount from 0 up"),
)

_CHOICES: Mapping[str, type[StrEnum]] = {
    "run_type": RunType,
    "bounds": Bounds,
    "on_infeasible": OnInfeasible,
    "missing_price": MissingPrice,
    "fractional_holding": FractionalHolding,
    "short_holding": ShortHolding,
    "negative_cash": NegativeCash,
}

_LISTS = ("no_buy", "no_sell", "no_trade")

# What asks for nothing: a policy that has all of these is the base problem.
_PLAIN: Mapping[str, object] = {
    "raise_cash": Decimal(0),
    "run_type": RunType.TO_TARGET,
    "lot_size": 1,
    "lot_sizes": (),
    "min_trade": Decimal(0),
    "max_orders": None,
    "max_turnover": None,
    "cost_rate": Decimal(0),
    "cost_per_order": Decimal(0),
    "no_buy": (),
    "no_sell": (),
    "no_trade": (),
    "groups": (),
}


# ------------------------------------------------------------------------------------------------ checking


def _choice_fault(name: str, value: object, choice: type[StrEnum]) -> str:
    return f"{name} {money.shown(value)} is not one of {', '.join(choice)}"


def _check_securities(name: str, securities: object, faults: Faults) -> None:
    if not isinstance(securities, tuple):
        faults.add(name, f"{name} {money.shown(securities)} is not a list of securities")
        return
    if len(securities) > MAX_NAMED_SECURITIES:
        faults.add(name, f"{name} names {len(securities)} securities: at most {MAX_NAMED_SECURITIES}")
    for index, security_id in enumerate(securities):
        if not (isinstance(security_id, str) and is_security_id(security_id)):
            faults.add(f"{name}[{index}]", f"{money.shown(security_id)}: {SECURITY_ID_RULE}")


def _check_lots(lots: tuple[Lot, ...], faults: Faults) -> None:
    if len(lots) > MAX_NAMED_SECURITIES:
        faults.add("lot_sizes", f"lot_sizes names {len(lots)} securities: at most {MAX_NAMED_SECURITIES}")
    if len({lot.security_id for lot in lots}) < len(lots):
        faults.add("lot_sizes", "a security has more than one lot size")
    is_size = _is_count(MAX_LOT, least=1)
    for lot in lots:
        if not is_security_id(lot.security_id):
            faults.add("lot_sizes", f"{money.shown(lot.security_id)}: {SECURITY_ID_RULE}")
        if not is_size(lot.size):
            faults.add(
                f"lot_sizes.{lot.security_id}",
                f"{money.shown(lot.size)} is not a whole number from 1 to {MAX_LOT}",
            )


def _check_groups(groups: tuple[Group, ...], faults: Faults) -> None:
    if len(groups) > MAX_GROUPS:
        faults.add("groups", f"{len(groups)} groups: at most {MAX_GROUPS}")
    seen: set[str] = set()
    for index, group in enumerate(groups):
        at = f"groups[{index}]"
        if not (group.name.strip() and group.name.isprintable() and len(group.name) <= MAX_GROUP_NAME):
            faults.add(f"{at}.name", f"a group's name is 1 to {MAX_GROUP_NAME} printable characters")
        if group.name in seen:
            faults.add(f"{at}.name", f"group {money.shown(group.name)} is there twice")
        seen.add(group.name)
        if not group.security_ids:
            faults.add(f"{at}.security_ids", f"group {money.shown(group.name)} has no securities")
        if len(set(group.security_ids)) < len(group.security_ids):
            faults.add(f"{at}.security_ids", f"group {money.shown(group.name)} names a security twice")
        _check_securities(f"{at}.security_ids", group.security_ids, faults)
        for name in ("min", "max"):
            if not _is_weight(getattr(group, name)):
                faults.add(f"{at}.{name}", f"{money.shown(getattr(group, name))} is not a weight from 0 to 1")
        if _is_weight(group.min) and _is_weight(group.max) and group.min > group.max:
            faults.add(
                f"{at}.min", f"group {money.shown(group.name)}: min {group.min} is above max {group.max}"
            )


# ------------------------------------------------------------------------------------------------ reading


def _read_decimal(name: str, value: object) -> Decimal:
    try:
        return money.parse_decimal(value)
    except Invalid as fault:
        raise Invalid(f"{name} {fault}", code=fault.code) from None


def _read_decimal_or_none(name: str, value: object) -> Decimal | None:
    return None if value is None else _read_decimal(name, value)


def _read_choice(name: str, value: object) -> StrEnum:
    choice = _CHOICES[name]
    if isinstance(value, str) and value in set(choice):
        return choice(value)
    raise Invalid(_choice_fault(name, value, choice))


def _read_count(name: str, value: object) -> int:
    if type(value) is not int:
        raise Invalid(f"{name} {money.shown(value)} is not a whole number")
    return value


def _read_count_or_none(name: str, value: object) -> int | None:
    return None if value is None else _read_count(name, value)


def _read_securities(name: str, value: object) -> tuple[SecurityId, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise Invalid(f"{name} {money.shown(value)} is not a list of securities")
    return tuple(value)


def _read_lots(name: str, value: object) -> tuple[Lot, ...]:
    """Of a mapping from security to size, or of lots."""
    if isinstance(value, Mapping):
        return tuple(Lot(security_id, size) for security_id, size in value.items())
    if isinstance(value, tuple) and all(isinstance(each, Lot) for each in value):
        return value
    raise Invalid(f"{name} {money.shown(value)} is not a mapping from security to lot size")


def _read_groups(name: str, value: object) -> tuple[Group, ...]:
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        raise Invalid(f"{name} {money.shown(value)} is not a list of groups")
    return tuple(_read_group(f"{name}[{index}]", each) for index, each in enumerate(value))


def _read_group(at: str, value: object) -> Group:
    if isinstance(value, Group):
        return value
    if not isinstance(value, Mapping) or not {"name", "security_ids"} <= value.keys() <= _GROUP_KEYS:
        raise Invalid(f"{at} is not a group: it has name, security_ids, and min and max if wanted")
    if not isinstance(value["name"], str):
        raise Invalid(f"{at}.name {money.shown(value['name'])} is not a text")
    return Group(
        name=value["name"],
        security_ids=_read_securities(f"{at}.security_ids", value["security_ids"]),
        **{key: _read_decimal(f"{at}.{key}", value[key]) for key in ("min", "max") if key in value},
    )


_GROUP_KEYS = {"name", "security_ids", "min", "max"}

_READERS: Mapping[str, Callable[[str, object], object]] = {
    "cash_floor": _read_decimal,
    "cash_floor_amount": _read_decimal,
    "raise_cash": _read_decimal,
    "lot_size": _read_count,
    "lot_sizes": _read_lots,
    "min_trade": _read_decimal,
    "max_orders": _read_count_or_none,
    "max_turnover": _read_decimal_or_none,
    "cost_rate": _read_decimal,
    "cost_per_order": _read_decimal,
    **dict.fromkeys(_LISTS, _read_securities),
    "groups": _read_groups,
    **dict.fromkeys(_CHOICES, _read_choice),
}
