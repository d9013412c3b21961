"""The commands that start processes. They parse options; the wiring does the rest."""

from pathlib import Path
from typing import Annotated

import typer

from adapters.inbound.cli.output import guarded
from adapters.inbound.cli.wiring import BookOptions, DemoOptions, SandboxOptions, UpOptions, Wiring

_Portfolios = Annotated[int, typer.Option(min=1, help="Portfolios in the sample book.")]
_Securities = Annotated[int, typer.Option(min=1, help="Securities in the sample book.")]
_Seed = Annotated[int, typer.Option(help="The same seed makes the same book.")]
_Prices = Annotated[
    Path | None,
    typer.Option(metavar="FILE", exists=True, dir_okay=False, readable=True, help="Prices from a CSV file."),
]
_Host = Annotated[str | None, typer.Option(help="Address to listen on; else as the settings say.")]
_Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; else as the settings say.")
]
_Concurrency = Annotated[int | None, typer.Option(min=1, help="Worker processes; else as the settings say.")]


def add_process_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``demo``, ``up`` and the processes of the Procfile."""
    _add_stacks(app, wiring)
    _add_services(app, wiring)


def _add_stacks(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def demo(
        *,
        portfolios: _Portfolios = 40,
        securities: _Securities = 30,
        seed: _Seed = 1,
        prices: _Prices = None,
        keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running afterwards.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="The last line is the report as JSON.")] = False,
    ) -> None:
        """Rebalance a sample book on the embedded stack and show the result."""
        book = BookOptions(portfolios=portfolios, securities=securities, seed=seed, prices=prices)
        raise typer.Exit(wiring.demo(DemoOptions(book=book, keep=keep, as_json=as_json)))

    @app.command()
    @guarded
    def up(
        *,
        portfolios: _Portfolios = 40,
        securities: _Securities = 30,
        seed: _Seed = 1,
        prices: _Prices = None,
        sandbox: Annotated[
            bool, typer.Option("--sandbox/--no-sandbox", help="With the sample upstream services.")
        ] = True,
        port: _Port = None,
        concurrency: _Concurrency = None,
    ) -> None:
        """Run every process on this machine until Ctrl-C, with nothing else installed."""
        book = BookOptions(portfolios=portfolios, securities=securities, seed=seed, prices=prices)
        options = UpOptions(book=book, sandbox=sandbox, port=port, concurrency=concurrency)
        raise typer.Exit(wiring.up(options))


def _add_services(app: typer.Typer, wiring: Wiring) -> None:
    @app.command()
    @guarded
    def api(*, host: _Host = None, port: _Port = None) -> None:
        """The HTTP API."""
        wiring.api(host=host, port=port)

    @app.command()
    @guarded
    def worker(*, concurrency: _Concurrency = None) -> None:
        """A Celery worker: one portfolio a task."""
        wiring.worker(concurrency=concurrency)

    @app.command()
    @guarded
    def steward() -> None:
        """Opens, heals and closes jobs. Any number may run."""
        wiring.steward()

    @app.command()
    @guarded
    def requests() -> None:
        """Takes requests from the request stream. Any number may run."""
        wiring.requests()

    @app.command()
    @guarded
    def beat() -> None:
        """The scheduler."""
        wiring.beat()

    @app.command()
    @guarded
    def flower(*, host: _Host = None, port: _Port = None) -> None:
        """Flower, to look at Celery."""
        wiring.flower(host=host, port=port)

    @app.command()
    @guarded
    def sandbox(
        *,
        portfolios: _Portfolios = 40,
        securities: _Securities = 30,
        seed: _Seed = 1,
        prices: _Prices = None,
        host: _Host = None,
        port: _Port = None,
    ) -> None:
        """The four upstream services over a sample book."""
        book = BookOptions(portfolios=portfolios, securities=securities, seed=seed, prices=prices)
        wiring.sandbox(SandboxOptions(book=book, host=host, port=port))
