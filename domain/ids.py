"""Names for the strings that identify things, so that a type checker tells them apart, and the rules for two."""

import re
from typing import NewType

ModelId = NewType("ModelId", str)
PortfolioId = NewType("PortfolioId", str)
SecurityId = NewType("SecurityId", str)
JobId = NewType("JobId", str)
ItemId = NewType("ItemId", str)

SECURITY_ID_RULE = "a security id is exactly 24 ASCII letters and digits"
PORTFOLIO_ID_RULE = "a portfolio id is 1 to 64 printable ASCII characters without spaces and ':'"

_SECURITY_ID = re.compile(r"[0-9A-Za-z]{24}", re.ASCII)
_PORTFOLIO_ID = re.compile(r"[!-9;-~]{1,64}", re.ASCII)  # printable ASCII is ! to ~; only ':' is left out


def is_security_id(text: str) -> bool:
    return _SECURITY_ID.fullmatch(text) is not None


def is_portfolio_id(text: str) -> bool:
    """``:`` is not for portfolios: it stands between job and portfolio in an item's id."""
    return _PORTFOLIO_ID.fullmatch(text) is not None


def item_id(job_id: JobId, portfolio_id: PortfolioId) -> ItemId:
    """The one id of a (job, portfolio): of its item in the store and of its order set on the queue."""
    return ItemId(f"{job_id}:{portfolio_id}")
