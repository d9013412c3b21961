"""``trimtab up``: the whole embedded stack, until told to stop."""

import json
from functools import partial

from rich.console import Console

from adapters.inbound.cli.wiring import UpOptions
from config.settings import UPSTREAMS, Settings
from worker.children import StackFailed
from worker.keeper import Keeper
from worker.loops import stop_on_signals
from worker.schedules import build_schedules
from worker.stack import Stack


def up(settings: Settings, options: UpOptions) -> int:
    """Status 0 when it was stopped; 1 when a part does not come up or ends again and again, with its last words."""
    stop = stop_on_signals()
    build_schedules(settings)  # what is wrong with them is told before anything is started
    console = Console(stderr=True)
    stack = Stack(
        state_dir=settings.state_dir,
        book=options.book,
        api_port=settings.api_port if options.port is None else options.port,
        settings=_given(settings, options),
        with_sandbox=options.sandbox,
        parts=("steward", "requests", *(("beat",) if settings.schedules else ())),
    )
    try:
        with stack:
            _tell(console, stack)
            tell = partial(console.print, style="yellow", markup=False, soft_wrap=True)
            stack.watch(stop, ended=Keeper(restart=stack.restart, tell=tell))
    except StackFailed as failed:
        console.print(str(failed), style="red", markup=False, soft_wrap=True)
        return 1
    return 0


def _given(settings: Settings, options: UpOptions) -> dict[str, str]:
    """What all processes of the stack are given, and the commands that are started beside it."""
    given: dict[str, str] = {}
    if options.concurrency is not None:
        given["worker_concurrency"] = str(options.concurrency)
    if settings.schedules:
        given["schedules"] = json.dumps([each.model_dump(mode="json") for each in settings.schedules])
    if not options.sandbox:
        given |= {f"{name}_url": str(getattr(settings, f"{name}_url")) for name in UPSTREAMS}
    return given


def _tell(console: Console, stack: Stack) -> None:
    console.print(f"Job page at {stack.api_url}/", soft_wrap=True)
    console.print(
        f"API at {stack.api_url} (its OpenAPI document: {stack.api_url}/openapi.json)", soft_wrap=True
    )
    if stack.with_sandbox:
        sandbox = stack.settings["pricing_url"]
        console.print(f"Sandbox at {sandbox} (faults to try: docs/quick-start.md)", soft_wrap=True)
    console.print(
        f"State and logs are in {stack.state_dir}; trimtab commands started here find this stack.",
        soft_wrap=True,
    )
    console.print("Ctrl-C stops everything.")
