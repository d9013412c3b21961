"""What only a store on MongoDB can meet: replies that are lost, a server that goes away, a document too large."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from pymongo.errors import OperationFailure

from adapters.stores.mongo import MongoStore
from domain.errors import Invalid, StoreUnavailable
from domain.item import Item, ItemState
from domain.job import Inputs, JobState
from domain.ports import ClaimMiss
from tests.support.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.lives import ALL_OLD, JOB_ID, OWNER, claimed, expanded, finish_of, job, woken

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(mongo_url: str) -> Iterator[CuttingProxy]:
    port = urlsplit(mongo_url).port
    if port is None or "directConnection" not in mongo_url:
        pytest.skip("a proxy needs one server at one port")
    with cutting_proxy(port) as proxy:
        yield proxy


@pytest.fixture
def store(mongo_url: str, proxy: CuttingProxy) -> Iterator[MongoStore]:
    parts = urlsplit(mongo_url)
    store = MongoStore(parts._replace(netloc=f"127.0.0.1:{proxy.port}").geturl(), timeout_seconds=10)
    store.prepare()
    yield store
    store.close()


def test_a_finish_whose_reply_is_lost_is_finished_once(store: MongoStore, proxy: CuttingProxy) -> None:
    expanded(store)
    finish = finish_of(claimed(store))
    proxy.lose_reply_to(finish.result)
    assert store.finish(finish)
    assert proxy.lost == 1
    item = store.get_item(finish.item_id)
    assert (item.state, item.result, item.seat) == (ItemState.TRADED, finish.result, None)


def test_a_job_whose_insert_is_not_answered_is_accepted_once(store: MongoStore, proxy: CuttingProxy) -> None:
    proxy.lose_reply_to(b"key of job-1")
    stored = store.insert_job(job())
    assert proxy.lost == 1
    assert stored.state is JobState.ACCEPTED
    assert store.list_jobs() == [stored]


def test_a_claim_whose_reply_is_lost_holds_one_seat_at_most_and_comes_back(
    store: MongoStore, proxy: CuttingProxy
) -> None:
    expanded(store, n=2)
    proxy.lose_reply_to(b"an owner of its own")
    answer = store.claim(JOB_ID, 0, "an owner of its own")
    assert proxy.lost == 1
    # A real server answers the repeated claim with what it did; one that does not remember finds the seat busy.
    assert isinstance(answer, Item) or answer is ClaimMiss.SEAT_BUSY
    assert len(store.busy_seats(JOB_ID)) == 1
    store.expire_items(ALL_OLD, max_attempts=3)
    assert woken(store) == 1
    assert {claimed(store, seat=seat).state for seat in (0, 1)} == {ItemState.RUNNING}


def test_a_store_whose_server_goes_away_says_so_within_its_limit(mongo_url: str, proxy: CuttingProxy) -> None:
    netloc = f"127.0.0.1:{proxy.port}"
    store = MongoStore(urlsplit(mongo_url)._replace(netloc=netloc).geturl(), timeout_seconds=1)
    store.prepare()
    expanded(store)
    proxy.close()
    with pytest.raises(StoreUnavailable):
        store.claim(JOB_ID, 0, OWNER)
    store.close()


def test_inputs_larger_than_a_document_are_refused_and_said_to_be(store: MongoStore) -> None:
    inputs = Inputs(job_id=JOB_ID, snapshot=bytes(17 * 1024 * 1024), sha256="a" * 64)
    with pytest.raises(Invalid) as refused:
        store.freeze_inputs(inputs)
    assert refused.value.code == "too_large"
    assert store.get_inputs(JOB_ID) is None


def test_a_mistake_in_a_filter_stays_loud(store: MongoStore) -> None:
    with pytest.raises(OperationFailure), store._mongo.open() as db:
        db.items.find_one({"state": {"$nonsense": 1}})


def test_another_workers_claims_make_a_page_stale_and_nothing_more(store: MongoStore, mongo_url: str) -> None:
    expanded(store, n=6, parallelism=1)
    other = MongoStore(mongo_url)
    first = claimed(store)  # and a page of the other five
    others = [claimed(other, seat=seat) for seat in (1, 2)]
    store.finish(finish_of(first))
    item = claimed(store)
    assert item.item_id not in {first.item_id, *(taken.item_id for taken in others)}
    assert item.fence == 1
    other.close()
