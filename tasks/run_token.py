"""Work one portfolio on one seat: claim, fetch, solve, store with the outbox, publish, pass the token on.

Delivered twice, late or to several workers at once it does no harm: the seat is a unique index in the store and
every later step compares the claim's fence.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache

import stamina
import structlog

from domain.checks import StatedValueRange
from domain.errors import (
    BrokerUnavailable,
    NotFound,
    StoreUnavailable,
    TrimtabError,
    Unavailable,
    UpstreamUnavailable,
)
from domain.item import Item, ItemState
from domain.job import Job
from domain.portfolio import Portfolio
from domain.ports import ClaimMiss, Finish, Publication, Token
from domain.rebalance import Conflict, Outcome, Rebalance, decide
from tasks.bench import Bench, FrozenJob
from tasks.close_job import close_job_if_finished
from tasks.inline_portfolio import decode_portfolio
from tasks.order_set import finish_of
from tasks.services import Rules, Services

log = structlog.get_logger(__name__)

STOPPED = "worker_stopped"


class HandBack(BaseException):
    """Raised by a signal into whatever is going on: this process ends, somebody else shall work the portfolio.

    No ``Exception``: it is nobody's failure, and no boundary may swallow it.
    """


def run_token(token: Token, services: Services, bench: Bench) -> None:
    """One Celery task: at most one portfolio.

    Raises:
        StoreUnavailable: nothing is lost; the lease and the steward bring the portfolio back.
    """
    if not bench.frozen.has_seat(token, services.clock.now()):
        return  # the job was given fewer seats
    item = _claim(token, bench.next_owner(), services)
    if item is ClaimMiss.SEAT_BUSY:
        return
    if isinstance(item, ClaimMiss):
        bench.marks.flush()
        _close(token, services)
        return
    try:
        goes_on = _work(item, token, services, bench)
    except HandBack:
        goes_on = _hand_back(item, services)
    if goes_on:
        _pass_on(token, services)


def _claim(token: Token, owner: str, services: Services) -> Item | ClaimMiss:
    """Claim, trying again while the store is out: a claim whose reply was lost holds the seat under our name."""
    for attempt in _while_store_is_out(services.rules):
        with attempt:
            claimed = services.jobs.claim(token.job_id, token.seat, owner)
            if isinstance(claimed, ClaimMiss) and attempt.num > 1:
                return _own(token, owner, services) or claimed
            return claimed
    raise AssertionError("unreachable: the last attempt raises")  # pragma: no cover


def _own(token: Token, owner: str, services: Services) -> Item | None:
    holder = services.jobs.busy_seats(token.job_id).get(token.seat)
    item = None if holder is None else services.jobs.get_item(holder)
    if item is None or item.state is not ItemState.RUNNING or item.owner != owner:
        return None
    return item


def _while_store_is_out(rules: Rules) -> Iterable[stamina.Attempt]:
    """Attempts for as long as the lease surely lasts; the last one raises."""
    return stamina.retry_context(
        on=StoreUnavailable, attempts=None, timeout=rules.lease_seconds / 2, wait_max=5.0
    )


def _close(token: Token, services: Services) -> None:
    try:
        close_job_if_finished(token.job_id, services)
    except NotFound:
        log.warning("token.stray", job=token.job_id, seat=token.seat)


def _work(item: Item, token: Token, services: Services, bench: Bench) -> bool:
    """Whether the token goes on: not during an outage, where only probes run."""
    try:
        frozen = bench.frozen.get(item.job_id)
        with structlog.contextvars.bound_contextvars(
            correlation_id=frozen.job.correlation_id, item=item.item_id
        ):
            answer = _rebalance(item, frozen, services)
        _finish(finish_of(frozen.job, item.fence, answer, frozen.snapshot), item, token, services, bench)
    except UpstreamUnavailable as outage:
        _give_back(item, outage, services)
        return False
    except StoreUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it costs an attempt and is told
        _fail_attempt(item, error, services)  # matches nothing, where the answer is stored already
    return True


# ------------------------------------------------------------------------------------------------ the answer


def _rebalance(item: Item, frozen: FrozenJob, services: Services) -> Rebalance:
    portfolio = _portfolio(item, services)
    if portfolio is None and item.inline is None and services.directory.name(item.portfolio_id) is None:
        return _unknown_portfolio(item)
    return decide(item.portfolio_id, portfolio, frozen.terms, services.solver, _stated_value(services.rules))


def _portfolio(item: Item, services: Services) -> Portfolio | None:
    if item.inline is not None:
        return decode_portfolio(item.inline)
    return services.accounting.portfolio(item.portfolio_id)


def _stated_value(rules: Rules) -> StatedValueRange:
    return _range(rules.stated_value_low, rules.stated_value_high)


@lru_cache
def _range(low: float, high: float) -> StatedValueRange:
    return StatedValueRange(low=Decimal(str(low)), high=Decimal(str(high)))


def _unknown_portfolio(item: Item) -> Rebalance:
    return Rebalance(
        portfolio_id=item.portfolio_id,
        outcome=Outcome.REJECTED,
        reason="unknown_portfolio",
        conflicts=(
            Conflict(
                rule="unknown_portfolio",
                message=f"no service knows portfolio {item.portfolio_id}: remove it from the model or create it",
            ),
        ),
    )


# ------------------------------------------------------------------------------------------------ its end


def _finish(finish: Finish, item: Item, token: Token, services: Services, bench: Bench) -> None:
    if not _stored(finish, services):
        services.jobs.note_healing(item.job_id, "zombies")
        log.warning("item.zombie", item=item.item_id, fence=item.fence)
        return
    if token.probe and services.jobs.resume_job(item.job_id):
        _fill_seats(token, services.jobs.get_job(item.job_id), services)
    if finish.order_set is None:
        return
    try:
        services.publisher.publish(Publication(item.item_id, item.job_id, finish.order_set))
    except BrokerUnavailable as error:
        log.warning("order_set.still_due", item=item.item_id, error=str(error))
        return
    bench.marks.add(item.item_id)


def _stored(finish: Finish, services: Services) -> bool:
    """Store the answer, trying again while the lease lasts: the work is done, only the write is missing."""
    for attempt in _while_store_is_out(services.rules):
        with attempt:
            return services.jobs.finish(finish)
    raise AssertionError("unreachable: the last attempt raises")  # pragma: no cover


def _give_back(item: Item, outage: Unavailable, services: Services) -> None:
    rules = services.rules
    delay = min(rules.outage_delay_seconds * 2.0**item.given_back, rules.max_delay_seconds)
    if services.jobs.give_back(item.item_id, item.fence, str(outage), delay_seconds=delay):
        services.jobs.wait_job(item.job_id, str(outage), rules.outage_delay_seconds)
    log.warning("item.given_back", item=item.item_id, service=outage.service, cause=outage.cause)


def _hand_back(item: Item, services: Services) -> bool:
    """Of a process that is told to end. A result that was stored just before stays: then this matches nothing."""
    services.jobs.give_back(item.item_id, item.fence, STOPPED, delay_seconds=0)
    log.warning("item.handed_back", item=item.item_id)
    return True


def _fail_attempt(item: Item, error: Exception, services: Services) -> None:
    rules = services.rules
    reason = error.code if isinstance(error, TrimtabError) else "internal_error"
    delay = min(rules.retry_delay_seconds * 2.0 ** (item.attempt - 1), rules.max_delay_seconds)
    state = services.jobs.fail_attempt(
        item.item_id,
        item.fence,
        f"{reason}: {error}"[:500],
        max_attempts=rules.max_attempts,
        delay_seconds=delay,
    )
    log.error(
        "item.attempt_failed",
        item=item.item_id,
        attempt=item.attempt,
        state=state,
        reason=reason,
        exc_info=error,
    )


def _fill_seats(probe: Token, job: Job, services: Services) -> None:
    """The outage is over: the other seats get their tokens back."""
    _send([Token(probe.job_id, seat) for seat in job.seats if seat != probe.seat], services)


def _pass_on(token: Token, services: Services) -> None:
    """The seat is free again: the next token for it."""
    _send([Token(token.job_id, token.seat)], services)


def _send(tokens: Sequence[Token], services: Services) -> None:
    """What cannot be sent the steward sends, once it notices."""
    try:
        services.tokens.send(tokens)
    except BrokerUnavailable as error:
        log.warning("tokens.not_sent", tokens=len(tokens), error=str(error))
