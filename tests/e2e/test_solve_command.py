"""`trimtab solve --jsonl` as a program uses it: a document a line in, an answer a line out, the best there is."""

import json
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from domain.money import plain
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
        "policy": {
            "cash_floor": plain(book.policy.cash_floor),
            "cash_floor_amount": plain(book.policy.cash_floor_amount),
        },
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
