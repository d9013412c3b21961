"""What is said where the rules leave no answer, held against every holding that a small book could end with."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import pytest

from adapters.solver.cvxpy_solver import CvxpySolver
from domain.explain.conflict import find_clashes
from domain.explain.infeasible import Infeasible, unaccounted
from domain.explain.relax import least_relaxation
from domain.explain.rulebook import Rulebook
from domain.rules import broken_rules, build_extended
from tests.support.brute_force_policies import TooLarge
from tests.support.every_holding import SOFT, Held, every_holding, least_total
from tests.support.policy_books import PAIRS, SINGLES, Case, cases

SETS = [features for features in (*SINGLES, *PAIRS) if "bounds" not in features]
A_CENT = Fraction(1, 100)


@dataclass(frozen=True, kw_only=True)
class Hopeless:
    """A book without an answer."""

    features: tuple[str, ...]
    case: Case
    rulebook: Rulebook


@cache
def hopeless() -> list[Hopeless]:
    return list(_hopeless())


def _hopeless() -> Iterator[Hopeless]:
    for features in SETS:
        for case in cases(features, 1, limit=1000):
            if case.truth.objective is None:
                problem = build_extended(case.checked, case.book.policy)
                rulebook = Rulebook.of(case.checked, problem)
                yield Hopeless(features=features, case=case, rulebook=rulebook)


@cache
def tried_out() -> list[tuple[Hopeless, list[Held]]]:
    """Those that are small enough to look at everything."""
    return list(_tried_out())


def _tried_out() -> Iterator[tuple[Hopeless, list[Held]]]:
    for each in hopeless():
        try:
            yield each, every_holding(each.case.checked, each.case.book.policy, limit=1000)
        except TooLarge:
            continue


@pytest.fixture(scope="module")
def solver() -> CvxpySolver:
    return CvxpySolver()


def test_every_set_of_rules_in_conflict_is_one_and_none_of_them_can_be_spared(solver: CvxpySolver) -> None:
    seen: Counter[str] = Counter()
    for each, holdings in tried_out():
        clashes = find_clashes(each.rulebook, solver)
        assert clashes, each.features
        for clash in clashes:
            assert clash.irreducible
            assert not any(held.keeps(clash.rules) for held in holdings), each.features
            for spared in clash.rules:
                rest = [rule for rule in clash.rules if rule != spared]
                assert any(held.keeps(rest) for held in holdings), (each.features, spared)
            seen.update({clash.proved_by, f"{min(len(clash.rules), 3)} rules"})
    assert seen["exact"] > 15
    assert seen["2 rules"] > 10
    assert seen["3 rules"] > 5


def test_no_relaxation_is_less_than_the_one_that_is_found(solver: CvxpySolver) -> None:
    seen: Counter[str | None] = Counter()
    for each, holdings in tried_out():
        truth = least_total(each.case.checked, each.case.book.policy, holdings)
        found = least_relaxation(each.rulebook, solver)
        if truth is None:
            assert found is None, each.features
            seen["none"] += 1
            continue
        assert found is not None, each.features
        total = Fraction(found.total, each.rulebook.extended.unit)
        if found.proved_by == "exact":
            assert total <= truth, each.features
        assert abs(total - truth) <= A_CENT * len(each.rulebook.extended.couplings), each.features
        seen[found.proved_by] += 1
    assert seen["exact"] > 15


def test_the_answer_of_least_relaxation_breaks_exactly_what_it_says(solver: CvxpySolver) -> None:
    for each in hopeless():
        case = each.case
        policy = case.book.policy
        answer = Infeasible(case.checked, policy, each.rulebook.extended, solver).relaxed()
        if answer is None:
            continue
        shares = dict(zip(answer.problem.security_ids, answer.best.quantity, strict=True))
        violations = broken_rules(case.checked, policy, shares)
        assert violations, each.features
        assert not unaccounted(violations, answer.relaxed), each.features
        assert {told.rule for told in answer.relaxed} <= SOFT
        assert answer.problem.allows(answer.best.quantity)
        assert answer.best.lower_bound <= answer.best.objective
        assert all(told.amount > 0 and told.message for told in answer.relaxed)


def test_every_report_says_what_is_in_the_way_in_words_and_money(solver: CvxpySolver) -> None:
    for each in hopeless():
        report = Infeasible(each.case.checked, each.case.book.policy, each.rulebook.extended, solver).report()
        assert report.conflicts
        assert report.explanation.conflicts
        assert all(conflict.message for conflict in report.conflicts)
        assert all(conflict.amount is None or conflict.amount > 0 for conflict in report.conflicts)
        told = [(conflict.rule, conflict.security_id, conflict.message) for conflict in report.conflicts]
        assert len(told) == len(set(told))
