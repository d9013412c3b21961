"""Why no answer exists, in words and money: every rule that stands in the way and the least that would mend it."""

from domain import money
from domain.answer import Conflict
from domain.closed_form import ImpossibleSecurity
from domain.problem import Problem

NO_WHOLE_SHARE = "no_whole_share"
CASH_FLOOR = "cash_floor"


def no_whole_share(problem: Problem, impossible: ImpossibleSecurity) -> Conflict:
    """No whole number of shares of this security is worth something inside its bounds."""

    def amount(fine_units: int) -> str:
        return money.plain(money.from_units(fine_units, problem.fine_places))

    price = int(problem.price[impossible.index]) * problem.weight_scale
    near = [
        f"{shares} {'share is' if shares == 1 else 'shares are'} worth {amount(shares * price)}"
        for shares in (impossible.below, impossible.above)
        if shares is not None
    ]
    least = money.from_units(impossible.least_change, problem.fine_places)
    return Conflict(
        rule=NO_WHOLE_SHARE,
        message=(
            f"no whole share of security {impossible.security_id} fits its bounds of "
            f"{amount(impossible.lower)} to {amount(impossible.upper)}: {' and '.join(near)}; "
            f"the nearest bound would have to give way by {money.plain(least)}"
        ),
        security_id=impossible.security_id,
        amount=least,
    )


def cash_floor(problem: Problem, shortfall: int) -> Conflict:
    """The least the bounds demand costs more than the cash floor leaves; ``shortfall`` in money units."""
    short = money.from_units(shortfall, problem.money_places)
    budget = money.from_units(problem.budget, problem.money_places)
    needed = money.from_units(problem.budget + shortfall, problem.money_places)
    return Conflict(
        rule=CASH_FLOOR,
        message=(
            f"the bounds demand whole shares worth at least {money.plain(needed)}, the cash floor leaves "
            f"{money.plain(budget)} for them: lower the cash floor or the lower bounds by {money.plain(short)}"
        ),
        amount=short,
    )
