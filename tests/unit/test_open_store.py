import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adapters.stores.mongo import MongoStore
from adapters.stores.open import open_store
from adapters.stores.sqlite import SqliteStore
from domain.errors import Invalid


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///a%20folder/store.db", "a folder/store.db"),
    ],
)
def test_a_relative_sqlite_url_is_a_file_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / expected).parent.mkdir(exist_ok=True)
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    store.prepare()
    store.close()
    assert (tmp_path / expected).exists()


def test_an_absolute_sqlite_url_has_four_slashes(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db", synchronous="normal")
    store.prepare()
    store.close()
    assert (tmp_path / "store.db").exists()


@pytest.mark.parametrize("url", ["mongodb://localhost:1/book", "mongodb+srv://cluster.invalid/book"])
def test_a_mongodb_url_is_opened_without_being_asked_for_anything(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, MongoStore)
    store.close()


@pytest.mark.parametrize("url", ["postgresql://localhost/x", "store.db", "", "sqlite"])
def test_an_unknown_scheme_is_refused_and_the_known_ones_are_named(url: str) -> None:
    with pytest.raises(Invalid, match=r"sqlite://, mongodb://, mongodb\+srv://"):
        open_store(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://store.db"])
def test_a_sqlite_url_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match=r"sqlite:///relative\.db"):
        open_store(url)


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(Invalid, match="full, normal, off"):
        open_store("sqlite:///store.db", synchronous="extra")


def test_a_file_with_the_tables_of_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trimtab.db"
    store = open_store(f"sqlite:///{path}")
    store.prepare()
    store.prepare()
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE jobs DROP COLUMN deleted_at")
        db.execute("PRAGMA user_version = 7")
        db.commit()
    before = path.read_bytes()

    old = open_store(f"sqlite:///{path}")
    with pytest.raises(Invalid, match=r"trimtab\.db was made by another version") as refused:
        old.prepare()
    old.close()

    assert refused.value.code == "other_schema"
    assert path.read_bytes() == before
