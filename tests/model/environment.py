"""What happens by itself or by people: tokens get lost, upstreams go out, jobs are cancelled and retried."""

from collections.abc import Iterator
from itertools import combinations

from domain.item import ItemState
from domain.job import OPEN
from tests.model.states import NONE, Configuration, Fault, State, Step
from tests.model.steward import stopped


def environment_steps(config: Configuration, state: State) -> Iterator[Step]:
    yield from _messages(config, state)
    yield from _outages(config, state)
    yield from _people(config, state)
    yield from _clock_and_broker(config, state)


def _messages(config: Configuration, state: State) -> Iterator[Step]:
    if Fault.LOSS in config.faults:
        for place in range(len(state.tokens)):
            rest = state.tokens[:place] + state.tokens[place + 1 :]
            yield _step("token lost", state._replace(tokens=rest))


def _outages(config: Configuration, state: State) -> Iterator[Step]:
    """An outage may begin, and must end: a fair world is one where it does."""
    if state.world.outage:
        yield _step("outage ends", state._replace(world=state.world._replace(outage=False)), fault=False)
    elif config.outages and state.job.state in OPEN:
        yield _step("outage begins", state._replace(world=state.world._replace(outage=True)))


def _people(config: Configuration, state: State) -> Iterator[Step]:
    job, world = state.job, state.world
    if world.cancels and job.state in config.moves.job_sources["stop"]:
        cancelled = stopped(config, state, ItemState.CANCELLED)
        yield _step(
            "cancel", cancelled._replace(world=world._replace(cancels=world.cancels - 1)), move="stop"
        )
    if world.retries and job.state in config.moves.job_sources["retry"]:
        for chosen in _choices(config, state):
            yield _step("retry", _retried(config, state, chosen), move="retry")


def _choices(config: Configuration, state: State) -> Iterator[tuple[int, ...]]:
    """What a retry may be about: everything that failed, or any part of it."""
    failed = [index for index, item in enumerate(state.items) if item.state is ItemState.FAILED]
    for size in range(1, len(failed) + 1) if config.chosen else (len(failed),):
        yield from combinations(failed, size)


def _retried(config: Configuration, state: State, chosen: tuple[int, ...]) -> State:
    """J9. The list of portfolios is stored with the gen it is for."""
    job, world = state.job, state.world
    renewed = NONE if config.protocol.retry_renews_the_deadline else world.deadline_passed
    return state._replace(
        job=job._replace(
            state=config.moves.job_target("retry"), gen=job.gen + 1, stop_to=None, counts=(), chosen=chosen
        ),
        world=world._replace(retries=world.retries - 1, deadline_passed=renewed),
    )


def _clock_and_broker(_config: Configuration, state: State) -> Iterator[Step]:
    world = state.world
    if world.deadlines and world.deadline_passed == NONE and state.job.state in OPEN:
        passed = world._replace(deadlines=world.deadlines - 1, deadline_passed=state.job.gen)
        yield _step("the deadline passes", state._replace(world=passed))
    if world.forgets and any(world.entries):
        empty = tuple(() for _ in world.entries)
        forgotten = world._replace(forgets=world.forgets - 1, entries=empty)
        yield _step("the result queue is lost", state._replace(world=forgotten))


def _step(name: str, state: State, *, move: str = "", fault: bool = True) -> Step:
    return Step(name, state, move=move, fault=fault)
