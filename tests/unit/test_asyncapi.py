"""docs/asyncapi.yaml is AsyncAPI 3, leads nowhere that is not there, and speaks of the messages that the code makes."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from typer.testing import CliRunner

from adapters.inbound.cli import create_cli
from adapters.inbound.payloads import RebalanceRequest
from adapters.inbound.schemas import file_name, schemas, write_schemas
from config.settings import Settings
from tests.support.messages import fault_of, is_valid
from worker.wiring import SettingsWiring

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/asyncapi.yaml"
OFFICIAL = ROOT / "tests/vendor/asyncapi/3.0.0.json"  # of the npm package @asyncapi/specs 6.11.1, Apache-2.0


@cache
def document() -> dict[str, Any]:
    return dict(yaml.safe_load(DOCUMENT.read_text()))


@cache
def official() -> Draft7Validator:
    return Draft7Validator(json.loads(OFFICIAL.read_text()))


def nodes(node: object) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a document."""
    if isinstance(node, Mapping):
        yield node
        for part in node.values():
            yield from nodes(part)
    elif isinstance(node, list):
        for part in node:
            yield from nodes(part)


def resolved(reference: str) -> Any:
    """What a reference of the document leads to. Raises KeyError, OSError: nothing."""
    file, _, pointer = reference.partition("#")
    found: Any = json.loads((DOCUMENT.parent / file).read_text()) if file else document()
    for word in filter(None, pointer.split("/")):
        found = found[word]
    return found


def message(name: str) -> dict[str, Any]:
    return dict(document()["components"]["messages"][name])


def test_the_document_is_asyncapi_3_by_the_official_schema() -> None:
    assert [error.message for error in official().iter_errors(document())] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spoilt: spoilt["channels"]["orderSets"].update(place="x"),
        lambda spoilt: spoilt["operations"]["tellJobEvents"].update(action="publish"),
        lambda spoilt: spoilt.pop("info"),
    ],
    ids=["a misspelt name", "a word of AsyncAPI 2", "no info"],
)
def test_the_official_schema_would_find_a_fault(spoil: Any) -> None:
    spoilt = json.loads(json.dumps(document()))
    spoil(spoilt)

    assert list(official().iter_errors(spoilt))


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(document()) if "$ref" in node]

    assert len(references) > 20
    assert all(resolved(reference) for reference in references)


def test_each_channel_is_where_the_settings_have_it_by_default() -> None:
    addresses = {channel["address"] for channel in document()["channels"].values()}
    defaults = {name: Settings.model_fields[name].default for name in Settings.model_fields}

    assert addresses == {
        defaults["requests_stream"],
        f"{defaults['requests_stream']}.dead",
        defaults["order_sets_stream"],
        defaults["job_events_stream"],
    }


def test_every_message_of_the_code_is_in_the_document_and_no_other_one() -> None:
    told = {each["name"]: each for each in document()["components"]["messages"].values()}

    assert told.keys() == schemas().keys()
    for name, each in told.items():
        used = [each[part].get("$ref") for part in ("payload", "headers") if part in each]
        assert f"./schemas/{file_name(name)}" in used, name


def test_the_schemas_in_the_repository_are_those_of_the_code(tmp_path: Path) -> None:
    """Mended by: trimtab schemas --out docs/schemas."""
    write_schemas(tmp_path)
    kept = ROOT / "docs/schemas"

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        path.name: path.read_text() for path in kept.iterdir()
    }


@pytest.mark.parametrize("name", schemas())
def test_each_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("name", ["rebalanceRequest", "orderSet", "jobEvent", "deadLetter"])
def test_the_examples_of_a_message_are_such_messages(name: str) -> None:
    described = message(name)
    assert described["examples"]
    for example in described["examples"]:
        for part in ("payload", "headers"):
            if "$ref" in described.get(part, {}):
                schema = resolved(described[part]["$ref"])
                assert [
                    error.message for error in Draft202012Validator(schema).iter_errors(example[part])
                ] == []


def test_a_request_that_fits_its_schema_is_read_and_one_that_does_not_is_not() -> None:
    for example in schemas()["trimtab.rebalance-request.v1"]["examples"]:
        assert is_valid("trimtab.rebalance-request.v1", example)
        RebalanceRequest.model_validate_json(json.dumps(example))

    assert fault_of("trimtab.rebalance-request.v1", {"model_id": "m", "models": 1})
    assert fault_of("trimtab.rebalance-request.v1", {})


def test_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    cli = create_cli(SettingsWiring())
    printed = CliRunner().invoke(cli, ["schemas"])
    assert json.loads(printed.stdout) == schemas()

    written = CliRunner().invoke(cli, ["schemas", "--out", str(tmp_path / "there")])
    assert sorted(written.stdout.split()) == sorted(str(path) for path in (tmp_path / "there").iterdir())
