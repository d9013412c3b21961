"""A portfolio that came inside the request, as the bytes it is stored as until its turn comes."""

from decimal import Decimal

import msgspec

from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio, Position


class _Inline(msgspec.Struct, array_like=True):
    portfolio_id: str
    cash: Decimal
    positions: list[tuple[str, Decimal]]
    stated_market_value: Decimal | None


_decoder = msgspec.json.Decoder(_Inline)


def encode_portfolio(portfolio: Portfolio) -> bytes:
    """Exact: every decimal goes through its own text."""
    return msgspec.json.encode(
        _Inline(
            portfolio.portfolio_id,
            portfolio.cash,
            [(position.security_id, position.quantity) for position in portfolio.positions],
            portfolio.stated_market_value,
        )
    )


def decode_portfolio(body: bytes) -> Portfolio:
    inline = _decoder.decode(body)
    return Portfolio(
        portfolio_id=PortfolioId(inline.portfolio_id),
        cash=inline.cash,
        positions=tuple(
            Position(security_id=SecurityId(security_id), quantity=quantity)
            for security_id, quantity in inline.positions
        ),
        stated_market_value=inline.stated_market_value,
    )
