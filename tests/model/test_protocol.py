"""The life of a job, model-checked: every interleaving of small worlds, and bugs planted to see that they show.

docs/protocol-model.md says what is modelled, what is abstracted and what each promise means.
"""

from dataclasses import fields

import pytest

from domain.item import ITEM_MOVES
from domain.job import CLOSED, JOB_MOVES, JobState
from tests.model.checker import check
from tests.model.configurations import SMALL
from tests.model.model import JobModel
from tests.model.mutations import CAUGHT, HARMLESS, Mutation
from tests.model.states import Configuration, Protocol

# Small worlds that use every row of the move tables between them.
EXERCISING = (
    "calm, every outcome",
    "faults",
    "cancel",
    "retry, two portfolios",
    "retry, cancel",
    "outage, deadline",
    "deadline, outage, retry",
)
# A job is only cancelled once it was stopped: closing from another state cannot meet a cancelled portfolio.
IMPOSSIBLE = {
    ("close", JobState.RUNNING, JobState.CANCELLED),
    ("close", JobState.WAITING, JobState.CANCELLED),
}


def explore(config: Configuration) -> JobModel:
    """The model after all of it was explored and found clean."""
    model = JobModel(config)
    verdict = check(model)
    assert verdict.clean, f"{verdict.problem}: {' | '.join(verdict.trace)}"
    return model


@pytest.mark.parametrize("world", SMALL)
def test_every_promise_holds_in_every_state_and_every_run_ends(world: str) -> None:
    explore(SMALL[world])


def test_the_model_takes_every_move_the_code_allows_and_no_other() -> None:
    allowed = {
        (name, source, target)
        for name, move in ITEM_MOVES.items()
        for source in move.sources
        for target in move.targets
    } | {
        (name, source, target)
        for name, move in JOB_MOVES.items()
        for source in move.sources
        for target in ([move.target] if move.target else CLOSED)
    }

    used = set().union(*(explore(SMALL[world]).moves for world in EXERCISING))

    assert used == allowed - IMPOSSIBLE


@pytest.mark.parametrize("mutation", CAUGHT, ids=lambda mutation: mutation.what)
def test_a_planted_bug_is_caught_as_the_promise_it_breaks(mutation: Mutation) -> None:
    verdict = check(JobModel(mutation.config))

    assert mutation.caught
    assert mutation.is_expected(verdict), f"{verdict.problem}: {' | '.join(verdict.trace)}"


@pytest.mark.parametrize("mutation", HARMLESS, ids=lambda mutation: mutation.what)
def test_what_is_said_to_be_harmless_is(mutation: Mutation) -> None:
    explore(mutation.config)


def test_every_guard_of_the_protocol_has_a_bug_that_turns_it() -> None:
    """So that no guard of the model is there for show."""
    turned = {guard for mutation in (*CAUGHT, *HARMLESS) for guard in mutation.off}

    assert turned == {guard.name for guard in fields(Protocol)}


def test_the_numbered_bugs_are_all_there() -> None:
    numbered = [int(first) for mutation in CAUGHT if (first := mutation.what.split()[0]).isdecimal()]

    assert numbered == list(range(1, 23))
