"""The promises, as predicates over states and steps. The letters are those of docs/protocol-model.md.

A predicate answers True where its promise is broken.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from adapters.stores.rules import closed_state
from domain.item import DECIDED_STATES, FINAL_STATES, ItemState, Out
from domain.job import JobState
from tests.model.states import NONE, Configuration, State, Step
from tests.model.worker import holds_a_claim

# ------------------------------------------------------------------------------------------------ of states


def _too_many_running(config: Configuration, state: State) -> bool:
    seats = [item.seat for item in state.items if item.state is ItemState.RUNNING]
    in_work = sum(holds_a_claim(worker) and not worker.lapsed for worker in state.workers)
    return len(seats) > config.parallelism or len(set(seats)) < len(seats) or in_work > config.parallelism


def _seat_without_work(_config: Configuration, state: State) -> bool:
    return any((item.seat == NONE) is (item.state is ItemState.RUNNING) for item in state.items)


def _claim_taken_away(_config: Configuration, state: State) -> bool:
    """A live claim whose lease nobody saw run out: its item is running, for it alone."""
    for worker in state.workers:
        if holds_a_claim(worker) and not worker.lapsed:
            item = state.items[worker.item]
            if item.state is not ItemState.RUNNING or item.fence != worker.fence:
                return True
    return False


def _decided_by_a_zombie(_config: Configuration, state: State) -> bool:
    return any(item.state in DECIDED_STATES and item.result != item.fence for item in state.items)


def _published_otherwise(_config: Configuration, state: State) -> bool:
    return any(
        item.state not in DECIDED_STATES or set(entries) != {item.result}
        for item, entries in zip(state.items, state.world.entries, strict=True)
        if entries
    )


def _published_twice(config: Configuration, state: State) -> bool:
    return config.add_once and any(len(entries) > 1 for entries in state.world.entries)


def _sent_but_not_there(config: Configuration, state: State) -> bool:
    return not config.forgets and any(
        item.out is Out.SENT and not entries
        for item, entries in zip(state.items, state.world.entries, strict=True)
    )


def _due_without_answer(_config: Configuration, state: State) -> bool:
    return any(item.out is not None and item.state not in DECIDED_STATES for item in state.items)


def _attempts_out_of_range(config: Configuration, state: State) -> bool:
    return any(not 0 <= item.attempt <= config.attempts for item in state.items)


def _worked_without_market(_config: Configuration, state: State) -> bool:
    return not state.job.frozen and any(item.state is ItemState.RUNNING for item in state.items)


def _retry_lost(_config: Configuration, state: State) -> bool:
    """A closed job has failed items which its last retry was about and did not bring back."""
    job = state.job
    chosen = (state.items[index] for index in job.chosen)
    return job.state.closed and any(item.state is ItemState.FAILED and item.gen < job.gen for item in chosen)


def _outage_burned_an_item(config: Configuration, state: State) -> bool:
    harmless = not (config.faults or config.deadlines or config.poison)
    return harmless and any(item.state is ItemState.FAILED for item in state.items)


def _closed_too_early(config: Configuration, state: State) -> bool:
    job = state.job
    if not job.state.closed:
        return False
    counts: Counter[str] = Counter(item.state for item in state.items if item.state is not None)
    exact = dict(job.counts) == dict(counts) and sum(counts.values()) == config.n
    return not exact or closed_state(counts, config.n) is not job.state


_OF_STATES: Mapping[str, Callable[[Configuration, State], bool]] = {
    "bound: more in work than the parallelism": _too_many_running,
    "seat: held by an item that does not run, or missing": _seat_without_work,
    "lease: a claim was taken away before its lease ran out": _claim_taken_away,
    "zombie: the stored answer is not that of the last claim": _decided_by_a_zombie,
    "published: not the stored answer of a decided item": _published_otherwise,
    "once: an order set stands twice on the queue": _published_twice,
    "sent: marked as sent but not on the queue": _sent_but_not_there,
    "due: an order set without an answer": _due_without_answer,
    "attempts: below 0 or above the most allowed": _attempts_out_of_range,
    "frozen: worked without a frozen market": _worked_without_market,
    "retry: a closed job has failed items that it was to bring back": _retry_lost,
    "outage: burned a portfolio": _outage_burned_an_item,
    "closed: not all final, or the counts are not exact": _closed_too_early,
}


def of_state(config: Configuration, state: State) -> str | None:
    """The first property this state breaks."""
    for name, broken in _OF_STATES.items():
        if broken(config, state):
            return name
    return None


# ------------------------------------------------------------------------------------------------ of steps


def _final_item_changed(_config: Configuration, before: State, step: Step) -> bool:
    """Decided and cancelled stay; failed comes back only by a retry, at a higher gen."""
    for old, new in zip(before.items, step.state.items, strict=True):
        if old.state in FINAL_STATES and old.state is not new.state:
            reopened = old.state is ItemState.FAILED and new.state is ItemState.PENDING and new.gen > old.gen
            if not reopened:
                return True
    return False


def _answer_changed(_config: Configuration, before: State, step: Step) -> bool:
    return any(
        old.state in DECIDED_STATES and old.result != new.result
        for old, new in zip(before.items, step.state.items, strict=True)
    )


def _swept_while_not_stopping(_config: Configuration, before: State, step: Step) -> bool:
    waiting = {ItemState.PENDING, ItemState.DELAYED}
    ended = {ItemState.FAILED, ItemState.CANCELLED}
    return before.job.state is not JobState.STOPPING and any(
        old.state in waiting and new.state in ended
        for old, new in zip(before.items, step.state.items, strict=True)
    )


def _stop_undone(_config: Configuration, before: State, step: Step) -> bool:
    after = step.state.job.state
    return before.job.state is JobState.STOPPING and after is not JobState.STOPPING and not after.closed


def _resumed_without_proof(_config: Configuration, before: State, step: Step) -> bool:
    if step.move != "resume" or before.job.state is step.state.job.state:
        return False
    return before.items[step.process.item].state not in DECIDED_STATES


def _stopped_by_an_old_deadline(_config: Configuration, before: State, step: Step) -> bool:
    stopped = step.name == "deadline" and before.job.state is not step.state.job.state
    return stopped and before.world.deadline_passed != before.job.gen


_OF_STEPS: Mapping[str, Callable[[Configuration, State, Step], bool]] = {
    "absorbing: a final state changed without a retry": _final_item_changed,
    "absorbing: a stored answer changed": _answer_changed,
    "sweep: outside a stop": _swept_while_not_stopping,
    "stop: undone": _stop_undone,
    "resume: before anything got through": _resumed_without_proof,
    "deadline: of an earlier run stopped this one": _stopped_by_an_old_deadline,
}


def of_step(config: Configuration, before: State, step: Step) -> str | None:
    """The first property this step breaks."""
    if before.items is step.state.items and before.job is step.state.job:
        return None
    for name, broken in _OF_STEPS.items():
        if broken(config, before, step):
            return name
    return None


# ------------------------------------------------------------------------------------------------ the move tables


def job_may_move(config: Configuration, move: str, source: JobState, target: JobState) -> bool:
    moves = config.moves
    if source not in moves.job_sources.get(move, ()):
        return False
    fixed = moves.job_targets[move]
    return target is fixed if fixed is not None else target.closed


def item_move(config: Configuration, moves: str, source: ItemState, target: ItemState) -> str | None:
    """Which of a step's moves may move an item so."""
    table = config.moves
    for move in moves.split("+"):
        if source in table.item_sources.get(move, ()) and target in table.item_targets.get(move, ()):
            return move
    return None
