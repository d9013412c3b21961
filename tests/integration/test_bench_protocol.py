"""A quick look at the protocol's benchmark: every row is there, counted figures hold their goals."""

import pytest

from worker.bench.protocol import PLAIN, RELAY, rows
from worker.bench.rows import Better

TRIPS = "store round trips/portfolio"


@pytest.mark.integration
@pytest.mark.timeout(180)
def test_it_measures_every_way_through_real_workers_and_heals_nothing() -> None:
    found = list(rows(1, scale=0.05))

    shares = ("one portfolio a token", "slice of 8")
    stores = ("store without fsync", "SQLite FULL")
    names = {f"{share}, {store}" for share in shares for store in stores}
    assert {row.name for row in found} == {PLAIN, RELAY, *names}
    assert all(row.suite == "protocol" and row.value > 0 for row in found)
    rates = {row.name: row for row in found if row.unit == "% of plain"}
    assert {name: row.goal for name, row in rates.items() if row.goal is not None} == {
        "one portfolio a token, store without fsync": 35.0,
        "slice of 8, store without fsync": 100.0,
    }
    trips = [row for row in found if row.unit == TRIPS]
    assert len(trips) == len(names)
    assert all(row.better is Better.LOWER and row.ok for row in trips), [row.value for row in trips]
