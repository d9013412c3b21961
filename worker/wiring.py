"""What the command line needs, from settings: the one implementation of `adapters.inbound.cli.wiring.Wiring`.

Each method imports what it needs: a command pays for no library it does not use (CVXPY alone takes a second).
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from adapters.inbound.cli.wiring import BenchOptions, DemoOptions, Probe, SandboxOptions, UpOptions
from config.logging import configure_logging
from config.settings import Settings, WrongSettings, load_settings
from domain.errors import Invalid
from domain.ports import Solver
from tasks.services import Services
from worker import __version__


class SettingsWiring:
    """Settings are read at the first use of any of this, so that ``--help`` needs none."""

    @property
    def version(self) -> str:
        return __version__

    @cached_property
    def settings(self) -> Settings:
        return _load()

    @contextmanager
    def services(self) -> Iterator[Services]:
        with self._clients() as services:
            services.jobs.prepare()
            yield services

    @contextmanager
    def _clients(self) -> Iterator[Services]:
        """Not yet connected to anything: what is wrong with one part is not told of another."""
        from worker.celery_app import create_sending_app
        from worker.container import build_services

        with build_services(self.settings, create_sending_app(self.settings)) as services:
            yield services

    def solver(self) -> Solver:
        from adapters.solver.cvxpy_solver import CvxpySolver

        return CvxpySolver(time_limit_seconds=self.settings.solver_time_limit_seconds)

    def order_sets(self, *, follow: bool) -> Iterator[bytes]:
        from adapters.results.redis_stream import RedisStreamReader
        from worker.redis_client import is_redis, redis_client

        url = self.settings.effective_results_url
        if not is_redis(url):
            raise Invalid("the result queue is no Redis stream: read it with your broker's own consumer")
        with closing(redis_client(url)) as client:
            reader = RedisStreamReader(client, self.settings.order_sets_stream)
            for entry in reader.entries(follow=follow):
                yield entry.body

    def keys_file(self) -> Path:
        if self.settings.api_keys_file is None:
            raise Invalid("no file of keys: give --file, or set TRIMTAB_API_KEYS_FILE", code="usage")
        return self.settings.api_keys_file

    # -------------------------------------------------------------------------------------------- doctor

    def probes(self) -> Sequence[Probe]:
        from worker.container import http_options
        from worker.looks import look_at_upstream

        settings = self.settings
        options = http_options(settings)
        upstreams = {
            "pricing": settings.pricing_url,
            "securities": settings.securities_url,
            "accounting": settings.accounting_url,
            "portfolios": settings.portfolios_url,
        }
        return (
            Probe(
                name="store",
                look=self._look_at_store,
                remedy="start the store, or set TRIMTAB_STORE_URL (sqlite:///file or mongodb://...)",
            ),
            Probe(
                name="broker",
                look=self._look_at_broker,
                remedy="start Redis, or set TRIMTAB_BROKER_URL; `trimtab up` brings a broker of its own",
            ),
            Probe(
                name="result queue",
                look=self._look_at_result_queue,
                remedy="start it, or set TRIMTAB_RESULTS_URL (empty: the broker)",
            ),
            *(
                Probe(
                    name=name,
                    look=lambda url=url: look_at_upstream(url, options),  # type: ignore[misc]
                    remedy=f"set TRIMTAB_{name.upper()}_URL, or start it (`trimtab sandbox` serves all four)",
                )
                for name, url in upstreams.items()
            ),
            Probe(
                name="workers",
                look=self._look_at_workers,
                remedy="start `trimtab worker`; jobs are accepted without one, and wait",
                needed=False,
            ),
        )

    def _look_at_store(self) -> str:
        from worker.looks import without_secret

        with self.services() as services:
            services.jobs.ping()
        return without_secret(self.settings.effective_store_url)

    def _look_at_result_queue(self) -> str:
        from worker.looks import without_secret

        with self._clients() as services:
            services.publisher.ping()
        return without_secret(self.settings.effective_results_url)

    def _look_at_broker(self) -> str:
        from worker.looks import without_secret

        with self._clients() as services:
            waiting = services.tokens.length()
        return f"{without_secret(self.settings.broker_url.get_secret_value())}, {waiting} tokens waiting"

    def _look_at_workers(self) -> str:
        from worker.celery_app import create_sending_app
        from worker.looks import look_at_workers

        return look_at_workers(create_sending_app(self.settings))

    # -------------------------------------------------------------------------------------------- processes

    def api(self, *, host: str | None, port: int | None) -> None:
        from worker.processes import api

        api.run(self._started(api_host=host, api_port=port))

    def worker(self, *, concurrency: int | None) -> None:
        from worker.processes import worker

        worker.run(self._started(worker_concurrency=concurrency))

    def steward(self) -> None:
        from worker.processes import steward

        steward.run(self._started())

    def requests(self) -> None:
        from worker.processes import requests

        requests.run(self._started())

    def beat(self) -> None:
        from worker.processes import beat

        beat.run(self._started())

    def flower(self, *, host: str | None, port: int | None) -> None:
        from worker.processes import flower

        flower.run(self._started(flower_host=host, flower_port=port))

    def sandbox(self, options: SandboxOptions) -> None:
        from worker.processes import sandbox

        sandbox.run(self._started(sandbox_host=options.host, sandbox_port=options.port), options.book)

    def up(self, options: UpOptions) -> int:
        from worker.up import up

        return up(self.settings, options)

    def demo(self, options: DemoOptions) -> int:
        from worker.demo import run

        return run(options)

    def bench(self, options: BenchOptions) -> int:
        from worker.bench.run import bench

        return bench(options)

    def _started(self, **given: object) -> Settings:
        """The settings of a process, with what its command line gave, and its logs set up."""
        settings = _load(**{name: value for name, value in given.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        return settings


def _load(**given: object) -> Settings:
    try:
        return load_settings(**given)
    except WrongSettings as error:
        raise Invalid(str(error)) from None
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg']}" for fault in error.errors()
        )
        raise Invalid(f"wrong settings: {faults}") from None
