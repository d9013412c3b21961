"""``trimtab bench``: measure this machine, or draw what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from adapters.inbound.cli.output import guarded
from adapters.inbound.cli.wiring import BenchOptions, Wiring


def add_bench_command(app: typer.Typer, wiring: Wiring) -> None:
    """``bench``."""

    @app.command()
    @guarded
    def bench(
        *,
        what: Annotated[
            str,
            typer.Argument(
                help="solve, protocol, pipeline, scale, intake, extended or all; of files: plot, table or capacity."
            ),
        ] = "all",
        files: Annotated[
            list[Path] | None, typer.Argument(help="What --json wrote, for plot, table and capacity.")
        ] = None,
        json_file: Annotated[
            Path | None, typer.Option("--json", metavar="FILE", help="Write the rows as a JSON list.")
        ] = None,
        images: Annotated[
            Path | None, typer.Option("--to", metavar="FOLDER", help="Where plot puts its pictures.")
        ] = None,
        mongodb_url: Annotated[
            str | None,
            typer.Option("--mongodb", metavar="URL", help="A server to measure the protocol on, too."),
        ] = None,
        quick: Annotated[bool, typer.Option("--quick", help="One short round: does it run at all?")] = False,
        full: Annotated[
            bool, typer.Option("--full", help="Leave nothing out, however long it takes.")
        ] = False,
    ) -> None:
        """Measure. Status 1 when a goal is missed."""
        options = BenchOptions(
            what=what,
            files=tuple(files or ()),
            json_file=json_file,
            images=images,
            mongodb_url=mongodb_url,
            quick=quick,
            full=full,
        )
        raise typer.Exit(wiring.bench(options))
