"""The model of a job's life: where it begins, what may happen next, when it is over.

Worker, steward and environment each say what they may do in a state; here their steps become states again, folded
by two symmetries: workers and stewards are interchangeable, and fences are only ever compared for equality.
"""

from collections.abc import Iterator

from domain.item import DECIDED_STATES, ItemState, Out
from domain.job import JobState
from tests.model import properties
from tests.model.checker import Edge
from tests.model.environment import environment_steps
from tests.model.states import IDLE, NONE, Configuration, Item, Job, Process, State, Step, Token, World
from tests.model.steward import steward_steps
from tests.model.worker import worker_steps


class JobModel:
    """One configuration, as the checker explores it. ``moves`` collects every row of the move tables it used."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self.moves: set[tuple[str, str, str]] = set()

    def initial(self) -> State:
        """A job just accepted; or, expanded, one that runs, its items written and its tokens sent."""
        config = self.config
        job, item, tokens = Job(), Item(), range(0)
        if config.expanded:
            job = Job(state=JobState.RUNNING, frozen=True, started=True)
            item = Item(state=ItemState.PENDING)
            tokens = config.seats
        return State(
            job=job,
            items=(item,) * config.n,
            tokens=tuple(Token(seat) for seat in tokens),
            workers=(IDLE,) * config.workers,
            stewards=(IDLE,) * config.stewards,
            world=World(
                deadlines=config.deadlines,
                cancels=config.cancels,
                retries=config.retries,
                forgets=config.forgets,
                entries=((),) * config.n,
            ),
        )

    def edges(self, state: State) -> Iterator[Edge[State]]:
        """Everything that may happen next. An edge that breaks a rule of steps says so."""
        for step, after in self._steps(state):
            broken = self._check_moves(state, step, after) or properties.of_step(self.config, state, step)
            folded = _folded(after)
            if folded != state or broken:
                yield Edge(step.name, step.fault, folded, broken)

    def broken(self, state: State) -> str | None:
        """The first property this state breaks."""
        return properties.of_state(self.config, state)

    def is_final(self, state: State) -> bool:
        """The job is closed and every decided item stands on the result queue and is marked so."""
        if not state.job.state.closed:
            return False
        return all(
            item.out is Out.SENT and bool(entries) if item.state in DECIDED_STATES else item.out is None
            for item, entries in zip(state.items, state.world.entries, strict=True)
        )

    def _steps(self, state: State) -> Iterator[tuple[Step, State]]:
        for place, worker in enumerate(state.workers):
            if worker not in state.workers[:place]:
                for step in worker_steps(self.config, state, worker):
                    changed = _put(step.state.workers, place, step.process)
                    yield step, step.state._replace(workers=changed)
        for place, steward in enumerate(state.stewards):
            if steward not in state.stewards[:place]:
                for step in steward_steps(self.config, state, steward):
                    changed = _put(step.state.stewards, place, step.process)
                    yield step, step.state._replace(stewards=changed)
        for step in environment_steps(self.config, state):
            yield step, step.state

    def _check_moves(self, before: State, step: Step, after: State) -> str | None:
        """Every change of a state is a row of the tables in domain/job.py and domain/item.py; note which."""
        if before.job.state is not after.job.state:
            pair = (before.job.state, after.job.state)
            if not properties.job_may_move(self.config, step.move, *pair):
                return f"{step.move or step.name} may not move a job {pair[0]} -> {pair[1]}"
            self.moves.add((step.move, *pair))
        for old, new in zip(before.items, after.items, strict=True):
            if old.state is not new.state and old.state is not None and new.state is not None:
                move = properties.item_move(self.config, step.move, old.state, new.state)
                if move is None:
                    return f"{step.move or step.name} may not move an item {old.state} -> {new.state}"
                self.moves.add((move, old.state, new.state))
        return None


def _put(processes: tuple[Process, ...], place: int, process: Process) -> tuple[Process, ...]:
    return (*processes[:place], process, *processes[place + 1 :])


def _folded(state: State) -> State:
    """The same state with fences renamed to 0, 1, ... and equal processes in a fixed order."""
    for index in range(len(state.items)):
        state = _renamed(state, index)
    return state._replace(
        workers=tuple(sorted(state.workers)),
        stewards=tuple(sorted(state.stewards)),
    )


def _renamed(state: State, index: int) -> State:
    """Fences of one item by rank. Only their equality is ever asked, so nothing that may happen changes."""
    item, entries = state.items[index], state.world.entries[index]
    held = {process.fence for process in (*state.workers, *state.stewards) if process.item == index}
    unsent = {fence for worker in state.workers for place, fence in worker.unsent if place == index}
    known = {item.fence, item.result, *entries, *held, *unsent} - {NONE}
    if max(known) < len(known):
        return state
    rank = {fence: place for place, fence in enumerate(sorted(known))} | {NONE: NONE}
    item = item._replace(fence=rank[item.fence], result=rank[item.result])
    renamed = tuple(rank[fence] for fence in entries)
    return state._replace(
        items=(*state.items[:index], item, *state.items[index + 1 :]),
        workers=_with_fences(state.workers, index, rank),
        stewards=_with_fences(state.stewards, index, rank),
        world=state.world._replace(
            entries=(*state.world.entries[:index], renamed, *state.world.entries[index + 1 :])
        ),
    )


def _with_fences(processes: tuple[Process, ...], index: int, rank: dict[int, int]) -> tuple[Process, ...]:
    return tuple(
        process._replace(
            fence=rank[process.fence] if process.item == index else process.fence,
            unsent=tuple((item, rank[fence] if item == index else fence) for item, fence in process.unsent),
        )
        for process in processes
    )
