"""What would happen if: the data of a comparison, sent along or fetched, and its bounds in size and time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from domain.checks import StatedValueRange
from domain.errors import Invalid, NotFound
from domain.ids import ModelId, PortfolioId, SecurityId
from domain.model import InvestmentModel
from domain.portfolio import Portfolio
from domain.ports import Clock, Solver
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer
from tasks.compare import Book, Compared, Frontier, Scenario, compare, frontier
from tasks.policies import with_keys
from tasks.services import Rules, Services

MAX_PORTFOLIOS = 50
MAX_SCENARIOS = 10
MAX_ANSWERS = 200  # portfolios x scenarios, and points of a frontier
MIN_POINTS, MAX_POINTS = 2, 25

_SOLVER_SECONDS = 2.0  # of one program; somebody waits for all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierAsked:
    portfolio_id: PortfolioId
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """A question whose shape was already checked.

    ``model`` or else ``model_id``; ``portfolios`` or else ``portfolio_ids``; ``prices`` None: fetched. ``policy``
    stands over the model's own, each scenario's over both.
    """

    model_id: ModelId | None
    model: InvestmentModel | None
    portfolio_ids: tuple[PortfolioId, ...]
    portfolios: tuple[Portfolio, ...]
    prices: Mapping[SecurityId, Decimal] | None
    policy: Mapping[str, Any]
    scenarios: tuple[Scenario, ...]
    frontier: FrontierAsked | None

    @property
    def is_whole(self) -> bool:
        """Whether it brings everything itself, so that nothing need be fetched."""
        return self.model is not None and bool(self.portfolios) and self.prices is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfAnswer:
    rows: tuple[Compared, ...]
    frontier: Frontier | None


def what_if(question: WhatIf, services: Services, *, seconds: float) -> WhatIfAnswer:
    """Fetch what was not sent along, and compare. Answers that are not begun after ``seconds`` are skipped, and say so.

    Raises:
        NotFound: the model, or a portfolio that nobody knows.
        Invalid: too much is asked, an empty model, or a policy that breaks a rule.
        UpstreamUnavailable, UpstreamFault: something could not be fetched.
        StoreUnavailable: the model could not be read.
    """
    _require_bounds(question)
    model = question.model or services.models.get_model(_given(question.model_id))
    prices = question.prices if question.prices is not None else _prices(model, services)
    portfolios = question.portfolios or tuple(_fetched(question.portfolio_ids, services))
    book = _book(question, model, prices, portfolios, _stated_value(services.rules))
    return _answer(question, book, _Hurried(services.solver), services.clock, seconds)


def what_if_whole(question: WhatIf, solver: Solver) -> WhatIfAnswer:
    """The same of a question that brings everything: no service is needed, and it takes as long as it takes.

    Raises:
        Invalid: as above.
    """
    _require_bounds(question)
    model = question.model
    prices = question.prices
    assert model is not None  # noqa: S101 - `is_whole`
    assert prices is not None  # noqa: S101 - likewise
    book = _book(question, model, prices, question.portfolios, StatedValueRange())
    return _answer(question, book, solver, None, 0.0)


class _Hurried:
    """A solver for somebody who waits: an answer with its gap in a moment is worth more than a proof in half a minute."""

    def __init__(self, solver: Solver) -> None:
        self._solver = solver

    @property
    def name(self) -> str:
        return self._solver.name

    @property
    def time_limit_seconds(self) -> float:
        return self._solver.time_limit_seconds

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        return self._solver.solve(problem, _hurried(time_limit))

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        return self._solver.solve_program(program, start, _hurried(time_limit))


def _hurried(time_limit: float | None) -> float:
    return _SOLVER_SECONDS if time_limit is None else min(time_limit, _SOLVER_SECONDS)


def _answer(
    question: WhatIf, book: Book, solver: Solver, clock: Clock | None, seconds: float
) -> WhatIfAnswer:
    until = None if clock is None else clock.now() + timedelta(seconds=seconds)

    def in_time() -> bool:
        return clock is None or until is None or clock.now() < until

    of_frontier = _of_frontier(question, book)
    rows = tuple(compare(book, question.scenarios, solver, in_time))
    if question.frontier is None or of_frontier is None:
        return WhatIfAnswer(rows=rows, frontier=None)
    return WhatIfAnswer(
        rows=rows, frontier=frontier(book, of_frontier, question.frontier.points, solver, in_time)
    )


def _of_frontier(question: WhatIf, book: Book) -> Portfolio | None:
    asked = question.frontier
    if asked is None:
        return None
    for portfolio in book.portfolios:
        if portfolio.portfolio_id == asked.portfolio_id:
            return portfolio
    raise Invalid(
        f"the frontier is of portfolio {asked.portfolio_id!r}, which is none of those compared",
        details=({"field": "frontier.portfolio_id", "message": "is none of the portfolios compared"},),
    )


def _require_bounds(question: WhatIf) -> None:
    portfolios = len(question.portfolios) or len(question.portfolio_ids)
    answers = portfolios * (len(question.scenarios) + 1)
    answers += 0 if question.frontier is None else question.frontier.points
    if answers > MAX_ANSWERS:
        raise Invalid(
            f"{answers} answers are asked for at once (portfolios x scenarios, and points of the frontier); "
            f"at most {MAX_ANSWERS} are given",
            code="too_much_asked",
        )


def _given(model_id: ModelId | None) -> ModelId:
    assert model_id is not None  # noqa: S101 - whoever made the question gave it one of the two
    return model_id


def _book(
    question: WhatIf,
    model: InvestmentModel,
    prices: Mapping[SecurityId, Decimal],
    portfolios: tuple[Portfolio, ...],
    stated_value: StatedValueRange,
) -> Book:
    model.require_targets()
    return Book(
        model=model,
        policy=with_keys(model.policy, question.policy, "policy"),
        prices=prices,
        portfolios=portfolios,
        stated_value=stated_value,
    )


def _prices(model: InvestmentModel, services: Services) -> Mapping[SecurityId, Decimal]:
    tickers = services.securities.tickers(position.security_id for position in model.positions)
    by_ticker = services.prices.prices()
    return {security: by_ticker[ticker] for security, ticker in tickers.items() if ticker in by_ticker}


def _fetched(portfolio_ids: Iterable[PortfolioId], services: Services) -> Iterable[Portfolio]:
    for portfolio_id in portfolio_ids:
        portfolio = services.accounting.portfolio(portfolio_id)
        if portfolio is None and services.directory.name(portfolio_id) is None:
            raise NotFound("portfolio", portfolio_id)
        yield portfolio or Portfolio(portfolio_id=portfolio_id, cash=Decimal(0))


def _stated_value(rules: Rules) -> StatedValueRange:
    return StatedValueRange(
        low=Decimal(str(rules.stated_value_low)), high=Decimal(str(rules.stated_value_high))
    )
