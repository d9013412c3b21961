"""Investment models in MongoDB: a document each, with decimals as Decimal128."""

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType

from pymongo import ReturnDocument
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from adapters.stores.codecs import at_millis, model_document, model_from
from adapters.stores.mongo.connection import Document, Mongo
from adapters.stores.rules import check_page, day_of, sort_keys
from domain.errors import AlreadyExists, NotFound, StaleVersion
from domain.ids import ModelId
from domain.model import InvestmentModel
from domain.ports import ModelCounts, ModelQuery

_FIELDS = MappingProxyType({"model_id": "_id"})


class MongoModels:
    """The ModelStore port."""

    _mongo: Mongo

    def create_model(self, model: InvestmentModel) -> InvestmentModel:
        document = _document(model)
        with self._mongo.open() as db:
            try:
                db.models.insert_one(document)
            except DuplicateKeyError as error:
                raise _taken(model, error) from None
        return _model(document)

    def get_model(self, model_id: ModelId) -> InvestmentModel:
        with self._mongo.open() as db:
            document = db.models.find_one({"_id": model_id})
        if document is None:
            raise NotFound("model", model_id)
        return _model(document)

    def list_models(self, query: ModelQuery) -> Sequence[InvestmentModel]:
        check_page(query.offset, query.limit)
        order = [(_FIELDS.get(field, field), way) for field, way in sort_keys(query)]
        if not query.limit:  # MongoDB reads 0 as no limit
            return []
        with self._mongo.open() as db:
            found = list(db.models.find(_matching(query)).sort(order).skip(query.offset).limit(query.limit))
        return [_model(document) for document in found]

    def count_models(self, query: ModelQuery) -> ModelCounts:
        pipeline: list[Document] = [
            {"$match": _matching(query)},
            {
                "$group": {
                    "_id": None,
                    "models": {"$sum": 1},
                    "positions": {"$sum": {"$size": "$positions"}},
                    "portfolios": {"$sum": {"$size": "$portfolios"}},
                }
            },
            {"$unset": "_id"},
        ]
        with self._mongo.open() as db:
            found = list(db.models.aggregate(pipeline))
        return ModelCounts(**found[0]) if found else ModelCounts(models=0, positions=0, portfolios=0)

    def update_model(self, model: InvestmentModel) -> InvestmentModel:
        document = _document(model)
        del document["_id"], document["version"]
        last = document.pop("last_rebalance_date")
        with self._mongo.open() as db:
            try:
                changed = db.models.find_one_and_update(
                    {"_id": model.model_id, "version": model.version},
                    {
                        "$set": document,
                        "$inc": {"version": 1},
                        **({} if last is None else {"$max": {"last_rebalance_date": last}}),
                    },
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError as error:
                raise _taken(model, error) from None
            if changed is None:
                raise _stale_or_missing(db.models, model.model_id, model.version)
        return _model(changed)

    def delete_model(self, model_id: ModelId, version: int) -> None:
        with self._mongo.open() as db:
            if not db.models.delete_one({"_id": model_id, "version": version}).deleted_count:
                raise _stale_or_missing(db.models, model_id, version)

    def note_rebalanced(self, model_id: ModelId, moment: datetime) -> None:
        with self._mongo.open() as db:
            db.models.update_one({"_id": model_id}, {"$max": {"last_rebalance_date": at_millis(moment)}})


def _document(model: InvestmentModel) -> Document:
    document = model_document(model.without_zero_targets())
    return {"_id": document.pop("model_id"), **document}


def _model(document: Document) -> InvestmentModel:
    return model_from({"model_id": document["_id"], **document})


def _matching(query: ModelQuery) -> Document:
    """The filter of a query. The conditions stand side by side: two of them may be about one field."""
    conditions: list[Document] = []
    if query.name is not None:
        conditions.append({"name": query.name})
    if query.portfolio_id is not None:
        conditions.append({"portfolios": query.portfolio_id})
    if query.security_id is not None:
        conditions.append({"positions.security_id": query.security_id})
    if query.rebalanced_on is not None:
        day, next_day = day_of(query.rebalanced_on)
        conditions.append({"last_rebalance_date": {"$gte": day, "$lt": next_day}})
    if query.needing_rebalance_since is not None:
        since = at_millis(query.needing_rebalance_since)
        earlier: list[Document] = [{"last_rebalance_date": None}, {"last_rebalance_date": {"$lt": since}}]
        conditions.append({"$or": earlier})
    return {"$and": conditions} if conditions else {}


def _taken(model: InvestmentModel, error: DuplicateKeyError) -> AlreadyExists:
    """The server names the index by its fields."""
    if "name" in (error.details or {}).get("keyPattern", {}):
        return AlreadyExists("model name", model.name)
    return AlreadyExists("model", model.model_id)


def _stale_or_missing(
    models: Collection[Document], model_id: ModelId, version: int
) -> NotFound | StaleVersion:
    known = models.find_one({"_id": model_id}, {"_id": 1})
    return StaleVersion("model", model_id, version) if known else NotFound("model", model_id)
