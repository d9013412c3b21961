"""One portfolio's solve: the closed form, the exact search, CVXPY and bare HiGHS on the same arrays.

Every figure of ours includes the exact verification, every ratio is taken round by round within one run, and each
contestant of a round solves the same portfolios. ``n`` is the number of securities.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import islice

from adapters.solver.cvxpy_solver import CvxpySolver
from adapters.solver.native_output import native_stdout_silenced
from domain.closed_form import nearest_quantities
from domain.ids import ModelId, PortfolioId
from domain.model import InvestmentModel
from domain.policy import Policy
from domain.portfolio import Portfolio, Position
from domain.ports import Solver
from domain.problem import IntArray, build_problem
from domain.rebalance import decide, solve
from domain.terms import Terms
from domain.verify import verify_quantities
from tasks.documents import encode, rebalance_document
from worker.bench.bare_highs import BareHighs
from worker.bench.drawn import Drawn, Prices, draw
from worker.bench.rows import Better, Row, Sample, interleaved

SUITE = "solve"
SIZES = (10, 50, 100, 200, 500)
# Of the floor that leaves exactly what the targets ask for: rounding decides whether the cash suffices.
FULLY_INVESTED = Decimal("0.05")

_TIME_LIMIT_SECONDS = 1.0
_GATED = 100
_WHOLE = 50
# Ours are so short that one pass would measure how cold the caches are after a library's.
_REPEATS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of portfolio that is measured at every size. ``libraries_up_to``: n beyond which only we run."""

    name: str
    binds: bool
    prices: Prices
    floor: Decimal
    ours: str
    libraries_up_to: int = SIZES[-1]


FAMILIES = (
    Family(
        name="cash slack", binds=False, prices=Prices.LIQUID, floor=Decimal(0), ours="closed form, verified"
    ),
    Family(
        name="cash binds",
        binds=True,
        prices=Prices.LIQUID,
        floor=FULLY_INVESTED,
        ours="exact search, verified",
    ),
    Family(
        name="cash binds, penny stocks and $500,000 shares",
        binds=True,
        prices=Prices.WILD,
        floor=FULLY_INVESTED,
        ours="exact search, verified",
        libraries_up_to=_GATED,
    ),
)


def rows(rounds: int = 5, *, sizes: Sequence[int] = SIZES, population: int = 50) -> Iterator[Row]:
    """The suite; about a minute. ``population``: portfolios of a figure in portfolios a second."""
    solver = CvxpySolver(time_limit_seconds=_TIME_LIMIT_SECONDS)
    for family in FAMILIES:
        for count in sizes:
            yield from _side_by_side(family, count, solver, rounds)
    yield from _rates(solver, rounds, population)
    yield from _whole(solver, rounds)


def _measured(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Sample]:
    """Seconds of processor time: all of it is computing, on one thread, so what else the machine does is left out."""
    return interleaved(contestants, rounds=rounds, clock=time.process_time)


def _row(
    name: str,
    sample: Sample,
    factor: float,
    unit: str,
    *,
    better: Better = Better.LOWER,
    goal: float | None = None,
) -> Row:
    return Row(
        suite=SUITE,
        name=name,
        value=sample.median * factor,
        spread=sample.spread * factor,
        unit=unit,
        better=better,
        goal=goal,
    )


# ------------------------------------------------------------------------------------------------ side by side


def _side_by_side(family: Family, count: int, solver: Solver, rounds: int) -> Iterator[Row]:
    """Ours, CVXPY with a compiled problem, and HiGHS, from arrays that are there already."""
    pool = _pool(family, count)
    bare = [BareHighs(each.problem, time_limit_seconds=_TIME_LIMIT_SECONDS) for each in pool]
    contestants: dict[str, Callable[[], object]] = {family.ours: partial(_ours, [*pool] * _REPEATS, solver)}
    if count <= family.libraries_up_to:
        contestants[_CVXPY] = lambda: [solver.solve(each.problem) for each in pool]
        contestants[_BARE] = lambda: [each.solve() for each in bare]
    if family.binds:
        contestants["nearest shares, held against the floor"] = partial(_nearest, [*pool] * _REPEATS)
    with native_stdout_silenced():
        samples = _measured(contestants, rounds)
    samples = {
        name: sample if name in _LIBRARIES else Sample(tuple(each / _REPEATS for each in sample.values))
        for name, sample in samples.items()
    }
    where = f"{family.name}, n = {count}"
    for name, sample in samples.items():
        yield _row(f"{where}: {name}", sample, 1e6 / len(pool), "µs a portfolio")
    if _BARE in samples:
        goals = _GOALS.get((family.name, count), {})
        for name in (each for each in samples if each != _BARE):
            ratio = samples[name].ratio(samples[_BARE])
            yield _row(f"{where}: {name} / {_BARE}", ratio, 1, "ratio", goal=goals.get(name))


_CVXPY, _BARE = _LIBRARIES = ("CVXPY re-solve", "bare HiGHS")

# By family and n: the most that each may take of the time of bare HiGHS.
_GOALS = {
    ("cash slack", _GATED): {"closed form, verified": 1 / 20},
    ("cash binds", _GATED): {
        "nearest shares, held against the floor": 1 / 200,
        "exact search, verified": 1 / 4,
        _CVXPY: 1.5,
    },
}


def _pool(family: Family, count: int) -> Sequence[Drawn]:
    """Fewer of the large ones, which take HiGHS a quarter of a second each."""
    drawn = draw(count, prices=family.prices, floor=family.floor)
    return list(islice((each for each in drawn if each.binds is family.binds), max(2, min(6, 600 // count))))


def _ours(pool: Sequence[Drawn], solver: Solver) -> None:
    for each in pool:
        _verify(each, solve(each.problem, solver).quantity)


def _nearest(pool: Sequence[Drawn]) -> None:
    """The closed form and the verification, by which it is known that the cash does not suffice."""
    for each in pool:
        quantity = nearest_quantities(each.problem).tolist()
        shares = dict(zip(each.problem.security_ids, quantity, strict=True))
        rules = [fault.rule for fault in verify_quantities(each.checked, each.policy, shares, each.limits)]
        if rules != ["cash_floor"]:
            raise AssertionError(f"the nearest shares break {rules}")


def _verify(drawn: Drawn, quantity: IntArray) -> None:
    shares = dict(zip(drawn.problem.security_ids, quantity.tolist(), strict=True))
    violations = verify_quantities(drawn.checked, drawn.policy, shares, drawn.limits)
    if violations:
        raise AssertionError(f"an answer that was measured is wrong: {violations[0].message}")


# ------------------------------------------------------------------------------------------------ rates


def _rates(solver: Solver, rounds: int, population: int) -> Iterator[Row]:
    """Portfolios a second on one core, scaled, solved and verified, as they come: bound by cash or not."""
    pools = {
        ("cash slack", 10_000.0): draw(_GATED),
        ("floor = 1 - sum of targets", 500.0): draw(_GATED, floor=FULLY_INVESTED),
        ("floor = 1 - sum of targets, penny stocks and $500,000 shares", 100.0): draw(
            _GATED, floor=FULLY_INVESTED, prices=Prices.WILD
        ),
    }
    for (name, goal), drawn in pools.items():
        sample = _measured({name: partial(_all_solved, list(islice(drawn, population)), solver)}, rounds)[
            name
        ]
        yield _row(
            f"{name}, n = {_GATED}: scaled, solved, verified",
            Sample(tuple(population / seconds for seconds in sample.values)),
            1,
            "portfolios/s",
            better=Better.HIGHER,
            goal=goal,
        )


def _all_solved(pool: Sequence[Drawn], solver: Solver) -> None:
    for each in pool:
        problem = build_problem(each.checked, each.policy, each.scales)
        _verify(each, solve(problem, solver).quantity)


# ------------------------------------------------------------------------------------------------ the whole


def _whole(solver: Solver, rounds: int) -> Iterator[Row]:
    """From the source's numbers to the document's bytes: all a worker computes for one portfolio.

    A report: microseconds say as much of the machine as of the code, so no number of them can be a goal.
    """
    drawn = next(draw(_WHOLE)).checked
    model = InvestmentModel(model_id=ModelId("bench"), name="bench", positions=tuple(drawn.targets.values()))
    positions = tuple(
        Position(security_id=security_id, quantity=Decimal(shares))
        for security_id, shares in drawn.shares.items()
    )
    portfolio = Portfolio(portfolio_id=PortfolioId("DRAWN"), cash=drawn.cash, positions=positions)
    terms = Terms.of(model, drawn.prices, Policy())

    def work() -> None:
        for _ in range(_REPEATS):
            answer = decide(portfolio.portfolio_id, portfolio, terms, solver)
            encode(rebalance_document(answer))

    sample = _measured({"whole": work}, rounds)["whole"]
    yield _row(
        f"cash slack, n = {_WHOLE}: checked, solved, verified, written",
        sample,
        1e6 / _REPEATS,
        "µs a portfolio",
    )
