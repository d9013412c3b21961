"""Which item to claim next: pages of pending items, a stripe to each seat.

"Update the first pending item" would send every worker to the same document: all but one find it taken, search again
and scan past the entries of what was just claimed. So a worker reads a page of candidates and claims them by id. Seat
``s`` of ``p`` takes every p-th of the items that no outage ever gave back; once its own are gone, it takes what is left
anywhere, least given back first. A page may be stale: the claim compares state and fence, so a candidate that moved on
is merely a miss.
"""

import threading
from collections import OrderedDict, deque
from typing import Any, NamedTuple, TypeVar

from pymongo import ASCENDING
from pymongo.collection import Collection

from domain.ids import JobId
from domain.item import ITEM_MOVES

PAGE = 64
KEPT = 1024  # pages and jobs; those of jobs that are over fall out at the far end
(CLAIMABLE,) = ITEM_MOVES["claim"].sources  # one state, or the partial index would not be used
_ORDER = (("given_back", ASCENDING), ("seq", ASCENDING))
_FIELDS = {"fence": 1, "given_back": 1, "seq": 1, "gen": 1, "inlined": 1}


_K = TypeVar("_K")
_V = TypeVar("_V")


class Candidate(NamedTuple):
    """``inlined``: its data came with the request and stand in the item."""

    item_id: str
    fence: int
    given_back: int
    seq: int
    gen: int
    inlined: bool

    @property
    def is_known(self) -> bool:
        """Whether all there is of it stands here: nobody worked on it before, and its data are elsewhere."""
        return self.fence == 0 and not self.inlined


class Candidates:
    """The pages of one process, for all of its threads."""

    def __init__(self, items: Collection[dict[str, Any]], jobs: Collection[dict[str, Any]]) -> None:
        self._items = items
        self._jobs = jobs
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[JobId, int], deque[Candidate]] = OrderedDict()
        self._parallelism: OrderedDict[JobId, int] = OrderedDict()

    def take(self, job_id: JobId, seat: int) -> Candidate | None:
        """The next candidate for a seat, from a page or from the store; None: nothing is pending."""
        with self._lock:
            page = self._pages.get((job_id, seat))
            if page:
                return page.popleft()
        page = self._read_own(job_id, seat)
        if not page:
            return self._leftover(job_id, seat)
        candidate = page.popleft()
        with self._lock:
            _keep(self._pages, (job_id, seat), page)
        return candidate

    def first(self, job_id: JobId) -> Candidate | None:
        """The one pending item that stands before all others."""
        found = self._read(job_id, {}, limit=1)
        return found[0] if found else None

    def put_back(self, job_id: JobId, seat: int, candidate: Candidate) -> None:
        """It was not claimed after all: the seat was busy."""
        with self._lock:
            page = self._pages.get((job_id, seat))
            if page is not None:
                page.appendleft(candidate)

    def forget(self, job_id: JobId, seat: int) -> None:
        """The page is stale."""
        with self._lock:
            self._pages.pop((job_id, seat), None)

    def _read_own(self, job_id: JobId, seat: int) -> deque[Candidate]:
        parallelism = self._parallelism_of(job_id)
        if parallelism is None:
            return deque()
        return self._read(job_id, {"given_back": 0, "seq": {"$mod": [parallelism, seat % parallelism]}})

    def _leftover(self, job_id: JobId, seat: int) -> Candidate | None:
        """Two seats that look for leftovers begin at different ones, but never at one given back more often.

        It is read anew each time: a page kept here could put what an outage gave back before what woke later.
        """
        found = self._read(job_id, {})
        least = [candidate for candidate in found if candidate.given_back == found[0].given_back]
        return least[seat % len(least)] if least else None

    def _read(self, job_id: JobId, stripe: dict[str, Any], *, limit: int = PAGE) -> deque[Candidate]:
        pending = {"job_id": job_id, "state": CLAIMABLE, **stripe}
        page = self._items.find(pending, _FIELDS).sort(_ORDER).limit(limit)
        return deque(
            Candidate(
                item_id=found["_id"],
                fence=found["fence"],
                given_back=found["given_back"],
                seq=found["seq"],
                gen=found["gen"],
                inlined=found.get("inlined", False),
            )
            for found in page
        )

    def _parallelism_of(self, job_id: JobId) -> int | None:
        known = self._parallelism.get(job_id)
        if known is not None:
            return known
        job = self._jobs.find_one({"_id": job_id}, {"parallelism": 1})
        if job is None:
            return None
        parallelism: int = job["parallelism"]
        with self._lock:
            _keep(self._parallelism, job_id, parallelism)
        return parallelism


def _keep(kept: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
