"""Investment models in SQLite: the body as JSON with exact decimals, what is queried in columns beside it."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from adapters.stores.codecs import from_millis, model_document, model_from, to_millis
from adapters.stores.rules import check_page, day_of, sort_keys
from adapters.stores.sqlite.connection import Database
from domain.errors import AlreadyExists, NotFound, StaleVersion
from domain.ids import ModelId
from domain.model import InvestmentModel
from domain.ports import ModelCounts, ModelQuery

# A filter stands in the statement only when the query has it, so that its index is used.
_FILTERS = MappingProxyType(
    {
        "name": "name = :name",
        "portfolio": "model_id IN (SELECT model_id FROM model_portfolios WHERE portfolio_id = :portfolio)",
        "security": "model_id IN (SELECT model_id FROM model_securities WHERE security_id = :security)",
        "day": "last_rebalance_date >= :day AND last_rebalance_date < :next_day",
        "since": "(last_rebalance_date IS NULL OR last_rebalance_date < :since)",
    }
)
_UPDATE = """
UPDATE models SET name = :name, version = version + 1, positions = :positions, portfolios = :portfolios, body = :body,
last_rebalance_date = max(coalesce(last_rebalance_date, :last), coalesce(:last, last_rebalance_date))
WHERE model_id = :model_id AND version = :version
"""
_NOTE_REBALANCED = """
UPDATE models SET last_rebalance_date = max(coalesce(last_rebalance_date, :last), :last) WHERE model_id = :model_id
"""


class SqliteModels:
    """The ModelStore port."""

    _database: Database

    def create_model(self, model: InvestmentModel) -> InvestmentModel:
        model = model.without_zero_targets()
        row = _row(model)
        with self._database.write() as db:
            try:
                db.execute(
                    "INSERT INTO models (model_id, name, version, last_rebalance_date, positions, portfolios, body)"
                    " VALUES (:model_id, :name, :version, :last, :positions, :portfolios, :body)",
                    row,
                )
            except sqlite3.IntegrityError as error:
                raise _taken(model, error) from None
            _index(db, model)
            return _read(db, model.model_id)

    def get_model(self, model_id: ModelId) -> InvestmentModel:
        with self._database.read() as db:
            return _read(db, model_id)

    def list_models(self, query: ModelQuery) -> Sequence[InvestmentModel]:
        check_page(query.offset, query.limit)
        matching, parameters = _matching(query)
        order = ", ".join(f"{field} {'ASC' if way > 0 else 'DESC'}" for field, way in sort_keys(query))
        with self._database.read() as db:
            rows = db.execute(
                f"SELECT * {matching} ORDER BY {order} LIMIT :limit OFFSET :offset",
                {**parameters, "limit": query.limit, "offset": query.offset},
            ).fetchall()
        return [_model(row) for row in rows]

    def count_models(self, query: ModelQuery) -> ModelCounts:
        matching, parameters = _matching(query)
        with self._database.read() as db:
            row = db.execute(
                f"SELECT count(*), total(positions), total(portfolios) {matching}",
                parameters,
            ).fetchone()
        return ModelCounts(*(int(number) for number in row))

    def update_model(self, model: InvestmentModel) -> InvestmentModel:
        model = model.without_zero_targets()
        row = _row(model)
        with self._database.write() as db:
            try:
                changed = db.execute(_UPDATE, row).rowcount
            except sqlite3.IntegrityError as error:
                raise _taken(model, error) from None
            if not changed:
                raise _stale_or_missing(db, model.model_id, model.version)
            _forget(db, model.model_id)
            _index(db, model)
            return _read(db, model.model_id)

    def delete_model(self, model_id: ModelId, version: int) -> None:
        with self._database.write() as db:
            deleted = db.execute(
                "DELETE FROM models WHERE model_id = ? AND version = ?", (model_id, version)
            ).rowcount
            if not deleted:
                raise _stale_or_missing(db, model_id, version)
            _forget(db, model_id)

    def note_rebalanced(self, model_id: ModelId, moment: datetime) -> None:
        with self._database.write() as db:
            db.execute(_NOTE_REBALANCED, {"model_id": model_id, "last": to_millis(moment)})


def _row(model: InvestmentModel) -> dict[str, Any]:
    document = model_document(model)
    last = document.pop("last_rebalance_date")
    return {
        "model_id": model.model_id,
        "name": model.name,
        "version": model.version,
        "last": None if last is None else to_millis(last),
        "positions": len(model.positions),
        "portfolios": len(model.portfolios),
        "body": msgspec.json.encode(document).decode(),
    }


def _model(row: sqlite3.Row) -> InvestmentModel:
    last = row["last_rebalance_date"]
    document = json.loads(row["body"])
    document["version"] = row["version"]
    document["last_rebalance_date"] = None if last is None else from_millis(last)
    return model_from(document)


def _read(db: sqlite3.Connection, model_id: ModelId) -> InvestmentModel:
    row = db.execute("SELECT * FROM models WHERE model_id = ?", (model_id,)).fetchone()
    if row is None:
        raise NotFound("model", model_id)
    return _model(row)


def _index(db: sqlite3.Connection, model: InvestmentModel) -> None:
    db.executemany(
        "INSERT INTO model_portfolios (portfolio_id, model_id) VALUES (?, ?)",
        ((portfolio_id, model.model_id) for portfolio_id in model.portfolios),
    )
    db.executemany(
        "INSERT INTO model_securities (security_id, model_id) VALUES (?, ?)",
        ((position.security_id, model.model_id) for position in model.positions),
    )


def _forget(db: sqlite3.Connection, model_id: ModelId) -> None:
    db.execute("DELETE FROM model_portfolios WHERE model_id = ?", (model_id,))
    db.execute("DELETE FROM model_securities WHERE model_id = ?", (model_id,))


def _matching(query: ModelQuery) -> tuple[str, dict[str, Any]]:
    """FROM and WHERE of a query, of our own constants only, and the parameters."""
    parameters = _parameters(query)
    wanted = [text for name, text in _FILTERS.items() if parameters[name] is not None]
    return f"FROM models WHERE {' AND '.join(wanted) or 'TRUE'}", parameters


def _parameters(query: ModelQuery) -> dict[str, Any]:
    day, next_day = (None, None) if query.rebalanced_on is None else day_of(query.rebalanced_on)
    since = query.needing_rebalance_since
    return {
        "name": query.name,
        "portfolio": query.portfolio_id,
        "security": query.security_id,
        "day": None if day is None else to_millis(day),
        "next_day": None if next_day is None else to_millis(next_day),
        "since": None if since is None else to_millis(since),
    }


def _taken(model: InvestmentModel, error: sqlite3.IntegrityError) -> AlreadyExists:
    """SQLite names the column: ``UNIQUE constraint failed: models.name``."""
    if str(error).endswith("models.name"):
        return AlreadyExists("model name", model.name)
    return AlreadyExists("model", model.model_id)


def _stale_or_missing(db: sqlite3.Connection, model_id: ModelId, version: int) -> NotFound | StaleVersion:
    known = db.execute("SELECT 1 FROM models WHERE model_id = ?", (model_id,)).fetchone()
    return StaleVersion("model", model_id, version) if known else NotFound("model", model_id)
