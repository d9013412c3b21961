"""The worlds that are explored. The small ones run with the tests, the large ones by hand (``__main__.py``)."""

from collections.abc import Mapping

from domain.item import DECIDED_STATES
from tests.model.states import ALL_FAULTS, ClaimOrder, Configuration, Fault, Protocol

_DEATHS = frozenset({Fault.CRASH, Fault.LAPSE})

_SMALL = (
    # -- nothing goes wrong: no lease runs out, nothing is published or sent again, and still every run ends
    Configuration(name="calm", n=2, parallelism=2, workers=2, healing=False),
    Configuration(name="calm, marks in batches", n=2, workers=2, healing=False, batched_marks=True),
    Configuration(
        name="calm, every outcome",
        n=4,
        healing=False,
        claim_order=ClaimOrder.LOWEST,
        outcomes=tuple(sorted(DECIDED_STATES)),
    ),
    Configuration(name="calm, stopped", n=2, workers=2, healing=False, cancels=1, deadlines=1),
    Configuration(
        name="calm, retried", attempts=1, faults=frozenset({Fault.ERROR}), healing=False, retries=1
    ),
    # -- everything goes wrong
    Configuration(name="faults", workers=2, faults=ALL_FAULTS),
    Configuration(
        name="faults, two stewards",
        workers=2,
        stewards=2,
        attempts=1,
        faults=_DEATHS | {Fault.ERROR, Fault.REPLY},
    ),
    Configuration(name="faults, two portfolios", n=2, faults=ALL_FAULTS),
    Configuration(name="faults, marks in batches", workers=2, faults=ALL_FAULTS, batched_marks=True),
    Configuration(
        name="faults, two workers on one seat", n=2, workers=2, faults=_DEATHS | {Fault.LOSS}, expanded=True
    ),
    Configuration(
        name="faults, two seats",
        n=2,
        parallelism=2,
        workers=2,
        attempts=1,
        faults=_DEATHS,
        expanded=True,
    ),
    Configuration(
        name="claim by id",
        n=2,
        workers=2,
        faults=frozenset({Fault.LAPSE}),
        expanded=True,
        claim_order=ClaimOrder.BY_ID,
    ),
    Configuration(
        name="poison", n=2, parallelism=2, workers=2, faults=frozenset({Fault.CRASH}), poison=frozenset({0})
    ),
    # -- several portfolios a token
    Configuration(name="calm, slices", n=3, workers=2, healing=False, slices=True),
    Configuration(name="slices, faults", n=2, attempts=1, faults=ALL_FAULTS, slices=True, expanded=True),
    Configuration(
        name="slices, two workers on one seat",
        n=2,
        workers=2,
        faults=frozenset({Fault.LAPSE}),
        slices=True,
        expanded=True,
    ),
    Configuration(
        name="slices, finish and claim in two steps",
        n=2,
        attempts=1,
        faults=_DEATHS | {Fault.ERROR},
        slices=True,
        fold_in_one=False,
        expanded=True,
    ),
    Configuration(name="slices, cancel", n=2, cancels=1, slices=True, expanded=True),
    Configuration(name="slices, outage", n=2, outages=True, slices=True, expanded=True),
    # -- stopped
    Configuration(name="cancel", n=2, faults=frozenset({Fault.CRASH, Fault.ERROR}), cancels=1),
    Configuration(name="cancel, two stewards", stewards=2, faults=ALL_FAULTS, cancels=1),
    # -- retried
    Configuration(name="retry", stewards=2, attempts=1, faults=_DEATHS | {Fault.ERROR}, retries=1),
    Configuration(
        name="retry, two portfolios",
        n=2,
        attempts=1,
        faults=frozenset({Fault.ERROR, Fault.CRASH}),
        retries=1,
        scanned_count=True,
    ),
    Configuration(
        name="retry, cancel",
        stewards=2,
        attempts=1,
        faults=frozenset({Fault.ERROR}),
        retries=1,
        cancels=1,
    ),
    Configuration(
        name="retry of chosen portfolios",
        n=2,
        stewards=2,
        attempts=1,
        faults=frozenset({Fault.ERROR}),
        retries=2,
        chosen=True,
        expanded=True,
        healing=False,
        claim_order=ClaimOrder.LOWEST,
        protocol=Protocol(
            steward_closes=False
        ),  # nobody dies here: the workers do it, and the world stays small
    ),
    Configuration(
        name="deadline, retry",
        stewards=2,
        attempts=1,
        deadlines=1,
        retries=1,
    ),
    Configuration(name="deadline, outage, retry", attempts=1, outages=True, deadlines=1, retries=1),
    Configuration(
        name="never frozen, retry, cancel", attempts=1, outages=True, deadlines=2, retries=1, cancels=1
    ),
    Configuration(
        name="never frozen, retried twice",
        stewards=2,
        attempts=1,
        deadlines=2,
        retries=2,
        healing=False,
        protocol=Protocol(steward_closes=False),  # as above
    ),
    # -- the upstream out
    Configuration(name="outage", n=2, outages=True),
    Configuration(
        name="outage, deadline",
        attempts=1,
        faults=frozenset({Fault.CRASH, Fault.ERROR}),
        outages=True,
        deadlines=1,
    ),
    Configuration(name="outage, faults", workers=2, faults=_DEATHS | {Fault.LOSS}, outages=True),
    # -- the result queue
    Configuration(name="plain queue", workers=2, faults=ALL_FAULTS, add_once=False),
    Configuration(
        name="forgetful queue", stewards=2, faults=frozenset({Fault.CRASH}), forgets=1, expanded=True
    ),
    Configuration(
        name="forgetful plain queue", workers=2, faults=ALL_FAULTS, add_once=False, forgets=1, expanded=True
    ),
)

_LARGE = (
    Configuration(name="L1", workers=2, stewards=2, faults=ALL_FAULTS),
    Configuration(name="L2", workers=2, stewards=2, faults=ALL_FAULTS, cancels=1),
    Configuration(name="L3", workers=2, faults=ALL_FAULTS, outages=True),
    Configuration(name="L4", stewards=2, faults=ALL_FAULTS, outages=True, cancels=1),
    Configuration(
        name="L5",
        stewards=2,
        attempts=1,
        faults=ALL_FAULTS,
        outages=True,
        deadlines=1,
        retries=1,
        expanded=True,
    ),
    Configuration(name="L6", n=2, workers=2, faults=ALL_FAULTS),
    Configuration(name="L7", n=2, workers=2, faults=_DEATHS, batched_marks=True),
    Configuration(name="L8", n=2, workers=2, attempts=1, faults=ALL_FAULTS, claim_order=ClaimOrder.BY_ID),
    Configuration(name="L9", n=2, stewards=2, attempts=1, faults=ALL_FAULTS, retries=1, scanned_count=True),
    Configuration(name="L10", n=2, parallelism=2, workers=2, attempts=1, faults=ALL_FAULTS),
    Configuration(name="L11", n=2, parallelism=2, workers=2, faults=ALL_FAULTS, expanded=True),
    Configuration(name="L12", n=2, parallelism=2, workers=2, outages=True),
    Configuration(name="L13", n=2, parallelism=2, workers=3, attempts=1, faults=_DEATHS),
    Configuration(name="L14", n=3, parallelism=2, workers=2, attempts=1, faults=_DEATHS, expanded=True),
    Configuration(
        name="L15",
        n=2,
        stewards=2,
        attempts=1,
        faults=frozenset({Fault.CRASH, Fault.ERROR}),
        retries=2,
        chosen=True,
        expanded=True,
        claim_order=ClaimOrder.LOWEST,
    ),
    Configuration(name="L16", n=2, workers=2, stewards=2, attempts=1, faults=_DEATHS, cancels=1),
    Configuration(name="L18", n=3, attempts=1, faults=ALL_FAULTS, slices=True, expanded=True),
    Configuration(name="L19", n=2, workers=2, attempts=2, faults=ALL_FAULTS, slices=True, expanded=True),
    Configuration(
        name="L20",
        n=3,
        parallelism=2,
        workers=2,
        attempts=1,
        faults=_DEATHS,
        slices=True,
        fold_in_one=False,
        expanded=True,
    ),
    Configuration(name="L17", stewards=2, attempts=1, outages=True, deadlines=2, retries=1, cancels=1),
    Configuration(
        name="L18",
        n=2,
        stewards=2,
        attempts=1,
        faults=frozenset({Fault.CRASH, Fault.ERROR}),
        retries=1,
        cancels=1,
        chosen=True,
        expanded=True,
    ),
)

SMALL: Mapping[str, Configuration] = {config.name: config for config in _SMALL}
LARGE: Mapping[str, Configuration] = {config.name: config for config in _LARGE}
