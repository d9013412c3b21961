from collections import OrderedDict

from adapters.stores.mongo.candidates import KEPT, _keep


def test_pages_of_jobs_that_are_over_fall_out() -> None:
    kept: OrderedDict[int, str] = OrderedDict()
    for number in range(KEPT):
        _keep(kept, number, "page")
    _keep(kept, 0, "read again")
    _keep(kept, KEPT, "page")
    assert len(kept) == KEPT
    assert 0 in kept
    assert 1 not in kept
