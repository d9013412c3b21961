"""What a form or an address of the page asks for, as values. An empty field asks for nothing."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import HTTPException, Query

from adapters.inbound.page.views import Chosen
from domain.ids import ModelId, PortfolioId
from domain.item import ItemState
from domain.job import JobState
from tasks.watch_jobs import Wanted

_LONGEST: Final = 200
_Text = Annotated[str, Query(max_length=_LONGEST)]
_After = Annotated[int, Query(ge=-1, le=2**31 - 1)]


def wanted_of(
    state: _Text = "", model: _Text = "", portfolio: _Text = "", outcome: _Text = "", cause: _Text = ""
) -> Wanted:
    """The filter of the page of all jobs. Raises HTTPException: no such state or outcome."""
    try:
        return Wanted(
            state=JobState(state) if state else None,
            model_id=ModelId(model) if model else None,
            portfolio_id=PortfolioId(portfolio) if portfolio else None,
            outcome=ItemState(outcome) if outcome else None,
            cause=cause or None,
        )
    except ValueError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"the filter cannot be used: {error}") from None


def chosen_of(outcome: _Text = "", cause: _Text = "", after: _After = -1) -> Chosen:
    """The portfolios that a job's page lists. Raises HTTPException: no such outcome."""
    try:
        chosen = ItemState(outcome) if outcome else None
    except ValueError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"the filter cannot be used: {error}") from None
    return Chosen(outcome=chosen, cause=cause or None, after=after)


def wanted_in(sent: Mapping[str, str]) -> Wanted:
    """The same filter, as a form sends it."""
    names = ("state", "model", "portfolio", "outcome", "cause")
    return wanted_of(**{name: sent.get(name, "")[:_LONGEST] for name in names})
