"""Which rules are in conflict: sets of which none can be spared.

A set of rules is in conflict when no whole shares keep them all, and it is minimal when they could be kept if any one of
them were left out. It is found by leaving out what can be left out (a deletion filter, by halves, so that of n rules the
k in conflict cost about 2 k log(n / k) looks): the less a rule would tell a person, the earlier it goes.

Whether some rules can be kept is decided exactly where that is possible: a security none of whose choices is left, a
row that is too much even if every security does its best for it, shares that keep everything, and of few securities the
listing of the ladder. The solver is asked about the rest; what it claims to be impossible is told as its claim.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from domain.errors import SolverFailed
from domain.explain.rulebook import Rulebook, Rules
from domain.extended import Choices, Coupling, Extended, Objective
from domain.extended_program import build_program
from domain.ladder import Best, best_answer
from domain.ports import Solver
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer, RuleName

EXACT = "exact"

# An explanation has to come soon: a question that takes longer is left open, and no other is asked.
ASK_SECONDS = 1.0
MAX_ASKED = 100

# So few securities are looked through in integers first: of more it takes longer than the solver does.
LADDER_UP_TO = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Rules that cannot be kept together, in the order in which they are told.

    ``irreducible``: if any one of them is left out, the rest can be kept. False where the solver ran out of time.
    ``proved_by`` is what proved that they clash: ``exact``, or the name of a solver.
    """

    rules: tuple[RuleName, ...]
    irreducible: bool
    proved_by: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether some rules can be kept together; None: not known. ``proved_by`` as in `Clash`."""

    feasible: bool | None
    proved_by: str = EXACT


def find_clashes(rulebook: Rulebook, solver: Solver) -> tuple[Clash, ...]:
    """Minimal sets of rules in conflict: one of each security that is impossible by itself, and one of the rest.

    Where physics alone leaves nothing that is the conflict, whatever else is: one of no rules. Empty where no conflict could be shown (the solver ran out of time); there may be others than these.
    """
    judge = Judge(rulebook, solver)
    if judge.physics.feasible is False:
        return (Clash(rules=(), irreducible=True, proved_by=EXACT),)
    alone = [place for place in range(len(rulebook.extended.windows)) if not judge.choices(place, None)]
    clashes = [_of_one(rulebook, judge, place) for place in alone]
    impossible = {rule for place in alone for rule in rulebook.bounds_of(place)}
    impossible |= {
        rule for place in alone if not _has_choice(rulebook, place) for rule in rulebook.rules_of(place)
    }
    rest = [rule for rule in rulebook.rules if rule not in impossible]
    verdict = judge(frozenset(rest))
    if verdict.feasible is False:
        clashes.append(_reduced(rest, judge))
    return tuple(clashes)


def _has_choice(rulebook: Rulebook, place: int) -> bool:
    """Whether the firm rules of a security leave it any choice."""
    return bool(Choices.of(rulebook.window(place, frozenset(rulebook.firm_of(place).values()))))


def _of_one(rulebook: Rulebook, judge: "Judge", place: int) -> Clash:
    own = rulebook.rules_of(place)
    ordered = [rule for rule in rulebook.rules if rule in own]
    return _reduced(ordered, lambda rules: judge.of_one(place, rules))


def _reduced(rules: Sequence[RuleName], judge: Callable[[Rules], Verdict]) -> Clash:
    """A minimal part of these that is still in conflict; the first of them are the first to be left out."""
    kept: list[RuleName] = []
    waiting: list[Sequence[RuleName]] = [tuple(reversed(rules))]
    irreducible = True
    proved_by = judge(frozenset(rules)).proved_by
    while waiting:
        chunk = waiting.pop()
        rest = frozenset((*kept, *(rule for each in waiting for rule in each)))
        verdict = judge(rest)
        if verdict.feasible is False:
            proved_by = verdict.proved_by
            continue
        if len(chunk) > 1:
            half = len(chunk) // 2
            waiting += [chunk[:half], chunk[half:]]
            continue
        irreducible = irreducible and verdict.feasible is True
        kept.extend(chunk)
    return Clash(rules=tuple(reversed(kept)), irreducible=irreducible, proved_by=proved_by)


class Judge:
    """Can these rules be kept together? Remembers what each security and row comes to, so that asking again is cheap."""

    def __init__(self, rulebook: Rulebook, solver: Solver) -> None:
        self._rulebook = rulebook
        self._solver = solver
        self._own = [rulebook.rules_of(place) for place in range(len(rulebook.extended.windows))]
        self._choices: dict[tuple[int, Rules], Choices] = {}
        self._least: dict[tuple[int, Rules, RuleName], int] = {}
        self._asked = 0

    def choices(self, place: int, rules: Rules | None) -> Choices:
        """What one security may be left with under these rules; None: under all."""
        own = self._own[place] if rules is None else self._own[place] & rules
        found = self._choices.get((place, own))
        if found is None:
            found = self._choices[place, own] = Choices.of(self._rulebook.window(place, own))
        return found

    @cached_property
    def _drawn(self) -> int:
        """The least that all securities together draw on cash, with no rule but physics."""
        return sum(
            self._least_of(place, frozenset(), self._rulebook.overdraft) for place in range(len(self._own))
        )

    @property
    def physics(self) -> Verdict:
        """Whether anything is left with no rule at all."""
        return Verdict(feasible=self._drawn <= self._rulebook.overdraft.most)

    def of_one(self, place: int, rules: Rules) -> Verdict:
        """Whether these rules of one security can be kept with no other rule: one row is left, so the least decides."""
        if not self.choices(place, rules):
            return Verdict(feasible=False)
        overdraft = self._rulebook.overdraft
        others = self._drawn - self._least_of(place, frozenset(), overdraft)
        return Verdict(feasible=others + self._least_of(place, rules, overdraft) <= overdraft.most)

    def __call__(self, rules: Rules) -> Verdict:
        """Whether whole shares keep all of these."""
        places = range(len(self._own))
        choices = [self.choices(place, rules) for place in places]
        if not all(choices):
            return Verdict(feasible=False)
        couplings = [self._rulebook.overdraft]
        couplings += [each for each in self._rulebook.extended.couplings if each.rule in rules]
        if any(
            sum(self._least_of(place, rules, coupling) for place in places) > coupling.most
            for coupling in couplings
        ):
            return Verdict(feasible=False)
        for quantity in self._attempts(choices, couplings):
            if all(self._rulebook.extended.row(each, quantity) <= each.most for each in couplings):
                return Verdict(feasible=True)
        return self._ask(rules)

    def _least_of(self, place: int, rules: Rules, coupling: Coupling) -> int:
        """The least that one security adds to a row."""
        key = (place, self._own[place] & rules, coupling.rule)
        least = self._least.get(key)
        if least is None:
            held = self._rulebook.extended.windows[place].held
            least = min(coupling.of(place, shares, held) for shares in self._corners(place, rules))
            self._least[key] = least
        return least

    def _corners(self, place: int, rules: Rules) -> Iterable[int]:
        window = self._rulebook.extended.windows[place]
        return self.choices(place, rules).corners(window.target, window.price)

    def _attempts(
        self, choices: Sequence[Choices], couplings: Sequence[Coupling]
    ) -> Iterable[tuple[int, ...]]:
        """Shares that may well keep everything: as held where that is allowed, nearest to target, best for a row."""
        windows = self._rulebook.extended.windows
        corners = [
            tuple(choice.corners(window.target, window.price))
            for choice, window in zip(choices, windows, strict=True)
        ]
        yield tuple(
            min(each, key=lambda shares, window=window: abs(shares - window.held))  # type: ignore[misc]
            for each, window in zip(corners, windows, strict=True)
        )
        yield tuple(
            min(each, key=lambda shares, window=window: abs(window.target - shares * window.price))  # type: ignore[misc]
            for each, window in zip(corners, windows, strict=True)
        )
        for coupling in couplings:
            yield tuple(
                min(each, key=lambda shares, at=place: coupling.of(at, shares, windows[at].held))  # type: ignore[misc]
                for place, each in enumerate(corners)
            )

    def _ask(self, rules: Rules) -> Verdict:
        if self._asked >= MAX_ASKED:
            return Verdict(feasible=None)
        self._asked += 1
        problem = without_objective(self._rulebook.under(rules))
        try:
            verdict = (
                self._by_ladder(problem) if len(self._own) <= LADDER_UP_TO else self._by_program(problem)
            )
        except SolverFailed:
            verdict = Verdict(feasible=None)
        if verdict.feasible is None:
            self._asked = MAX_ASKED
        return verdict

    def _by_ladder(self, problem: Extended) -> Verdict:
        """In integers, as a rule."""
        answer = best_answer(problem, _Brief(self._solver))
        if isinstance(answer, Best):
            return Verdict(feasible=True)
        return Verdict(feasible=False, proved_by=EXACT if answer.bound_by == EXACT else self._solver.name)

    def _by_program(self, problem: Extended) -> Verdict:
        formulation = build_program(problem)
        answer = self._solver.solve_program(formulation.program, None, ASK_SECONDS)
        if answer.values is not None and problem.allows(formulation.quantity(answer.values)):
            return Verdict(feasible=True)
        return Verdict(feasible=False if answer.infeasible else None, proved_by=self._solver.name)


class _Brief:
    """A solver that is given a second for a question."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver
        self.name = solver.name
        self.time_limit_seconds = min(ASK_SECONDS, solver.time_limit_seconds)

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        return self._solver.solve(problem, self._limit(time_limit))

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        return self._solver.solve_program(program, start, self._limit(time_limit))

    def _limit(self, asked: float | None) -> float:
        return self.time_limit_seconds if asked is None else min(asked, self.time_limit_seconds)


def without_objective(extended: Extended) -> Extended:
    """The same rules, and nothing to minimise."""
    nothing = Objective(drift=0, traded=(0,) * len(extended.windows), per_order=0)
    return replace(extended, objective=nothing)
