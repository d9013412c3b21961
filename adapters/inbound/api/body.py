"""The body of a request as bytes, within the limit, and only where it says it is JSON."""

from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, status

from adapters.inbound.strict_json import too_large


def json_body(max_bytes: int, *, or_empty: bool = False) -> Callable[[Request], Awaitable[bytes]]:
    """A dependency that reads the body.

    FastAPI has a limit of its own, but answers a declared length beyond it in plain text, past every handler;
    and its reading of JSON goes through binary floats.

    ``or_empty``: no body at all stands for an empty object.

    A content type that is not JSON is refused: it is what keeps a page in somebody's browser from posting a
    job across origins without asking.
    """

    async def read(request: Request) -> bytes:
        if or_empty and _has_no_body(request):
            return b"{}"
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise HTTPException(
                status.HTTP_415_UNSUPPORTED_MEDIA_TYPE, "send JSON with Content-Type: application/json"
            )
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > max_bytes:
            raise too_large(max_bytes)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise too_large(max_bytes)
        return bytes(body)

    return read


def _has_no_body(request: Request) -> bool:
    return "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0"
