"""One suite, two stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.stores.open import Store, open_store


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.integration)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url: str = request.getfixturevalue("mongo_url")
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    store = open_store(store_url, synchronous="off")
    store.prepare()
    yield store
    store.close()
