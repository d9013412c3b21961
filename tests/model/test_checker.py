"""The checker itself, on graphs small enough to see through."""

from collections.abc import Iterator, Mapping

import pytest

from tests.model.checker import Edge, Verdict, check

Arrows = Mapping[str, str]  # "a" -> "step>b other!>c": a step named other is a fault


class Graph:
    """A model written down as arrows. States in ``bad`` break a property; "end" is final."""

    def __init__(self, arrows: Arrows, bad: str = "") -> None:
        self._arrows = arrows
        self._bad = bad.split()

    def initial(self) -> str:
        return "a"

    def edges(self, state: str) -> Iterator[Edge[str]]:
        for arrow in self._arrows.get(state, "").split():
            name, _, target = arrow.partition(">")
            yield Edge(name.rstrip("!"), name.endswith("!"), target, None)

    def broken(self, state: str) -> str | None:
        return f"{state} is bad" if state in self._bad else None

    def is_final(self, state: str) -> bool:
        return state == "end"


def verdict(arrows: Arrows, bad: str = "") -> Verdict[str]:
    return check(Graph(arrows, bad))


def test_a_graph_whose_runs_all_end_is_clean() -> None:
    found = verdict({"a": "one>b two>c", "b": "three>end", "c": "four>end"})

    assert found.clean
    assert (found.states, found.edges) == (4, 4)


def test_the_trace_to_a_violation_is_a_shortest_one() -> None:
    found = verdict({"a": "long>b short>d", "b": "long>c", "c": "long>d", "d": "go>end"}, bad="d")

    assert (found.problem, found.trace) == ("d is bad", ("short",))


def test_a_violation_at_the_very_beginning_is_found() -> None:
    assert verdict({"a": "go>end"}, bad="a").problem == "a is bad"


def test_an_edge_that_breaks_a_rule_is_a_violation_even_to_a_known_state() -> None:
    class Breaking(Graph):
        def edges(self, state: str) -> Iterator[Edge[str]]:
            for edge in super().edges(state):
                yield edge._replace(broken="no way back" if edge.target == "a" else None)

    found = check(Breaking({"a": "go>b", "b": "back>a on>end"}))

    assert (found.problem, found.trace) == ("no way back", ("go", "back"))


def test_a_state_without_a_way_to_the_end_is_found() -> None:
    found = verdict({"a": "go>end fall>pit"})

    assert found.problem == "liveness: 1 of 3 states cannot end"
    assert found.trace == ("fall",)


def test_a_way_to_the_end_that_needs_a_fault_does_not_count() -> None:
    found = verdict({"a": "go>b", "b": "luck!>end"})

    assert found.problem == "liveness: 2 of 3 states cannot end without a further fault"


@pytest.mark.parametrize(
    ("arrows", "livelock"),
    [
        pytest.param(
            {"a": "on>b", "b": "back>a out>end"}, True, id="the way out is offered in one state only"
        ),
        pytest.param({"a": "on>b out>end", "b": "back>a out>end"}, False, id="the way out is always offered"),
        pytest.param(
            {"a": "on>b on>end", "b": "back>a"}, True, id="the way out has the name of a step inside"
        ),
    ],
)
def test_a_fair_run_must_take_what_it_is_always_offered(arrows: Arrows, livelock: bool) -> None:
    found = verdict(arrows)

    assert ("a fair run can go round for ever" in (found.problem or "")) is livelock


def test_over_the_limit_of_states_nothing_is_claimed() -> None:
    found = check(Graph({"a": "go>b", "b": "go>c", "c": "go>end"}), limit=2)

    assert not found.complete
    assert not found.clean
