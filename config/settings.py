"""Every setting, read once where things are wired: environment ``TRIMTAB_*``, then a running stack, then defaults.

What may hold a password may stand in a file that ``TRIMTAB_<NAME>_FILE`` names.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from config.schedules import ScheduleSettings
from config.urls import fault_of_url

STACK_FILE = "stack.json"
PREFIX = "TRIMTAB_"
TEST_PREFIX = "TRIMTAB_TEST_"
SHORTEST_PASSWORD = 12
SHORTEST_SECRET = 32
FILE_SUFFIX = "_FILE"
UPSTREAMS = ("pricing", "securities", "accounting", "portfolios")

Seconds = Annotated[float, Field(gt=0)]
Origin = Annotated[
    str, Field(pattern=r"^https?://[a-z0-9.\[\]:-]+$")
]  # as a browser writes it: no path, no slash
HostName = Annotated[str, Field(pattern=r"^[a-z0-9.:-]+$")]  # no port; an IPv6 address without brackets
UpstreamUrl = Annotated[str, Field(repr=False)]  # it may hold a password
ReadyPart = Literal[
    "store", "results", "broker", "solver", "workers", "pricing", "securities", "accounting", "portfolios"
]


class Settings(BaseSettings):
    """Frozen once read; see `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    # -- where things are
    state_dir: Path = Path(".trimtab")
    store_url: SecretStr = SecretStr("")
    broker_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    results_url: SecretStr = SecretStr("")  # empty: the broker
    requests_url: SecretStr = SecretStr("")  # empty: the broker
    pricing_url: UpstreamUrl = "http://127.0.0.1:8083"
    securities_url: UpstreamUrl = "http://127.0.0.1:8000"
    accounting_url: UpstreamUrl = "http://127.0.0.1:8087"
    portfolios_url: UpstreamUrl = "http://127.0.0.1:8000"

    # -- the store
    sqlite_synchronous: Literal["full", "normal", "off"] = "full"

    # -- calls to upstreams (docs/settings.md; seconds where not said otherwise)
    upstream_connect: Seconds = 2.0
    upstream_read: Seconds = 10.0
    upstream_write: Seconds = 5.0
    upstream_pool: Seconds = 5.0
    upstream_answer_total: Seconds = 30.0
    upstream_retries: Annotated[int, Field(ge=0, le=10)] = 3
    upstream_retry_wait: Seconds = 1.0
    upstream_retry_total: Seconds = 45.0
    upstream_breaker_failures: Annotated[int, Field(ge=1)] = 5
    upstream_breaker_open: Seconds = 60.0
    upstream_bulk_age: Annotated[float, Field(ge=0)] = 0.0  # 0: no bulk reads
    upstream_max_bytes: Annotated[int, Field(gt=0)] = 64 * 1024 * 1024
    upstream_ca_file: Path | None = None
    upstream_cert_file: Path | None = None
    upstream_key_file: Path | None = None

    # -- a job's life
    default_parallelism: Annotated[int, Field(ge=1)] = 4
    max_parallelism: Annotated[int, Field(ge=1)] = 256
    max_portfolios: Annotated[int, Field(ge=1)] = 1_000_000
    max_open_jobs: Annotated[int, Field(ge=1, le=100_000)] = (
        400  # a tick of the steward reads every one of them
    )
    max_open_portfolios: Annotated[int, Field(ge=1)] = 10_000_000
    max_queue_age_seconds: Seconds = 24 * 3600.0
    busy_retry_seconds: Seconds = 30.0
    max_attempts: Annotated[int, Field(ge=1)] = 3
    solver_time_limit_seconds: Seconds = 30.0
    task_time_limit_seconds: Seconds = 120.0
    lease_seconds: Seconds = 150.0
    retry_delay_seconds: Seconds = 2.0
    outage_delay_seconds: Seconds = 5.0
    max_delay_seconds: Seconds = 60.0
    due_after_seconds: Seconds = 10.0
    lost_token_seconds: Seconds = 3.0
    slice_portfolios: Annotated[int, Field(ge=1, le=1024)] = 1
    slice_milliseconds: Annotated[float, Field(gt=0)] = 400.0
    default_deadline_seconds: Seconds = 6 * 3600.0
    republish_window_seconds: Annotated[float, Field(gt=0, le=14 * 24 * 3600)] = 24 * 3600.0
    stated_value_low: float = 0.85
    stated_value_high: float = 1.05
    steward_tick_seconds: Seconds = 0.2

    # -- workers
    worker_concurrency: Annotated[int, Field(ge=1)] = 2
    worker_pool: Literal["prefork", "solo", "threads"] = "prefork"
    worker_max_tasks_per_child: Annotated[int, Field(ge=1)] = 5000
    shutdown_grace_seconds: Seconds = 10.0
    task_events: bool = False
    flower_host: str = "127.0.0.1"
    flower_port: Annotated[int, Field(ge=0, le=65535)] = 5555
    flower_users: SecretStr = SecretStr("")  # name:password, several with commas
    flower_read_only: bool = True
    flower_without_users: bool = False  # may others reach it without any

    # -- the API
    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    api_keys_file: Path | None = None  # none: no authentication
    api_without_keys: bool = False  # may others reach it without any
    api_calls_per_second: Annotated[float, Field(ge=0, le=100_000)] = 50.0  # of one key; 0: no limit
    api_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    api_origins: tuple[Origin, ...] = ()
    api_hosts: tuple[HostName, ...] = ()  # none: ours on loopback, any with keys or behind something
    page_secret: SecretStr = SecretStr("")  # empty: a new one at every start
    page_session_seconds: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] = 8 * 3600.0
    ready_needs: tuple[ReadyPart, ...] = ("store", "results", "broker")
    max_body_bytes: Annotated[int, Field(gt=0)] = 16 * 1024 * 1024
    sandbox_host: str = "127.0.0.1"
    sandbox_port: Annotated[int, Field(ge=0, le=65535)] = 8090

    # Set by `up` and `demo`: a listening socket handed down, so that no port is free one moment and taken the next.
    listen_fd: int | None = None

    # -- watching
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int | None, Field(ge=0, le=65535)] = None  # none: no listener
    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s@]+)?$")] = ""  # empty: no traces
    trace_share: Annotated[float, Field(ge=0, le=1)] = 1.0

    # -- streams
    order_sets_stream: str = "trimtab.order-sets"
    job_events_stream: str = "trimtab.job-events"
    requests_stream: str = "trimtab.requests"
    task_queue: str = "trimtab.run"

    # -- dying on purpose (docs/reliability.md): also read without the prefix
    crash_at: Annotated[str, Field(validation_alias=AliasChoices("crash_at", f"{PREFIX}crash_at"))] = (
        ""  # a point of worker/crash_points.py, and ":n" for the n-th time
    )
    crash_once: bool = False  # not again once a process of this state directory died there

    # -- the rest
    schedules: tuple[ScheduleSettings, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    alive_file: Path | None = None  # touched by a process as long as its loop turns

    @field_validator(
        *("store_url", "broker_url", "results_url", "requests_url"),
        *(f"{name}_url" for name in UPSTREAMS),
    )
    @classmethod
    def _is_written_as_meant(cls, url: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        """The message holds nothing of it: an error of a library further on could show a part of the password."""
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        if (fault := fault_of_url(text)) is not None:
            raise ValueError(f"{_variable(info.field_name or '')}: {fault}")
        return url

    @field_validator("flower_users")
    @classmethod
    def _are_users(cls, users: SecretStr) -> SecretStr:
        """The message holds nothing of them: it is printed."""
        for user in users.get_secret_value().split(",") if users.get_secret_value() else ():
            name, _, password = user.partition(":")
            if not name or len(password) < SHORTEST_PASSWORD or user != user.strip():
                raise ValueError(
                    f"each is name:password, with commas between and a password of at least {SHORTEST_PASSWORD} characters"
                )
        return users

    @field_validator("page_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr) -> SecretStr:
        if 0 < len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"at least {SHORTEST_SECRET} characters, drawn at random")
        return secret

    @field_validator("schedules")
    @classmethod
    def _names_once(cls, schedules: tuple[ScheduleSettings, ...]) -> tuple[ScheduleSettings, ...]:
        """The name is the run key: of two schedules that share it one would never run."""
        doubled = sorted(name for name, times in Counter(one.name for one in schedules).items() if times > 1)
        if doubled:
            raise ValueError(f"more than one schedule is named {', '.join(doubled)}")
        return schedules

    @model_validator(mode="after")
    def _lease_is_longest(self) -> "Settings":
        """A worker must be dead, or have given up, before its lease ends: else two could work on one portfolio."""
        if not self.solver_time_limit_seconds < self.task_time_limit_seconds < self.lease_seconds:
            raise ValueError("needed: solver_time_limit_seconds < task_time_limit_seconds < lease_seconds")
        return self

    @model_validator(mode="after")
    def _slice_leaves_time_for_its_last(self) -> "Settings":
        """A slice is one task: the limit of a task must leave its last portfolio the time it has on its own."""
        last_begins = self.slice_milliseconds / 1000 if self.slice_portfolios > 1 else 0.0
        if self.solver_time_limit_seconds + last_begins >= self.task_time_limit_seconds:
            raise ValueError(
                "needed: solver_time_limit_seconds + slice_milliseconds / 1000 < task_time_limit_seconds"
            )
        return self

    @property
    def effective_store_url(self) -> str:
        return self.store_url.get_secret_value() or f"sqlite:///{self.state_dir}/trimtab.db"

    @property
    def effective_results_url(self) -> str:
        return self.results_url.get_secret_value() or self.broker_url.get_secret_value()

    @property
    def effective_requests_url(self) -> str:
        return self.requests_url.get_secret_value() or self.broker_url.get_secret_value()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature; no .env is read
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, file_secret_settings, _RunningStack(settings_cls))


class _RunningStack(PydanticBaseSettingsSource):
    """What ``trimtab up`` wrote of the stack it keeps running in this directory, so that the other commands find it."""

    def __call__(self) -> dict[str, Any]:
        state_dir = Path(os.environ.get("TRIMTAB_STATE_DIR", ".trimtab"))
        try:
            stack = json.loads((state_dir / STACK_FILE).read_text())
            os.kill(int(stack["pid"]), 0)
        except (OSError, ValueError, KeyError):
            return {}
        settings = dict(stack["settings"])
        if "schedules" in settings:  # as in the environment: what is no single value is JSON
            settings["schedules"] = json.loads(settings["schedules"])
        return settings

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ANN401, ARG002 - the base class's
        return None, field_name, False


class WrongSettings(ValueError):
    """What stands in the environment cannot be used."""


class UnknownSetting(WrongSettings):
    """A ``TRIMTAB_`` variable that names no setting: most likely a misspelt one, which would be silently ignored."""


# What may hold a password may stand in a file instead, as orchestrators mount secrets.
FROM_FILES = tuple(
    name
    for name, setting in Settings.model_fields.items()
    if setting.annotation is SecretStr or name.endswith("_url")
)


def load_settings(**overrides: object) -> Settings:
    """Read every setting.

    Raises:
        WrongSettings: the environment holds a ``TRIMTAB_`` variable that is no setting, or names a file that cannot be
            read, or a setting twice.
        pydantic.ValidationError: it names every setting that is wrong.
    """
    files = {_variable(name) + FILE_SUFFIX: name for name in FROM_FILES}
    known = {*map(_variable, Settings.model_fields), *files}
    given = {name for name in os.environ if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX)}
    if unknown := sorted(given - known):
        raise UnknownSetting(f"no such setting: {', '.join(unknown)}")
    read = {files[variable]: _secret(variable) for variable in sorted(given & files.keys())}
    return Settings(**{**read, **overrides})  # type: ignore[arg-type]  # pydantic checks them


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _secret(variable: str) -> str:
    """What stands in the file that ``variable`` names, without the line's end that an editor leaves."""
    if (plain := variable.removesuffix(FILE_SUFFIX)) in os.environ:
        raise WrongSettings(f"{plain} and {variable} are both set: which of them is meant?")
    try:
        text = Path(os.environ[variable]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise WrongSettings(f"{variable}: {os.environ[variable]} cannot be read: {reason}") from None
    if not text or "\n" in text:
        raise WrongSettings(f"{variable}: {os.environ[variable]} must hold one line")
    return text


def environment(overrides: dict[str, str]) -> dict[str, str]:
    """The environment of a child process: ours, with settings put in by name."""
    names = {_variable(name): value for name, value in overrides.items()}
    ours = {name: value for name, value in os.environ.items() if name.removesuffix(FILE_SUFFIX) not in names}
    return {**ours, **names, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
