"""The parts of the site that are taken from the code: commands from Typer, calls from OpenAPI. Text in, Markdown out."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from adapters.inbound.api import ApiOptions, create_app
from adapters.inbound.cli import create_cli
from config.settings import Settings
from worker import __version__
from worker.celery_app import create_sending_app
from worker.container import build_services
from worker.wiring import SettingsWiring

# ------------------------------------------------------------------------------------------------ commands


def commands_page() -> str:
    """Every command with its arguments and options, in order of its name."""
    group: Any = typer.main.get_command(create_cli(SettingsWiring()))
    return "\n".join(_commands(group, "trimtab"))


def _commands(group: Any, before: str) -> Iterator[str]:  # noqa: ANN401 - Typer does not name its classes for others
    for name, command in sorted(group.commands.items()):
        if getattr(command, "commands", None):
            yield from _commands(command, f"{before} {name}")
        else:
            yield from _command(command, f"{before} {name}")


def _command(command: Any, name: str) -> Iterator[str]:  # noqa: ANN401 - as above
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = " ".join([name, *(each.metavar or each.name.upper() for each in arguments)])
    yield f"## `{words}`\n\n{command.help}\n"
    rows = [
        *((f"`{each.metavar or each.name.upper()}`", "", each.help) for each in arguments if each.help),
        *((_names(each), _default(each), each.help) for each in options),
    ]
    if rows:
        yield _table(("", "default", ""), rows)


def _names(option: Any) -> str:  # noqa: ANN401 - as above
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return f"{names}, repeatable" if option.multiple else names


def _default(option: Any) -> str:  # noqa: ANN401 - as above
    given = option.default
    if given is None or given is False or not str(given).strip("[]()"):
        return ""
    return f"`{str(given).lower() if isinstance(given, bool) else given}`"


# ------------------------------------------------------------------------------------------------ calls


@cache
def _openapi() -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(state_dir=Path(folder))
        with build_services(settings, create_sending_app(settings)) as services:
            document: Mapping[str, Any] = create_app(services, ApiOptions(version=__version__)).openapi()
    return document


def openapi_document() -> str:
    """The document itself, for programs."""
    return json.dumps(_openapi(), indent=2)


def http_page() -> str:
    """Every call by group, with its role, parameters, body and answers."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in _openapi()["paths"].items():
        for method, call in methods.items():
            told = "\n".join(_call(f"{method.upper()} {path}", call))
            by_tag.setdefault(call.get("tags", ["other"])[0], []).append(told)
    groups = ["\n".join([f"## {tag.capitalize()}\n", *calls]) for tag, calls in by_tag.items()]
    link = '<a href="openapi.json">openapi.json</a>'
    return "\n".join([*groups, f"## The document\n\nFor programs, and for tools that make clients: {link}\n"])


def _call(name: str, call: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}`\n\n{call.get('summary', '')}. {call.get('description', '')}\n"
    roles = [scope for need in call.get("security", ()) for scopes in need.values() for scope in scopes]
    yield f"Role: {', '.join(roles) or 'none'}."
    body = call.get("requestBody")
    if body is not None:
        yield f"Body: {_schema(body['content'])}."
    yield ""
    parameters = [each for each in call.get("parameters", ()) if each["in"] != "header"]
    if parameters:
        rows = [(f"`{each['name']}`", each["in"], each.get("description", "")) for each in parameters]
        yield _table(("parameter", "in", ""), rows)
    answers = sorted(call["responses"].items())
    good = [
        (f"`{status}`", answer["description"], _schema(answer.get("content", {})))
        for status, answer in answers
        if status < "400"
    ]
    yield _table(("answer", "", "document"), good)
    if bad := [f"`{status}`" for status, _ in answers if status >= "400"]:
        yield f"Errors: {', '.join(bad)}.\n"


def _schema(content: Mapping[str, Any]) -> str:
    """What a body is called in the document."""
    names = [
        str(media["schema"]["$ref"]).rpartition("/")[2] if "$ref" in media.get("schema", {}) else kind
        for kind, media in content.items()
    ]
    return ", ".join(f"`{name}`" for name in names)


# ------------------------------------------------------------------------------------------------ Markdown


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
