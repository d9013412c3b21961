"""Names for the strings that identify things, so that a type checker tells them apart."""

from typing import NewType

ModelId = NewType("ModelId", str)
PortfolioId = NewType("PortfolioId", str)
SecurityId = NewType("SecurityId", str)
JobId = NewType("JobId", str)
ItemId = NewType("ItemId", str)


def item_id(job_id: JobId, portfolio_id: PortfolioId) -> ItemId:
    """The one id of a (job, portfolio): of its item in the store and of its order set on the queue."""
    return ItemId(f"{job_id}:{portfolio_id}")
