"""A small explicit-state model checker: breadth first, so the trace to a violation is a shortest one.

Safety is checked on every state and edge as it is found. Liveness is checked on the finished graph, twice: from
every state a final one must be reachable, and so it must be over edges that are not faults. Last, no run that takes
every step it is offered long enough may stay away from the final states for ever (weak fairness).
"""

from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, compress
from typing import Generic, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)
T = TypeVar("T", bound=Hashable)


class Edge(NamedTuple, Generic[T]):
    """One step: its name, whether it is a fault, where it leads, and the rule it breaks, if any."""

    name: str
    fault: bool
    target: T
    broken: str | None


class Model(Protocol[S]):
    def initial(self) -> S: ...

    def edges(self, state: S) -> Iterable[Edge[S]]: ...

    def broken(self, state: S) -> str | None:
        """The property this state breaks."""

    def is_final(self, state: S) -> bool:
        """Whether everything that was promised has happened."""


@dataclass(frozen=True, slots=True)
class Verdict(Generic[S]):
    """What was found. ``problem`` is None for a clean model; ``trace`` is a shortest way to the problem.

    ``complete`` is False when the limit of states was met: then liveness was not checked.
    """

    states: int
    edges: int
    problem: str | None
    trace: tuple[str, ...]
    complete: bool

    @property
    def clean(self) -> bool:
        return self.problem is None and self.complete


@dataclass(slots=True)
class _Graph(Generic[S]):
    """States by number, in the order found; edges in the order of their source."""

    states: list[S] = field(default_factory=list)
    numbers: dict[S, int] = field(default_factory=dict)
    parents: "array[int]" = field(default_factory=lambda: array("l"))  # the edge each state was found by
    first: "array[int]" = field(default_factory=lambda: array("l", [0]))  # of each state's edges
    targets: "array[int]" = field(default_factory=lambda: array("l"))
    labels: "array[int]" = field(default_factory=lambda: array("l"))
    faults: bytearray = field(default_factory=bytearray)
    names: dict[str, int] = field(default_factory=dict)

    def number(self, state: S, parent: int) -> tuple[int, bool]:
        known = self.numbers.get(state)
        if known is not None:
            return known, False
        self.numbers[state] = len(self.states)
        self.states.append(state)
        self.parents.append(parent)
        return len(self.states) - 1, True

    def add_edge(self, edge: Edge[S]) -> bool:
        """Whether its target is new."""
        number, new = self.number(edge.target, len(self.targets))
        self.targets.append(number)
        self.labels.append(self.names.setdefault(edge.name, len(self.names)))
        self.faults.append(edge.fault)
        return new

    def trace(self, number: int) -> tuple[str, ...]:
        names = list(self.names)
        sources = self.sources()
        steps: list[str] = []
        while number:
            edge = self.parents[number]
            steps.append(names[self.labels[edge]])
            number = sources[edge]
        return tuple(reversed(steps))

    def sources(self) -> "array[int]":
        sources = array("l")
        for number in range(len(self.first) - 1):
            sources.extend([number] * (self.first[number + 1] - self.first[number]))
        sources.extend([len(self.first) - 1] * (len(self.targets) - self.first[-1]))
        return sources


def check(model: Model[S], *, limit: int = 5_000_000) -> Verdict[S]:
    """Explore every reachable state, breadth first, and stop at the first that breaks a property."""
    graph: _Graph[S] = _Graph()
    graph.number(model.initial(), -1)
    problem = model.broken(graph.states[0])
    if problem is not None:
        return Verdict(1, 0, problem, (), complete=True)
    for state in _in_order(graph.states, limit):
        for edge in model.edges(state):
            new = graph.add_edge(edge)
            problem = edge.broken or (model.broken(edge.target) if new else None)
            if problem is not None:
                source = graph.trace(graph.numbers[state])
                return Verdict(
                    len(graph.states), len(graph.targets), problem, (*source, edge.name), complete=True
                )
        graph.first.append(len(graph.targets))
    complete = len(graph.first) == len(graph.states) + 1
    problem, trace = _liveness(model, graph) if complete else (None, ())
    return Verdict(len(graph.states), len(graph.targets), problem, trace, complete)


def _in_order(states: list[S], limit: int) -> Iterator[S]:
    """The states in the order they were found, those found meanwhile included."""
    place = 0
    while place < len(states) <= limit:
        yield states[place]
        place += 1


# ------------------------------------------------------------------------------------------------ liveness


def _liveness(model: Model[S], graph: _Graph[S]) -> tuple[str | None, tuple[str, ...]]:
    final = bytearray(model.is_final(state) for state in graph.states)
    sources = graph.sources()
    calm = bytearray(not fault for fault in graph.faults)
    for what, allowed in (("", bytearray(b"\1") * len(calm)), (" without a further fault", calm)):
        reaching = _backwards(final, sources, graph.targets, allowed)
        stuck = reaching.count(0)
        if stuck:
            problem = f"liveness: {stuck} of {len(final)} states cannot end{what}"
            return problem, graph.trace(reaching.index(0))
    return _fair_livelock(graph, final)


def _backwards(
    final: bytearray, sources: Sequence[int], targets: Sequence[int], allowed: bytearray
) -> bytearray:
    """Which states can reach a final one over the allowed edges."""
    into = array("l", bytes(array("l").itemsize * (len(final) + 1)))
    for target in compress(targets, allowed):
        into[target] += 1
    starts = array("l", accumulate(into, initial=0))
    place = array("l", starts)
    predecessors = array("l", bytes(array("l").itemsize * starts[-1]))
    for source, target in compress(zip(sources, targets, strict=True), allowed):
        predecessors[place[target]] = source
        place[target] += 1
    reaching = bytearray(final)
    waiting = [number for number, is_final in enumerate(final) if is_final]
    while waiting:
        number = waiting.pop()
        for source in predecessors[starts[number] : starts[number + 1]]:
            if not reaching[source]:
                reaching[source] = 1
                waiting.append(source)
    return reaching


def _fair_livelock(graph: _Graph[S], final: bytearray) -> tuple[str | None, tuple[str, ...]]:
    """A strongly connected part without a final state in which a weakly fair run could stay for ever.

    Weakly fair: a step that is offered all the time is taken some time. So a run can stay only if every step that
    is offered in all of its states is also taken inside.
    """
    calm = _calm_successors(graph)
    for part in _strongly_connected(calm, final):
        members = set(part)
        offered = set.intersection(*({label for label, _ in calm[number]} for number in part))
        inside = {label for number in part for label, target in calm[number] if target in members}
        if offered <= inside and inside:
            names = list(graph.names)
            circling = ", ".join(sorted(names[label] for label in inside))
            problem = f"liveness: a fair run can go round for ever in {len(part)} states: {circling}"
            return problem, graph.trace(min(part))
    return None, ()


def _calm_successors(graph: _Graph[S]) -> list[list[tuple[int, int]]]:
    return [
        [
            (graph.labels[edge], graph.targets[edge])
            for edge in range(graph.first[number], graph.first[number + 1])
            if not graph.faults[edge]
        ]
        for number in range(len(graph.states))
    ]


def _strongly_connected(
    successors: Sequence[Sequence[tuple[int, int]]], final: bytearray
) -> Iterator[list[int]]:
    """Tarjan's algorithm without recursion, over the states that are not final; single states are left out."""
    search = _Tarjan(successors, final)
    for root in range(len(successors)):
        if not (search.order[root] or final[root]):
            yield from search.parts_from(root)


class _Tarjan:
    """The depth-first search: ``order`` counts from 1 (0: not visited), ``low`` is the oldest state in reach."""

    def __init__(self, successors: Sequence[Sequence[tuple[int, int]]], final: bytearray) -> None:
        self._successors = successors
        self._final = final
        self.order = [0] * len(successors)
        self._low = [0] * len(successors)
        self._stack: list[int] = []
        self._on_stack = bytearray(len(successors))
        self._visited = 0

    def parts_from(self, root: int) -> Iterator[list[int]]:
        path = [self._visit(root)]
        while path:
            number, pending = path[-1]
            unseen = self._next_unseen(number, pending)
            if unseen is not None:
                path.append(self._visit(unseen))
                continue
            path.pop()
            if path:
                above = path[-1][0]
                self._low[above] = min(self._low[above], self._low[number])
            if self._low[number] == self.order[number] and len(part := self._pop_part(number)) > 1:
                yield part

    def _visit(self, number: int) -> tuple[int, Iterator[tuple[int, int]]]:
        self._visited += 1
        self.order[number] = self._low[number] = self._visited
        self._stack.append(number)
        self._on_stack[number] = 1
        return number, iter(self._successors[number])

    def _next_unseen(self, number: int, pending: Iterator[tuple[int, int]]) -> int | None:
        for _, target in pending:
            if not (self.order[target] or self._final[target]):
                return target
            if self._on_stack[target]:
                self._low[number] = min(self._low[number], self.order[target])
        return None

    def _pop_part(self, root: int) -> list[int]:
        part: list[int] = []
        while not part or part[-1] != root:
            part.append(self._stack.pop())
            self._on_stack[part[-1]] = 0
        return part
