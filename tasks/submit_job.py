"""Accept a rebalance request: the one door, behind HTTP, the request stream, the CLI and the schedule."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice, repeat
from typing import Any

from domain.contradictions import Contradiction, Contradictions, ModelWeights
from domain.errors import Busy, Invalid, KeyReused, NotFound
from domain.ids import JobId, ModelId, PortfolioId, SecurityId
from domain.job import Job
from domain.model import InvestmentModel
from domain.portfolio import Portfolio
from domain.ports import Member
from tasks.deadline import deadline_of
from tasks.inline_portfolio import encode_policy, encode_sent
from tasks.policies import with_keys
from tasks.services import Rules, Services

CONTRADICTION = "contradiction"
_FAULTS_TOLD = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitJob:
    """A request whose shape was already checked. ``request_sha256`` is over its canonical bytes.

    Neither ``portfolio_ids`` nor ``portfolios``: every portfolio that follows the model.
    ``policy`` holds only the keys the request sets; they stand over the model's own. Those of one portfolio, in
    ``portfolio_policies``, stand over both.
    """

    key: str
    request_sha256: str
    model_id: ModelId
    portfolio_ids: tuple[PortfolioId, ...] | None = None
    portfolios: tuple[Portfolio, ...] | None = None
    prices: Mapping[SecurityId, Decimal] | None = None
    policy: Mapping[str, Any] | None = None
    portfolio_policies: Mapping[PortfolioId, Mapping[str, Any]] = field(default_factory=dict)
    parallelism: int | None = None
    dry_run: bool = False
    deadline: datetime | None = None
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """``created`` is False when the key was known: the job is the one stored before."""

    job: Job
    created: bool


def job_id_for(key: str) -> JobId:
    """The job's id follows from the idempotency key, so a repeated key can only ever meet the same job."""
    return JobId(hashlib.sha256(key.encode()).hexdigest()[:24])


def submit_job(command: SubmitJob, services: Services) -> Submitted:
    """Store the job; nothing else happens here, so the answer is quick and a repeat is harmless.

    The list of portfolios is stored under its hash before the job names it: a crash between the two leaves
    an unused list, never a job without portfolios.

    Raises:
        NotFound: the model.
        Invalid: an empty model, no portfolios, too many, duplicate ids, parallelism or deadline out of range, a
            policy that breaks a rule, or one that no price can satisfy (code ``contradiction``).
        KeyReused: the key was used with another request.
        Busy: there is too much open work. Asked last: what can never be taken is refused for what it is, and a
            known key is always answered. Requests of one moment may pass the limit together.
        StoreUnavailable: nothing was accepted.
    """
    known = _known_job(command, services)
    if known is not None:
        return Submitted(known, created=False)
    model, ids = require_acceptable(command, services)
    members_sha256 = _fingerprint(_members(command, ids))
    job = _job(command, model, members_sha256, len(ids), services)
    _require_room(job, services)
    services.jobs.put_members(members_sha256, _members(command, ids))
    stored = services.jobs.insert_job(job)
    services.meter.job_accepted()
    return Submitted(_same_request(stored, command), created=True)


def require_acceptable(
    command: SubmitJob, services: Services
) -> tuple[InvestmentModel, Sequence[PortfolioId]]:
    """What can be refused as the model stands: the model, and the portfolios to rebalance to it.

    Raises:
        NotFound, Invalid: as `submit_job`.
        StoreUnavailable: the model could not be read.
    """
    model = services.models.get_model(command.model_id)
    model.require_targets()
    ids = _portfolio_ids(command, model)
    _require_portfolios(ids, model, services.rules)
    _require_policies(command, ids, model)
    return model, ids


def _known_job(command: SubmitJob, services: Services) -> Job | None:
    try:
        stored = services.jobs.get_job(job_id_for(command.key))
    except NotFound:
        return None
    return _same_request(stored, command)


def _same_request(stored: Job, command: SubmitJob) -> Job:
    if stored.request_sha256 != command.request_sha256:
        raise KeyReused(command.key)
    return stored


def _job(command: SubmitJob, model: InvestmentModel, members_sha256: str, n: int, services: Services) -> Job:
    return Job(
        job_id=job_id_for(command.key),
        key=command.key,
        request_sha256=command.request_sha256,
        model=replace(model, portfolios=()),
        policy=with_keys(model.policy, command.policy or {}, "policy"),
        parallelism=_parallelism(command.parallelism, services.rules),
        n=n,
        members_sha256=members_sha256,
        inline_prices=command.prices,
        dry_run=command.dry_run,
        deadline=deadline_of(command.deadline, services),
        correlation_id=command.correlation_id,
        trace_parent=services.tracing.parent(),
    )


def _portfolio_ids(command: SubmitJob, model: InvestmentModel) -> Sequence[PortfolioId]:
    if command.portfolios is not None:
        return [portfolio.portfolio_id for portfolio in command.portfolios]
    return model.portfolios if command.portfolio_ids is None else command.portfolio_ids


def _members(command: SubmitJob, ids: Sequence[PortfolioId]) -> Iterator[Member]:
    """One by one: a list of a million, and their data written out, would be several times the request."""
    portfolios: Iterable[Portfolio | None] = (
        repeat(None) if command.portfolios is None else command.portfolios
    )
    policies = command.portfolio_policies
    for portfolio_id, portfolio in zip(ids, portfolios, strict=False):  # strict=False: None without end
        policy = encode_policy(policies[portfolio_id]) if portfolio_id in policies else b""
        yield Member(portfolio_id=portfolio_id, inline=encode_sent(portfolio_id, portfolio, policy))


def _require_portfolios(ids: Sequence[PortfolioId], model: InvestmentModel, rules: Rules) -> None:
    if not ids:
        raise Invalid(
            f"no portfolios: model {model.model_id!r} has none, and the request names none",
            code="no_portfolios",
        )
    if len(ids) > rules.max_portfolios:
        raise Invalid(
            f"{len(ids)} portfolios in one job; at most {rules.max_portfolios} are accepted",
            code="too_many_portfolios",
        )
    if len(set(ids)) < len(ids):
        doubled = sorted(portfolio_id for portfolio_id, times in Counter(ids).items() if times > 1)
        raise Invalid(
            f"portfolios named more than once: {', '.join(doubled[:10])}", code="duplicate_portfolio"
        )


def _require_policies(command: SubmitJob, ids: Sequence[PortfolioId], model: InvestmentModel) -> None:
    """Each policy by the domain's rules, and none that no price can satisfy."""
    strangers = sorted(command.portfolio_policies.keys() - set(ids))
    if strangers:
        raise Invalid(
            f"{len(strangers)} policies are of portfolios that this request does not rebalance",
            details=tuple(
                {
                    "field": f"portfolio_policies.{each}",
                    "message": "is none of the portfolios of this request",
                }
                for each in strangers[:_FAULTS_TOLD]
            ),
        )
    faults = list(islice(_contradictions(command, ids, model), _FAULTS_TOLD))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise Invalid(
            f"no price can satisfy this: {faults[0]['message']}{more}",
            code=CONTRADICTION,
            details=tuple(faults),
        )


def _contradictions(
    command: SubmitJob, ids: Sequence[PortfolioId], model: InvestmentModel
) -> Iterator[Mapping[str, str]]:
    """Of each policy that is there, told once; of each portfolio that came with the request."""
    policy = with_keys(model.policy, command.policy or {}, "policy")
    weights = ModelWeights(model.positions)
    known = {b"": Contradictions(weights, policy)}
    if len(command.portfolio_policies) < len(ids):
        yield from _told(known[b""].of_every_portfolio, "policy")
    portfolios = command.portfolios or ()
    if not command.portfolio_policies and (policy.is_plain or not portfolios):
        return  # nearly always, and then nothing is asked of a million portfolios one by one
    for portfolio_id, portfolio, place in _places(ids, portfolios):
        changes = command.portfolio_policies.get(portfolio_id, {})
        key = encode_policy(changes) if changes else b""
        if key not in known:
            known[key] = Contradictions(weights, with_keys(policy, changes, place))
            yield from _told(known[key].of_every_portfolio, place)
        if portfolio is not None and not known[key].of_every_portfolio:
            yield from _told(known[key].of(portfolio), place)


def _places(
    ids: Sequence[PortfolioId], portfolios: Sequence[Portfolio]
) -> Iterator[tuple[PortfolioId, Portfolio | None, str]]:
    """Each portfolio, and where its policy stands in the request."""
    if portfolios:
        for index, portfolio in enumerate(portfolios):
            yield portfolio.portfolio_id, portfolio, f"portfolios[{index}].policy"
    else:
        for portfolio_id in ids:
            yield portfolio_id, None, f"portfolio_policies.{portfolio_id}"


def _told(contradictions: Iterable[Contradiction], place: str) -> Iterator[Mapping[str, str]]:
    return ({"field": f"{place}.{each.rule}", "message": each.message} for each in contradictions)


def _require_room(job: Job, services: Services) -> None:
    """Limits on what is open, from the one most likely to be met. A job larger than the limit may run alone."""
    rules = services.rules
    work = services.jobs.open_work(rules.max_open_jobs)
    portfolios = work.portfolios + job.n
    for over, code, message in (
        (
            work.jobs >= rules.max_open_jobs,
            "too_many_jobs",
            f"{work.jobs} jobs are open, and no more than {rules.max_open_jobs} may be",
        ),
        (
            work.jobs > 0 and portfolios > rules.max_open_portfolios,
            "too_many_open_portfolios",
            f"{portfolios} portfolios would be open, and no more than {rules.max_open_portfolios} may be",
        ),
        (
            work.oldest_seconds > rules.max_queue_age_seconds,
            "queue_too_old",
            f"the oldest job is open for {work.oldest_seconds:.0f} s, and {rules.max_queue_age_seconds:g} s is the limit",
        ),
    ):
        if over:
            services.meter.job_refused(code)
            raise Busy(message, code=code, retry_after_seconds=rules.busy_retry_seconds)


def _fingerprint(members: Iterable[Member]) -> str:
    digest = hashlib.sha256()
    for member in members:
        digest.update(member.portfolio_id.encode() + b"\0")
        digest.update(hashlib.sha256(member.inline or b"").digest())
    return digest.hexdigest()


def _parallelism(asked: int | None, rules: Rules) -> int:
    if asked is None:
        return rules.default_parallelism
    if not 1 <= asked <= rules.max_parallelism:
        raise Invalid(
            f"parallelism {asked} is not within 1..{rules.max_parallelism}",
            details=({"field": "parallelism", "message": f"must be within 1..{rules.max_parallelism}"},),
        )
    return asked
