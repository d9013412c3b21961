"""A real worker process for `worker.bench.protocol`: the seat protocol round portfolios that cost nothing."""

import os
import sys
from contextlib import closing

from celery import Celery

from config.settings import Settings, load_settings
from domain.ids import JobId
from domain.item import Item, ItemState
from domain.ports import Finish, Token
from tasks.bench import FrozenJob
from tasks.registry import RUN
from tasks.services import Services
from worker.celery_app import create_sending_app, create_worker_app, worker_command
from worker.redis_client import redis_client
from worker.tokens import CeleryTokens

NO_OP = "trimtab.bench.no_op"
DONE = "trimtab.bench.done"  # the list on which a chain of tokens says that it came to its end
CELERY, PROTOCOL = "celery", "protocol"
BODY = b"x" * 200


def nothing(item: Item, _frozen: FrozenJob, _services: Services) -> Finish:
    """The answer without the work: small bodies, stored and published as any."""
    return Finish(
        item_id=item.item_id,
        fence=item.fence,
        state=ItemState.NO_TRADE,
        reason="bench",
        result=BODY,
        order_set=BODY,
    )


def celery_app(settings: Settings) -> Celery:
    """What Celery does by itself: a task that does nothing, and one that only sends itself on."""
    app = create_sending_app(settings)
    tokens = CeleryTokens(app)

    @app.task(name=RUN, shared=False)
    def relay(job_id: str, seat: int, probe: bool) -> None:  # noqa: ARG001, FBT001 - a token's message
        """``seat`` counts down the steps that are left."""
        if seat:
            tokens.send([Token(JobId(job_id), seat - 1)])
            return
        with closing(redis_client(settings.broker_url.get_secret_value())) as client:
            client.lpush(DONE, job_id)

    @app.task(name=NO_OP, shared=False)
    def no_op(job_id: str, seat: int) -> None:
        """A message as large as a token, and nothing to do."""

    return app


def main(kind: str) -> None:
    settings = load_settings()
    app = celery_app(settings) if kind == CELERY else create_worker_app(settings, nothing)
    app.start(worker_command(settings, f"bench-{os.getpid()}@%h"))


if __name__ == "__main__":
    main(sys.argv[1])
