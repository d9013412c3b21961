"""A policy with some keys of a request over it; what is wrong with them is told where they stand."""

from collections.abc import Mapping
from typing import Any

from domain.errors import Invalid
from domain.policy import Policy


def with_keys(policy: Policy, changes: Mapping[str, Any], at: str) -> Policy:
    """``policy`` with these keys set; ``at`` is their place in the request, such as ``portfolios[3].policy``.

    Raises:
        Invalid: a rule of policies is broken; ``details`` names every one by its place.
    """
    try:
        return policy.with_changes(changes)
    except Invalid as fault:
        details = tuple({**each, "field": f"{at}.{each['field']}"} for each in fault.details)
        raise Invalid(f"{at}: {fault}", code=fault.code, details=details) from None
