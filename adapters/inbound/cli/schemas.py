"""``trimtab schemas``: the JSON Schemas of every message, for those who write or read them in another language."""

import json
from pathlib import Path
from typing import Annotated

import typer

from adapters.inbound.cli.output import guarded, print_line


def add_schema_command(app: typer.Typer) -> None:
    """``schemas``."""

    @app.command()
    @guarded
    def schemas(
        *,
        out: Annotated[
            Path | None,
            typer.Option(
                metavar="FOLDER", file_okay=False, help="Write a file each; else print all as one document."
            ),
        ] = None,
    ) -> None:
        """The JSON Schemas of requests, order sets, job events and dead letters."""
        from adapters.inbound import schemas as generated  # noqa: PLC0415 - no other command pays for it

        if out is None:
            print_line(json.dumps(generated.schemas(), indent=2))
            return
        for path in generated.write_schemas(out):
            print_line(str(path))
