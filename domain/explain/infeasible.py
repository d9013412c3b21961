"""What is said, and what can be done, where the rules leave no answer.

`Infeasible.report` names the conflicts and the least relaxation that would leave an answer. `Infeasible.relaxed` is that
answer: the rules loosened by exactly these amounts, and the problem solved again under them. Whatever could not be found
out in time is left open, and said so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from domain import money
from domain.answer import Conflict
from domain.checks import CheckedPortfolio
from domain.errors import SolverFailed
from domain.explain.conflict import Clash, find_clashes
from domain.explain.relax import Relaxation, least_relaxation
from domain.explain.rulebook import LOT_SIZE, LOWER_BOUND, MIN_TRADE, OVERDRAFT, UPPER_BOUND, Rulebook
from domain.explain.told import Explanation, Relaxed
from domain.explain.words import MONEY_UNIT, Words
from domain.extended import Choices, Extended
from domain.ladder import EXACT, Best, NoAnswer, best_answer
from domain.orders import without_needless
from domain.policy import Policy
from domain.ports import Solver
from domain.program import RuleName
from domain.rules import broken_rules
from domain.verify import Violation

NO_WHOLE_SHARE = "no_whole_share"
RELAXED = "relaxed"

_OF_ONE_WINDOW = frozenset({LOWER_BOUND, UPPER_BOUND, LOT_SIZE, MIN_TRADE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every rule that stands in the way, the first first, and the whole explanation."""

    conflicts: tuple[Conflict, ...]
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaxedAnswer:
    """The best answer under the loosened rules (``problem``), and by how much each gave way.

    ``proved_by`` is who proved that nothing less would do; None where nobody did.
    """

    best: Best
    problem: Extended
    relaxed: tuple[Relaxed, ...]
    proved_by: str | None


class Infeasible:
    """A portfolio whose rules leave no answer; ``problem`` is the one under all of them."""

    def __init__(self, checked: CheckedPortfolio, policy: Policy, problem: Extended, solver: Solver) -> None:
        self._checked = checked
        self._policy = policy
        self._problem = problem
        self._solver = solver
        self._rulebook = Rulebook.of(checked, problem)
        self._words = Words(checked, policy, self._rulebook)

    @cached_property
    def _relaxation(self) -> Relaxation | None:
        return least_relaxation(self._rulebook, self._solver)

    @property
    def is_not(self) -> bool:
        """Whether an answer was found that keeps every rule, whatever a solver had said."""
        return self._relaxation is not None and not self._relaxation.amounts

    # -- reporting

    def report(self) -> Report:
        """Why there is no answer, and what the least is that would have to give way."""
        clashes = find_clashes(self._rulebook, self._solver)
        relaxation = self._relaxation
        relaxed = () if relaxation is None else self._words.relaxed(relaxation)
        proved_by = None if relaxation is None else relaxation.proved_by
        found = [conflict for clash in clashes for conflict in self._conflicts(clash, relaxed, proved_by)]
        # What would give way as well, though the conflicts that were looked into do not need it.
        told = {(each.rule, each.security_id, each.message): each for each in found}
        named = {(each.rule, each.security_id) for each in found}
        windows = {each.security_id for each in found if each.rule == NO_WHOLE_SHARE}
        for each in (self._words.would_give_way(one, proved_by) for one in relaxed):
            if (each.rule, each.security_id) not in named and each.security_id not in windows - {None}:
                told[each.rule, each.security_id, each.message] = each
        return Report(
            conflicts=tuple(told.values()),
            explanation=Explanation(
                conflicts=tuple(self._words.conflict(clash) for clash in clashes),
                least_relaxation=relaxed,
                relaxation_proved_by=proved_by,
            ),
        )

    def _conflicts(self, clash: Clash, relaxed: Sequence[Relaxed], proved_by: str | None) -> list[Conflict]:
        if not clash.rules:
            return [self._shortfall()]
        if self._is_of_one_window(clash):
            security_id = clash.rules[0].security_id
            place = self._problem.security_ids.index(security_id) if security_id else 0
            # Not proved the least, another answer may mend it for less: the message has the bound nearest by itself.
            proved = () if proved_by is None else relaxed
            amount = next((each.amount for each in proved if each.security_id == security_id), None)
            message = self._words.no_whole_share(place, clash)
            return [Conflict(rule=NO_WHOLE_SHARE, message=message, security_id=security_id, amount=amount)]
        gives_way = {
            RuleName(rule=each.rule, security_id=each.security_id, group=each.group): each for each in relaxed
        }
        return [
            self._words.would_give_way(gives_way[rule], proved_by)
            if rule in gives_way
            else self._words.in_the_way(rule)
            for rule in clash.rules
        ]

    def _is_of_one_window(self, clash: Clash) -> bool:
        """Whether no whole share keeps these rules, all of one security; not where cash is what it lacks."""
        security_ids = {rule.security_id for rule in clash.rules}
        if len(security_ids) != 1 or not {rule.rule for rule in clash.rules} <= _OF_ONE_WINDOW:
            return False
        (security_id,) = security_ids
        place = self._problem.security_ids.index(security_id) if security_id else 0
        return not Choices.of(self._rulebook.window(place, frozenset(clash.rules)))

    def _shortfall(self) -> Conflict:
        """Physics alone: the least that every security can draw on cash is more than there is."""
        overdraft = self._rulebook.overdraft
        # Under firm rules as well a security may have no choice left at all: physics always leaves one.
        alone = self._rulebook.under(frozenset())
        least = sum(
            min(
                overdraft.of(place, shares, window.held)
                for shares in choices.corners(window.target, window.price)
            )
            for place, (window, choices) in enumerate(zip(alone.windows, alone.choices, strict=True))
        )
        amount = money.from_units(least - overdraft.most, self._problem.places)
        message = f"whatever is sold and left unbought, cash ends overdrawn by {money.plain(amount)}"
        return Conflict(rule=OVERDRAFT, message=message, amount=amount)

    # -- relaxing

    def relaxed(self) -> RelaxedAnswer | None:
        """The best answer of least relaxation; None: firm rules and physics leave none at all."""
        relaxation = self._relaxation
        if relaxation is None:
            return None
        problem = self._rulebook.loosened(relaxation.amounts)
        best = needed(problem, self._best(problem, relaxation))
        amounts = self._rulebook.missed(best.quantity)
        final = Relaxation(
            quantity=best.quantity,
            amounts=amounts,
            total=self._rulebook.total(amounts),
            proved_by=relaxation.proved_by,
        )
        told = self._words.relaxed(final)
        return RelaxedAnswer(
            best=best,
            problem=problem,
            relaxed=(*told, *self._also_missed(best, told)),
            proved_by=relaxation.proved_by,
        )

    def _best(self, problem: Extended, relaxation: Relaxation) -> Best:
        """The best under the loosened rules, from the shares that the relaxation was found with.

        Raises:
            SolverFailed: not even these are an answer, which is a bug.
        """
        best = best_answer(problem, self._solver, relaxation.quantity)
        if isinstance(best, NoAnswer):
            raise SolverFailed("the rules loosened by the least relaxation leave no answer")
        return best

    def _also_missed(self, best: Best, told: Sequence[Relaxed]) -> list[Relaxed]:
        """Of floor and cash to raise only the greater is a row of the problem; the other may be missed as well."""
        named = {each.rule for each in told}
        shares = dict(zip(self._problem.security_ids, best.quantity, strict=True))
        return [
            Relaxed(
                rule=each.rule,
                amount=money.from_units(int(each.amount * self._problem.unit), self._problem.places),
                unit=MONEY_UNIT,
                message=each.message,
            )
            for each in broken_rules(self._checked, self._policy, shares)
            if each.rule in _CASH and each.rule not in named and each.amount is not None
        ]


def needed(extended: Extended, best: Best) -> Best:
    """The answer without orders that nothing needs. A proved one has none that cost anything.

    So only a bound that a solver claims can end above what is left: that answer refutes it, and it is told as no more
    than the answer. A bound in integers stays as it is: one above an answer is a fault, not to be hidden here.
    """
    quantity = without_needless(extended, best.quantity)
    if quantity == best.quantity:
        return best
    objective = extended.value(quantity)
    bound = best.lower_bound if best.bound_by == EXACT else min(best.lower_bound, objective)
    return replace(best, quantity=quantity, objective=objective, lower_bound=bound)


_CASH = frozenset({"cash_floor", "raise_cash"})


def unaccounted(violations: Sequence[Violation], relaxed: Sequence[Relaxed]) -> tuple[Violation, ...]:
    """The violations that no stated relaxation accounts for to the digit.

    An answer of least relaxation breaks rules; it has to break those that it says, each by what it says.
    """
    stated = {
        (_BOUNDS.get(each.rule, each.rule), each.security_id, each.group): Fraction(each.amount)
        for each in relaxed
    }
    found = [
        each for each in violations if stated.get((each.rule, each.security_id, each.group)) != each.amount
    ]
    broken = {(each.rule, each.security_id, each.group) for each in violations}
    found += [
        Violation(
            rule=rule,
            message=f"{rule} is said to give way by {amount}, and is kept",
            security_id=security_id,
            group=group,
        )
        for (rule, security_id, group), amount in stated.items()
        if (rule, security_id, group) not in broken
    ]
    return tuple(found)


_BOUNDS = {LOWER_BOUND: "bounds", UPPER_BOUND: "bounds"}
