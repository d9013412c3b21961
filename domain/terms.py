"""What is the same for every portfolio of a job, each number of it made ready once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from domain.answer import Listed, Listing
from domain.checks import Market
from domain.ids import SecurityId
from domain.model import InvestmentModel, ModelPosition
from domain.policy import Policy
from domain.problem import Scales
from domain.verify import Limits

__all__ = ["Terms"]

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Terms:
    """A model, a policy and a market. Safe to share between threads; kept for as long as its job runs.

    ``scales`` are for finding an answer and ``limits`` for verifying it: each is made of the inputs by code of its
    own, so that an error in one is not repeated by the other. ``listed`` is what an answer says of the modelled
    securities.
    """

    policy: Policy
    market: Market
    scales: Scales
    limits: Limits
    listed: Mapping[SecurityId, Listed]
    _listing: Listing = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_listing", Listing.of(self.listed.values()))

    @classmethod
    def of(cls, model: InvestmentModel, prices: Mapping[SecurityId, Decimal], policy: Policy) -> "Terms":
        """Terms of any model and prices, also where some are missing: each portfolio is told by its own checks."""
        market = Market(model, prices, policy.bounds)
        return cls(
            policy=policy,
            market=market,
            scales=Scales(market.targets, prices, policy),
            limits=Limits(market.targets, prices),
            listed={
                security_id: Listed.of(each, prices[security_id])
                for security_id, each in market.targets.items()
            },
        )

    def listing(self, security_ids: tuple[SecurityId, ...], prices: Mapping[SecurityId, Decimal]) -> Listing:
        """What an answer says of these securities, all of them modelled or held outside the model."""
        if security_ids == self._listing.security_ids:
            return self._listing
        listed = self.listed
        return Listing.of(
            listed[security_id] if security_id in listed else _outside(security_id, prices[security_id])
            for security_id in security_ids
        )


def _outside(security_id: SecurityId, price: Decimal) -> Listed:
    nothing = ModelPosition(security_id=security_id, target=_ZERO, low_drift=_ZERO, high_drift=_ZERO)
    return Listed.of(nothing, price)
