"""Work a token's slice of its job on one seat: claim, fetch, solve, store with the outbox, publish; then pass it on.

A slice is one portfolio unless the settings allow more. However many it has, each is claimed, fenced, leased, stored
and published for itself; only the write that stores one and the write that claims the next travel together.

Delivered twice, late or to several workers at once a token does no harm: the seat is a unique index in the store and
every later step compares the claim's fence.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from functools import lru_cache, partial
from typing import TypeVar

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
from domain.ports import ClaimMiss, Finish, Publication, Stage, Token
from domain.rebalance import Conflict, Outcome, Rebalance, decide
from tasks.bench import Bench, FrozenJob
from tasks.close_job import close_job_if_finished
from tasks.healing import note_healing
from tasks.inline_portfolio import decode_sent
from tasks.order_set import finish_of
from tasks.services import Rules, Services
from tasks.tokens import tokens_of

log = structlog.get_logger(__name__)

STOPPED = "worker_stopped"

_T = TypeVar("_T")


class HandBack(BaseException):
    """Raised by a signal into whatever is going on: this process ends, somebody else shall work the portfolio.

    No ``Exception``: it is nobody's failure, and no boundary may swallow it.
    """


class _End(Enum):
    """Why a slice ends though nobody was asked for another portfolio."""

    PASS_ON = auto()  # it had its share: the token goes round
    OUTAGE = auto()  # only probes run


_Next = Item | ClaimMiss | _End
Work = Callable[[Item, FrozenJob, Services], Finish]


def answered(item: Item, frozen: FrozenJob, services: Services) -> Finish:
    """The work on one portfolio: what it becomes, and what is told of it."""
    return finish_of(frozen.job, item.fence, _rebalance(item, frozen, services), frozen.snapshot)


def run_token(token: Token, services: Services, bench: Bench, work: Work = answered) -> None:
    """One Celery task: at most one slice. ``work`` is what is done with each portfolio.

    Raises:
        StoreUnavailable: nothing is lost; the lease and the steward bring back what is in hand.
    """
    if not bench.frozen.has_seat(token, services.clock.now()):
        return  # the job was given fewer seats
    end = _Slice(token, services, bench, work).run()
    if end is ClaimMiss.NOTHING_PENDING:
        bench.marks.flush()
        _close(token, services)
    elif end is _End.PASS_ON:
        _pass_on(token, services)


class _Slice:
    """One portfolio after the other on one seat, until its share is done or something speaks against another."""

    def __init__(self, token: Token, services: Services, bench: Bench, work: Work) -> None:
        self._token = token
        self._services = services
        self._bench = bench
        self._work = work
        self._begun = services.clock.now()
        self._owner = bench.next_owner()  # the name of the last claim that was asked for
        self._in_hand: Item | None = None
        self._taken = 0

    def run(self) -> ClaimMiss | _End:
        try:
            found: _Next = self._claim()
            while isinstance(found, Item):
                self._in_hand = found
                self._taken += 1
                found = self._one(found)
        except HandBack:
            self._hand_back()
            return _End.PASS_ON
        finally:
            self._bench.outgoing.flush()
        return found

    def _one(self, item: Item) -> _Next:
        services = self._services
        try:
            frozen = self._bench.frozen.get(item.job_id)
            told = {"correlation_id": frozen.job.correlation_id, "item": item.item_id}
            with structlog.contextvars.bound_contextvars(**told), services.tracing.span("portfolio", **told):
                finish = self._work(item, frozen, services)
                return self._finish(finish, item)
        except UpstreamUnavailable as outage:
            _give_back(item, outage, services)
            return _End.OUTAGE
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, it costs an attempt and is told
            _fail_attempt(item, error, services)  # matches nothing, where the answer is stored already
            self._hand_back_next(item)
            return _End.PASS_ON

    # -------------------------------------------------------------------------------------------- the store

    def _claim(self) -> Item | ClaimMiss:
        """The first one of the slice."""
        token = self._token
        return self._recognised(
            _patiently(
                lambda: self._services.jobs.claim(token.job_id, token.seat, self._owner),
                self._services.rules,
            )
        )

    def _stored(self, finish: Finish) -> tuple[bool, _Next]:
        """Store the answer and, in the same write, claim the next portfolio if the slice takes another."""
        jobs, rules, token = self._services.jobs, self._services.rules, self._token
        if not self._takes_another():
            return _patiently(lambda: jobs.finish(finish), rules), _End.PASS_ON
        self._owner = self._bench.next_owner()
        folded = _patiently(
            lambda: jobs.finish_and_claim(finish, token.job_id, token.seat, self._owner), rules
        )
        return folded.stored, self._recognised(folded.claimed)

    def _takes_another(self) -> bool:
        """Probes take one, so that an outage that is not over costs one; so does a token its seat was taken from."""
        rules = self._services.rules
        if self._taken >= rules.slice_portfolios or self._token.probe:
            return False
        now = self._services.clock.now()
        if now - self._begun >= timedelta(milliseconds=rules.slice_milliseconds):
            return False
        try:
            return self._bench.frozen.has_seat(self._token, now)
        except StoreUnavailable:
            return False  # what is in hand is worth waiting for the store, another portfolio is not

    def _recognised(self, claimed: Item | ClaimMiss) -> Item | ClaimMiss:
        """A claim whose reply was lost holds the seat under this very claim's name, whoever repeated it.

        That may have been the store's driver, without a word: so every miss is looked into. There are few.
        """
        return claimed if isinstance(claimed, Item) else self._own() or claimed

    def _own(self) -> Item | None:
        jobs, token = self._services.jobs, self._token
        holder = jobs.busy_seats(token.job_id).get(token.seat)
        item = None if holder is None else jobs.get_item(holder)
        if item is None or item.state is not ItemState.RUNNING or item.owner != self._owner:
            return None
        return item

    # -------------------------------------------------------------------------------------------- its end

    def _finish(self, finish: Finish, item: Item) -> _Next:
        services = self._services
        watch = services.meter.watch()
        stored, found = self._stored(finish)
        watch.lap(Stage.STORE)
        if not stored:
            note_healing(services, item.job_id, "zombies")
            log.warning("item.zombie", item=item.item_id, fence=item.fence)
            return found
        services.meter.ended(finish.state)
        if self._token.probe and services.jobs.resume_job(item.job_id):
            _fill_seats(self._token, services.jobs.get_job(item.job_id), services)
        if finish.order_set is not None:
            told = Publication(item.item_id, item.job_id, finish.order_set)
            self._bench.outgoing.add(told, is_last=not isinstance(found, Item))
        return found

    def _hand_back(self) -> None:
        """Of a process that is told to end: whatever it holds, a claim that was on its way included.

        A result that was stored just before stays: the item is no longer running.
        """
        if self._in_hand is not None:
            self._give_up(self._in_hand)
        self._hand_back_next(self._in_hand)

    def _hand_back_next(self, held: Item | None) -> None:
        """What was claimed last, if that is not what is held."""
        if held is None or held.owner != self._owner:
            under_way = self._own()
            if under_way is not None:
                self._give_up(under_way)

    def _give_up(self, item: Item) -> None:
        if self._services.jobs.give_back(item.item_id, item.fence, STOPPED, delay_seconds=0):
            log.warning("item.handed_back", item=item.item_id)


def _patiently(write: Callable[[], _T], rules: Rules) -> _T:
    """The store's answer. While it is out it is asked again, as long as the lease surely lasts.

    The work is done, or the seat is ours: only the write is missing.

    Raises:
        StoreUnavailable: it stayed out.
    """
    with suppress(StoreUnavailable):
        return write()
    for attempt in stamina.retry_context(
        on=StoreUnavailable, attempts=None, timeout=rules.lease_seconds / 2, wait_max=5.0
    ):
        with attempt:
            return write()
    raise AssertionError("unreachable: the last attempt raises")  # pragma: no cover


def _close(token: Token, services: Services) -> None:
    try:
        close_job_if_finished(token.job_id, services)
    except NotFound:
        log.warning("token.stray", job=token.job_id, seat=token.seat)


# ------------------------------------------------------------------------------------------------ the answer


def _rebalance(item: Item, frozen: FrozenJob, services: Services) -> Rebalance:
    watch = services.meter.watch()
    sent = decode_sent(item.inline)
    portfolio = sent.portfolio or services.accounting.portfolio(item.portfolio_id)
    if portfolio is None and services.directory.name(item.portfolio_id) is None:
        return _unknown_portfolio(item)
    watch.lap(Stage.FETCH)
    rebalance = decide(
        item.portfolio_id,
        portfolio,
        frozen.terms_of(sent.policy),
        services.solver,
        _stated_value(services.rules),
        solved=partial(watch.lap, Stage.SOLVE),
    )
    # Only what has a proof was solved, and then verified.
    watch.lap(Stage.SOLVE if rebalance.proof is None else Stage.VERIFY)
    services.meter.decided(rebalance)
    return rebalance


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


def _give_back(item: Item, outage: Unavailable, services: Services) -> None:
    rules = services.rules
    delay = min(rules.outage_delay_seconds * 2.0**item.given_back, rules.max_delay_seconds)
    if services.jobs.give_back(item.item_id, item.fence, str(outage), delay_seconds=delay):
        services.meter.given_back(outage.service)
        services.jobs.wait_job(item.job_id, str(outage), rules.outage_delay_seconds)
    log.warning("item.given_back", item=item.item_id, service=outage.service, cause=outage.cause)


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
    services.meter.attempt_failed(reason)
    if state is ItemState.FAILED:
        services.meter.ended(state)
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
    _send(tokens_of(job, (seat for seat in job.seats if seat != probe.seat)), services)


def _pass_on(token: Token, services: Services) -> None:
    """The seat is free again: the next token for it."""
    _send([replace(token, probe=False)], services)


def _send(tokens: Sequence[Token], services: Services) -> None:
    """What cannot be sent the steward sends, once it notices."""
    try:
        services.tokens.send(tokens)
    except BrokerUnavailable as error:
        log.warning("tokens.not_sent", tokens=len(tokens), error=str(error))
