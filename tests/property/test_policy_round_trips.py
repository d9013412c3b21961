"""A policy is the same wherever it has been: in a body, a store, a member of a list, an answer. Digit for digit."""

import json
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.inbound.answers import asked_of, policy_answer
from adapters.inbound.payloads import PolicyPayload, parse_new_model, parse_request
from adapters.stores import codecs
from domain.policy import Policy
from tasks.inline_portfolio import decode_policy, decode_sent, encode_policy, encode_sent
from tasks.submit_job import SubmitJob
from tests.support import builders
from tests.support.lives import job
from tests.support.policies import DOCUMENTS

patient = settings(deadline=None, max_examples=60)


def parsed(policy: dict[str, Any]) -> SubmitJob:
    body = json.dumps({"model_id": "m", "policy": policy}).encode()
    return parse_request(body, header_key=None, max_bytes=100_000, new_key=lambda: "k")


def asked(policy: dict[str, Any]) -> Policy:
    return Policy().with_changes(parsed(policy).policy or {})


@patient
@given(DOCUMENTS)
def test_a_policy_of_a_request_arrives_digit_for_digit(document: dict[str, Any]) -> None:
    told = policy_answer(asked(document)).model_dump(mode="json")
    for name in ("cash_floor", "min_trade", "max_turnover", "cost_rate", "cost_per_order"):
        if document.get(name) is not None:
            assert Decimal(told[name]) == Decimal(document[name]), name
    for name in ("max_orders", "lot_size", "lot_sizes", "run_type", "bounds", "on_infeasible"):
        if name in document:
            assert told[name] == document[name], name


@patient
@given(DOCUMENTS)
def test_a_schedule_s_policy_is_read_from_its_settings_as_from_a_request(document: dict[str, Any]) -> None:
    """Settings are JSON that nobody has turned into the domain's types."""
    schedule = Policy().with_changes(document)
    names = (
        "no_buy",
        "no_sell",
        "no_trade",
        "lot_sizes",
        "max_orders",
        "max_turnover",
        "raise_cash",
        "run_type",
    )
    assert [getattr(schedule, name) for name in names] == [getattr(asked(document), name) for name in names]
    assert {group.name for group in schedule.groups} == {group.name for group in asked(document).groups}


@patient
@given(DOCUMENTS)
def test_what_is_answered_of_a_model_s_policy_can_be_sent_again(document: dict[str, Any]) -> None:
    policy = asked(document)
    again = json.loads(policy_answer(policy).model_dump_json())
    assert PolicyPayload.model_validate(again).over(Policy()) == policy


@patient
@given(DOCUMENTS)
def test_a_policy_is_the_same_after_it_was_stored(document: dict[str, Any]) -> None:
    policy = asked(document)
    kept = replace(job(), policy=policy, model=builders.model({1: "0.5"}, policy=policy))
    born = {name: getattr(kept, name) for name in codecs.LIFE_FIELDS}
    assert codecs.job_from(kept.job_id, codecs.encode_spec(kept), born) == kept
    assert codecs.model_from(codecs.model_document(kept.model)) == kept.model


@patient
@given(DOCUMENTS, st.booleans())
def test_a_portfolio_s_own_policy_is_the_same_after_it_waited(document: dict[str, Any], inline: bool) -> None:
    changes = parsed(document).policy or {}
    portfolio = builders.portfolio("10.50", {1: "3.25"}) if inline else None
    body = encode_sent(builders.portfolio_id(1), portfolio, encode_policy(changes))
    sent = decode_sent(body)
    assert sent.portfolio == portfolio
    assert Policy().with_changes(decode_policy(sent.policy)) == Policy().with_changes(changes)
    assert sent.policy == encode_policy(changes)


@patient
@given(DOCUMENTS, st.randoms())
def test_the_same_policy_written_otherwise_is_the_same_request(document: dict[str, Any], rng: Any) -> None:
    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shuffled(value[name]) for name in rng.sample(list(value), len(value))}
        if isinstance(value, list):
            return [shuffled(each) for each in rng.sample(value, len(value))]
        return value

    assert parsed(shuffled(document)).request_sha256 == parsed(document).request_sha256


@patient
@given(DOCUMENTS, DOCUMENTS)
def test_another_policy_is_another_request(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = parsed(one), parsed(other)
    same = first.policy == second.policy
    assert (first.request_sha256 == second.request_sha256) == same


@patient
@given(DOCUMENTS)
def test_a_model_may_have_any_policy(document: dict[str, Any]) -> None:
    body = json.dumps({"name": "n", "policy": document}).encode()
    assert parse_new_model(body, max_bytes=100_000, new_id=lambda: "m").policy == asked(document)


def test_no_limit_is_an_answer_and_not_an_absence() -> None:
    """A null stands over the model's own limit: a request with it is not the one without."""
    without, with_null = parsed({}), parsed({"max_orders": None})
    assert (without.policy, with_null.policy) == ({}, {"max_orders": None})
    assert without.request_sha256 != with_null.request_sha256
    assert Policy(max_orders=3).with_changes(with_null.policy or {}).max_orders is None


def test_people_are_told_only_what_is_asked() -> None:
    policy = Policy(max_orders=3, no_buy=(builders.security_id(1),))
    assert dict(asked_of(policy_answer(policy))) == {
        "max_orders": "3",
        "no_buy": f'["{builders.security_id(1)}"]',
    }
    assert dict(asked_of(policy_answer(Policy()))) == {}


def test_an_answer_tells_every_policy() -> None:
    assert policy_answer(Policy()).model_dump().keys() == {field.name for field in fields(Policy)}
