"""Policies as a caller writes them: any keys, any values within their bounds, decimals with all their digits."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from domain.policy import (
    Bounds,
    FractionalHolding,
    MissingPrice,
    NegativeCash,
    OnInfeasible,
    RunType,
    ShortHolding,
)
from tests.support import builders

SECURITY_IDS = st.integers(1, 8).map(builders.security_id)


def _text(low: str, high: str) -> st.SearchStrategy[str]:
    return st.decimals(min_value=Decimal(low), max_value=Decimal(high), places=16).map(
        lambda d: format(d, "f")
    )


AMOUNTS = _text("0", "99999999999999999")
WEIGHTS = _text("0", "1")
NAMED = st.lists(SECURITY_IDS, max_size=5)


@st.composite
def groups(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(
        st.lists(st.text("ab çÉ7{}", min_size=1, max_size=5).filter(str.strip), max_size=3, unique=True)
    )
    found = []
    for name in names:
        low, high = sorted(draw(st.lists(WEIGHTS, min_size=2, max_size=2)), key=Decimal)
        group: dict[str, Any] = {
            "name": name,
            "security_ids": draw(st.lists(SECURITY_IDS, min_size=1, max_size=4, unique=True)),
        }
        found.append(
            {**group, **draw(st.sampled_from([{}, {"min": low}, {"max": high}, {"min": low, "max": high}]))}
        )
    return found


_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "cash_floor": WEIGHTS,
    "cash_floor_amount": AMOUNTS,
    "bounds": st.sampled_from(Bounds).map(str),
    "on_infeasible": st.sampled_from(OnInfeasible).map(str),
    "lot_size": st.integers(1, 10**9),
    "lot_sizes": st.dictionaries(SECURITY_IDS, st.integers(1, 10**9), max_size=4),
    "min_trade": AMOUNTS,
    "max_orders": st.none() | st.integers(0, 10**6),
    "max_turnover": st.none() | _text("0", "2"),
    "cost_rate": WEIGHTS,
    "cost_per_order": AMOUNTS,
    "no_buy": NAMED,
    "no_sell": NAMED,
    "no_trade": NAMED,
    "groups": groups(),
    "missing_price": st.sampled_from(MissingPrice).map(str),
    "fractional_holding": st.sampled_from(FractionalHolding).map(str),
    "short_holding": st.sampled_from(ShortHolding).map(str),
    "negative_cash": st.sampled_from(NegativeCash).map(str),
}
_RUNS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.sampled_from([RunType.TO_TARGET, RunType.TO_BAND, RunType.IF_OUTSIDE]).map(
        lambda run: {"run_type": str(run)}
    ),
    AMOUNTS.map(lambda amount: {"raise_cash": amount}),
    st.just({"run_type": "invest_cash"}),
    st.just({"run_type": "raise_cash", "raise_cash": "0.0000000000000001"}),
)

# A policy as JSON holds it, with any of its keys.
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.tuples(
    st.fixed_dictionaries({}, optional=_KEYS), _RUNS
).map(lambda parts: {**parts[0], **parts[1]})
