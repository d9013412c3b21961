"""What one task can say of itself: which portfolios it worked, and what became of each.

Celery's own tools (its events, Flower) know tasks and not portfolios; this is what they are told. Nothing follows from
it: what holds stands in the store.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from domain.errors import UpstreamUnavailable

if TYPE_CHECKING:
    from domain.item import Item
    from domain.ports import Finish
    from tasks.bench import FrozenJob
    from tasks.run_token import Work
    from tasks.services import Services

_LONGEST = 500  # of what is told of one portfolio, as in the store: an upstream's answer may be a whole page


def _nobody(_portfolio_ids: Sequence[str]) -> None:
    pass


@dataclass(slots=True)
class Account:
    """Of one task. ``taken`` is called with all portfolios so far whenever there is one more."""

    taken: Callable[[Sequence[str]], None] = _nobody
    failed: bool = False
    _portfolio_ids: list[str] = field(default_factory=list)
    _became: list[str] = field(default_factory=list)

    def keep(self, work: "Work") -> "Work":
        """The same work, and noted here."""

        def kept(item: "Item", frozen: "FrozenJob", services: "Services") -> "Finish":
            self._portfolio_ids.append(item.portfolio_id)
            self.taken(self._portfolio_ids)
            try:
                finish = work(item, frozen, services)
            except UpstreamUnavailable as outage:
                self._became.append(f"{item.portfolio_id} given back: {outage}"[:_LONGEST])
                raise
            except Exception as error:
                self._became.append(f"{item.portfolio_id} attempt {item.attempt} failed: {error}"[:_LONGEST])
                self.failed = True
                raise
            self._became.append(f"{item.portfolio_id} {finish.state}")
            return finish

        return kept

    def __str__(self) -> str:
        return "; ".join(self._became) or "nothing to do"
