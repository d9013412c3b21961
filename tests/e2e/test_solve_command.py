"""`trimtab solve --jsonl` as a program uses it: a document a line in, an answer a line out, the best there is."""

import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from adapters.inbound.answers import policy_answer
from domain.money import plain
from tests.support import policy_books
from tests.support.policy_books import PAIRS
from tests.support.small_books import FAMILIES, Book
from tests.support.small_cases import cases

pytestmark = pytest.mark.e2e


def document(book: Book) -> dict[str, Any]:
    """The book as the command reads it."""
    return {
        "portfolio": {
            "portfolio_id": book.portfolio.portfolio_id,
            "cash": plain(book.portfolio.cash),
            "positions": [
                {"security_id": position.security_id, "quantity": plain(position.quantity)}
                for position in book.portfolio.positions
            ],
        },
        "model": {
            "positions": [
                {
                    "security_id": position.security_id,
                    "target": plain(position.target),
                    "low_drift": plain(position.low_drift),
                    "high_drift": plain(position.high_drift),
                }
                for position in book.model.positions
            ]
        },
        "prices": {security_id: plain(price) for security_id, price in book.prices.items()},
        "policy": policy_answer(book.policy).model_dump(mode="json"),
    }


def solve(lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "solve", "--jsonl", "-"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_line_of_more_than_a_thousand_gets_the_exact_optimum_or_the_reason_why_there_is_none() -> None:
    asked = [(book, truth) for name in FAMILIES for book, _, truth in cases(name)]
    assert len(asked) >= 1_000

    done = solve("".join(json.dumps(document(book)) + "\n" for book, _ in asked))

    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked)
    for number, (answer, (_, truth)) in enumerate(zip(answers, asked, strict=True)):
        if truth.drift is None:
            assert (answer["outcome"], answer["reason"]) == ("infeasible", truth.reason), number
            assert answer["conflicts"], number
        else:
            assert Fraction(Decimal(answer["drift_after"])) == truth.drift, number
            assert Decimal(answer["proof"]["gap"]) == 0, number


def test_a_bad_line_is_answered_in_its_place_and_the_others_are_solved() -> None:
    good = json.dumps(document(cases(next(iter(FAMILIES)))[0][0]))

    done = solve(f"{good}\nnot JSON\n{good}\n")

    first, bad, last = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert first == last
    assert "error" in bad


def test_every_policy_of_a_document_counts() -> None:
    """Two policies at a time, each pair of them once, against trying everything."""
    given = [case for pair in PAIRS for case in policy_books.cases(pair, 1)]
    ended = solve("\n".join(json.dumps(document(case.book)) for case in given))
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert (ended.returncode, len(answers)) == (0, len(given))
    ends = Counter[str]()
    for case, answer in zip(given, answers, strict=True):
        truth = case.truth
        ends[answer["outcome"]] += 1
        if truth.objective is None:
            assert (answer["outcome"], answer["orders"]) == ("infeasible", [])
            assert answer["conflicts"]
            assert case.book.policy.is_plain or answer["explanation"]["conflicts"]
        elif truth.inside:
            assert (answer["reason"], answer["orders"]) == ("inside_bounds", [])
        else:
            assert Fraction(answer["proof"]["objective"]) == truth.objective
            assert Fraction(answer["proof"]["gap"]) == 0
            assert {"cost", "turnover", "explanation"} <= answer.keys() or case.book.policy.is_plain
    assert min(ends["traded"], ends["no_trade"], ends["infeasible"]) > 10
