"""One suite, two stores."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.stores.open import Store, open_store
from tests.support.servers import free_port


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


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.integration)])
def unreachable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store whose database does not answer: a file where its directory should be, nobody listening."""
    (tmp_path / "a-file").touch()
    url = {
        "sqlite": f"sqlite:///{tmp_path / 'a-file' / 'store.db'}",
        "mongodb": f"mongodb://127.0.0.1:{free_port()}/trimtab?directConnection=true",
    }[request.param]
    store = open_store(url, timeout_seconds=0.2)
    yield store
    store.close()
