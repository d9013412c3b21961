"""A portfolio's own policy: read, stored with it, used for it alone, and refused where it cannot be used."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.inbound.payloads import Beside, parse_model_rebalance, parse_request, parse_solve
from domain.errors import Invalid
from domain.ids import ModelId
from domain.model import InvestmentModel
from domain.ports import Member
from domain.terms import Terms
from tasks import bench as bench_module
from tasks.bench import FrozenJob
from tasks.inline_portfolio import decode_sent, encode_policy
from tasks.submit_job import CONTRADICTION, SubmitJob, submit_job
from tests.support import builders
from tests.support.front_desk import MODEL_ID, FrontDesk
from tests.support.lives import job
from tests.support.world import World

ONE, TWO, THREE = (builders.portfolio_id(number) for number in (1, 2, 3))
D = Decimal


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World.create(tmp_path)
    yield world
    world.store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[FrontDesk]:
    desk = FrontDesk.open(tmp_path)
    yield desk
    desk.close()


def parsed(**fields: Any) -> SubmitJob:
    body = json.dumps({"model_id": MODEL_ID, **fields}).encode()
    return parse_request(body, header_key=None, max_bytes=100_000, new_key=lambda: "k")


def refused(desk: FrontDesk, **fields: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        submit_job(parsed(**fields), desk.services)
    return caught.value


def told(fault: Invalid) -> list[str]:
    return [detail["field"] for detail in fault.details]


def inline(number: int, cash: str = "1000", **fields: Any) -> dict[str, Any]:
    return {"portfolio_id": builders.portfolio_id(number), "cash": cash, **fields}


def cash_after(world: World, job: Any) -> dict[str, Decimal]:
    return {item.portfolio_id: D(json.loads(item.result)["cash_after"]) for item in world.items(job.job_id)}


# ------------------------------------------------------------------------------------------------ read


def test_both_kinds_of_portfolio_bring_their_policy() -> None:
    fetched = parsed(portfolio_policies={TWO: {"cash_floor": "0.10", "max_orders": None}})
    sent = parsed(portfolios=[inline(1), inline(2, policy={"cash_floor": "0.10", "max_orders": None})])
    expected = {TWO: {"cash_floor": D("0.10"), "max_orders": None}}
    assert fetched.portfolio_policies == sent.portfolio_policies == expected
    assert parsed().portfolio_policies == {}


def test_the_hash_of_a_request_has_the_portfolios_policies_in_it() -> None:
    def sha(**fields: Any) -> str:
        return parsed(portfolio_ids=[ONE, TWO], **fields).request_sha256

    hashes = {
        sha(),
        sha(portfolio_policies={ONE: {"cash_floor": "0.1"}}),
        sha(portfolio_policies={TWO: {"cash_floor": "0.1"}}),
        sha(portfolio_policies={TWO: {"max_orders": None}}),
        sha(portfolio_policies={TWO: {}}),
    }
    assert len(hashes) == 5
    assert sha(portfolio_policies={ONE: {"cash_floor": "0.1"}}) == sha(
        portfolio_policies={ONE: {"cash_floor": 0.10}}
    )


def test_portfolios_that_are_sent_along_have_their_policy_in_them() -> None:
    with pytest.raises(Invalid, match="have their policy in them"):
        parsed(portfolios=[inline(1)], portfolio_policies={ONE: {}})


def test_an_unknown_key_of_one_portfolio_is_refused_by_name() -> None:
    with pytest.raises(Invalid) as caught:
        parsed(portfolio_policies={ONE: {"cash": "1"}}, portfolios=None)
    assert told(caught.value) == [f"portfolio_policies.{ONE}.cash"]


def test_a_rebalance_of_the_model_in_the_path_takes_them_too() -> None:
    body = json.dumps({"portfolio_policies": {ONE: {"cash_floor": "0.1"}}}).encode()
    beside = Beside(header_key=None, new_key=lambda: "k")
    command = parse_model_rebalance(body, ModelId(MODEL_ID), beside, max_bytes=10_000)
    assert command.portfolio_policies == {ONE: {"cash_floor": D("0.1")}}


def test_a_solve_document_s_portfolio_has_the_last_word() -> None:
    document = {
        "portfolio": inline(1, policy={"cash_floor": "0.3"}),
        "model": {
            "positions": [
                {"security_id": builders.security_id(1), "target": "0.5", "low_drift": 0, "high_drift": 0}
            ]
        },
        "prices": {},
        "policy": {"cash_floor": "0.1", "cost_rate": "0.01"},
    }
    policy = parse_solve(json.dumps(document).encode(), max_bytes=10_000).policy
    assert (policy.cash_floor, policy.cost_rate) == (D("0.3"), D("0.01"))


# ------------------------------------------------------------------------------------------------ used


def test_model_job_and_portfolio_stand_over_each_other_in_this_order(world: World) -> None:
    model = world.book(3)
    world.store.update_model(
        InvestmentModel(
            model_id=model.model_id,
            name=model.name,
            positions=model.positions,
            portfolios=model.portfolios,
            policy=model.policy.with_changes({"cash_floor": "0.02", "cash_floor_amount": "300"}),
            version=model.version,
        )
    )
    done = world.finish(
        world.submit(
            policy={"cash_floor": D("0.16")},
            portfolio_policies={
                ONE: {"cash_floor": D("0.25")},
                TWO: {"cash_floor": D(0), "cash_floor_amount": D(0)},
            },
        )
    )
    assert dict(done.counts) == {"traded": 3}
    left = cash_after(world, done)  # of 1,501, 1,502 and 1,503
    assert left[ONE] >= D("375.25")
    assert D(100) < left[TWO] < D(300)
    assert D(300) <= left[THREE] < D("375.25")


def test_portfolios_that_are_sent_along_use_their_own_policy(world: World) -> None:
    world.book(1)
    world.upstreams.out = True
    portfolios = tuple(builders.portfolio(1000, {1: 5}, number=number) for number in (1, 2))
    done = world.finish(
        world.submit(
            portfolios=portfolios,
            prices=builders.prices({1: 10, 2: 20, 3: 30}),
            portfolio_policies={TWO: {"cash_floor": "0.3"}},
        )
    )
    left = cash_after(world, done)
    assert left[ONE] < D(315) <= left[TWO]


def test_what_one_portfolio_brings_is_stored_with_it_and_not_with_the_job(world: World) -> None:
    world.book(2)
    stored = world.submit(portfolio_policies={TWO: {"cash_floor": D("0.10")}})
    one, two = world.store.members(stored.members_sha256, 0, 10)
    assert one == Member(portfolio_id=ONE)
    assert decode_sent(two.inline).policy == b'{"cash_floor":"0.10"}'
    assert stored.policy.cash_floor == 0


def test_terms_are_made_once_for_each_policy_and_the_last_few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    given = job()
    snapshot = builders.snapshot({1: 10, 2: 20})
    frozen = FrozenJob(given, snapshot, Terms.of(given.model, snapshot.prices, given.policy))
    monkeypatch.setattr(bench_module, "POLICIES_KEPT", 2)
    policies = [encode_policy({"cash_floor": D(number) / 100}) for number in range(3)]

    assert frozen.terms_of(b"") is frozen.terms
    first = frozen.terms_of(policies[0])
    assert first.policy == given.policy.with_changes({"cash_floor": D(0)})
    assert frozen.terms_of(policies[0]) is first
    second = frozen.terms_of(policies[1])
    assert frozen.terms_of(policies[0]) is first
    frozen.terms_of(policies[2])  # the second is the one that was not used for longest
    assert frozen.terms_of(policies[0]) is first
    assert frozen.terms_of(policies[1]) is not second


# ------------------------------------------------------------------------------------------------ refused


def test_the_policy_of_a_stranger_is_refused(desk: FrontDesk) -> None:
    fault = refused(desk, portfolio_ids=[ONE], portfolio_policies={TWO: {}, THREE: {}})
    assert told(fault) == [f"portfolio_policies.{TWO}", f"portfolio_policies.{THREE}"]
    assert "2 policies are of portfolios that this request does not rebalance" in str(fault)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"policy": {"run_type": "raise_cash"}}, "policy.raise_cash"),
        ({"policy": {"groups": [{"name": " ", "security_ids": ["A" * 24]}]}}, "policy.groups[0].name"),
        ({"portfolio_policies": {ONE: {"run_type": "raise_cash"}}}, f"portfolio_policies.{ONE}.raise_cash"),
        (
            {"portfolios": [inline(1), inline(2, policy={"run_type": "raise_cash"})]},
            "portfolios[1].policy.raise_cash",
        ),
    ],
)
def test_a_policy_that_breaks_a_rule_is_told_where_it_stands(
    desk: FrontDesk, fields: dict[str, Any], field: str
) -> None:
    assert told(refused(desk, **fields)) == [field]


def test_what_a_portfolio_leaves_out_the_request_s_policy_supplies(desk: FrontDesk) -> None:
    policies = {each: {"run_type": "raise_cash"} for each in (ONE, TWO)}
    command = parsed(policy={"raise_cash": "50"}, portfolio_policies=policies)
    assert submit_job(command, desk.services).created


# Security 1 is 0.48 to 0.52 of the model, security 2 is 0.28 to 0.32.
CONTRADICTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "the_request_s_own": ({"policy": {"cash_floor": "0.25"}}, ["policy.cash_floor"]),
    "one_portfolio_s": (
        {"portfolio_policies": {ONE: {"cash_floor": "0.25"}}},
        [f"portfolio_policies.{ONE}.cash_floor"],
    ),
    "of_two_that_share_a_policy_it_is_told_once": (
        {"portfolio_policies": {ONE: {"cash_floor": "0.25"}, TWO: {"cash_floor": "0.25"}}},
        [f"portfolio_policies.{ONE}.cash_floor"],
    ),
    "of_what_is_held": (
        {"portfolios": [inline(1), inline(2)], "policy": {"max_orders": 1}},
        ["portfolios[0].policy.max_orders", "portfolios[1].policy.max_orders"],
    ),
    "of_what_one_holds": (
        {"portfolios": [inline(1), inline(2, policy={"max_turnover": "0.1"})]},
        ["portfolios[1].policy.max_turnover"],
    ),
}


@pytest.mark.parametrize(("fields", "fields_told"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_no_price_can_satisfy_is_refused(
    desk: FrontDesk, fields: dict[str, Any], fields_told: list[str]
) -> None:
    fault = refused(desk, **fields)
    assert (fault.code, told(fault)) == (CONTRADICTION, fields_told)
    assert str(fault).startswith("no price can satisfy this: ")
    assert desk.store.list_jobs() == []


def test_what_a_portfolio_mends_is_not_refused(desk: FrontDesk) -> None:
    """Every portfolio has its own floor, so the request's stands nowhere."""
    policies = {each: {"cash_floor": "0.02"} for each in (ONE, TWO, THREE)}
    command = parsed(policy={"cash_floor": "0.25"}, portfolio_policies=policies)
    assert submit_job(command, desk.services).created


def test_a_request_that_relaxes_rules_is_taken(desk: FrontDesk) -> None:
    command = parsed(policy={"cash_floor": "0.25", "on_infeasible": "relax"})
    assert submit_job(command, desk.services).created


def test_of_very_many_contradictions_the_first_are_told(desk: FrontDesk) -> None:
    fault = refused(desk, portfolios=[inline(number) for number in range(60)], policy={"max_orders": 0})
    assert len(fault.details) == 50
