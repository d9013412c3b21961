from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from adapters.stores import codecs
from adapters.stores.rules import check_target, closed_state, day_of, expired_state, sort_keys
from domain.errors import Invalid
from domain.item import FINAL_STATES, ITEM_MOVES, ItemState
from domain.job import Job, JobState
from domain.policy import Policy
from domain.ports import Member, ModelQuery
from tests.support import builders
from tests.support.lives import job

BORN = {
    "state": "accepted",
    "gen": 0,
    "retry": None,
    "stop_to": None,
    "reason": None,
    "probe_at": None,
    "probes": 0,
    "counts": {},
    "healing": {},
    "created_at": None,
    "started_at": None,
    "finished_at": None,
    "deleted_at": None,
}


# ------------------------------------------------------------------------------------------------ jobs


def test_every_field_of_a_job_is_kept_once() -> None:
    assert codecs.SPEC_FIELDS | codecs.LIFE_FIELDS | {"job_id"} == {field.name for field in fields(Job)}
    assert BORN.keys() == codecs.LIFE_FIELDS


def test_a_job_is_the_same_after_it_was_stored() -> None:
    given = replace(
        job(),
        policy=Policy(cash_floor=Decimal("0.0123456789012345"), cash_floor_amount=Decimal("0.10")),
        inline_prices={builders.security_id(1): Decimal("123456789012345678.1234567890123456")},
        deadline=datetime(2027, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    )
    assert codecs.job_from(given.job_id, codecs.encode_spec(given), BORN) == given


def test_prices_are_stored_as_text_and_keep_34_digits() -> None:
    price = Decimal("123456789012345678.1234567890123456")
    spec = codecs.encode_spec(replace(job(), inline_prices={builders.security_id(1): price}))
    assert f'"{price}"'.encode() in spec


# ------------------------------------------------------------------------------------------------ models


def test_a_model_is_the_same_after_it_was_stored() -> None:
    given = builders.model(
        {1: ("0.300", "0.0000000000000001", "1")}, portfolios=(2, 1), last_rebalance_date=builders.MORNING
    )
    document = codecs.model_document(given)
    assert document["positions"][0]["target"] == Decimal("0.300")
    assert document["last_rebalance_date"] == builders.MORNING
    assert codecs.model_from(document) == given


# ------------------------------------------------------------------------------------------------ times


def test_times_are_kept_in_whole_milliseconds_of_utc() -> None:
    moment = datetime(2026, 3, 2, 9, 30, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert codecs.at_millis(moment) == datetime(2026, 3, 2, 7, 30, 0, 123_000, tzinfo=UTC)
    assert codecs.at_millis(moment).utcoffset() == timedelta(0)
    assert codecs.from_millis(codecs.to_millis(codecs.EPOCH)) == codecs.EPOCH
    assert codecs.to_millis(codecs.EPOCH - timedelta(microseconds=1)) == -1


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid, match="no time zone"):
        codecs.to_millis(datetime(2026, 3, 2))  # noqa: DTZ001 - the point


# ------------------------------------------------------------------------------------------------ members


def packed(count: int, inline: bytes | None = None) -> tuple[list[Member], list[codecs.Chunk]]:
    members = [Member(portfolio_id=builders.portfolio_id(n), inline=inline) for n in range(count)]
    return members, list(codecs.pack_members(members))


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_a_list_is_cut_without_a_gap_and_put_together_again(count: int) -> None:
    members, chunks = packed(count)
    assert [place for chunk in chunks for place in range(chunk.first, chunk.last + 1)] == list(range(count))
    assert codecs.unpack_members([(chunk.first, chunk.body) for chunk in chunks], 0, count) == members


def test_a_chunk_of_inline_data_stays_below_its_size() -> None:
    size = codecs.CHUNK_BYTES // 3
    members, chunks = packed(7, bytes(size))
    assert [chunk.last - chunk.first + 1 for chunk in chunks] == [3, 3, 1]
    assert codecs.unpack_members([(chunk.first, chunk.body) for chunk in chunks[1:2]], 4, 1) == members[4:5]


def test_one_member_larger_than_a_chunk_has_its_own() -> None:
    _, chunks = packed(2, bytes(codecs.CHUNK_BYTES + 1))
    assert [(chunk.first, chunk.last) for chunk in chunks] == [(0, 0), (1, 1)]


# ------------------------------------------------------------------------------------------------ rules


def test_a_job_closes_by_the_worst_of_its_items_and_only_when_all_are_final() -> None:
    assert closed_state({"traded": 2, "no_trade": 1}, 3) is JobState.DONE
    assert closed_state({"traded": 2, "failed": 1}, 3) is JobState.DONE_WITH_ERRORS
    assert closed_state({"failed": 2, "cancelled": 1}, 3) is JobState.CANCELLED
    assert closed_state({"traded": 2}, 3) is None
    for state in frozenset(ItemState) - FINAL_STATES:
        assert closed_state({"traded": 2, state: 1}, 3) is None


def test_what_expires_fails_at_its_last_attempt_and_follows_a_stop() -> None:
    assert expired_state(1, 2, None) is ItemState.DELAYED
    assert expired_state(2, 2, None) is ItemState.FAILED
    assert expired_state(2, 2, "cancelled") is ItemState.CANCELLED
    with pytest.raises(ValueError, match="expire cannot end in traded"):
        expired_state(1, 2, "traded")


@pytest.mark.parametrize("move", ITEM_MOVES)
def test_a_move_ends_only_where_the_table_says(move: str) -> None:
    for state in ItemState:
        if state in ITEM_MOVES[move].targets:
            assert check_target(move, state.value) is state
        else:
            with pytest.raises(ValueError, match=f"{move} cannot end in {state}"):
                check_target(move, state)


def test_a_sort_is_a_total_order_and_the_first_word_on_a_field_counts() -> None:
    assert sort_keys(ModelQuery(sort_by=("-name", "+name"))) == [("name", -1), ("model_id", 1)]
    assert sort_keys(ModelQuery(sort_by=("-model_id",))) == [("model_id", -1)]


def test_a_day_is_a_day_in_utc() -> None:
    late = datetime(2026, 3, 2, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert day_of(late) == (datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))
