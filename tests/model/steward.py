"""A steward: tasks/steward.py and tasks/open_job.py step by step.

A tick does its parts in a fixed order; here an idle steward may begin any of them, which allows more. What a part
reads first and writes later is held in the process and may be stale by then. The thread that opens jobs beside the
ticks is, to the model, one more steward.
"""

from collections.abc import Callable, Iterator, Mapping

from adapters.stores.rules import expired_state
from domain.item import OPEN_STATES, ItemState, Out
from domain.job import JobState
from tests.model import closing
from tests.model.states import (
    IDLE,
    NONE,
    Configuration,
    Fault,
    Item,
    Phase,
    Process,
    State,
    Step,
    Token,
    all_written,
    any_in,
    busy_seats,
    with_item,
    with_tokens,
)
from tests.model.worker import holds_a_claim, marked, waiting, with_entry

# What a pass over the items is for: the goal of a process, the state that unfinished items of a stop end in.
_STOPPING = frozenset({ItemState.FAILED, ItemState.CANCELLED})
_LATE = "late"  # only with a bug: the job was moved on before the items it is to put back
_PENDING = frozenset({ItemState.PENDING})


def steward_steps(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Every step this steward may take now, dying included."""
    if me.phase is not Phase.IDLE:
        yield from _STEPS[me.phase](config, state, me)
        if Fault.CRASH in config.faults:
            yield Step("steward dies", state, fault=True)
        return
    yield from _tend_items(config, state, me)
    for part in _TENDING.get(state.job.state, ()):
        yield from part(config, state, me)
    yield from _past_deadline(config, state, me)


# ------------------------------------------------------------------------------------------------ items


def _tend_items(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    protocol = config.protocol
    for index, item in enumerate(state.items):
        if item.state is ItemState.RUNNING and config.healing and protocol.steward_expires:
            yield from _lapsed(config, state, me, index)
        elif item.state in config.moves.item_sources["wake"] and protocol.steward_wakes:
            awake = item._replace(state=config.moves.item_target("wake"))
            yield Step(f"wake {index}", with_item(state, index, awake), me, move="wake")
        elif item.out is Out.DUE and config.healing and protocol.steward_publishes:
            published = with_entry(config, state, index, item.result)
            held = me._replace(phase=Phase.MARK, item=index)
            yield Step(f"republish {index}", published, held)
        elif item.out is Out.SENT and config.forgets and not state.world.entries[index]:
            again = with_item(state, index, item._replace(out=Out.DUE))
            yield Step(f"due again {index}", again, me)


def _lapsed(config: Configuration, state: State, me: Process, index: int) -> Iterator[Step]:
    """I8, the read: a lease that ran out, and whether the job is stopping. A live worker's only by a fault."""
    item = state.items[index]
    alive = [holds_a_claim(w) and w.item == index and w.fence == item.fence for w in state.workers]
    if any(alive) and Fault.LAPSE not in config.faults:
        return
    workers = tuple(
        w._replace(lapsed=True) if lives else w for w, lives in zip(state.workers, alive, strict=True)
    )
    stopping = state.job.state is JobState.STOPPING and config.protocol.expire_of_a_stopping_job_ends_the_item
    held = me._replace(
        phase=Phase.EXPIRE,
        item=index,
        fence=item.fence,
        gen=state.job.gen if stopping else NONE,
        goal=state.job.stop_to or "" if stopping else "",
    )
    yield Step(f"lapsed {index}", state._replace(workers=tuple(sorted(workers))), held, fault=any(alive))


def _expire(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I8, the compare-and-set."""
    item = state.items[me.item]
    same = item.fence == me.fence or not config.protocol.expire_compares_the_fence
    if same and item.state in config.moves.item_sources["expire"]:
        target = expired_state(item.attempt, config.attempts, me.goal or None)
        assert target in config.moves.item_targets["expire"], target
        seat = NONE if config.protocol.expire_frees_the_seat else item.seat
        gen = item.gen if me.gen == NONE else me.gen
        state = with_item(state, me.item, item._replace(state=target, seat=seat, gen=gen))
    yield Step(f"expire {me.item}", state, move="expire")


def _mark(_config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I7, after a publish of its own."""
    yield Step(f"mark {me.item}", marked(state, me.item))


# ------------------------------------------------------------------------------------------------ opening


def _open(_config: Configuration, state: State, me: Process) -> Iterator[Step]:
    yield Step("open", state, me._replace(phase=Phase.FREEZE, gen=state.job.gen))


def _freeze(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """J2, insert once. With the upstream out, a job that is not frozen yet waits (J5 when it runs by now)."""
    job = state.job
    if not job.frozen and state.world.outage:
        yield Step("cannot freeze", waiting(config, state), move="wait")
        return
    state = state._replace(job=job._replace(frozen=True))
    if config.protocol.expansion_before_start:
        yield Step("freeze", state, me._replace(phase=Phase.EXPAND))
    else:
        yield Step("freeze and start", _started(config, state), me._replace(phase=Phase.EXPAND), move="start")


def _expand(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I1, one item a step, whatever is there stays; then J4, or the sweep when the job is stopping."""
    keeps = config.protocol.expansion_keeps_what_is_there
    missing = (i for i in range(me.at, config.n) if state.items[i].state is None or not keeps)
    index = next(missing, None)
    if index is not None:
        written = with_item(state, index, Item(state=ItemState.PENDING, gen=me.gen))
        yield Step(f"write {index}", written, me._replace(at=index + 1))
    elif me.goal in _STOPPING:
        yield from _sweep(config, state, me._replace(phase=Phase.SWEEP, at=0))
    elif state.job.state in config.moves.job_sources["start"]:
        sending = IDLE._replace(phase=Phase.SEND)
        yield Step("start", _started(config, state), sending, move="start")
    else:
        yield Step("started already", state)


def _started(config: Configuration, state: State) -> State:
    if state.job.state not in config.moves.job_sources["start"]:
        return state
    return state._replace(job=state.job._replace(state=config.moves.job_target("start"), started=True))


def _send(config: Configuration, state: State, _me: Process) -> Iterator[Step]:
    """The first tokens, one a seat, by whoever started the job or put it back to work."""
    if config.protocol.first_tokens_are_sent:
        state = with_tokens(state, *map(Token, config.seats))
    yield Step("send tokens", state)


# ------------------------------------------------------------------------------------------------ running, waiting


def _repair(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """A free seat of a running job with something pending gets a token in the end."""
    if not (config.healing and config.protocol.steward_sends_tokens and any_in(state, _PENDING)):
        return
    for seat in sorted(set(config.seats) - busy_seats(state)):
        sent = with_tokens(state, Token(seat))
        if sent is not state:
            yield Step(f"send token {seat}", sent, me)


def _probe(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """One probe at a time on the lowest free seat. Its own crash between noting and sending is a lost token."""
    free = sorted(set(config.seats) - busy_seats(state))
    if config.protocol.steward_probes and free and any_in(state, _PENDING):
        sent = with_tokens(state, Token(free[0], probe=True))
        if sent is not state:
            yield Step("probe", sent, me)


def _close(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """For when the worker that should have closed it died. It asks for an open item before it counts."""
    if not config.protocol.steward_closes or any_in(state, OPEN_STATES):
        return
    if all_written(state) or not config.protocol.close_expects_all_n:
        yield Step("nothing open", state, closing.looking(me))


# ------------------------------------------------------------------------------------------------ stopping, retrying


def _stop(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Read the stopping job: write what is missing, sweep what is left, close. What has nothing to do is left out."""
    held = me._replace(gen=state.job.gen, goal=state.job.stop_to or "", chosen=state.job.chosen)
    if config.protocol.expansion_before_sweep and not (state.job.started or all_written(state)):
        yield Step("stop", state, held._replace(phase=Phase.EXPAND))
    elif _next_reopened(config, state, held) is not None and config.protocol.reopen_before_sweep:
        yield Step("stop", state, held._replace(phase=Phase.REOPEN))
    elif _next_swept(config, state, held) is not None:
        yield Step("stop", state, held._replace(phase=Phase.SWEEP))
    else:
        yield from _close(config, state, me)


def _sweep(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I10, one item a step, each its own compare-and-set."""
    index = _next_swept(config, state, me)
    if index is None:
        yield Step("swept", state, closing.looking(me))
        return
    target = ItemState(me.goal)
    assert target in config.moves.item_targets["sweep"], target
    swept = state.items[index]._replace(state=target, gen=me.gen)
    yield Step(f"sweep {index}", with_item(state, index, swept), me._replace(at=index + 1), move="sweep")


def _next_swept(config: Configuration, state: State, me: Process) -> int | None:
    sources = config.moves.item_sources["sweep"]
    for index in range(me.at, config.n):
        item = state.items[index]
        if item.state in sources and (item.gen <= me.gen or not config.protocol.sweep_compares_the_gen):
            return index
    return None


def _retry(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Read the job to reopen."""
    frozen, protocol = state.job.frozen, config.protocol
    held = me._replace(phase=Phase.REOPEN, gen=state.job.gen, chosen=state.job.chosen)
    if not (protocol.reopen_items_before_the_job if frozen else protocol.reaccept_after_the_items):
        held = held._replace(phase=Phase.REOPENED if frozen else Phase.REACCEPT, goal=_LATE)
    yield Step("open again", state, held)


def _reopen(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """I11, one item a step, each its own compare-and-set."""
    index = _next_reopened(config, state, me)
    if index is not None:
        item = state.items[index]._replace(state=config.moves.item_target("reopen"), attempt=0, gen=me.gen)
        yield Step(f"reopen {index}", with_item(state, index, item), me._replace(at=index + 1), move="reopen")
    elif me.goal in _STOPPING:
        yield from _sweep(config, state, me._replace(phase=Phase.SWEEP, at=0))
    elif me.goal == _LATE:
        yield Step("reopened", state)
    else:
        yield from _reopened(config, state, me)


def _next_reopened(config: Configuration, state: State, me: Process) -> int | None:
    sources, protocol = config.moves.item_sources["reopen"], config.protocol
    chosen = me.chosen if protocol.reopen_takes_the_list_of_its_gen else state.job.chosen
    for index in chosen:
        item = state.items[index]
        earlier = item.gen < me.gen or not protocol.reopen_compares_the_gen
        if index >= me.at and item.state in sources and earlier:
            return index
    return None


def _reopened(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Ask for the frozen market. None: J11. Else J10, at once since a market stays; the tokens by whoever did it."""
    job = state.job
    if not job.frozen and config.protocol.retry_accepts_again_what_was_not_frozen:
        yield Step("never frozen", state, me._replace(phase=Phase.REACCEPT))
        return
    after = _after_the_job(me)
    if job.state in config.moves.job_sources["reopened"] and job.gen == me.gen:
        state = state._replace(job=job._replace(state=config.moves.job_target("reopened")))
        if after is IDLE and config.protocol.retry_sends_tokens:
            after = IDLE._replace(phase=Phase.SEND)
    yield Step("reopened", state, after, move="reopened")


def _reaccept(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """J11, the compare-and-set; an opener of the first run may have frozen the market since. Then as any opening."""
    job = state.job
    same = job.gen == me.gen or not config.protocol.reaccept_compares_the_gen
    if same and job.state in config.moves.job_sources["reaccept"]:
        state = state._replace(job=job._replace(state=config.moves.job_target("reaccept")))
    yield Step("reaccept", state, _after_the_job(me), move="reaccept")


def _after_the_job(me: Process) -> Process:
    return me._replace(phase=Phase.REOPEN) if me.goal == _LATE else IDLE


# ------------------------------------------------------------------------------------------------ the deadline


def _past_deadline(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """Read a job whose deadline has passed. One that reopens comes to it as soon as its items are back."""
    passed = state.world.deadline_passed
    over = passed in (
        {state.job.gen} if config.protocol.retry_renews_the_deadline else {*range(state.job.gen + 1)}
    )
    if over and state.job.state in config.moves.job_sources["stop"] - {JobState.REOPENING}:
        yield Step("past deadline", state, me._replace(phase=Phase.DEADLINE, gen=state.job.gen))


def _deadline(config: Configuration, state: State, me: Process) -> Iterator[Step]:
    """J7: what is left ends failed."""
    same = state.job.gen == me.gen or not config.protocol.deadline_compares_the_gen
    if same and state.job.state in config.moves.job_sources["stop"]:
        state = stopped(config, state, ItemState.FAILED)
    yield Step("deadline", state, move="stop")


def stopped(config: Configuration, state: State, stop_to: ItemState) -> State:
    """J7, by the deadline or by a cancel."""
    job = state.job._replace(state=config.moves.job_target("stop"), stop_to=stop_to)
    return state._replace(job=job)


_Part = Callable[[Configuration, State, Process], Iterator[Step]]

_TENDING: Mapping[JobState, tuple[_Part, ...]] = {
    JobState.ACCEPTED: (_open,),
    JobState.RUNNING: (_close, _repair),
    JobState.WAITING: (_close, _probe),
    JobState.STOPPING: (_stop,),
    JobState.REOPENING: (_retry,),
}

_STEPS: Mapping[Phase, _Part] = {
    Phase.EXPIRE: _expire,
    Phase.MARK: _mark,
    Phase.FREEZE: _freeze,
    Phase.EXPAND: _expand,
    Phase.SEND: _send,
    Phase.SWEEP: _sweep,
    Phase.REOPEN: _reopen,
    Phase.REOPENED: _reopened,
    Phase.REACCEPT: _reaccept,
    Phase.DEADLINE: _deadline,
    Phase.LOOK: closing.look,
    Phase.COUNT: closing.count,
    Phase.CLOSE: closing.close,
}
