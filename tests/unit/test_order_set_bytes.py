"""The bytes of both documents, held against the plainest way there is to write them: a dictionary of strings."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from domain.money import plain
from domain.policy import FractionalHolding, MissingPrice, NegativeCash, Policy, ShortHolding
from domain.portfolio import Portfolio
from domain.prices import PriceSnapshot
from domain.rebalance import Order, Outcome, PositionOutcome, Rebalance, rebalance
from tasks.documents import encode, rebalance_document
from tasks.order_set import finish_of
from tests.support import builders
from tests.support.lives import job
from tests.support.problems import NeverAsked

LENIENT = Policy(
    missing_price=MissingPrice.EXCLUDE,
    fractional_holding=FractionalHolding.KEEP_FRACTION,
    short_holding=ShortHolding.COVER,
    negative_cash=NegativeCash.RAISE,
)
AWKWARD = ("1E-7", "0.0000001", "1.50", "2.5000", "1E+2", "120", "33.3333", "0.07", "500000.00")
TICKERS = ("BRK-B", "A+", "\u00c9T\u00c9", 'Q"T', "E-1", "PLAIN")


def text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def position(each: PositionOutcome) -> dict[str, Any]:
    return {
        "security_id": each.security_id,
        "price": plain(each.price),
        "original_quantity": plain(each.original_quantity),
        "adjusted_quantity": plain(each.adjusted_quantity),
        "target": plain(each.target),
        "low_drift": plain(each.low_drift),
        "high_drift": plain(each.high_drift),
        "actual": plain(each.actual),
    }


def order(each: Order, tickers: PriceSnapshot | None = None) -> dict[str, Any]:
    ticker = {} if tickers is None else {"ticker": tickers.tickers.get(each.security_id)}
    return {
        "side": each.side.value,
        "security_id": each.security_id,
        **ticker,
        "quantity": each.quantity,
        "price": plain(each.price),
        "notional": plain(each.notional),
        "reason": each.reason,
    }


def document(answer: Rebalance) -> dict[str, Any]:
    proof = answer.proof
    return {
        "portfolio_id": answer.portfolio_id,
        "outcome": answer.outcome.value,
        "reason": answer.reason,
        "conflicts": [
            {
                "rule": each.rule,
                "message": each.message,
                "security_id": each.security_id,
                "amount": text(each.amount),
            }
            for each in answer.conflicts
        ],
        "notes": list(answer.notes),
        "market_value": text(answer.market_value),
        "cash_before": text(answer.cash_before),
        "cash_after": text(answer.cash_after),
        "drift_before": text(answer.drift_before),
        "drift_after": text(answer.drift_after),
        "positions": [position(each) for each in answer.positions],
        "orders": [order(each) for each in answer.orders],
        "proof": proof
        and {
            "method": proof.method,
            "objective": plain(proof.objective),
            "lower_bound": plain(proof.lower_bound),
            "gap": plain(proof.gap),
            "solver": proof.solver,
            "bound_by": proof.bound_by,
        },
    }


def written(told: dict[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()


def answers() -> Iterator[tuple[Rebalance, PriceSnapshot]]:
    """Of all outcomes but failures; prices, weights and quantities that print with an exponent among them."""
    rng = random.Random(4)
    for _ in range(150):
        count = rng.randint(1, 8)
        numbers = range(1, count + 1)
        by_security = {number: rng.choice(AWKWARD) for number in numbers}
        drift = [Decimal(rng.choice(("0.3", "1", "0.0000003", "1E-9"))) for _ in numbers]
        targets = {
            number: (
                Decimal(rng.randint(0, 190 // count)) * Decimal("0.005"),
                drift[number - 1],
                Decimal("0.2"),
            )
            for number in numbers
            if rng.random() < 0.8
        }
        held = {
            number: rng.choice(("0.00000001", "3", "3.25", "12E+1", "-2", "-0.0000004", "0"))
            for number in numbers
            if rng.random() < 0.7
        }
        priced = {number: by_security[number] for number in numbers if rng.random() < 0.95}
        snapshot = replace(
            builders.snapshot(priced),
            tickers={builders.security_id(number): rng.choice(TICKERS) for number in priced if number != 2},
            prices=builders.prices(priced),
        )
        portfolio: Portfolio = builders.portfolio(rng.choice(("1E+6", "100000.005", "-3", "0.0000001")), held)
        yield (
            rebalance(
                portfolio.portfolio_id,
                portfolio,
                builders.model(targets),
                snapshot.prices,
                rng.choice((LENIENT, LENIENT, Policy())),
                NeverAsked(),
            ),
            snapshot,
        )


ANSWERS = list(answers())


def test_the_answers_cover_what_they_are_meant_to_cover() -> None:
    outcomes = [answer.outcome for answer, _ in ANSWERS]
    assert all(outcomes.count(each) >= 5 for each in (Outcome.TRADED, Outcome.INFEASIBLE, Outcome.REJECTED))
    odd = [each for answer, _ in ANSWERS for each in answer.positions if "E" in str(each.price)]
    assert len(odd) > 50


@pytest.mark.parametrize(("answer", "snapshot"), ANSWERS)
def test_both_documents_are_the_bytes_of_plain_strings(answer: Rebalance, snapshot: PriceSnapshot) -> None:
    told = document(answer)
    assert encode(rebalance_document(answer)) == written(told)

    given = job()
    finish = finish_of(given, 3, answer, snapshot)
    head = {
        "id": f"{given.job_id}:{answer.portfolio_id}",
        "job_id": given.job_id,
        "portfolio_id": answer.portfolio_id,
        "model_id": given.model.model_id,
        "model_version": given.model.version,
        "as_of": snapshot.as_of.isoformat().replace("+00:00", "Z"),
        "trade_date": snapshot.as_of.date().isoformat(),
        "snapshot_sha256": snapshot.sha256,
        "correlation_id": given.correlation_id,
    }
    assert finish.result == written({"schema": "trimtab.result.v1", **head, **told})
    published = [
        "outcome",
        "reason",
        "conflicts",
        "notes",
        "market_value",
        "cash_before",
        "cash_after",
        "drift_before",
        "drift_after",
    ]
    assert finish.order_set == written(
        {
            "schema": "trimtab.order-set.v1",
            **head,
            **{name: told[name] for name in published},
            "orders": [order(each, snapshot) for each in answer.orders],
            "proof": told["proof"],
        }
    )
