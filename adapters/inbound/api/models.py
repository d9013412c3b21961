"""Investment models over HTTP, with optimistic locking by version."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from adapters.inbound.answers import ModelAnswer, ModelsAnswer, model_answer, models_answer
from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.jobs import request_body
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import (
    ModelCreate,
    ModelUpdate,
    Moment,
    PortfoliosRequest,
    PositionCreate,
    PositionUpdate,
    parse_model_update,
    parse_new_model,
    parse_new_position,
    parse_portfolios,
    parse_position_update,
)
from domain.ids import ModelId, PortfolioId, SecurityId
from domain.ports import ModelQuery
from tasks.model_portfolios import add_portfolios, remove_portfolios
from tasks.model_positions import add_position, change_position, remove_position
from tasks.services import Services

_PREFIX = "/api/v1/models"

_LOOK = responses(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_LIST = responses(HTTPStatus.UNPROCESSABLE_ENTITY)
_POST = responses(HTTPStatus.CONFLICT, *BODY_ERRORS)
_CHANGE = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, *BODY_ERRORS)
_DELETE = responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)

_ModelPath = Annotated[str, Path(max_length=64)]
_SecurityPath = Annotated[str, Path(max_length=24)]
_SORT = r"^[+\- ]?(model_id|name|last_rebalance_date)$"


def models_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """The routes under ``/api/v1/models``."""
    router = APIRouter(prefix=_PREFIX, tags=["models"])
    read_body = Depends(json_body(options.max_body_size))

    @router.post(
        "",
        status_code=HTTPStatus.CREATED,
        responses=_POST,
        openapi_extra=request_body(ModelCreate.__name__),
        dependencies=access.needs(Role.ADMIN),
        summary="Create a model",
    )
    def post_model(body: Annotated[bytes, read_body], response: Response) -> ModelAnswer:
        model = parse_new_model(body, max_bytes=options.max_body_size, new_id=options.new_id)
        created = services.models.create_model(model)
        response.headers["Location"] = f"{_PREFIX}/{created.model_id}"
        return model_answer(created)

    @router.get(
        "",
        responses=_LIST,
        dependencies=access.needs(Role.READ),
        summary="Models that match, sorted and paged",
    )
    def list_models(
        name: Annotated[str | None, Query(max_length=200)] = None,
        portfolio_id: Annotated[str | None, Query(max_length=64)] = None,
        security_id: Annotated[str | None, Query(max_length=24)] = None,
        rebalanced_on: Annotated[Moment | None, Query(description="On this UTC day.")] = None,
        needing_rebalance_since: Annotated[
            Moment | None, Query(description="Never rebalanced, or before this moment.")
        ] = None,
        sort_by: Annotated[
            list[Annotated[str, Query(pattern=_SORT)]],
            Query(description="model_id, name or last_rebalance_date, with + or - before it."),
        ] = ["+model_id"],  # noqa: B006 - FastAPI copies a default
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ModelsAnswer:
        query = ModelQuery(
            name=name,
            portfolio_id=None if portfolio_id is None else PortfolioId(portfolio_id),
            security_id=None if security_id is None else SecurityId(security_id),
            rebalanced_on=rebalanced_on,
            needing_rebalance_since=needing_rebalance_since,
            sort_by=tuple(_signed(field) for field in sort_by),
            offset=offset,
            limit=limit,
        )
        models = services.models.list_models(query)
        return models_answer(models, services.models.count_models(query), offset=offset, limit=limit)

    @router.get("/{model_id}", responses=_LOOK, dependencies=access.needs(Role.READ), summary="One model")
    def get_model(model_id: _ModelPath) -> ModelAnswer:
        return model_answer(services.models.get_model(ModelId(model_id)))

    @router.put(
        "/{model_id}",
        responses=_CHANGE,
        openapi_extra=request_body(ModelUpdate.__name__),
        dependencies=access.needs(Role.ADMIN),
        summary="Replace a model, at the version it was read at",
    )
    def put_model(model_id: _ModelPath, body: Annotated[bytes, read_body]) -> ModelAnswer:
        update = parse_model_update(body, max_bytes=options.max_body_size)
        stored = services.models.get_model(ModelId(model_id))
        return model_answer(services.models.update_model(update.model(stored)))

    @router.delete(
        "/{model_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses=_DELETE,
        dependencies=access.needs(Role.ADMIN),
        summary="Delete a model, at the version it was read at",
    )
    def delete_model(model_id: _ModelPath, version: Annotated[int, Query(ge=1, le=2**31 - 1)]) -> None:
        services.models.delete_model(ModelId(model_id), version)

    return router


def model_parts_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """Single positions of a model, and the portfolios that follow it."""
    router = APIRouter(prefix=_PREFIX, tags=["models"], dependencies=access.needs(Role.ADMIN))
    read_body = Depends(json_body(options.max_body_size))

    @router.post(
        "/{model_id}/positions",
        status_code=HTTPStatus.CREATED,
        responses=_CHANGE,
        openapi_extra=request_body(PositionCreate.__name__),
        summary="Add a position to a model, at the version it was read at",
    )
    def post_position(model_id: _ModelPath, body: Annotated[bytes, read_body]) -> ModelAnswer:
        position, version = parse_new_position(body, max_bytes=options.max_body_size)
        return model_answer(add_position(ModelId(model_id), version, position, services))

    @router.put(
        "/{model_id}/positions/{security_id}",
        responses=_CHANGE,
        openapi_extra=request_body(PositionUpdate.__name__),
        summary="Change a position of a model, at the version it was read at",
    )
    def put_position(
        model_id: _ModelPath, security_id: _SecurityPath, body: Annotated[bytes, read_body]
    ) -> ModelAnswer:
        position, version = parse_position_update(
            body, SecurityId(security_id), max_bytes=options.max_body_size
        )
        return model_answer(change_position(ModelId(model_id), version, position, services))

    @router.delete(
        "/{model_id}/positions/{security_id}",
        responses=_DELETE,
        summary="Take a position out of a model, at the version it was read at",
    )
    def delete_position(
        model_id: _ModelPath,
        security_id: _SecurityPath,
        version: Annotated[int, Query(ge=1, le=2**31 - 1)],
    ) -> ModelAnswer:
        return model_answer(remove_position(ModelId(model_id), version, SecurityId(security_id), services))

    @router.post(
        "/{model_id}/portfolios",
        responses=_CHANGE,
        openapi_extra=request_body(PortfoliosRequest.__name__),
        summary="Let portfolios follow a model; those that do already change nothing",
    )
    def post_portfolios(model_id: _ModelPath, body: Annotated[bytes, read_body]) -> ModelAnswer:
        portfolios = parse_portfolios(body, max_bytes=options.max_body_size)
        return model_answer(add_portfolios(ModelId(model_id), portfolios, services))

    @router.delete(
        "/{model_id}/portfolios",
        responses=_DELETE,
        summary="Let portfolios no longer follow a model; those that do not change nothing",
    )
    def delete_portfolios(
        model_id: _ModelPath,
        portfolio_id: Annotated[
            list[str], Query(min_length=1, max_length=1000, description="Repeat it for more.")
        ],
    ) -> ModelAnswer:
        portfolios = [PortfolioId(each) for each in portfolio_id]
        return model_answer(remove_portfolios(ModelId(model_id), portfolios, services))

    return router


def _signed(field: str) -> str:
    """``+name`` arrives as `` name``: a plus in a query string is a blank."""
    stripped = field.lstrip(" +")
    return stripped if stripped.startswith("-") else f"+{stripped}"
