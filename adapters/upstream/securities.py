"""Tickers from the security service.

One security whose type was deleted makes the whole list answer 400, and likewise every page that holds it. Then
the pages of the second version are read, and a bad page is halved until the bad security stands alone and is
left out: it has no ticker, so it ends as a security without a price, by name.
"""

import re
from collections.abc import Iterable, Mapping

from adapters.upstream.errors import NotThere, ServerError, StatusFault
from adapters.upstream.http import HttpService, segment
from adapters.upstream.payloads import (
    SecurityPage,
    SecurityRow,
    decode_securities,
    decode_security,
    decode_security_page,
)
from domain.errors import UpstreamFault
from domain.ids import SecurityId

_BROKEN_LIST = 400
_MALFORMED_ID = 500
_PAGE = 1000
_MAX_BAD_PAGES = 500  # halving a page of 1000 to one bad security meets at most 11
_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)


class SecuritiesClient:
    """`SecurityMaster` over HTTP: everything in one call, single look-ups for what is wanted and missing."""

    def __init__(self, service: HttpService) -> None:
        self._service = service

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:
        tickers: dict[SecurityId, str] = {}
        for row in self._all():
            known = tickers.setdefault(SecurityId(row.security_id), row.ticker)
            if known != row.ticker:
                raise UpstreamFault(
                    self._service.name,
                    f"security {row.security_id} has two tickers, {known!r} and {row.ticker!r}",
                )
        for security_id in wanted:
            if security_id not in tickers:
                row_or_none = self._single(security_id)
                if row_or_none is not None:
                    tickers[security_id] = row_or_none.ticker
        return tickers

    def _all(self) -> Iterable[SecurityRow]:
        try:
            return self._service.get_json("/api/v1/securities", decode_securities)
        except StatusFault as exc:
            if exc.status != _BROKEN_LIST:
                raise
        return _PageReader(self._service).rows()

    def _single(self, security_id: SecurityId) -> SecurityRow | None:
        path = f"/api/v1/security/{segment(security_id)}"

        def look_up() -> SecurityRow | None:
            try:
                return self._service.fetch(path, decode_security)
            except NotThere:
                return None
            except ServerError as exc:
                # The service answers 500 to an id its database could not have given out. Any other 500 is real.
                if exc.status == _MALFORMED_ID and not _OBJECT_ID.fullmatch(security_id):
                    return None
                raise

        row = self._service.run(look_up)
        if row is not None and row.security_id != security_id:
            raise UpstreamFault(self._service.name, f"GET {path}: the answer is about {row.security_id!r}")
        return row


class _PageReader:
    """Reads every page it can, leaving out only securities that break a page of their own."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._bad_pages = 0
        self._total: int | None = None

    def rows(self) -> list[SecurityRow]:
        rows: list[SecurityRow] = []
        offset = 0
        # A page behind the last row holds no bad one, so the total is known at the latest there.
        while self._total is None or offset < self._total:
            rows += self._read(offset, _PAGE)
            offset += _PAGE
        return rows

    def _read(self, offset: int, limit: int) -> list[SecurityRow]:
        page = self._page(offset, limit)
        if page is not None:
            self._total = page.pagination.total_elements
            return list(page.securities)
        if limit == 1:
            return []
        half = limit // 2
        return self._read(offset, half) + self._read(offset + half, limit - half)

    def _page(self, offset: int, limit: int) -> SecurityPage | None:
        """The page; None when a bad security on it makes the service refuse."""
        try:
            return self._service.get_json(
                "/api/v2/securities", decode_security_page, {"limit": limit, "offset": offset}
            )
        except StatusFault as exc:
            self._bad_pages += 1
            if exc.status != _BROKEN_LIST or self._bad_pages > _MAX_BAD_PAGES:
                raise
            return None
