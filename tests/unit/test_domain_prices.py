import hashlib
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from domain.errors import Invalid
from domain.ids import SecurityId
from domain.prices import freeze, thaw
from tests.support.builders import MORNING, prices, security_id, snapshot, ticker
from tests.support.decimals import hostile_context

D = Decimal


def fields(refused: pytest.ExceptionInfo[Invalid]) -> list[str]:
    return [detail["field"] for detail in refused.value.details]


def test_a_frozen_snapshot_thaws_to_itself() -> None:
    frozen, canonical = freeze(MORNING, prices({2: "40.1000", 1: "0.00000001"}), {security_id(1): "BRK.B"})

    assert thaw(canonical) == frozen
    assert frozen.as_of == MORNING
    assert frozen.as_of.tzinfo == UTC
    assert frozen.prices == prices({1: "0.00000001", 2: "40.1"})
    assert frozen.tickers == {security_id(1): "BRK.B"}


def test_the_hash_is_that_of_the_stored_bytes() -> None:
    frozen, canonical = freeze(MORNING, prices({1: 1}), {})

    assert frozen.sha256 == hashlib.sha256(canonical).hexdigest()


def test_the_bytes_are_known_so_that_another_program_can_write_the_same() -> None:
    _, canonical = freeze(MORNING, prices({2: 40, 1: "0.123"}), {security_id(1): "\u00c9T"})

    assert canonical == (
        b'{"as_of":"2026-03-02T07:30:00.000000+00:00",'
        b'"prices":{"SEC000000000000000000001":"0.123","SEC000000000000000000002":"40.00"},'
        b'"schema":"trimtab.price-snapshot.v1",'
        b'"tickers":{"SEC000000000000000000001":"\\u00c9T"}}'
    )


def test_the_same_market_gives_the_same_bytes_however_it_is_written() -> None:
    one = freeze(MORNING, prices({1: "1.10", 2: "1E+3"}), {security_id(2): "B", security_id(1): "A"})
    other = freeze(MORNING, prices({2: "1000.000", 1: "1.1"}), {security_id(1): "A", security_id(2): "B"})

    assert one == other


@pytest.mark.parametrize("change", ["price", "moment", "ticker"])
def test_another_market_gives_another_hash(change: str) -> None:
    base = snapshot({1: "1.10"})
    as_of = MORNING + timedelta(microseconds=1) if change == "moment" else MORNING
    price = "1.11" if change == "price" else "1.10"
    name = "Z" if change == "ticker" else ticker(1)

    changed, _ = freeze(as_of, prices({1: price}), {security_id(1): name})

    assert changed.sha256 != base.sha256


@pytest.mark.parametrize("price", ["0", "-0.01", "NaN", "sNaN", "Infinity", "1E+18", "1E-17", "1E+1000000"])
def test_a_price_that_is_not_a_number_above_0_is_refused_and_names_the_security(price: str) -> None:
    with pytest.raises(Invalid, match=security_id(2)) as refused:
        freeze(MORNING, prices({1: 1, 2: price, 3: price}), {})
    assert fields(refused) == [f"prices.{security_id(2)}", f"prices.{security_id(3)}"]


def test_a_float_is_no_price() -> None:
    with pytest.raises(Invalid, match=r"1\.5 \(float\)"):
        freeze(MORNING, {security_id(1): 1.5}, {})  # type: ignore[dict-item]  # what an untyped caller may do


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 3, 2), datetime(2026, 3, 2, tzinfo=timezone(timedelta(hours=1)))],  # noqa: DTZ001  # the fault itself
    ids=["no zone", "another zone"],
)
def test_a_moment_that_is_not_utc_is_refused(moment: datetime) -> None:
    with pytest.raises(Invalid, match="UTC") as refused:
        freeze(moment, {}, {})
    assert fields(refused) == ["as_of"]


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b'{"schema":"trimtab.price-snapshot.v2"}',
        b'{"schema":"trimtab.price-snapshot.v1"}',
        b'{"schema":"trimtab.price-snapshot.v1","as_of":"yesterday","prices":{},"tickers":{}}',
        b'{"schema":"trimtab.price-snapshot.v1","as_of":"2026-03-02T07:30:00+00:00","prices":[],"tickers":{}}',
        b'{"schema":"trimtab.price-snapshot.v1","as_of":"2026-03-02T07:30:00+00:00","prices":{"A":1.5},"tickers":{}}',
    ],
    ids=repr,
)
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(Invalid):
        thaw(damaged)


def test_freezing_is_the_same_in_any_decimal_context() -> None:
    usual = freeze(MORNING, prices({1: "12345.6789", 2: "0.010"}), {})
    with hostile_context():
        assert freeze(MORNING, prices({1: "12345.6789", 2: "0.010"}), {}) == usual


def test_five_hundred_securities_thaw_quickly() -> None:
    ids = [security_id(number) for number in range(500)]
    _, canonical = freeze(MORNING, {key: D("123.4567") for key in ids}, {key: f"T{key}" for key in ids})

    best = min(_seconds_to_thaw(canonical) for _ in range(5))

    assert best < 40 * min(_seconds_to_parse(canonical) for _ in range(5)), (
        "a small multiple of reading the JSON"
    )


def _seconds_to_thaw(canonical: bytes) -> float:
    began = time.perf_counter()
    thaw(canonical)
    return time.perf_counter() - began


def _seconds_to_parse(canonical: bytes) -> float:
    began = time.perf_counter()
    json.loads(canonical)
    return time.perf_counter() - began


def test_securities_without_a_price_keep_their_ticker() -> None:
    frozen, _ = freeze(MORNING, {}, {SecurityId("X"): "XYZ"})

    assert frozen.tickers[SecurityId("X")] == "XYZ"
