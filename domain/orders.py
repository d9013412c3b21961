"""The orders that lead from one holding to another, each with the reason a person would give for it."""

from domain import money
from domain.answer import Order, Side
from domain.checks import CheckedPortfolio
from domain.problem import IntArray, Problem

# An order without the function around its constructor, which takes as long as all the rest of it.
_made = tuple.__new__

NOT_IN_MODEL = "not_in_model"  # whatever is held of it goes (or, if short, is bought back)
BELOW_TARGET = "below_target"
ABOVE_TARGET = "above_target"
CASH_FLOOR = "cash_floor"  # not above its target, sold all the same so that the cash suffices


def orders_between(checked: CheckedPortfolio, problem: Problem, after: IntArray) -> tuple[Order, ...]:
    """Sells first, so that they can pay for the buys; within each side in order of security id."""
    change = (after - problem.held).tolist()
    held_value = problem.held * problem.fine_price
    is_above = (held_value > problem.target).tolist()
    prices, targets, multiply = checked.prices, checked.targets, money.multiply
    buy, sell = Side.BUY, Side.SELL
    sells: list[Order] = []
    buys: list[Order] = []
    for security_id, shares, above in zip(problem.security_ids, change, is_above, strict=True):
        if shares == 0:
            continue
        price, modelled = prices[security_id], security_id in targets
        if shares > 0:
            reason = BELOW_TARGET if modelled else NOT_IN_MODEL
            notional = multiply(price, shares)
            buys.append(_made(Order, (buy, security_id, shares, price, notional, reason)))
        else:
            because = ABOVE_TARGET if above else CASH_FLOOR
            reason = because if modelled else NOT_IN_MODEL
            notional = multiply(price, -shares)
            sells.append(_made(Order, (sell, security_id, -shares, price, notional, reason)))
    return (*sells, *buys)
