"""The operators' window on Celery. It sees tasks only where workers send events (TRIMTAB_TASK_EVENTS).

Off loopback nobody looks in without a password: that of the settings, else one made at the first start and kept in the
state directory. Flower's own ``/metrics`` and ``/healthcheck`` ask for none, whatever is set.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import structlog

from config.settings import Settings
from domain.errors import Invalid
from worker.api_options import is_loopback
from worker.celery_app import create_sending_app
from worker.loops import exit_on_sigterm

COLUMNS = "name,kwargs,state,result,exception,received,runtime,worker,uuid"
MADE_USERS = "flower.users"  # in the state directory, for its owner alone

# Each worker process has a name of its own, and a label in Flower's metrics. Those of processes that are gone are let go.
FORGET_WORKERS_SECONDS = 900
TASKS_KEPT = 10_000

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    exit_on_sigterm()
    create_sending_app(settings).start(["flower", *arguments(settings, flower_users(settings))])


def arguments(settings: Settings, users: Sequence[str]) -> list[str]:
    """What Flower is told. They stay in this process: no list of processes shows them."""
    return [
        f"--address={settings.flower_host}",
        f"--port={settings.flower_port}",
        f"--tasks_columns={COLUMNS}",
        f"--read_only={settings.flower_read_only}",
        f"--purge_offline_workers={FORGET_WORKERS_SECONDS}",
        f"--max_tasks={TASKS_KEPT}",
        *([f"--basic_auth={','.join(users)}"] if users else []),
    ]


def flower_users(settings: Settings) -> Sequence[str]:
    """Who may look, each ``name:password``; empty: everybody who reaches it, which on loopback is this machine.

    Raises:
        Invalid: others could reach it, no user is set, and none can be made.
    """
    given = settings.flower_users.get_secret_value()
    if given:
        return given.split(",")
    if is_loopback(settings.flower_host) or settings.flower_without_users:
        return ()
    path = settings.state_dir / MADE_USERS
    try:
        made = _kept(path)
    except OSError as error:
        raise Invalid(
            f"{settings.flower_host} can be reached by others, Flower has no users, and {path} cannot be used "
            f"({error.strerror or error}): set TRIMTAB_FLOWER_USERS=name:password",
            code="open_to_all",
        ) from None
    log.info(
        "flower.users_made", path=str(path), advice="the name and the password to log in with stand there"
    )
    return (made,)


def _kept(path: Path) -> str:
    """The user of the file; the first to come writes one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        user = f"operator:{secrets.token_urlsafe(24)}"
        file.write(f"{user}\n")
    return user
