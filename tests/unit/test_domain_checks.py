from dataclasses import replace
from decimal import Decimal

import pytest

from domain.checks import CheckedPortfolio, Market, StatedValueRange, Unfit, check_portfolio
from domain.errors import Invalid
from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from domain.portfolio import Portfolio
from domain.rebalance import Outcome
from tests.support.builders import model, portfolio, portfolio_id, prices, security_id
from tests.support.decimals import hostile_context

D = Decimal

STRICT = Policy()
EXCLUDE = Policy(missing_price=MissingPrice.EXCLUDE)
KEEP = Policy(fractional_holding=FractionalHolding.KEEP_FRACTION)
COVER = Policy(short_holding=ShortHolding.COVER)
RAISE = Policy(negative_cash=NegativeCash.RAISE)
LENIENT = Policy(
    missing_price=MissingPrice.EXCLUDE,
    fractional_holding=FractionalHolding.KEEP_FRACTION,
    short_holding=ShortHolding.COVER,
    negative_cash=NegativeCash.RAISE,
)

FOLLOWED = model({1: "0.5", 2: "0.3"})
MARKET = prices({1: 10, 2: 20, 3: 5})


def check(
    book: Portfolio | None,
    policy: Policy = STRICT,
    *,
    followed: InvestmentModel = FOLLOWED,
    market: dict[SecurityId, Decimal] | None = None,
    stated_value: StatedValueRange | None = None,
) -> CheckedPortfolio | Unfit:
    known = Market(followed, MARKET if market is None else market)
    return check_portfolio(book, known, policy, stated_value or StatedValueRange())


def fit(answer: CheckedPortfolio | Unfit) -> CheckedPortfolio:
    assert isinstance(answer, CheckedPortfolio), answer
    return answer


def rejected(answer: CheckedPortfolio | Unfit, reason: str) -> Unfit:
    """The answer, which must be a rejection for this reason with at least one conflict, each a sentence."""
    assert isinstance(answer, Unfit), answer
    assert answer.outcome is Outcome.REJECTED
    assert answer.reason == reason
    assert answer.conflicts
    assert {conflict.rule for conflict in answer.conflicts} == {reason}
    for conflict in answer.conflicts:
        assert conflict.security_id is None or conflict.security_id in conflict.message
    return answer


# ---------------------------------------------------------------- fit


def test_a_sound_portfolio_passes_with_all_the_problem_needs() -> None:
    answer = fit(check(portfolio("100.50", {1: 20, 3: 4, 9: 0})))

    assert answer == CheckedPortfolio(
        portfolio_id=portfolio_id(1),
        cash=D("100.50"),
        market_value=D("320.50"),
        shares={security_id(1): 20, security_id(3): 4},
        fractions={},
        targets={position.security_id: position for position in FOLLOWED.positions},
        prices=MARKET,
        notes=(),
    )


def test_cash_alone_is_fit() -> None:
    answer = fit(check(portfolio(100)))

    assert answer.shares == {}
    assert answer.market_value == 100


def test_holdings_without_cash_are_fit() -> None:
    assert fit(check(portfolio(0, {3: 1}))).market_value == 5


def test_what_the_problem_gets_is_in_canonical_order() -> None:
    answer = fit(check(portfolio(1, {3: 1, 1: 1}), followed=model({2: "0.1", 1: "0.1"})))

    assert list(answer.prices) == [security_id(1), security_id(2), security_id(3)]
    assert list(answer.shares) == [security_id(1), security_id(3)]
    assert list(answer.targets) == [security_id(1), security_id(2)]


def test_the_checks_are_exact_in_any_decimal_context() -> None:
    book = portfolio("-100.123", {1: "20.75", 2: -3, 9: 7}, stated_market_value="47")
    usual = fit(check(book, LENIENT))
    with hostile_context():
        assert check(book, LENIENT) == usual
        rejected(check(book, STRICT), "missing_price")
        rejected(check(book, RAISE), "missing_price")
        rejected(check(replace(book, stated_market_value=D(7)), LENIENT), "stated_value_disagrees")


# ---------------------------------------------------------------- empty


@pytest.mark.parametrize(
    "book",
    [None, portfolio(0), portfolio("0.00", {1: 0, 9: "0.000"})],
    ids=["no record", "nothing", "sold out"],
)
@pytest.mark.parametrize("policy", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_a_portfolio_without_any_balance_is_no_trade_and_no_error(
    book: Portfolio | None, policy: Policy
) -> None:
    assert check(book, policy, market={}) == Unfit(
        outcome=Outcome.NO_TRADE, reason="empty", market_value=D(0)
    )


# ---------------------------------------------------------------- prices


def test_a_missing_price_rejects_and_names_every_security() -> None:
    answer = rejected(check(portfolio(100, {7: 1, 5: 1, 1: 1}), market=prices({1: 10})), "missing_price")

    assert [conflict.security_id for conflict in answer.conflicts] == [
        security_id(2),
        security_id(5),
        security_id(7),
    ]
    assert "in the model" in answer.conflicts[0].message
    assert "held" in answer.conflicts[1].message
    assert "'exclude'" in answer.conflicts[1].message
    assert answer.market_value is None


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_a_price_that_is_no_positive_number_counts_as_missing(price: str) -> None:
    answer = rejected(check(portfolio(100, {3: 1}), market=MARKET | prices({3: price})), "missing_price")

    assert [conflict.security_id for conflict in answer.conflicts] == [security_id(3)]


def test_a_sold_out_position_needs_no_price() -> None:
    assert fit(check(portfolio(100, {9: 0}))).prices == prices({1: 10, 2: 20})


def test_excluding_leaves_a_held_security_alone_and_says_so() -> None:
    answer = fit(check(portfolio(100, {1: 2, 9: "7.5"}), EXCLUDE))

    assert security_id(9) not in answer.shares
    assert security_id(9) not in answer.prices
    assert answer.market_value == 120, "what cannot be valued is not valued"
    assert answer.notes == (
        f"security {security_id(9)} has no price: the 7.5 held are neither valued nor traded",
    )


def test_excluding_leaves_a_modelled_security_out_and_says_so() -> None:
    answer = fit(check(portfolio(100), EXCLUDE, market=prices({1: 10})))

    assert list(answer.targets) == [security_id(1)]
    assert answer.notes == (
        f"security {security_id(2)} of the model has no price and is left out: it is not bought",
    )


def test_excluding_a_security_both_held_and_modelled_does_both() -> None:
    answer = fit(check(portfolio(100, {2: 3}), EXCLUDE, market=prices({1: 10})))

    assert (list(answer.targets), answer.shares) == ([security_id(1)], {})
    assert len(answer.notes) == 1


def test_a_portfolio_of_nothing_that_can_be_valued_is_rejected() -> None:
    rejected(check(portfolio(0, {9: 5}), EXCLUDE), "no_market_value")


# ---------------------------------------------------------------- fractions


def test_a_fractional_holding_rejects_and_names_every_security() -> None:
    answer = rejected(check(portfolio(100, {3: "0.5", 1: "10.7", 2: "4.00"})), "fractional_holding")

    assert [conflict.security_id for conflict in answer.conflicts] == [security_id(1), security_id(3)]
    assert "10.7" in answer.conflicts[0].message
    assert "'keep_fraction'" in answer.conflicts[0].message
    assert answer.market_value == D("289.5")


def test_a_kept_fraction_is_valued_and_only_whole_shares_may_be_traded() -> None:
    answer = fit(check(portfolio(100, {1: "10.7", 2: "4.00", 3: "0.5"}), KEEP))

    assert answer.shares == {security_id(1): 10, security_id(2): 4, security_id(3): 0}
    assert answer.fractions == {security_id(1): D("0.7"), security_id(3): D("0.5")}
    assert answer.market_value == D("289.5")


# ---------------------------------------------------------------- shorts


def test_a_short_holding_rejects_and_names_every_security_and_what_covering_costs() -> None:
    answer = rejected(check(portfolio(1000, {3: -7, 1: -2, 2: 1})), "short_holding")

    assert [(conflict.security_id, conflict.amount) for conflict in answer.conflicts] == [
        (security_id(1), D(20)),
        (security_id(3), D(35)),
    ]
    assert "'cover'" in answer.conflicts[0].message


def test_a_short_to_be_covered_goes_on_as_negative_shares() -> None:
    answer = fit(check(portfolio(1000, {3: -7}), COVER))

    assert answer.shares == {security_id(3): -7}
    assert answer.market_value == 965


def test_a_fractional_short_covered_in_whole_shares_ends_at_zero_or_above() -> None:
    answer = fit(check(portfolio(1000, {3: "-7.25"}), LENIENT))

    assert answer.shares == {security_id(3): -8}
    assert answer.fractions == {security_id(3): D("0.75")}
    assert answer.market_value == D("963.75")


def test_a_fractional_short_is_rejected_as_short_where_only_fractions_are_kept() -> None:
    rejected(check(portfolio(1000, {3: "-0.25"}), KEEP), "short_holding")


# ---------------------------------------------------------------- cash


def test_negative_cash_rejects_and_says_how_much_is_missing() -> None:
    answer = rejected(check(portfolio("-1000.25", {1: 500})), "negative_cash")

    assert answer.conflicts[0].amount == D("1000.25")
    assert "1000.25" in answer.conflicts[0].message
    assert "'raise'" in answer.conflicts[0].message
    assert answer.market_value == D("3999.75")


def test_negative_cash_to_be_raised_goes_on_as_it_is() -> None:
    answer = fit(check(portfolio(-1000, {1: 500}), RAISE))

    assert (answer.cash, answer.market_value) == (D(-1000), D(4000))


# ---------------------------------------------------------------- market value


@pytest.mark.parametrize(("cash", "market_value"), [("-50", "0"), ("-50.01", "-0.01")])
def test_a_portfolio_worth_nothing_or_less_is_rejected(cash: str, market_value: str) -> None:
    answer = rejected(check(portfolio(cash, {1: 5}), RAISE), "no_market_value")

    assert answer.market_value == D(market_value)


# ---------------------------------------------------------------- the source's own market value


@pytest.mark.parametrize("stated", ["85", "100", "105", "85.00000000", "104.99999999"])
def test_a_stated_value_within_the_range_passes(stated: str) -> None:
    fit(check(portfolio(50, {3: 10}, stated_market_value=stated)))


@pytest.mark.parametrize(
    ("stated", "apart"), [("84.99999999", "0.00000001"), ("106", "1.00"), ("0", "85"), ("-100", "185")]
)
def test_a_stated_value_outside_the_range_rejects_and_says_by_how_much(stated: str, apart: str) -> None:
    answer = rejected(check(portfolio(50, {3: 10}, stated_market_value=stated)), "stated_value_disagrees")

    assert answer.conflicts[0].amount == D(apart)
    assert "85.0% to 105.0%" in answer.conflicts[0].message
    assert answer.market_value == 100


def test_the_range_of_the_stated_value_is_a_setting() -> None:
    narrow = StatedValueRange(low=D(1), high=D(1))

    fit(check(portfolio(50, stated_market_value="50.00"), stated_value=narrow))
    rejected(check(portfolio(50, stated_market_value="50.01"), stated_value=narrow), "stated_value_disagrees")


def test_a_stated_value_that_disagrees_because_of_excluded_holdings_says_so() -> None:
    answer = rejected(
        check(portfolio(50, {9: 10}, stated_market_value=100), EXCLUDE), "stated_value_disagrees"
    )

    assert "leaves out 1 without a price" in answer.conflicts[0].message


@pytest.mark.parametrize(("low", "high"), [("1.1", "1"), ("-0.1", "1"), ("NaN", "1"), ("0.5", "Infinity")])
def test_a_range_that_is_none_is_refused(low: str, high: str) -> None:
    with pytest.raises(Invalid):
        StatedValueRange(low=D(low), high=D(high))


# ---------------------------------------------------------------- order


def test_the_first_kind_of_fault_is_told_and_the_next_once_it_is_mended() -> None:
    book = portfolio(-1000, {1: "1.5", 2: -3, 9: 4}, stated_market_value=5)
    told = []
    policy = STRICT
    for change in (
        {"missing_price": "exclude"},
        {"fractional_holding": "keep_fraction"},
        {"short_holding": "cover"},
        {"negative_cash": "raise"},
        {},
    ):
        answer = check(book, policy)
        assert isinstance(answer, Unfit)
        told.append(answer.reason)
        policy = policy.with_changes(change)
    richer = check(replace(book, cash=D(1000)), policy)
    assert isinstance(richer, Unfit)

    assert [*told, richer.reason] == [
        "missing_price",
        "fractional_holding",
        "short_holding",
        "negative_cash",
        "no_market_value",
        "stated_value_disagrees",
    ]
