"""The verifier of published order sets: right ones pass, and a change of anything that matters is found."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.policy import OnInfeasible, Policy
from domain.rebalance import rebalance
from tasks.order_set import finish_of
from tasks.verify_order_set import verify_order_set
from tests.support import builders
from tests.support.lives import job
from tests.support.problems import OutOfTime
from tests.support.world import World

Document = dict[str, Any]


@pytest.fixture
def documents(tmp_path: Path) -> Iterator[tuple[Document, Document]]:
    """An order set and the result it belongs to, as they come out of the pipeline."""
    world = World.create(tmp_path)
    world.book(1)
    (item,) = world.items(world.finish(world.submit()).job_id)
    yield json.loads(item.order_set), json.loads(item.result)
    world.store.close()


def test_what_the_pipeline_publishes_is_right(documents: tuple[Document, Document]) -> None:
    assert verify_order_set(*documents, Policy()) == ()


BEYOND = {"cost_rate": "0.001", "cost_per_order": "0.95", "min_trade": "5", "max_turnover": "1.5"}


@pytest.fixture
def with_costs(tmp_path: Path) -> Iterator[tuple[Document, Document]]:
    """The same, under rules beyond targets, bounds and the cash floors."""
    world = World.create(tmp_path)
    world.book(1)
    (item,) = world.items(world.finish(world.submit(policy=BEYOND)).job_id)
    yield json.loads(item.order_set), json.loads(item.result)
    world.store.close()


def test_what_is_published_under_more_rules_is_held_against_all_of_them(
    with_costs: tuple[Document, Document],
) -> None:
    order_set, result = with_costs
    assert Decimal(order_set["cost"]) > 0
    policy = Policy().with_changes(BEYOND)
    assert verify_order_set(order_set, result, policy) == ()
    fewer = policy.with_changes({"max_orders": len(order_set["orders"]) - 1})
    (fault,) = verify_order_set(order_set, result, fewer)
    assert "orders are more than" in fault
    cheaper = policy.with_changes({"cost_per_order": "0"})
    (fault,) = verify_order_set(order_set, result, cheaper)
    assert "the cost is" in fault


def test_costs_that_differ_from_the_stored_result_are_found(with_costs: tuple[Document, Document]) -> None:
    order_set, result = with_costs
    order_set["cost"] = "0.00"
    (fault,) = verify_order_set(order_set, result, Policy().with_changes(BEYOND))
    assert "differ in cost" in fault


def one_share_more(order_set: Document) -> None:
    order_set["orders"][0]["quantity"] += 1


def another_price(order_set: Document) -> None:
    order_set["orders"][0]["price"] = "10.01"


def another_notional(order_set: Document) -> None:
    order_set["orders"][0]["notional"] = "1.00"


def buys_first(order_set: Document) -> None:
    order_set["orders"].reverse()


def an_order_left_out(order_set: Document) -> None:
    order_set["orders"].pop()


def an_order_twice(order_set: Document) -> None:
    order_set["orders"].append(copy.deepcopy(order_set["orders"][-1]))


def half_a_share(order_set: Document) -> None:
    order_set["orders"][0]["quantity"] = 0


def more_cash(order_set: Document) -> None:
    order_set["cash_after"] = "999999.00"


def another_snapshot(order_set: Document) -> None:
    order_set["snapshot_sha256"] = "0" * 64


CHANGES: tuple[Callable[[Document], None], ...] = (
    one_share_more,
    another_price,
    another_notional,
    buys_first,
    an_order_left_out,
    an_order_twice,
    half_a_share,
    more_cash,
    another_snapshot,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_order_set_is_found(
    documents: tuple[Document, Document], change: Callable[[Document], None]
) -> None:
    order_set, result = documents
    change(order_set)

    assert verify_order_set(order_set, result, Policy()) != ()


def test_a_cash_floor_that_is_not_kept_is_found(documents: tuple[Document, Document]) -> None:
    faults = verify_order_set(*documents, Policy(cash_floor=Decimal("0.9")))

    assert any("floor" in fault for fault in faults)


def test_a_refusal_with_orders_is_found(documents: tuple[Document, Document]) -> None:
    order_set, result = documents
    order_set["outcome"] = result["outcome"] = "rejected"

    assert verify_order_set(order_set, result, Policy()) != ()


def test_a_refusal_without_orders_is_right(documents: tuple[Document, Document]) -> None:
    order_set, result = documents
    order_set["outcome"] = result["outcome"] = "rejected"
    order_set["orders"] = []

    assert verify_order_set(order_set, result, Policy()) == ()


# ------------------------------------------------------------------------------------------------ relaxed rules

RELAXING = Policy(on_infeasible=OnInfeasible.RELAX)


def relaxed_documents(policy: Policy = RELAXING) -> tuple[Document, Document]:
    """Of a portfolio of 1,000 whose one security, at 700 a share, should be worth 450 to 550: one share is bought."""
    prices = {1: 700}
    answer = rebalance(
        builders.portfolio_id(1),
        builders.portfolio(1000),
        builders.model({1: ("0.5", "0.05", "0.05")}),
        builders.prices(prices),
        policy,
        OutOfTime(),
    )
    finish = finish_of(job(), 1, answer, builders.snapshot(prices))
    assert finish.order_set is not None
    return json.loads(finish.order_set), json.loads(finish.result)


@pytest.mark.parametrize("policy", [RELAXING, replace(RELAXING, cost_per_order=Decimal(1))])
def test_an_order_set_of_relaxed_rules_is_right_if_they_give_way_as_it_says(policy: Policy) -> None:
    order_set, result = relaxed_documents(policy)
    assert [each["amount"] for each in order_set["relaxed"]] == ["150.00"]
    assert "explanation" not in order_set
    assert verify_order_set(order_set, result, policy) == ()


@pytest.mark.parametrize("amount", ["149.99", "150.01", None])
def test_an_order_set_that_says_another_relaxation_than_it_takes_is_wrong(amount: str | None) -> None:
    order_set, result = relaxed_documents()
    for each in (order_set, result):
        if amount is None:
            del each["relaxed"]
        else:
            each["relaxed"][0]["amount"] = amount
    assert verify_order_set(order_set, result, RELAXING)


def test_an_order_set_and_a_result_that_differ_in_what_gave_way_are_wrong() -> None:
    order_set, result = relaxed_documents()
    del order_set["relaxed"]
    (fault,) = verify_order_set(order_set, result, RELAXING)
    assert "differ in relaxed" in fault


def test_an_answer_of_least_relaxation_is_published_with_every_amount(tmp_path: Path) -> None:
    """Through the whole pipeline: a share of security 3 costs more than there is."""
    world = World.create(tmp_path)
    world.book(1)
    world.upstreams.by_ticker[builders.ticker(3)] = Decimal(2000)
    job = world.finish(world.submit(policy={"on_infeasible": "relax"}))
    (item,) = world.items(job.job_id)
    (published,) = world.publisher.entries.values()
    order_set, result = json.loads(published), json.loads(item.result)
    assert (order_set["outcome"], order_set["reason"]) == ("traded", "relaxed")
    assert [(each["rule"], each["security_id"], each["amount"]) for each in order_set["relaxed"]] == [
        ("lower_bound", builders.security_id(3), "300.20")
    ]
    assert verify_order_set(order_set, result, RELAXING) == ()
    world.store.close()
