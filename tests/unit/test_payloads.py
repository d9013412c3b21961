"""What callers may send, and what each fault is called."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from adapters.inbound.payloads import (
    PolicyPayload,
    RebalanceRequest,
    parse_model_update,
    parse_new_model,
    parse_request,
    parse_solve,
)
from adapters.inbound.strict_json import MALFORMED, TOO_LARGE, load, printable
from domain.errors import Invalid
from domain.policy import MissingPrice, Policy
from tasks.submit_job import SubmitJob

SECURITY = "A" * 24
OTHER = "B" * 24
LIMIT = 1_000_000


def parse(
    body: bytes | dict[str, Any], *, header_key: str | None = None, max_bytes: int = LIMIT
) -> SubmitJob:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_request(text, header_key=header_key, max_bytes=max_bytes, new_key=lambda: "generated")


def refused(body: bytes | dict[str, Any], **options: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse(body, **options)
    return caught.value


def request(**changes: Any) -> dict[str, Any]:
    return {"model_id": "growth-60", **changes}


def portfolio(**changes: Any) -> dict[str, Any]:
    return {"portfolio_id": "P1", "cash": "1000.00", "positions": [], **changes}


# ------------------------------------------------------------------------------------------------ bytes

BAD_BYTES = {
    "an_empty_body": b"",
    "blanks_only": b" \n\t",
    "not_json": b"rebalance everything, please",
    "half_an_object": b'{"model_id": "m"',
    "two_documents": b'{"model_id": "m"} {"model_id": "m"}',
    "a_trailing_comma": b'{"model_id": "m",}',
    "single_quotes": b"{'model_id': 'm'}",
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "a_nul_byte": b'{"model_id": "m"}\x00',
    "a_control_character_in_a_string": b'{"model_id": "a\nb"}',
    "invalid_utf_8": b'{"model_id": "\xff\xfe"}',
    "latin_1": '{"model_id": "é"}'.encode("latin-1"),
    "utf_16": '{"model_id": "m"}'.encode("utf-16"),
    "a_byte_order_mark": b'\xef\xbb\xbf{"model_id": "m"}',
    "nan": b'{"model_id": "m", "prices": {"x": NaN}}',
    "infinity": b'{"model_id": "m", "prices": {"x": Infinity}}',
    "minus_infinity": b'{"model_id": "m", "prices": {"x": -Infinity}}',
    "an_array_bomb": b"[" * 200_000,
    "an_object_bomb": b'{"a":' * 100_000,
    "a_closed_bomb": b"[" * 100_000 + b"]" * 100_000,
    "an_integer_of_5000_digits": b'{"parallelism": ' + b"9" * 5000 + b"}",
    "a_fraction_of_5000_digits": b'{"parallelism": 0.' + b"9" * 5000 + b"}",
    "an_exponent_of_20_digits": b'{"parallelism": 1e99999999999999999999}',
    "a_name_twice": b'{"model_id": "a", "model_id": "b"}',
    "a_name_twice_deep_inside": b'{"model_id": "m", "policy": {"cash_floor": 0, "cash_floor": 1}}',
    "half_a_surrogate_pair_as_a_name": b'{"model_id": "m", "\\ud800": 1}',
    "a_name_in_another_script": '{"модель": "m"}'.encode(),
}


@pytest.mark.parametrize("body", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_bytes_that_are_not_usable_json_are_refused_in_words(body: bytes) -> None:
    fault = refused(body)
    assert fault.code == MALFORMED
    assert str(fault).startswith("the body is not usable JSON: ")
    assert str(fault).isascii()
    assert len(str(fault)) < 250


def test_the_place_of_a_syntax_error_is_named() -> None:
    assert "line 2, column 3" in str(refused(b'{"model_id": "m",\n  oops}'))


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    assert refused(b"{" * 101, max_bytes=100).code == TOO_LARGE
    assert parse(b'{"model_id":"m"}', max_bytes=16).model_id == "m"


@pytest.mark.parametrize("body", [b"3", b"null", b'"text"', b"[]", b"true", b"[[1]]"])
def test_a_document_that_is_no_object_is_refused(body: bytes) -> None:
    assert str(refused(body)) == "request: must be a JSON object"


def test_whole_numbers_and_fractions_keep_every_digit() -> None:
    assert load(b"[12345678901234567890, 0.10, 1e2]", max_bytes=100) == [
        12345678901234567890,
        Decimal("0.10"),
        Decimal("1E+2"),
    ]


def test_text_for_callers_is_printable_and_bounded() -> None:
    assert printable("tab\there é \ud800") == "tab\\there \\xe9 \\ud800"
    assert len(printable("x" * 500)) == 100


# ------------------------------------------------------------------------------------------------ fields

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "the_model_is_required": ({}, "model_id", "Field required"),
    "a_model_id_is_safe_in_a_path": (request(model_id="a/b"), "model_id", "letters, digits"),
    "a_model_id_is_text": (request(model_id=7), "model_id", "valid string"),
    "an_unknown_field_is_refused": (request(portfolio="P1"), "portfolio", "not permitted"),
    "another_schema_is_refused": (request(schema="trimtab.rebalance-request.v9"), "schema", "v1"),
    "an_empty_list_of_portfolios_is_refused": (request(portfolio_ids=[]), "portfolio_ids", "at least 1"),
    "an_empty_list_of_inline_portfolios_is_refused": (request(portfolios=[]), "portfolios", "at least 1"),
    "a_portfolio_id_has_no_colon": (request(portfolio_ids=["a:b"]), "portfolio_ids[0]", "printable ASCII"),
    "a_portfolio_id_has_no_blank": (request(portfolio_ids=["a b"]), "portfolio_ids[0]", "printable ASCII"),
    "a_portfolio_id_is_ascii": (request(portfolio_ids=["a", "ü"]), "portfolio_ids[1]", "printable ASCII"),
    "a_portfolio_id_is_not_empty": (request(portfolio_ids=[""]), "portfolio_ids[0]", "printable ASCII"),
    "a_portfolio_id_has_at_most_64_characters": (
        request(portfolio_ids=["a" * 65]),
        "portfolio_ids[0]",
        "printable ASCII",
    ),
    "a_portfolio_is_named_once": (request(portfolio_ids=["a", "b", "a"]), "portfolio_ids", "has a more"),
    "an_inline_portfolio_is_named_once": (
        request(portfolios=[portfolio(), portfolio()]),
        "portfolios",
        "has P1 more than once",
    ),
    "ids_and_inline_portfolios_do_not_mix": (
        request(portfolio_ids=["P1"], portfolios=[portfolio()]),
        "",
        "not both",
    ),
    "cash_is_required": (request(portfolios=[{"portfolio_id": "P1"}]), "portfolios[0].cash", "required"),
    "cash_is_a_number": (request(portfolios=[portfolio(cash="lots")]), "portfolios[0].cash", "not a number"),
    "cash_is_not_a_truth_value": (
        request(portfolios=[portfolio(cash=True)]),
        "portfolios[0].cash",
        "not a n",
    ),
    "cash_is_within_bounds": (
        request(portfolios=[portfolio(cash="1e30")]),
        "portfolios[0].cash",
        "out of bounds",
    ),
    "nan_as_text_is_refused": (
        request(portfolios=[portfolio(cash="NaN")]),
        "portfolios[0].cash",
        "not a num",
    ),
    "infinity_as_text_is_refused": (
        request(portfolios=[portfolio(cash="Infinity")]),
        "portfolios[0].cash",
        "not a number",
    ),
    "underscores_are_refused": (
        request(portfolios=[portfolio(cash="1_000")]),
        "portfolios[0].cash",
        "not a n",
    ),
    "digits_of_other_scripts_are_refused": (
        request(portfolios=[portfolio(cash="١٢")]),
        "portfolios[0].cash",
        "not a number",
    ),
    "a_stated_market_value_is_a_number": (
        request(portfolios=[portfolio(market_value="?")]),
        "portfolios[0].market_value",
        "not a number",
    ),
    "a_security_id_has_24_characters": (
        request(portfolios=[portfolio(positions=[{"security_id": "A" * 23, "quantity": 1}])]),
        "portfolios[0].positions[0].security_id",
        "exactly 24",
    ),
    "a_security_is_held_once": (
        request(portfolios=[portfolio(positions=[{"security_id": SECURITY, "quantity": 1}] * 2)]),
        "portfolios[0].positions",
        f"has {SECURITY} more than once",
    ),
    "no_prices_at_all_are_refused": (request(prices={}), "prices", "at least 1"),
    "a_price_has_a_security_id": (request(prices={"IBM": "1"}), "prices.IBM", "exactly 24"),
    "a_price_of_zero_is_refused": (request(prices={SECURITY: 0}), f"prices.{SECURITY}", "greater than 0"),
    "a_negative_price_is_refused": (request(prices={SECURITY: "-1"}), f"prices.{SECURITY}", "greater than 0"),
    "an_unknown_policy_key_is_refused": (request(policy={"cash": 1}), "policy.cash", "not permitted"),
    "an_unknown_policy_value_is_refused": (
        request(policy={"missing_price": "guess"}),
        "policy.missing_price",
        "'reject' or 'exclude'",
    ),
    "a_policy_value_is_not_null": (request(policy={"cash_floor": None}), "policy.cash_floor", "not a number"),
    "a_cash_floor_is_at_most_1": (
        request(policy={"cash_floor": "1.01"}),
        "policy.cash_floor",
        "within 0 and 1",
    ),
    "a_cash_floor_amount_is_not_negative": (
        request(policy={"cash_floor_amount": -1}),
        "policy.cash_floor_amount",
        "not be negative",
    ),
    "parallelism_is_at_least_1": (request(parallelism=0), "parallelism", "greater than or equal to 1"),
    "parallelism_is_whole": (request(parallelism=1.5), "parallelism", "valid integer"),
    "parallelism_is_not_text": (request(parallelism="4"), "parallelism", "valid integer"),
    "parallelism_is_not_a_truth_value": (request(parallelism=True), "parallelism", "valid integer"),
    "parallelism_fits_a_store": (request(parallelism=2**40), "parallelism", "less than or equal"),
    "dry_run_is_true_or_false": (request(dry_run="yes"), "dry_run", "valid boolean"),
    "a_deadline_has_a_zone": (request(deadline="2026-11-30T21:00:00"), "deadline", "with its zone"),
    "a_deadline_is_no_number": (request(deadline=1795435137), "deadline", "with its zone"),
    "a_deadline_is_on_the_calendar": (request(deadline="2026-02-30T21:00:00Z"), "deadline", "calendar"),
    "a_deadline_is_within_time": (request(deadline="0001-01-01T00:00:00+23:59"), "deadline", "calendar"),
    "a_key_has_no_blank": (request(key="a b"), "key", "without blanks"),
    "a_key_is_bounded": (request(key="k" * 201), "key", "1 to 200"),
    "a_correlation_id_is_safe_in_logs": (request(correlation_id="a\nb"), "correlation_id", "1 to 128"),
    "half_a_surrogate_pair_is_no_id": (request(model_id="\ud800"), "model_id", ""),
}


@pytest.mark.parametrize(("body", "field", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_told_by_field(body: dict[str, Any], field: str, message: str) -> None:
    fault = refused(body)
    told = {detail["field"]: detail["message"] for detail in fault.details}
    assert field in told
    assert message in told[field]
    assert fault.code == "invalid"


def test_every_fault_of_a_body_is_told_at_once() -> None:
    fault = refused({"parallelism": 0, "dry_run": 1, "prices": {SECURITY: 0, "x": 1}})
    assert {detail["field"] for detail in fault.details} == {
        "model_id",
        "parallelism",
        "dry_run",
        f"prices.{SECURITY}",
        "prices.x",
    }
    assert "(and 4 more)" in str(fault)


def test_a_million_wrong_lines_make_a_short_answer() -> None:
    fault = refused(request(portfolio_ids=[":"] * 1000))
    assert len(fault.details) == 50
    assert "(and 999 more)" in str(fault)


def test_many_doubled_portfolios_are_counted_not_listed() -> None:
    fault = refused(request(portfolio_ids=[f"P{number:03}" for number in range(200)] * 2))
    assert "P009 and 190 more more than once" in str(fault)


# ------------------------------------------------------------------------------------------------ what arrives


def test_a_request_arrives_whole() -> None:
    command = parse(
        request(
            schema="trimtab.rebalance-request.v1",
            key="nightly",
            portfolios=[
                portfolio(
                    cash=-12.5,
                    positions=[{"security_id": SECURITY, "quantity": "10.25"}],
                    market_value="99.90",
                )
            ],
            policy={"missing_price": "exclude", "cash_floor": "0.020", "cash_floor_amount": 500},
            parallelism=8,
            dry_run=True,
            deadline="2026-11-30T22:00:00+01:00",
            correlation_id="desk-7",
        )
    )
    assert command.key == "nightly"
    assert command.portfolios is not None
    (inline,) = command.portfolios
    assert (inline.cash, inline.stated_market_value) == (Decimal("-12.5"), Decimal("99.90"))
    assert [(held.security_id, held.quantity) for held in inline.positions] == [(SECURITY, Decimal("10.25"))]
    assert command.policy == {
        "missing_price": MissingPrice.EXCLUDE,
        "cash_floor": Decimal("0.020"),
        "cash_floor_amount": Decimal(500),
    }
    assert command.deadline == datetime(2026, 11, 30, 21, tzinfo=UTC)
    assert (command.parallelism, command.dry_run, command.correlation_id) == (8, True, "desk-7")


@pytest.mark.parametrize(
    "number", ["1234567890.123456789", "0.1", "100", "999999999999999999.9999999999999999"]
)
def test_a_price_keeps_its_digits_as_number_and_as_text(number: str) -> None:
    as_number = parse(f'{{"model_id": "m", "prices": {{"{SECURITY}": {number}}}}}'.encode())
    as_text = parse(f'{{"model_id": "m", "prices": {{"{SECURITY}": "{number}"}}}}'.encode())
    assert as_number.prices == as_text.prices == {SECURITY: Decimal(number)}
    assert [str(price) for price in (as_number.prices or {}).values()] == [number]
    assert as_number.request_sha256 == as_text.request_sha256


def test_without_portfolios_the_model_s_own_are_meant() -> None:
    command = parse(request())
    assert (command.portfolio_ids, command.portfolios, command.prices, command.policy) == (None,) * 4


def test_the_policy_payload_knows_exactly_the_policies_of_the_domain() -> None:
    assert set(PolicyPayload.model_fields) == {field.name for field in dataclasses.fields(Policy)}
    assert PolicyPayload().over(Policy()) == Policy()


# ------------------------------------------------------------------------------------------------ keys


def test_the_key_comes_from_the_body_the_header_or_the_caller() -> None:
    assert parse(request(key="body")).key == "body"
    assert parse(request(), header_key="header").key == "header"
    assert parse(request()).key == "generated"


def test_the_same_key_twice_is_one_key() -> None:
    assert parse(request(key="same"), header_key="same").key == "same"


def test_a_quoted_header_key_is_the_same_key() -> None:
    assert parse(request(key="same"), header_key='"same"').key == "same"


def test_two_different_keys_are_refused() -> None:
    assert refused(request(key="one"), header_key="two").details[0]["field"] == "key"


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 201, "ü"])
def test_a_header_key_that_is_no_key_is_refused(key: str) -> None:
    assert refused(request(), header_key=key).details[0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("field", "body", "header_key"),
    [
        ("key", {"key": "schedule:nightly:2026-11-23"}, None),
        ("Idempotency-Key", {}, "schedule:nightly:2026-11-23"),
        ("Idempotency-Key", {}, '"schedule:nightly:2026-11-23:MODEL1"'),
    ],
)
def test_a_key_of_a_schedule_s_run_is_nobody_s_to_take(
    field: str, body: dict[str, Any], header_key: str | None
) -> None:
    (fault,) = refused(request(**body), header_key=header_key).details
    assert fault["field"] == field
    assert "schedule:" in fault["message"]
    assert parse(request(key="nightly-schedule:1")).key == "nightly-schedule:1"


# ------------------------------------------------------------------------------------------------ one request, one hash

SAME = {
    "names_in_another_order": b'{"dry_run": false, "portfolio_ids": ["P1"], "model_id": "m", "policy": {"cash_floor": 0.5}}',
    "a_number_as_text": b'{"model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": "0.5"}}',
    "needless_zeros": b'{"model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": "0.500"}}',
    "an_exponent": b'{"model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": 5e-1}}',
    "an_explicit_null": b'{"model_id": "m", "portfolio_ids": ["P1"], "prices": null, "policy": {"cash_floor": 0.5}}',
    "an_explicit_schema": b'{"schema": "trimtab.rebalance-request.v1", "model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": 0.5}}',
    "a_key": b'{"key": "k", "model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": 0.5}}',
    "a_correlation_id": b'{"correlation_id": "c", "model_id": "m", "portfolio_ids": ["P1"], "policy": {"cash_floor": 0.5}}',
    "an_escape": b'{"model_id": "\\u006d", "portfolio_ids": ["P1"], "policy": {"cash_floor": 0.5}}',
}
BASE = b'{"model_id":"m","portfolio_ids":["P1"],"policy":{"cash_floor":0.5}}'


@pytest.mark.parametrize("body", SAME.values(), ids=SAME.keys())
def test_the_same_request_written_otherwise_has_the_same_hash(body: bytes) -> None:
    assert parse(body).request_sha256 == parse(BASE).request_sha256


DIFFERENT = {
    "another_model": b'{"model_id":"n","portfolio_ids":["P1"],"policy":{"cash_floor":0.5}}',
    "another_order_of_portfolios": b'{"model_id":"m","portfolio_ids":["P2","P1"],"policy":{"cash_floor":0.5}}',
    "another_floor": b'{"model_id":"m","portfolio_ids":["P1"],"policy":{"cash_floor":0.51}}',
    "a_policy_spelt_out": b'{"model_id":"m","portfolio_ids":["P1"],"policy":{"cash_floor":0.5,"missing_price":"reject"}}',
    "a_dry_run": b'{"model_id":"m","portfolio_ids":["P1"],"policy":{"cash_floor":0.5},"dry_run":true}',
    "a_deadline": b'{"model_id":"m","portfolio_ids":["P1"],"policy":{"cash_floor":0.5},"deadline":"2026-11-30T21:00Z"}',
    "no_policy": b'{"model_id":"m","portfolio_ids":["P1"]}',
}


@pytest.mark.parametrize("body", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_another_request_has_another_hash(body: bytes) -> None:
    assert parse(body).request_sha256 != parse(BASE).request_sha256


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    berlin = parse(request(deadline="2026-11-30T22:00:00.000+01:00"))
    assert berlin.request_sha256 == parse(request(deadline="2026-11-30t21:00z")).request_sha256


# ------------------------------------------------------------------------------------------------ models and documents


def model_body(**changes: Any) -> dict[str, Any]:
    position = {"security_id": SECURITY, "target": "0.25", "low_drift": "0.02", "high_drift": 0.02}
    return {"name": "Growth", "positions": [position], **changes}


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def test_a_new_model_is_named_by_the_caller_or_by_us() -> None:
    ours = parse_new_model(encoded(model_body()), max_bytes=LIMIT, new_id=lambda: "new")
    theirs = parse_new_model(encoded(model_body(model_id="mine")), max_bytes=LIMIT, new_id=lambda: "new")
    assert (ours.model_id, theirs.model_id, ours.version) == ("new", "mine", 1)
    assert ours.positions[0].high_drift == Decimal("0.02")


def test_a_target_of_zero_is_not_saved() -> None:
    zero = {"security_id": OTHER, "target": 0, "low_drift": 0, "high_drift": 0}
    body = model_body(positions=[*model_body()["positions"], zero])
    model = parse_new_model(encoded(body), max_bytes=LIMIT, new_id=lambda: "new")
    assert [position.security_id for position in model.positions] == [SECURITY]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"positions": [{**model_body()["positions"][0], "target": "0.251"}]}, "positions[0].target"),
        ({"positions": model_body()["positions"] * 2}, "positions[1].security_id"),
        ({"positions": [{"security_id": SECURITY}]}, "positions[0].target"),
        ({"policy": {"lots": 1}}, "policy.lots"),
    ],
    ids=[
        "a_blank_name",
        "two_lines",
        "a_step_of_a_tenth",
        "a_security_twice",
        "no_target",
        "an_unknown_policy",
    ],
)
def test_shape_and_rules_of_a_model_are_told_alike(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_new_model(encoded(model_body(**changes)), max_bytes=LIMIT, new_id=lambda: "new")
    assert field in {detail["field"] for detail in caught.value.details}


def test_an_update_needs_the_version_it_was_read_at() -> None:
    with pytest.raises(Invalid, match="version"):
        parse_model_update(encoded(model_body()), max_bytes=LIMIT)
    with pytest.raises(Invalid, match="version"):
        parse_model_update(encoded(model_body(version=0)), max_bytes=LIMIT)
    assert parse_model_update(encoded(model_body(version=3)), max_bytes=LIMIT).version == 3


def test_a_solve_document_holds_everything_an_answer_needs() -> None:
    document = parse_solve(
        encoded(
            {
                "portfolio": portfolio(positions=[{"security_id": OTHER, "quantity": 3}]),
                "model": {"positions": model_body()["positions"]},
                "prices": {SECURITY: "10", OTHER: 20.5},
                "policy": {"cash_floor": "0.05"},
            }
        ),
        max_bytes=LIMIT,
    )
    assert document.portfolio.portfolio_id == "P1"
    assert document.prices == {SECURITY: Decimal(10), OTHER: Decimal("20.5")}
    assert document.policy.cash_floor == Decimal("0.05")
    assert document.model.portfolios == ("P1",)


@pytest.mark.parametrize("target", [None, "0"])
def test_a_solve_document_whose_model_has_no_target_is_refused_instead_of_selling_everything(
    target: str | None,
) -> None:
    security_id = "A" * 24
    weights = {"security_id": security_id, "target": target, "low_drift": "0", "high_drift": "0"}
    document = {
        "portfolio": {
            "portfolio_id": "P-1",
            "cash": "0",
            "positions": [{"security_id": security_id, "quantity": 5}],
        },
        "model": {"positions": [] if target is None else [weights]},
        "prices": {security_id: "10"},
    }

    with pytest.raises(Invalid) as refused:
        parse_solve(json.dumps(document).encode(), max_bytes=10_000)

    assert refused.value.code == "empty_model"


def test_a_solve_document_without_a_model_is_refused() -> None:
    with pytest.raises(Invalid, match="document: model Field required"):
        parse_solve(encoded({"portfolio": portfolio(), "prices": {}}), max_bytes=LIMIT)


def test_the_hash_of_a_long_list_is_that_of_its_whole_text() -> None:
    ids = [f"P{number:05d}" for number in range(2_500)]
    request = RebalanceRequest.model_validate({"portfolio_ids": ids, "model_id": "m"})

    whole = json.dumps({"model_id": "m", "portfolio_ids": ids}, sort_keys=True, separators=(",", ":"))
    assert request.sha256() == hashlib.sha256(whole.encode()).hexdigest()
