"""Closing a job (tasks/close_job.py, J8): read it, count its items, compare and set. Workers and stewards do it."""

from collections import Counter
from collections.abc import Iterator

from adapters.stores.rules import closed_state
from domain.item import FINAL_STATES, ItemState
from tests.model.states import IDLE, Configuration, Phase, Process, State, Step

Counts = tuple[tuple[ItemState, int], ...]


def looking(me: Process) -> Process:
    """The process about to ask whether the job is over. It holds nothing any more but its marks."""
    return IDLE._replace(phase=Phase.LOOK, marks=me.marks)


def idle(me: Process) -> Process:
    return IDLE._replace(marks=me.marks)


def look(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Read the job: its gen is what the close will compare."""
    if state.job.state in config.moves.job_sources["close"]:
        yield Step("look", "", False, state, me._replace(phase=Phase.COUNT, gen=state.job.gen))
    else:
        yield Step("look", "", False, state, idle(me))


def count(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Count the items by state, at once or one by one; anything that is not final ends it."""
    if config.scanned_count and me.at < config.n - 1:
        counts = _add(me.counts, state.items[me.at].state)
        step = None if counts is None else me._replace(at=me.at + 1, counts=counts)
    else:
        step = _counted(config, state, me)
    yield Step("count", "", False, state, idle(me) if step is None else step)


def _counted(config: Configuration, state: State, me: Process) -> Process | None:
    counts: Counts | None = me.counts
    for item in state.items[me.at :]:
        if counts is not None and not _overlooked(config, item.state):
            counts = _add(counts, item.state)
    if counts is None or closed_state(dict(counts), sum(n for _, n in counts)) is None:
        return None
    if config.protocol.close_expects_all_n and sum(n for _, n in counts) != config.n:
        return None
    return me._replace(phase=Phase.CLOSE, at=0, counts=counts)


def _overlooked(config: Configuration, state: ItemState | None) -> bool:
    """Only with a bug: what the count does not see."""
    protocol = config.protocol
    if state is None:
        return not protocol.close_expects_all_n
    return state is ItemState.RUNNING and not protocol.close_counts_what_runs


def _add(counts: Counts, state: ItemState | None) -> Counts | None:
    if state not in FINAL_STATES:
        return None
    return tuple(sorted((Counter(dict(counts)) + Counter([state])).items()))


def close(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    job = state.job
    same = job.gen == me.gen or not config.protocol.close_compares_the_gen
    if same and job.state in config.moves.job_sources["close"]:
        counts = dict(me.counts)
        target = closed_state(counts, sum(counts.values()))
        assert target is not None, "counted"
        state = state._replace(job=job._replace(state=target, counts=me.counts))
    yield Step("close", "close", False, state, idle(me))
