"""What an answer says of every security, before and after."""

from decimal import Decimal

from domain import money
from domain.answer import Positions, Shares
from domain.checks import CheckedPortfolio
from domain.problem import IntArray, Problem
from domain.terms import Terms


def positions_of(checked: CheckedPortfolio, terms: Terms, problem: Problem, after: IntArray) -> Positions:
    """Each of them once, in order of id; ``after`` are whole shares."""
    listing = terms.listing(problem.security_ids, checked.prices)
    weights = money.ten_thousandths((problem.price * after).tolist(), problem.market_value)
    shares_before: list[Shares] = problem.held.tolist()
    shares_after: list[Shares] = after.tolist()
    for security_id, fraction in checked.fractions.items():
        place = problem.security_ids.index(security_id)
        shares_before[place] = money.add(Decimal(shares_before[place]), fraction)
        shares_after[place] = adjusted = money.add(Decimal(shares_after[place]), fraction)
        worth = money.multiply(listing.prices[place], adjusted)
        weights[place] = money.to_units(money.weight4(worth, checked.market_value), 4)
    return Positions(listing, shares_before, shares_after, weights)
