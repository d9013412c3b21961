"""``trimtab``: one command, its subcommands by file."""

from typing import Annotated

import typer

from adapters.inbound.cli.bench import add_bench_command
from adapters.inbound.cli.compare import add_compare_command
from adapters.inbound.cli.doctor import add_doctor_command
from adapters.inbound.cli.job_changes import add_job_change_commands
from adapters.inbound.cli.jobs import add_job_commands
from adapters.inbound.cli.keys import add_key_commands
from adapters.inbound.cli.models import add_model_commands
from adapters.inbound.cli.output import print_line
from adapters.inbound.cli.processes import add_process_commands
from adapters.inbound.cli.results import add_result_commands
from adapters.inbound.cli.schedules import add_schedule_commands
from adapters.inbound.cli.schemas import add_schema_command
from adapters.inbound.cli.solve import add_solve_command
from adapters.inbound.cli.wiring import Wiring


def create_cli(wiring: Wiring) -> typer.Typer:
    """The command line over this wiring; nothing is opened before a command asks for it."""
    app = typer.Typer(
        name="trimtab",
        help="Turns rebalance requests into executable, proved order sets.",
        no_args_is_help=True,
        rich_markup_mode=None,  # a wrong option is told in plain lines, as everything else that goes wrong
        pretty_exceptions_enable=False,
    )

    def show_version(asked: bool) -> None:  # noqa: FBT001 - the signature of a Typer callback
        if asked:
            print_line(f"trimtab {wiring.version}")
            raise typer.Exit

    @app.callback()
    def main(
        *,
        version: Annotated[
            bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        """Turns rebalance requests into executable, proved order sets."""

    add_process_commands(app, wiring)
    add_job_commands(app, wiring)
    add_job_change_commands(app, wiring)
    add_result_commands(app, wiring)
    add_model_commands(app, wiring)
    add_schedule_commands(app, wiring)
    add_solve_command(app, wiring)
    add_compare_command(app, wiring)
    add_key_commands(app, wiring)
    add_schema_command(app)
    add_doctor_command(app, wiring)
    add_bench_command(app, wiring)
    return app
