"""Change which portfolios follow a model. Sets are added and taken away, so no version has to be known."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from domain.errors import StaleVersion
from domain.ids import ModelId, PortfolioId
from domain.model import InvestmentModel
from tasks.services import Services

_TRIES = 5  # that somebody else is quicker so often in a row means that something else is wrong


def add_portfolios(
    model_id: ModelId, portfolio_ids: Sequence[PortfolioId], services: Services
) -> InvestmentModel:
    """The model, followed by these as well. Those that follow it already change nothing.

    Raises:
        NotFound: no such model.
        StaleVersion: others changed it each time between reading and writing.
    """
    return _changed(
        model_id,
        lambda followers: tuple(dict.fromkeys((*followers, *portfolio_ids))),
        services,
    )


def remove_portfolios(
    model_id: ModelId, portfolio_ids: Sequence[PortfolioId], services: Services
) -> InvestmentModel:
    """The model, no longer followed by these. Those that do not follow it change nothing.

    Raises:
        NotFound: no such model.
        StaleVersion: others changed it each time between reading and writing.
    """
    gone = frozenset(portfolio_ids)
    return _changed(
        model_id,
        lambda followers: tuple(portfolio for portfolio in followers if portfolio not in gone),
        services,
    )


def _changed(
    model_id: ModelId,
    followers_of: Callable[[tuple[PortfolioId, ...]], tuple[PortfolioId, ...]],
    services: Services,
    tries: int = _TRIES,
) -> InvestmentModel:
    """Read, change, compare and set. What would change nothing is not written: the version stays."""
    model = services.models.get_model(model_id)
    followers = followers_of(model.portfolios)
    if followers == model.portfolios:
        return model
    try:
        return services.models.update_model(replace(model, portfolios=followers))
    except StaleVersion:
        if tries == 1:
            raise
        return _changed(model_id, followers_of, services, tries - 1)
