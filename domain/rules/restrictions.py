"""What may not be bought, sold or traded at all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from domain.extended import Draft, Window
from domain.policy import Policy
from domain.program import RuleName
from domain.rules.rule import Facts
from domain.verify import Violation

_NAMED: dict[str, tuple[Callable[[int], bool], str]] = {
    "no_buy": (lambda change: change > 0, "bought"),
    "no_sell": (lambda change: change < 0, "sold"),
    "no_trade": (lambda change: change != 0, "traded"),
}


@dataclass(frozen=True, slots=True)
class Restriction:
    """One of the three lists of securities; a short in ``no_buy`` cannot be covered, and that is a conflict."""

    name: Literal["no_buy", "no_sell", "no_trade"]

    def write(self, draft: Draft) -> None:
        listed = set(getattr(draft.policy, self.name))
        for security_id, window in zip(draft.security_ids, draft.windows, strict=True):
            if security_id in listed:
                self._forbid(window, RuleName(rule=self.name, security_id=security_id))

    def _forbid(self, window: Window, rule: RuleName) -> None:
        if self.name != "no_sell":
            window.no_buy = rule
        if self.name != "no_buy":
            window.no_sell = rule

    def broken(self, facts: Facts) -> Iterator[Violation]:
        is_broken, what = _NAMED[self.name]
        for security_id in getattr(facts.policy, self.name):
            change = facts.changes.get(security_id, 0)
            if is_broken(change):
                yield Violation(
                    rule=self.name,
                    message=f"{abs(change)} of {security_id} are {what}, which {self.name} forbids",
                    security_id=security_id,
                    amount=abs(change) * facts.price(security_id),
                )

    def sentence(self, policy: Policy) -> str | None:
        listed = getattr(policy, self.name)
        return f"not {_NAMED[self.name][1]}: {', '.join(listed)}" if listed else None
