"""Whatever bytes come in: a command, or a clear refusal. Never anything else."""

import json
from collections.abc import Callable
from decimal import Decimal

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adapters.inbound.payloads import parse_new_model, parse_request, parse_solve
from domain.errors import Invalid
from tasks.submit_job import SubmitJob

SECURITY = "A" * 24

# Documents are built slowly on a busy machine; that says nothing about the reader.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Names that exist, so that a random document gets past the first check now and then.
NAMES = st.sampled_from(
    (
        "model_id portfolio_ids portfolios portfolio_id cash positions security_id quantity prices policy "
        "cash_floor missing_price parallelism dry_run deadline key name target low_drift high_drift portfolio "
        f"model version schema correlation_id {SECURITY}"
    ).split()
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=30),
    st.sampled_from(
        ["m", SECURITY, "1.5", "1e400", "-0", "2026-11-30T21:00:00Z", "9999-12-31T23:59:59-23:59"]
    ),
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, st.text(max_size=8)), inner, max_size=8)
    ),
    max_leaves=25,
)


def parsed(body: bytes) -> SubmitJob:
    return parse_request(body, header_key=None, max_bytes=10_000, new_key=lambda: "k")


def check(door: Callable[[bytes], object], body: bytes) -> None:
    """Anything but ``Invalid`` ends the test; what is said can be told to anybody, over anything."""
    try:
        door(body)
    except Invalid as fault:
        told = json.dumps({"message": str(fault), "details": list(fault.details)}, ensure_ascii=False)
        assert told.encode()


@patient
@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80")
@example(b'"\\ud800"')
def test_any_bytes_give_a_command_or_a_refusal(body: bytes) -> None:
    check(parsed, body)


@patient
@given(st.text(max_size=200))
def test_any_text_gives_a_command_or_a_refusal(body: str) -> None:
    check(parsed, body.encode("utf-8", "surrogatepass"))


@patient
@given(DOCUMENTS)
def test_any_document_gives_a_command_or_a_refusal(document: object) -> None:
    check(parsed, json.dumps(document).encode())


@patient
@given(st.dictionaries(NAMES, DOCUMENTS, max_size=10))
def test_any_fields_give_a_command_or_a_refusal(fields: dict[str, object]) -> None:
    check(parsed, json.dumps({"model_id": "m", **fields}).encode())


@patient
@given(st.dictionaries(NAMES, DOCUMENTS, max_size=10))
def test_any_fields_of_a_model_or_document_are_read_or_refused(fields: dict[str, object]) -> None:
    body = json.dumps(fields).encode()
    check(lambda body: parse_new_model(body, max_bytes=10_000, new_id=lambda: "m"), body)
    check(lambda body: parse_solve(body, max_bytes=10_000), body)


@patient
@given(st.decimals(min_value=Decimal("1e-16"), max_value=Decimal("1e17"), places=16))
def test_a_price_is_kept_digit_for_digit(price: Decimal) -> None:
    text = format(price, "f")
    for written in (text, f'"{text}"'):
        body = f'{{"model_id":"m","prices":{{"{SECURITY}":{written}}}}}'.encode()
        assert parsed(body).prices == {SECURITY: price}


@patient
@given(st.permutations(["model_id", "parallelism", "policy", "prices"]))
def test_the_order_of_names_does_not_change_the_hash(order: list[str]) -> None:
    whole = {"model_id": "m", "parallelism": 3, "policy": {"cash_floor": "0.1"}, "prices": {SECURITY: "7"}}
    body = json.dumps({name: whole[name] for name in order}).encode()
    first = json.dumps(whole).encode()
    assert parsed(body).request_sha256 == parsed(first).request_sha256
