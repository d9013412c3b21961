"""Each position within its drift bounds; a holding outside the model goes. Run types may leave one side open."""

from collections.abc import Iterator
from fractions import Fraction

from domain.extended import Draft
from domain.ids import SecurityId
from domain.policy import Bounds, Policy, RunType
from domain.rules.rule import Facts, in_money
from domain.verify import Violation


class WithinBounds:
    """MV (t - low) <= value <= MV (t + high), the bounds as the job's terms have them: absolute.

    ``invest_cash`` does not enforce the lower one and stretches the upper one to what is held; ``raise_cash`` the other
    way round. A holding outside the model that may not be sold is kept.
    """

    name = "bounds"

    def write(self, draft: Draft) -> None:
        run_type, targets = draft.policy.run_type, draft.checked.targets
        kept_holdings = {*draft.policy.no_sell, *draft.policy.no_trade}
        for security_id, window, kept in zip(draft.security_ids, draft.windows, draft.kept, strict=True):
            held = window.held * window.price
            position = targets.get(security_id)
            if position is None:
                # A fraction that stays is nobody's to sell: of the whole shares none is to be left.
                lower, upper = -kept, 0
            else:
                lower = window.target - draft.share(position.low_drift)
                upper = window.target + draft.share(position.high_drift)
            if run_type is RunType.INVEST_CASH or (position is None and security_id in kept_holdings):
                upper = max(upper, held)
            if run_type is RunType.RAISE_CASH:
                lower = min(lower, held)
            window.lower = None if run_type is RunType.INVEST_CASH else lower
            window.upper = None if run_type is RunType.RAISE_CASH else upper

    def broken(self, facts: Facts) -> Iterator[Violation]:
        for security_id in sorted(facts.quantities):
            value = facts.value(security_id)
            lower, upper = self._ends(facts, security_id)
            if lower is not None and value < lower:
                yield _outside(
                    security_id, value, f"below its lower bound of {in_money(lower)}", lower - value
                )
            if upper is not None and value > upper:
                yield _outside(
                    security_id, value, f"above its upper bound of {in_money(upper)}", value - upper
                )

    def _ends(self, facts: Facts, security_id: SecurityId) -> tuple[Fraction | None, Fraction | None]:
        checked, policy = facts.checked, facts.policy
        position = checked.targets.get(security_id)
        before = facts.value_before(security_id)
        if position is None:
            lower = Fraction(0)
            upper = facts.price(security_id) * Fraction(checked.fractions.get(security_id, 0))
            if security_id in policy.no_sell or security_id in policy.no_trade:
                upper = max(upper, before)
        else:
            lower = facts.weight(position.target) - facts.weight(position.low_drift)
            upper = facts.weight(position.target) + facts.weight(position.high_drift)
        if policy.run_type is RunType.INVEST_CASH:
            return None, max(upper, before)
        if policy.run_type is RunType.RAISE_CASH:
            return min(lower, before), None
        return lower, upper

    def sentence(self, policy: Policy) -> str | None:
        of_what = "its target" if policy.bounds is Bounds.RELATIVE else "market value"
        return f"each position ends within its drift bounds, which are weights of {of_what}"


def _outside(security_id: SecurityId, value: Fraction, where: str, by: Fraction) -> Violation:
    return Violation(
        rule=WithinBounds.name,
        message=f"{security_id} is worth {in_money(value)}, {where}",
        security_id=security_id,
        amount=by,
    )
