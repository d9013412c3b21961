"""Services for the inbound adapters: a real SQLite store that can be taken away, and quiet fakes for the rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from adapters.stores.open import Store, open_store
from domain.errors import BrokerUnavailable, StoreUnavailable
from domain.ids import JobId, PortfolioId, SecurityId, item_id
from domain.item import Item, ItemState
from domain.job import Job
from domain.model import InvestmentModel
from domain.portfolio import Portfolio
from domain.ports import Finish, Publication, Token
from domain.problem import Problem, SolverAnswer
from domain.program import Program, ProgramAnswer
from tasks.services import Rules, Services
from tests.support import builders
from tests.support.schedules import schedule

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MODEL_ID = "MODEL1"
SCHEDULES = (
    schedule("0 22 * * 1-5", name="nightly", model_id=MODEL_ID, policy={"cash_floor": "0.02"}),
    schedule("30 1 * * *", name="sweep", zone="Europe/London", calendar="XLON", model_id=None, enabled=False),
)


class FixedClock:
    def now(self) -> datetime:
        return NOON


class Nowhere:
    """The four upstream services and the solver, none of which an inbound adapter may touch."""

    name = "none"
    time_limit_seconds = 30.0

    def prices(self) -> Mapping[str, Decimal]:
        raise AssertionError("an inbound adapter asked for prices")

    def tickers(self, wanted: Iterable[SecurityId]) -> Mapping[SecurityId, str]:
        raise AssertionError("an inbound adapter asked for tickers")

    def portfolio(self, portfolio_id: PortfolioId) -> Portfolio | None:
        raise AssertionError("an inbound adapter asked for a portfolio")

    def solve(self, problem: Problem, time_limit: float | None = None) -> SolverAnswer:
        raise AssertionError("an inbound adapter solved something")

    def solve_program(
        self, program: Program, start: Sequence[int] | None = None, time_limit: float | None = None
    ) -> ProgramAnswer:
        raise AssertionError("an inbound adapter solved something")


class NoNames:
    def name(self, portfolio_id: PortfolioId) -> str | None:
        raise AssertionError("an inbound adapter asked for a name")


class Broker:
    """Publisher and token queue that can be out."""

    def __init__(self) -> None:
        self.out = False

    def publish(self, *publications: Publication) -> None:
        raise AssertionError("an inbound adapter published something")

    def identity(self) -> None:
        raise AssertionError("an inbound adapter asked which queue this is")

    def ping(self) -> None:
        if self.out:
            raise BrokerUnavailable("result queue", "connection refused")

    def send(self, tokens: Sequence[Token]) -> None:
        raise AssertionError("an inbound adapter sent a token")

    def length(self) -> int:
        self.ping()
        return 0


class Outage:
    """The store behind a door that can be closed: for so many calls, or until it is opened."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls_to_fail = 0
        self.out = False
        self.breaks_with: Exception | None = None

    def __getattr__(self, name: str) -> object:
        method = getattr(self.store, name)

        def call(*args: object, **kwargs: object) -> object:
            if self.breaks_with is not None:
                raise self.breaks_with
            if self.out or self.calls_to_fail > 0:
                self.calls_to_fail -= 1
                raise StoreUnavailable("store", "connection refused")
            return method(*args, **kwargs)

        return call


@dataclass(frozen=True, slots=True)
class FrontDesk:
    """Everything an inbound adapter is given, with a model of three securities and three portfolios."""

    services: Services
    store: Store
    outage: Outage
    broker: Broker

    @classmethod
    def open(cls, folder: Path, rules: Rules | None = None) -> "FrontDesk":
        store = open_store(f"sqlite:///{folder / 'desk.db'}", synchronous="off")
        store.prepare()
        outage, broker, nowhere = Outage(store), Broker(), Nowhere()
        services = Services(
            models=outage,  # type: ignore[arg-type]  # it answers every method of the store behind it
            jobs=outage,  # type: ignore[arg-type]  # likewise
            prices=nowhere,
            securities=nowhere,
            accounting=nowhere,
            directory=NoNames(),
            solver=nowhere,
            publisher=broker,
            events=broker,
            tokens=broker,
            clock=FixedClock(),
            rules=rules or Rules(),
            schedules=lambda: SCHEDULES,
        )
        desk = cls(services, store, outage, broker)
        desk.add_model()
        return desk

    def add_model(self) -> InvestmentModel:
        return self.store.create_model(builders.model({1: "0.5", 2: "0.3"}, portfolios=(1, 2, 3)))

    def close(self) -> None:
        self.store.close()

    # -- what workers and the steward would do

    def start(self, job_id: str) -> Job:
        """Write the items and start the job."""
        job = self.store.get_job(JobId(job_id))
        self.store.insert_items(job, 0, self.store.members(job.members_sha256, 0, job.n))
        assert self.store.start_job(job.job_id)
        return job

    def finish_one(self, job_id: str, result: bytes, state: ItemState = ItemState.TRADED) -> Item:
        """Claim the next portfolio and end it with this result."""
        item = self.store.claim(JobId(job_id), 0, "worker-1")
        assert isinstance(item, Item)
        done = Finish(
            item_id=item.item_id,
            fence=item.fence,
            state=state,
            reason="inside_bounds",
            result=result,
            order_set=result,
        )
        assert self.store.finish(done)
        return self.store.get_item(item.item_id)

    def fail_one(self, job_id: str) -> None:
        item = self.store.claim(JobId(job_id), 0, "worker-1")
        assert isinstance(item, Item)
        self.store.fail_attempt(item.item_id, item.fence, "solver_timeout", max_attempts=1, delay_seconds=0)

    def item(self, job_id: str, number: int) -> Item:
        return self.store.get_item(item_id(JobId(job_id), builders.portfolio_id(number)))
