"""Closing a job (tasks/close_job.py, J8): read it, count its items, compare and set. Workers and stewards do it."""

from collections import Counter
from collections.abc import Iterator

from adapters.stores.rules import closed_state
from domain.item import FINAL_STATES, ItemState
from domain.job import JobState
from tests.model.states import IDLE, Configuration, Item, Phase, Process, State, Step


def looking(me: Process) -> Process:
    """The process about to ask whether the job is over. It holds nothing any more but what it has to publish and mark."""
    return IDLE._replace(phase=Phase.LOOK, marks=me.marks, unsent=me.unsent)


def idle(me: Process) -> Process:
    return IDLE._replace(marks=me.marks, unsent=me.unsent)


def look(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Read the job: its gen is what the close will compare. A stopping one may still have items to be put back."""
    job = state.job
    if job.state in config.moves.job_sources["close"]:
        to_come = job.chosen if job.state is JobState.STOPPING else ()
        me = me._replace(phase=Phase.COUNT, gen=job.gen, chosen=to_come)
    else:
        me = idle(me)
    yield Step("look", state, me)


def count(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Count the items by state, at once or one by one; anything that is not final ends it."""
    last = config.n - 1
    until = me.at if config.scanned_count and me.at < last else last
    counts = Counter(dict(me.counts))
    for index in range(me.at, until + 1):
        final = _final_state(config, me, index, state.items[index])
        if final is not None:
            counts[final] += 1
        elif not _overlooked(config, state.items[index].state):
            yield Step("count", state, idle(me))
            return
    counted = me._replace(at=until + 1, counts=tuple(sorted(counts.items())))
    if until == last:
        enough = counts.total() == config.n or not config.protocol.close_expects_all_n
        counted = counted._replace(phase=Phase.CLOSE) if enough else idle(me)
    yield Step("count", state, counted)


def _final_state(config: Configuration, me: Process, index: int, item: Item) -> ItemState | None:
    to_come = item.state is ItemState.FAILED and item.gen < me.gen and index in me.chosen
    if item.state not in FINAL_STATES or (to_come and config.protocol.close_waits_for_the_reopened):
        return None
    return item.state


def _overlooked(config: Configuration, state: ItemState | None) -> bool:
    """Only with a bug: what the count does not see."""
    protocol = config.protocol
    if state is None:
        return not protocol.close_expects_all_n
    return state is ItemState.RUNNING and not protocol.close_counts_what_runs


def close(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    job = state.job
    same = job.gen == me.gen or not config.protocol.close_compares_the_gen
    if same and job.state in config.moves.job_sources["close"]:
        counts: dict[str, int] = dict(me.counts)
        target = closed_state(counts, sum(counts.values()))
        assert target is not None, "counted"
        state = state._replace(job=job._replace(state=target, counts=me.counts))
    yield Step("close", state, idle(me), move="close")
