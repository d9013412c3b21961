"""The ModelStore contract, one suite for every store."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from adapters.stores.open import Store
from domain.errors import AlreadyExists, Conflict, Invalid, NotFound, StaleVersion, TrimtabError
from domain.ids import ModelId
from domain.model import InvestmentModel
from domain.policy import MissingPrice, Policy
from domain.ports import ModelCounts, ModelQuery
from tests.support import builders
from tests.support.claimers import together

DAY = datetime(2026, 3, 2, tzinfo=UTC)
UNKNOWN = ModelId("NOBODY")


def model(number: int, *, name: str | None = None, last: datetime | None = None) -> InvestmentModel:
    """Model ``number`` holds securities 1..number and is followed by portfolios number and number + 1."""
    made = builders.model(
        dict.fromkeys(range(1, number + 1), "0.1"),
        name=name or f"Model {number}",
        portfolios=(number, number + 1),
        last_rebalance_date=last,
    )
    return replace(made, model_id=ModelId(f"MODEL{number}"))


@pytest.fixture
def four(store: Store) -> Store:
    """Models 1 to 4, of which 2 and 3 were rebalanced on two days running."""
    store.create_model(model(3, last=DAY + timedelta(days=1)))
    store.create_model(model(1))
    store.create_model(model(4, name="A late one"))
    store.create_model(model(2, last=DAY + timedelta(hours=23, minutes=59)))
    return store


def ids(store: Store, query: ModelQuery) -> list[str]:
    return [found.model_id for found in store.list_models(query)]


# ------------------------------------------------------------------------------------------------ create, get


def test_a_model_comes_back_as_it_was_created(store: Store) -> None:
    policy = Policy(
        cash_floor=Decimal("0.0123456789012345"),
        cash_floor_amount=Decimal("123456789012345678.9012345678901234"),
        missing_price=MissingPrice.EXCLUDE,
    )
    last = datetime(2026, 3, 2, 7, 30, 1, 250_000, tzinfo=UTC)
    given = replace(model(3, last=last), policy=policy)
    assert store.create_model(given) == given
    found = store.get_model(given.model_id)
    assert found == given
    assert str(found.policy.cash_floor_amount) == "123456789012345678.9012345678901234"
    assert found.last_rebalance_date is not None
    assert found.last_rebalance_date.utcoffset() == timedelta(0)


def test_decimals_keep_their_last_digit_and_their_zeros(store: Store) -> None:
    given = builders.model({1: ("0.300", "0.0000000000000001", "0.9999999999999999")})
    store.create_model(given)
    (kept,) = store.get_model(given.model_id).positions
    assert [str(number) for number in (kept.target, kept.low_drift, kept.high_drift)] == [
        "0.300",
        "1E-16",
        "0.9999999999999999",
    ]


def test_a_time_is_kept_to_the_millisecond(store: Store) -> None:
    made = store.create_model(model(1, last=datetime(2026, 3, 2, 7, 30, 1, 250_999, tzinfo=UTC)))
    assert made.last_rebalance_date == datetime(2026, 3, 2, 7, 30, 1, 250_000, tzinfo=UTC)
    assert store.get_model(made.model_id) == made


def test_zero_targets_are_dropped_on_save(store: Store) -> None:
    made = store.create_model(builders.model({1: "0.5", 2: 0}))
    assert [position.security_id for position in made.positions] == [builders.security_id(1)]
    changed = store.update_model(replace(made, positions=builders.model({1: 0, 3: "0.2"}).positions))
    assert [position.security_id for position in changed.positions] == [builders.security_id(3)]
    assert store.get_model(made.model_id) == changed
    assert ids(store, ModelQuery(security_id=builders.security_id(2))) == []
    assert store.count_models(ModelQuery()).positions == 1


def test_the_order_of_positions_and_portfolios_is_kept(store: Store) -> None:
    given = builders.model({3: "0.1", 1: "0.2", 2: "0.3"}, portfolios=(9, 4, 7))
    store.create_model(given)
    assert store.get_model(given.model_id) == given


def test_a_model_of_5000_portfolios_is_kept(store: Store) -> None:
    given = builders.model({1: "0.5"}, portfolios=range(5_000))
    store.create_model(given)
    assert store.get_model(given.model_id).portfolios == given.portfolios
    assert ids(store, ModelQuery(portfolio_id=builders.portfolio_id(4_999))) == [given.model_id]


@pytest.mark.parametrize(
    ("second", "taken"),
    [
        (model(1, name="Another"), "MODEL1"),
        (replace(model(2), name="Model 1"), "Model 1"),
        (model(1), "MODEL1|Model 1"),
    ],
    ids=["id", "name", "both"],
)
def test_an_id_or_a_name_is_taken_once(store: Store, second: InvestmentModel, taken: str) -> None:
    first = store.create_model(model(1))
    with pytest.raises(AlreadyExists, match=taken):
        store.create_model(second)
    assert store.list_models(ModelQuery()) == [first]


def test_an_unknown_model_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="NOBODY"):
        store.get_model(UNKNOWN)


# ------------------------------------------------------------------------------------------------ update, delete


def test_an_update_replaces_the_model_and_counts_the_version(store: Store) -> None:
    made = store.create_model(model(2))
    wanted = replace(model(3, name="New name"), model_id=made.model_id, version=made.version)
    changed = store.update_model(wanted)
    assert changed == replace(wanted, version=2)
    assert store.get_model(made.model_id) == changed
    assert ids(store, ModelQuery(portfolio_id=builders.portfolio_id(2))) == []
    assert ids(store, ModelQuery(portfolio_id=builders.portfolio_id(4))) == [made.model_id]


def test_an_update_at_another_version_is_stale_and_changes_nothing(store: Store) -> None:
    made = store.create_model(model(1))
    changed = store.update_model(replace(made, name="First"))
    for version in (1, 3):
        with pytest.raises(StaleVersion, match=f"version {version}"):
            store.update_model(replace(made, name="Second", version=version))
    assert store.get_model(made.model_id) == changed


def test_an_update_of_an_unknown_model_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.update_model(model(1))


def test_an_update_to_a_name_that_is_taken_changes_nothing(store: Store) -> None:
    store.create_model(model(1))
    made = store.create_model(model(2))
    with pytest.raises(AlreadyExists, match="Model 1"):
        store.update_model(replace(made, name="Model 1", portfolios=()))
    assert store.get_model(made.model_id) == made
    assert ids(store, ModelQuery(portfolio_id=made.portfolios[1])) == [made.model_id]


def test_of_eight_updates_of_one_version_one_wins(store: Store) -> None:
    made = store.create_model(model(1))

    def update(number: int) -> Callable[[], str]:
        def attempt() -> str:
            try:
                return store.update_model(replace(made, name=f"Name {number}")).name
            except StaleVersion:
                return "stale"

        return attempt

    answers = together([update(number) for number in range(8)])
    assert answers.count("stale") == 7
    found = store.get_model(made.model_id)
    assert found.version == 2
    assert found.name in answers


def test_of_eight_models_of_one_name_one_is_created(store: Store) -> None:
    def create(number: int) -> Callable[[], TrimtabError | None]:
        def attempt() -> TrimtabError | None:
            try:
                store.create_model(model(number, name="The name"))
            except AlreadyExists as error:
                return error
            return None

        return attempt

    answers = together([create(number) for number in range(1, 9)])
    assert answers.count(None) == 1
    assert store.count_models(ModelQuery()).models == 1


def test_a_deleted_model_is_gone_and_its_name_is_free(store: Store) -> None:
    made = store.create_model(model(1))
    store.delete_model(made.model_id, 1)
    with pytest.raises(NotFound):
        store.get_model(made.model_id)
    assert ids(store, ModelQuery(portfolio_id=builders.portfolio_id(1))) == []
    assert store.create_model(made) == made


def test_a_model_is_deleted_only_at_its_version(store: Store) -> None:
    made = store.create_model(model(1))
    with pytest.raises(StaleVersion):
        store.delete_model(made.model_id, 2)
    with pytest.raises(NotFound):
        store.delete_model(UNKNOWN, 1)
    assert store.get_model(made.model_id) == made


def test_a_conflict_is_one_the_caller_can_read_about(store: Store) -> None:
    store.create_model(model(1))
    with pytest.raises(Conflict) as caught:
        store.create_model(model(1))
    assert caught.value.code == "already_exists"


# ------------------------------------------------------------------------------------------------ the rebalance date


def test_a_rebalance_is_noted_unless_a_later_one_is(store: Store) -> None:
    made = store.create_model(model(1))
    for moment, kept in ((DAY, DAY), (DAY - timedelta(days=1), DAY), (DAY + timedelta(days=1),) * 2):
        store.note_rebalanced(made.model_id, moment)
        found = store.get_model(made.model_id)
        assert found.last_rebalance_date == kept
        assert found.version == made.version
    store.note_rebalanced(UNKNOWN, DAY)


@pytest.mark.parametrize("given", [None, DAY - timedelta(days=1)], ids=["none", "earlier"])
def test_an_update_does_not_undo_a_rebalance_noted_meanwhile(store: Store, given: datetime | None) -> None:
    made = store.create_model(model(1, last=given))
    store.note_rebalanced(made.model_id, DAY)
    changed = store.update_model(replace(made, name="New name"))
    assert changed.last_rebalance_date == DAY
    assert store.get_model(made.model_id) == changed


def test_an_update_may_bring_a_later_rebalance_date(store: Store) -> None:
    made = store.create_model(model(1))
    assert store.update_model(replace(made, last_rebalance_date=DAY)).last_rebalance_date == DAY


# ------------------------------------------------------------------------------------------------ queries


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ModelQuery(), ["MODEL1", "MODEL2", "MODEL3", "MODEL4"]),
        (ModelQuery(name="A late one"), ["MODEL4"]),
        (ModelQuery(name="a late one"), []),
        (ModelQuery(portfolio_id=builders.portfolio_id(2)), ["MODEL1", "MODEL2"]),
        (ModelQuery(security_id=builders.security_id(3)), ["MODEL3", "MODEL4"]),
        (
            ModelQuery(portfolio_id=builders.portfolio_id(4), security_id=builders.security_id(4)),
            ["MODEL4"],
        ),
        (ModelQuery(rebalanced_on=DAY), ["MODEL2"]),
        (ModelQuery(rebalanced_on=DAY + timedelta(hours=9)), ["MODEL2"]),
        (ModelQuery(rebalanced_on=DAY + timedelta(days=1)), ["MODEL3"]),
        (ModelQuery(rebalanced_on=DAY - timedelta(days=1)), []),
        (ModelQuery(needing_rebalance_since=DAY), ["MODEL1", "MODEL4"]),
        (ModelQuery(needing_rebalance_since=DAY + timedelta(days=1)), ["MODEL1", "MODEL2", "MODEL4"]),
        (
            ModelQuery(needing_rebalance_since=DAY + timedelta(days=2)),
            ["MODEL1", "MODEL2", "MODEL3", "MODEL4"],
        ),
        (ModelQuery(sort_by=("-model_id",)), ["MODEL4", "MODEL3", "MODEL2", "MODEL1"]),
        (ModelQuery(sort_by=("+name",)), ["MODEL4", "MODEL1", "MODEL2", "MODEL3"]),
        (ModelQuery(sort_by=("+last_rebalance_date",)), ["MODEL1", "MODEL4", "MODEL2", "MODEL3"]),
        (ModelQuery(sort_by=("-last_rebalance_date",)), ["MODEL3", "MODEL2", "MODEL1", "MODEL4"]),
        (
            ModelQuery(sort_by=("+last_rebalance_date", "-model_id", "+model_id")),
            ["MODEL4", "MODEL1", "MODEL2", "MODEL3"],
        ),
        (ModelQuery(sort_by=()), ["MODEL1", "MODEL2", "MODEL3", "MODEL4"]),
        (ModelQuery(offset=1, limit=2), ["MODEL2", "MODEL3"]),
        (ModelQuery(sort_by=("+last_rebalance_date",), offset=3), ["MODEL3"]),
        (ModelQuery(offset=9), []),
        (ModelQuery(limit=0), []),
    ],
)
def test_models_are_found_sorted_and_paged(four: Store, query: ModelQuery, expected: list[str]) -> None:
    assert ids(four, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (ModelQuery(), ModelCounts(models=4, positions=10, portfolios=8)),
        (ModelQuery(offset=3, limit=1), ModelCounts(models=4, positions=10, portfolios=8)),
        (ModelQuery(security_id=builders.security_id(3)), ModelCounts(models=2, positions=7, portfolios=4)),
        (ModelQuery(needing_rebalance_since=DAY), ModelCounts(models=2, positions=5, portfolios=4)),
        (ModelQuery(name="nobody"), ModelCounts(models=0, positions=0, portfolios=0)),
    ],
)
def test_what_matches_is_counted_with_its_positions_and_portfolios(
    four: Store, query: ModelQuery, expected: ModelCounts
) -> None:
    assert four.count_models(query) == expected


@pytest.mark.parametrize("wanted", ["model_id", "+version", "", "+", "-name; DROP TABLE models"])
def test_an_unknown_sort_is_refused_and_named(store: Store, wanted: str) -> None:
    with pytest.raises(Invalid, match="cannot sort by"):
        store.list_models(ModelQuery(sort_by=(wanted,)))


@pytest.mark.parametrize("query", [ModelQuery(offset=-1), ModelQuery(limit=-1)])
def test_a_page_of_models_before_the_first_is_refused(store: Store, query: ModelQuery) -> None:
    with pytest.raises(Invalid):
        store.list_models(query)


def test_a_query_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="time zone"):
        store.list_models(ModelQuery(needing_rebalance_since=datetime(2026, 3, 2)))  # noqa: DTZ001 - the point
