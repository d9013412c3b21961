"""Models from the command line: list, show, create."""

import uuid
from typing import Annotated

import typer

from adapters.inbound.answers import ModelAnswer, asked_of, model_answer
from adapters.inbound.cli.output import (
    MAX_INPUT_BYTES,
    AsJson,
    guarded,
    print_line,
    print_table,
    read_input,
)
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.payloads import parse_new_model
from domain.ids import ModelId, PortfolioId, SecurityId
from domain.money import percent
from domain.ports import ModelQuery


def add_model_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``models list``, ``models show`` and ``models create``."""
    models = typer.Typer(no_args_is_help=True, help="Investment models.")
    app.add_typer(models, name="models")

    @models.command("list")
    @guarded
    def list_models(
        *,
        name: Annotated[str | None, typer.Option(help="Only the model of this name.")] = None,
        portfolio: Annotated[str | None, typer.Option(help="Only models this portfolio follows.")] = None,
        security: Annotated[str | None, typer.Option(help="Only models that hold this security.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
        as_json: AsJson = False,
    ) -> None:
        """Models in order of their ids."""
        query = ModelQuery(
            name=name,
            portfolio_id=None if portfolio is None else PortfolioId(portfolio),
            security_id=None if security is None else SecurityId(security),
            limit=limit,
        )
        with wiring.services() as services:
            answers = [model_answer(model) for model in services.models.list_models(query)]
        if as_json:
            for answer in answers:
                print_line(answer.json_text())
            return
        print_table(
            ("model", "name", "positions", "portfolios", "version", "last rebalance"),
            (
                (
                    answer.model_id,
                    answer.name,
                    len(answer.positions),
                    len(answer.portfolios),
                    answer.version,
                    answer.last_rebalance_date and f"{answer.last_rebalance_date:%Y-%m-%d %H:%M}",
                )
                for answer in answers
            ),
            right=("positions", "portfolios", "version"),
        )

    @models.command()
    @guarded
    def show(model: Annotated[str, typer.Argument(metavar="MODEL")], *, as_json: AsJson = False) -> None:
        """One model with its targets and bounds."""
        with wiring.services() as services:
            _print_model(model_answer(services.models.get_model(ModelId(model))), as_json=as_json)

    @models.command()
    @guarded
    def create(
        file: Annotated[str, typer.Argument(metavar="FILE", help="A model as JSON; - for standard input.")],
        *,
        as_json: AsJson = False,
    ) -> None:
        """Create a model from a file."""
        model = parse_new_model(read_input(file), max_bytes=MAX_INPUT_BYTES, new_id=lambda: uuid.uuid4().hex)
        with wiring.services() as services:
            _print_model(model_answer(services.models.create_model(model)), as_json=as_json)


def _print_model(answer: ModelAnswer, *, as_json: bool) -> None:
    if as_json:
        print_line(answer.json_text())
        return
    print_table(
        ("model", "name", "portfolios", "version"),
        [(answer.model_id, answer.name, len(answer.portfolios), answer.version)],
        right=("portfolios", "version"),
    )
    print_table(
        ("security", "target", "low drift", "high drift"),
        (
            (each.security_id, percent(each.target), percent(each.low_drift), percent(each.high_drift))
            for each in answer.positions
        ),
        right=("target", "low drift", "high drift"),
    )
    asked = dict(asked_of(answer.policy))
    if asked:
        print_table(("policy", "value"), asked.items())
