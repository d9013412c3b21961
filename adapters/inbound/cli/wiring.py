"""What the commands need from whoever wires the processes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from domain.ports import Solver
from tasks.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class BookOptions:
    """The sample book: how many portfolios and securities, from which seed, at which prices (None: made up)."""

    portfolios: int
    securities: int
    seed: int
    prices: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """``keep``: leave the stack running afterwards. ``as_json``: the last line printed is the report."""

    book: BookOptions
    keep: bool
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """``what``: a suite or ``all``, or what is made of ``files`` that were measured before: plot, table, capacity.

    ``images``: the folder pictures go to (None: beside the first file). ``mongodb_url``: a server to measure, too.
    ``quick``: one short round, to see that it works. ``full``: nothing is left out, however long it takes.
    """

    what: str
    files: tuple[Path, ...] = ()
    json_file: Path | None = None
    images: Path | None = None
    mongodb_url: str | None = None
    quick: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """None: as the settings say."""

    book: BookOptions
    sandbox: bool
    port: int | None
    concurrency: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    book: BookOptions
    host: str | None
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing ``doctor`` looks at.

    ``look`` answers with a few words about what it found, and raises when it is not as it must be. ``remedy``
    says what to do then. Not ``needed``: a warning, no failure.
    """

    name: str
    look: Callable[[], str]
    remedy: str
    needed: bool = True


class Wiring(Protocol):
    """Every method may raise a TrimtabError (wrong settings, a part that is out): it becomes one line for people.

    What starts a process returns when the process is to end, those with a status with that status.
    """

    @property
    def version(self) -> str: ...

    def services(self) -> AbstractContextManager[Services]:
        """The services of this process, closed on leaving."""

    def solver(self) -> Solver:
        """The solver alone: nothing else is opened."""

    def order_sets(self, *, follow: bool) -> Iterator[bytes]:
        """The order sets on the result queue, oldest first, as they were published. ``follow``: and wait for more.

        Raises:
            BrokerUnavailable: the queue is out of reach.
            Invalid: the queue is of a kind that cannot be read without consuming it.
        """

    def keys_file(self) -> Path:
        """Where API keys are kept. Raises Invalid: no setting says it."""

    def probes(self) -> Sequence[Probe]:
        """Store, broker, result queue, each upstream, workers that answer."""

    def api(self, *, host: str | None, port: int | None) -> None: ...

    def worker(self, *, concurrency: int | None) -> None: ...

    def steward(self) -> None: ...

    def requests(self) -> None: ...

    def beat(self) -> None: ...

    def flower(self, *, host: str | None, port: int | None) -> None: ...

    def sandbox(self, options: SandboxOptions) -> None: ...

    def up(self, options: UpOptions) -> int: ...

    def demo(self, options: DemoOptions) -> int: ...

    def bench(self, options: BenchOptions) -> int: ...
