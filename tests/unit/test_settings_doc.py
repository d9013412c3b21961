"""docs/settings.md tells every setting there is, with its default, and none that is not there."""

import json
import re
from pathlib import Path

from pydantic import SecretStr

from config.settings import Settings

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `TRIMTAB_([A-Z_]+)` \| `?([^|`]*)`? \| ([^|]+) \| ([^|]+) \|$")
PROCESSES = {"all", "intake", "api", "worker", "steward", "requests", "beat", "flower", "sandbox"}
COMMANDS = {"`schedule`", "`orders`", "`solve`", "`doctor`", "`up`", "`keys`"}


def documented() -> dict[str, tuple[str, str, str]]:
    """Default, readers and meaning by the setting's field name."""
    lines = (ROOT / "docs/settings.md").read_text().splitlines()
    rows = [match.groups() for line in lines if (match := ROW.match(line))]
    assert len({name for name, *_ in rows}) == len(rows), "a setting stands there twice"
    return {name.lower(): (default, readers, meaning) for name, default, readers, meaning in rows}


def as_written(default: object) -> str:
    """A default as the page writes it: the text that would be set."""
    match default:
        case SecretStr():
            return default.get_secret_value() or "unset"
        case None:
            return "unset"
        case bool() | tuple():
            return json.dumps(default)
        case _:
            return str(default)


def test_every_setting_is_documented_and_no_unknown_one() -> None:
    assert documented().keys() == Settings.model_fields.keys()


def test_the_documented_defaults_are_the_real_ones() -> None:
    assert {name: default for name, (default, _, _) in documented().items()} == {
        name: as_written(field.default) for name, field in Settings.model_fields.items()
    }


def test_every_row_names_a_reader_that_exists_and_says_what_it_means() -> None:
    for name, (_, readers, meaning) in documented().items():
        assert set(readers.split(", ")) <= PROCESSES | COMMANDS, name
        assert len(meaning) > 10, name
