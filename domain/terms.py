"""What is the same for every portfolio of a job, each number of it made ready once."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.checks import Market
from domain.ids import SecurityId
from domain.model import InvestmentModel
from domain.policy import Policy
from domain.problem import Scales
from domain.verify import Limits

__all__ = ["Terms"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """A model, a policy and a market. Safe to share between threads; kept for as long as its job runs.

    ``scales`` are for finding an answer and ``limits`` for verifying it: each is made of the inputs by code of its
    own, so that an error in one is not repeated by the other.
    """

    policy: Policy
    market: Market
    scales: Scales
    limits: Limits

    @classmethod
    def of(cls, model: InvestmentModel, prices: Mapping[SecurityId, Decimal], policy: Policy) -> "Terms":
        """Terms of any model and prices, also where some are missing: each portfolio is told by its own checks."""
        market = Market(model, prices)
        return cls(
            policy=policy,
            market=market,
            scales=Scales(market.targets, prices, policy),
            limits=Limits(market.targets, prices),
        )
