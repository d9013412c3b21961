from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from domain.checks import CheckedPortfolio, Market, StatedValueRange, Unfit, check_portfolio
from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from domain.portfolio import Portfolio
from domain.prices import freeze, thaw
from tests.support.builders import MORNING, model, portfolio, prices, security_id
from tests.support.decimals import decimals, hostile_context

SECURITIES = range(1, 7)

quantities = st.one_of(
    st.integers(-50, 5000).map(Decimal), decimals(low="-10000", high="1000000000"), st.just(Decimal(0))
)
price = decimals(low="0", high="500000").filter(bool)
cash = decimals(low="-1000000", high="100000000000")
books = st.builds(portfolio, cash, st.dictionaries(st.sampled_from(SECURITIES), quantities, max_size=6))
markets = st.fixed_dictionaries(dict.fromkeys(SECURITIES, price)).map(prices)
partial_markets = st.dictionaries(st.sampled_from(SECURITIES), price).map(prices)
models = st.dictionaries(
    st.sampled_from(SECURITIES), st.sampled_from(["0", "0.005", "0.1", "0.15"]), max_size=6
).map(model)
policies = st.builds(
    Policy,
    missing_price=st.sampled_from(MissingPrice),
    fractional_holding=st.sampled_from(FractionalHolding),
    short_holding=st.sampled_from(ShortHolding),
    negative_cash=st.sampled_from(NegativeCash),
)
lenient = Policy(
    missing_price=MissingPrice.EXCLUDE,
    fractional_holding=FractionalHolding.KEEP_FRACTION,
    short_holding=ShortHolding.COVER,
    negative_cash=NegativeCash.RAISE,
)


def check(
    book: Portfolio, followed: InvestmentModel, market: dict[SecurityId, Decimal], policy: Policy
) -> CheckedPortfolio | Unfit:
    return check_portfolio(book, Market(followed, market), policy, StatedValueRange())


@given(books, markets)
def test_market_value_is_the_exact_sum_in_any_decimal_context(
    book: Portfolio, market: dict[SecurityId, Decimal]
) -> None:
    with hostile_context():
        value = book.market_value(market)

    assert Fraction(value) == Fraction(book.cash) + sum(
        Fraction(market[position.security_id]) * Fraction(position.quantity) for position in book.positions
    )


@given(books, markets, st.randoms(use_true_random=False))
def test_market_value_does_not_depend_on_the_order_of_positions(
    book: Portfolio, market: dict[SecurityId, Decimal], random: Random
) -> None:
    shuffled = list(book.positions)
    random.shuffle(shuffled)

    assert replace(book, positions=tuple(shuffled)).market_value(market) == book.market_value(market)


@given(books, markets, st.sampled_from(SECURITIES), st.integers(-1000, 1000))
def test_a_trade_at_the_price_conserves_market_value(
    book: Portfolio, market: dict[SecurityId, Decimal], number: int, shares: int
) -> None:
    held = {position.security_id: Fraction(position.quantity) for position in book.positions}
    traded = portfolio(0, {number: shares})
    key = security_id(number)

    before = Fraction(book.market_value(market))
    paid = Fraction(traded.market_value(market))
    after_cash = Fraction(book.cash) - paid
    held[key] = held.get(key, Fraction(0)) + shares

    assert (
        after_cash + sum(Fraction(market[security]) * quantity for security, quantity in held.items())
        == before
    )


@given(books, models, partial_markets, policies, st.randoms(use_true_random=False))
def test_the_checks_do_not_depend_on_the_order_of_anything(
    book: Portfolio,
    followed: InvestmentModel,
    market: dict[SecurityId, Decimal],
    policy: Policy,
    random: Random,
) -> None:
    positions, targets, quotes = list(book.positions), list(followed.positions), list(market.items())
    for shuffled in (positions, targets, quotes):
        random.shuffle(shuffled)

    again = check(
        replace(book, positions=tuple(positions)),
        replace(followed, positions=tuple(targets)),
        dict(quotes),
        policy,
    )

    assert repr(again) == repr(check(book, followed, market, policy)), "down to the order inside"


@given(books, models, partial_markets, policies)
def test_what_passes_is_whole_priced_and_adds_up_to_its_market_value(
    book: Portfolio, followed: InvestmentModel, market: dict[SecurityId, Decimal], policy: Policy
) -> None:
    answer = check(book, followed, market, policy)

    if isinstance(answer, Unfit):
        assert bool(answer.conflicts) == (answer.reason != "empty")
        return
    assert answer.market_value > 0
    assert answer.prices.keys() == answer.shares.keys() | answer.targets.keys()
    assert all(answer.prices[key] == market[key] > 0 for key in answer.prices)
    assert all(0 < fraction < 1 for fraction in answer.fractions.values())
    held = {key: shares + Fraction(answer.fractions.get(key, 0)) for key, shares in answer.shares.items()}
    assert held == {key: Fraction(quantity) for key, quantity in book.held().items() if key in market}
    assert Fraction(answer.market_value) == Fraction(answer.cash) + sum(
        Fraction(answer.prices[key]) * quantity for key, quantity in held.items()
    )
    unpriced = (
        book.held().keys() | {position.security_id for position in followed.positions}
    ) - market.keys()
    assert len(answer.notes) == len(unpriced)
    assert all(any(key in note for note in answer.notes) for key in unpriced)


@given(books, models, markets, policies)
def test_a_strict_policy_never_passes_what_it_should_doubt(
    book: Portfolio, followed: InvestmentModel, market: dict[SecurityId, Decimal], policy: Policy
) -> None:
    answer = check(book, followed, market, policy)
    if isinstance(answer, Unfit):
        return

    if policy.fractional_holding is FractionalHolding.REJECT:
        assert not answer.fractions
    if policy.short_holding is ShortHolding.REJECT:
        assert all(shares >= 0 for shares in answer.shares.values())
    if policy.negative_cash is NegativeCash.REJECT:
        assert answer.cash >= 0


@given(books, models, markets)
def test_the_most_lenient_policy_rejects_only_what_is_worth_nothing(
    book: Portfolio, followed: InvestmentModel, market: dict[SecurityId, Decimal]
) -> None:
    answer = check(book, followed, market, lenient)

    assert isinstance(answer, CheckedPortfolio) == (book.market_value(market) > 0)


@given(partial_markets, st.dictionaries(st.sampled_from(SECURITIES).map(security_id), st.text(max_size=8)))
def test_a_snapshot_survives_freezing_whatever_the_order(
    market: dict[SecurityId, Decimal], tickers: dict[SecurityId, str]
) -> None:
    frozen, canonical = freeze(MORNING, market, tickers)
    backwards = dict(reversed(market.items()))

    assert thaw(canonical) == frozen
    assert frozen.prices == market
    assert frozen.tickers == tickers
    assert freeze(MORNING, backwards, dict(reversed(tickers.items()))) == (frozen, canonical)
