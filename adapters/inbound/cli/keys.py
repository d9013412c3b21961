"""API keys from the command line: make, list, rotate, revoke."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from adapters.inbound.cli.output import AsJson, guarded, print_line, print_table, say
from adapters.inbound.cli.wiring import Wiring
from adapters.inbound.keys import ApiKey, KeyFile, NewKey, Role
from adapters.system_clock import SystemClock

_File = Annotated[
    Path | None, typer.Option("--file", help="The file of keys; else as TRIMTAB_API_KEYS_FILE says.")
]
_KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, as 'keys list' shows it.")]


def add_key_commands(app: typer.Typer, wiring: Wiring) -> None:
    """``keys add``, ``keys list``, ``keys rotate`` and ``keys revoke``."""
    keys = typer.Typer(no_args_is_help=True, help="API keys: who may call the HTTP API.")
    app.add_typer(keys, name="keys")
    clock = SystemClock()

    def opened(file: Path | None) -> KeyFile:
        return KeyFile(file or wiring.keys_file(), clock)

    @keys.command()
    @guarded
    def add(
        name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: a person or a service.")],
        *,
        role: Annotated[list[Role], typer.Option(help="What it may do; repeat for more.")],
        days: Annotated[int | None, typer.Option(min=1, help="It ends after so many days.")] = None,
        file: _File = None,
        as_json: AsJson = False,
    ) -> None:
        """Make a key and print it, once: only its hash is kept. A running API takes it from the next request on."""
        lasts = None if days is None else timedelta(days=days)
        _tell(opened(file).add(name, frozenset(role), lasts=lasts), as_json=as_json)

    @keys.command("list")
    @guarded
    def list_keys(*, file: _File = None, as_json: AsJson = False) -> None:
        """Every key, without its secret: nobody has it but its owner."""
        _print(opened(file).entries(), clock, as_json=as_json)

    @keys.command()
    @guarded
    def rotate(
        key: _KeyId,
        *,
        overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old one still works.")] = 24.0,
        file: _File = None,
        as_json: AsJson = False,
    ) -> None:
        """Make a key of the same name and roles, and let the old one end."""
        _tell(opened(file).rotate(key, overlap=timedelta(hours=overlap_hours)), as_json=as_json)
        say(f"the old one, {key}, works for another {overlap_hours:g} h")

    @keys.command()
    @guarded
    def revoke(key: _KeyId, *, file: _File = None) -> None:
        """Take a key away. A running API refuses it from the next request on."""
        gone = opened(file).revoke(key)
        print_line(f"key {gone.key_id} of {gone.name} is revoked")


def _tell(made: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_line(json.dumps({**_document(made.key), "key": made.text}))
        return
    print_line(made.text)
    say(f"key {made.key.key_id} of {made.key.name} may {', '.join(sorted(made.key.roles))}")
    say("this is the only time it is shown")


def _print(keys: Sequence[ApiKey], clock: SystemClock, *, as_json: bool) -> None:
    if as_json:
        for key in keys:
            print_line(json.dumps(_document(key)))
        return
    now = clock.now()
    print_table(
        ("id", "name", "roles", "made", "ends"),
        (
            (
                key.key_id,
                key.name,
                ", ".join(sorted(key.roles)),
                f"{key.created_at:%Y-%m-%d %H:%M}",
                key.expires_at and f"{key.expires_at:%Y-%m-%d %H:%M}{' (over)' if key.expired(now) else ''}",
            )
            for key in keys
        ),
    )


def _document(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.key_id,
        "name": key.name,
        "roles": sorted(key.roles),
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
    }
