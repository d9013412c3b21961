import json
from decimal import Decimal
from typing import Any

import msgspec

from domain.policy import Policy
from domain.rebalance import Rebalance, rebalance
from tasks.documents import encode, rebalance_document
from tests.support.builders import model, portfolio, portfolio_id, prices, security_id
from tests.support.problems import NeverAsked


def told_of(answer: Rebalance) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(encode(rebalance_document(answer)))
    return told


def document() -> dict[str, Any]:
    answer = rebalance(
        portfolio_id(1),
        portfolio("650.00", {1: 1, 2: 5}),
        model({1: ("0.3", "0.1", "0.1")}),
        prices({1: "100.50", 2: "50.00"}),
        Policy(),
        NeverAsked(),
    )
    return told_of(answer)


def test_a_traded_portfolio_is_told_in_full() -> None:
    assert document() == {
        "portfolio_id": portfolio_id(1),
        "outcome": "traded",
        "reason": "rebalanced",
        "conflicts": [],
        "notes": [],
        "market_value": "1000.50",
        "cash_before": "650.00",
        "cash_after": "699.00",
        "drift_before": "449.65",
        "drift_after": "1.35",
        "positions": [
            {
                "security_id": security_id(1),
                "price": "100.50",
                "original_quantity": "1",
                "adjusted_quantity": "3",
                "target": "0.3",
                "low_drift": "0.1",
                "high_drift": "0.1",
                "actual": "0.3013",
            },
            {
                "security_id": security_id(2),
                "price": "50.00",
                "original_quantity": "5",
                "adjusted_quantity": "0",
                "target": "0",
                "low_drift": "0",
                "high_drift": "0",
                "actual": "0.0000",
            },
        ],
        "orders": [
            {
                "side": "SELL",
                "security_id": security_id(2),
                "quantity": 5,
                "price": "50.00",
                "notional": "250.00",
                "reason": "not_in_model",
            },
            {
                "side": "BUY",
                "security_id": security_id(1),
                "quantity": 2,
                "price": "100.50",
                "notional": "201.00",
                "reason": "below_target",
            },
        ],
        "proof": {
            "method": "closed_form",
            "objective": "1.35",
            "lower_bound": "1.35",
            "gap": "0.00",
            "solver": "trimtab",
            "bound_by": "exact",
        },
    }


def test_costs_and_turnover_stand_in_the_document_only_where_a_policy_asks_for_more() -> None:
    answer = rebalance(
        portfolio_id(1),
        portfolio("650.00", {1: 1, 2: 5}),
        model({1: ("0.3", "0.1", "0.1")}),
        prices({1: "100.50", 2: "50.00"}),
        Policy(cost_rate=Decimal("0.01")),
        NeverAsked(),
    )
    told = told_of(answer)
    assert (told["turnover"], told["cost"], told["cash_after"]) == ("451.00", "4.51", "694.49")
    assert list(told)[: len(document())] == list(document())


def test_an_infeasible_portfolio_is_told_with_its_conflicts_and_no_proof() -> None:
    answer = rebalance(
        portfolio_id(1),
        portfolio("1000"),
        model({1: ("0.35", "0.04", "0.04")}),
        prices({1: 100}),
        Policy(),
        NeverAsked(),
    )
    told = told_of(answer)
    assert (told["outcome"], told["reason"], told["proof"]) == ("infeasible", "no_whole_share", None)
    (conflict,) = told["conflicts"]
    assert (conflict["rule"], conflict["security_id"], conflict["amount"]) == (
        "no_whole_share",
        security_id(1),
        "10.00",
    )


def test_what_could_not_be_computed_is_null() -> None:
    answer = rebalance(portfolio_id(1), portfolio(10, {1: 1}), model(), {}, Policy(), NeverAsked())
    told = told_of(answer)
    assert told["outcome"] == "rejected"
    assert told["market_value"] is None
    assert told["drift_before"] is None
    assert told["conflicts"][0]["amount"] is None


def test_the_bytes_are_json_in_a_fixed_order() -> None:
    told = document()
    assert encode(told) == encode(document())
    assert json.loads(encode(told)) == told
    assert list(msgspec.json.decode(encode(told)))[:3] == ["portfolio_id", "outcome", "reason"]


def test_amounts_never_print_with_an_exponent() -> None:
    answer = rebalance(
        portfolio_id(1),
        portfolio(Decimal("1E+9")),
        model({1: ("0.5", "0.1", "0.1")}),
        prices({1: Decimal("1E-7")}),
        Policy(),
        NeverAsked(),
    )
    told = told_of(answer)
    assert told["cash_before"] == "1000000000"
    assert told["positions"][0]["price"] == "0.0000001"
    assert told["orders"][0]["quantity"] == 5 * 10**15
