"""What would happen if, over HTTP: computed while the caller waits, so it is bounded in size, in time and in number."""

from http import HTTPStatus
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import APIRouter, Depends

from adapters.inbound.answers import WhatIfAnswer, what_if_answer
from adapters.inbound.api.access import Access
from adapters.inbound.api.body import json_body
from adapters.inbound.api.errors import BODY_ERRORS, responses
from adapters.inbound.api.jobs import request_body
from adapters.inbound.api.options import ApiOptions
from adapters.inbound.keys import Role
from adapters.inbound.payloads import WhatIfRequest, parse_what_if
from domain.errors import Busy
from tasks.services import Services
from tasks.what_if import what_if

WHAT_IF_BUSY = "what_if_busy"


def what_if_router(services: Services, options: ApiOptions, access: Access) -> APIRouter:
    """``POST /api/v1/what-if``. Solving keeps a core busy: whoever asks needs the role of those who submit."""
    router = APIRouter(prefix="/api/v1", tags=["what if"])
    read_body = Depends(json_body(options.max_body_size))
    places = BoundedSemaphore(options.what_ifs_at_once)

    @router.post(
        "/what-if",
        responses=responses(HTTPStatus.NOT_FOUND, HTTPStatus.BAD_GATEWAY, *BODY_ERRORS),
        openapi_extra=request_body(WhatIfRequest.__name__),
        dependencies=access.needs(Role.SUBMIT),
        summary="Policies side by side: drift, turnover, cost, orders, cash; nothing is stored or published",
    )
    def compare(body: Annotated[bytes, read_body]) -> WhatIfAnswer:
        question = parse_what_if(body, max_bytes=options.max_body_size)
        if not places.acquire(blocking=False):
            raise Busy(
                f"{options.what_ifs_at_once} comparisons are being computed here already",
                code=WHAT_IF_BUSY,
                retry_after_seconds=options.what_if_seconds / 4,
            )
        try:
            return what_if_answer(what_if(question, services, seconds=options.what_if_seconds))
        finally:
            places.release()

    return router
