"""What came for one portfolio inside the request, as the bytes it is stored as until its turn comes.

Its cash and positions, its own policy, or both. A list of many thousand members is stored in chunks, so none of it
stands in the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from domain.ids import PortfolioId, SecurityId
from domain.portfolio import Portfolio, Position


class _Inline(msgspec.Struct, array_like=True):
    portfolio_id: str
    cash: Decimal | None  # None: fetched when its turn comes
    positions: list[tuple[str, Decimal]]
    stated_market_value: Decimal | None


class _WithPolicy(_Inline, array_like=True):
    policy: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(_WithPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """``portfolio`` None: it is fetched. ``policy``: its own keys as `encode_policy` wrote them; empty: none."""

    portfolio: Portfolio | None
    policy: bytes


NOTHING_SENT = Sent(portfolio=None, policy=b"")


def encode_policy(changes: Mapping[str, Any]) -> bytes:
    """The keys of a policy as JSON, decimals as their own text: the same bytes for the same keys and values."""
    return msgspec.json.encode(changes, order="sorted")


def decode_policy(body: bytes) -> Mapping[str, Any]:
    """As `domain.policy.Policy.with_changes` reads them."""
    changes: Mapping[str, Any] = msgspec.json.decode(body)
    return changes


def encode_sent(portfolio_id: PortfolioId, portfolio: Portfolio | None, policy: bytes = b"") -> bytes | None:
    """Exact: every decimal goes through its own text. None: nothing was sent."""
    if portfolio is None and not policy:
        return None
    inline = _Inline(portfolio_id, None, [], None) if portfolio is None else _inline(portfolio)
    if policy:
        inline = _WithPolicy(
            inline.portfolio_id,
            inline.cash,
            inline.positions,
            inline.stated_market_value,
            msgspec.Raw(policy),
        )
    return msgspec.json.encode(inline)


def _inline(portfolio: Portfolio) -> _Inline:
    return _Inline(
        portfolio.portfolio_id,
        portfolio.cash,
        [(position.security_id, position.quantity) for position in portfolio.positions],
        portfolio.stated_market_value,
    )


def decode_sent(body: bytes | None) -> Sent:
    """What was sent, from ``Item.inline``."""
    if body is None:
        return NOTHING_SENT
    inline = _decoder.decode(body)
    return Sent(portfolio=_portfolio(inline), policy=bytes(inline.policy))


def _portfolio(inline: _Inline) -> Portfolio | None:
    if inline.cash is None:
        return None
    return Portfolio(
        portfolio_id=PortfolioId(inline.portfolio_id),
        cash=inline.cash,
        positions=tuple(
            Position(security_id=SecurityId(security_id), quantity=quantity)
            for security_id, quantity in inline.positions
        ),
        stated_market_value=inline.stated_market_value,
    )
