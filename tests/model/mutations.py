"""Planted bugs: one guard off, or one row of a move table changed. Each must be caught, or be named harmless.

The bugs numbered 1..22 are those of docs/job-protocol.md's first model; the others are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from domain.item import ItemState
from domain.job import JobState
from tests.model.checker import Verdict
from tests.model.configurations import SMALL
from tests.model.states import Configuration, Moves, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A bug and the smallest world that shows it.

    Args:
        what: the bug, in words.
        world: a configuration of the small table.
        off: guards of the protocol that are turned off.
        item_sources, item_targets, job_sources: rows of the move tables that are replaced.
        caught: the promise that is broken, as properties.py or checker.py names it; "" for a harmless one.
    """

    what: str
    world: str
    off: tuple[str, ...] = ()
    item_sources: Mapping[str, frozenset[ItemState]] = field(default_factory=dict)
    item_targets: Mapping[str, frozenset[ItemState]] = field(default_factory=dict)
    job_sources: Mapping[str, frozenset[JobState]] = field(default_factory=dict)
    caught: str = ""

    @property
    def config(self) -> Configuration:
        world, table = SMALL[self.world], Moves()
        moves = replace(
            table,
            item_sources={**table.item_sources, **self.item_sources},
            item_targets={**table.item_targets, **self.item_targets},
            job_sources={**table.job_sources, **self.job_sources},
        )
        protocol = replace(world.protocol, **dict.fromkeys(self.off, False))
        return replace(world, protocol=protocol, moves=moves)

    def is_expected(self, verdict: Verdict[State]) -> bool:
        """Whether it was caught as the promise it breaks, or (harmless) explored to the end and found clean."""
        if not self.caught:
            return verdict.clean
        return verdict.problem is not None and verdict.problem.startswith(self.caught)


_TABLE = Moves()

CAUGHT = (
    Mutation(
        what="1 claim does not need a free seat",
        world="faults, two workers on one seat",
        off=("claim_needs_a_free_seat",),
        caught="bound",
    ),
    Mutation(
        what="2 finish compares the state but not the fence",
        world="faults",
        off=("finish_compares_the_fence",),
        caught="lease",
    ),
    Mutation(
        what="3 finish compares nothing but the id",
        world="faults",
        off=("finish_compares_the_fence", "finish_compares_the_state"),
        caught="finish may not move an item",
    ),
    Mutation(
        what="4 publish before store",
        world="faults",
        off=("store_before_publish",),
        caught="published",
    ),
    Mutation(
        what="5 outbox marked sent before the publish",
        world="faults",
        off=("publish_before_mark",),
        caught="sent",
    ),
    Mutation(
        what="6 result and outbox in two writes",
        world="faults",
        off=("result_and_outbox_in_one_write",),
        caught="liveness",
    ),
    Mutation(
        what="7 the steward does not publish what is due",
        world="faults",
        off=("steward_publishes",),
        caught="liveness",
    ),
    Mutation(
        what="8 expiry compares the state but not the fence",
        world="cancel, two stewards",
        off=("expire_compares_the_fence",),
        caught="lease",
    ),
    Mutation(
        what="9 close overlooks what runs",
        world="faults, two portfolios",
        off=("close_counts_what_runs", "close_expects_all_n"),
        caught="closed",
    ),
    Mutation(
        what="10 close does not compare the gen",
        world="retry",
        off=("close_compares_the_gen",),
        caught="closed",
    ),
    Mutation(
        what="11 reopen does not compare the gen",
        world="retry",
        off=("reopen_compares_the_gen",),
        caught="absorbing",
    ),
    Mutation(
        what="12 retry re-opens the job before its items",
        world="retry, two portfolios",
        off=("reopen_items_before_the_job",),
        caught="retry",
    ),
    Mutation(
        what="13 claim takes a running item too",
        world="faults, two seats",
        item_sources={"claim": _TABLE.item_sources["claim"] | {ItemState.RUNNING}},
        caught="lease",
    ),
    Mutation(
        what="14 the steward sends no token again",
        world="faults",
        off=("steward_sends_tokens",),
        caught="liveness",
    ),
    Mutation(
        what="15 claim does not count the attempt",
        world="poison",
        off=("claim_counts_the_attempt",),
        caught="liveness",
    ),
    Mutation(
        what="16 give-back keeps the attempt",
        world="outage",
        off=("give_back_returns_the_attempt",),
        caught="attempts",
    ),
    Mutation(
        what="17 expansion overwrites what is there",
        world="faults, two stewards",
        off=("expansion_keeps_what_is_there",),
        caught="write 0 may not move an item",
    ),
    Mutation(
        what="18 start does not compare the state",
        world="cancel, two stewards",
        job_sources={"start": frozenset(JobState)},
        caught="stop",
    ),
    Mutation(
        what="19 sweep does not compare the gen",
        world="deadline, retry",
        off=("sweep_compares_the_gen",),
        caught="sweep",
    ),
    Mutation(
        what="20 expiry frees no seat",
        world="faults",
        off=("expire_frees_the_seat",),
        caught="seat",
    ),
    Mutation(
        what="21 cancel sweeps without completing the expansion",
        world="cancel",
        off=("expansion_before_sweep",),
        caught="liveness",
    ),
    Mutation(
        what="22 claim by id does not compare the fence of its page",
        world="claim by id",
        off=("claim_compares_the_fence",),
        caught="lease",
    ),
    # -- of our own protocol
    Mutation(
        what="a probe resumes the job before it has an answer",
        world="outage",
        off=("resume_after_the_finish",),
        caught="resume",
    ),
    Mutation(
        what="no probes",
        world="outage",
        off=("steward_probes",),
        caught="liveness",
    ),
    Mutation(
        what="the first tokens are not sent",
        world="calm",
        off=("first_tokens_are_sent",),
        caught="liveness",
    ),
    Mutation(
        what="the worker does not pass its token on",
        world="calm, marks in batches",
        off=("token_is_passed_on",),
        caught="liveness",
    ),
    Mutation(
        what="nobody sends tokens after a retry",
        world="calm, retried",
        off=("retry_sends_tokens",),
        caught="liveness",
    ),
    Mutation(
        what="finish compares the fence but not the state",
        world="faults",
        off=("finish_compares_the_state",),
        caught="finish may not move an item",
    ),
    Mutation(
        what="an error does not compare the fence",
        world="faults",
        off=("error_compares_the_fence",),
        caught="lease",
    ),
    Mutation(
        what="a give-back does not compare the fence",
        world="outage, faults",
        off=("give_back_compares_the_fence",),
        caught="lease",
    ),
    Mutation(
        what="a zombie publishes what was not stored",
        world="faults",
        off=("publish_only_what_was_stored",),
        caught="published",
    ),
    Mutation(
        what="a zombie in a slice publishes what was not stored",
        world="slices, faults",
        off=("publish_only_what_was_stored",),
        caught="published",
    ),
    Mutation(
        what="a slice claims its next one without a free seat",
        world="slices, two workers on one seat",
        off=("claim_needs_a_free_seat",),
        caught="bound",
    ),
    Mutation(
        what="the finish of a slice compares the state but not the fence",
        world="slices, two workers on one seat",
        off=("finish_compares_the_fence",),
        caught="lease",
    ),
    Mutation(
        what="sweep takes running items too",
        world="cancel",
        item_sources={"sweep": _TABLE.item_sources["sweep"] | {ItemState.RUNNING}},
        caught="seat",
    ),
    Mutation(
        what="sweep takes failed items too",
        world="retry, cancel",
        item_sources={"sweep": _TABLE.item_sources["sweep"] | {ItemState.FAILED}},
        caught="absorbing",
    ),
    Mutation(
        what="no lease ever expires",
        world="faults",
        off=("steward_expires",),
        caught="liveness",
    ),
    Mutation(
        what="nobody wakes delayed items",
        world="outage",
        off=("steward_wakes",),
        caught="liveness",
    ),
    Mutation(
        what="only workers close",
        world="faults",
        off=("steward_closes",),
        caught="liveness",
    ),
    Mutation(
        what="close trusts the items there are",
        world="cancel",
        off=("close_expects_all_n", "expansion_before_sweep"),
        caught="closed",
    ),
    Mutation(
        what="the job starts before its items are written",
        world="faults, two portfolios",
        off=("expansion_before_start",),
        caught="liveness",
    ),
    Mutation(
        what="an outage puts a stopping job back to waiting",
        world="deadline, outage, retry",
        job_sources={"wait": _TABLE.job_sources["wait"] | {JobState.STOPPING}},
        caught="stop",
    ),
    Mutation(
        what="the deadline outlives the retry",
        world="deadline, retry",
        off=("retry_renews_the_deadline",),
        caught="deadline",
    ),
    Mutation(
        what="a stop for the deadline does not compare the gen",
        world="deadline, retry",
        off=("deadline_compares_the_gen",),
        caught="deadline",
    ),
    Mutation(
        what="reopened although never frozen",
        world="deadline, retry",
        off=("retry_accepts_again_what_was_not_frozen",),
        caught="frozen",
    ),
    Mutation(
        what="reaccept does not compare the gen",
        world="never frozen, retried twice",
        off=("reaccept_compares_the_gen",),
        caught="retry",
    ),
    Mutation(
        what="a job is accepted again before its items are put back",
        world="deadline, retry",
        off=("reaccept_after_the_items",),
        caught="retry",
    ),
    Mutation(
        what="the list of a retry is read without its gen",
        world="retry of chosen portfolios",
        off=("reopen_takes_the_list_of_its_gen",),
        caught="retry",
    ),
    Mutation(
        what="a job stopped while a retry puts its items back is swept first",
        world="retry, cancel",
        off=("reopen_before_sweep",),
        caught="liveness",
    ),
    Mutation(
        what="the close of such a job does not wait for them",
        world="retry, cancel",
        off=("close_waits_for_the_reopened",),
        caught="retry",
    ),
)

HARMLESS = (
    Mutation(
        what="the other seats are left to the steward after an outage",
        world="outage",
        off=("resume_fills_the_seats",),
    ),
    Mutation(
        what="the token is passed on during an outage", world="outage", off=("give_back_ends_the_token",)
    ),
    Mutation(
        what="a give-back does not make the job wait", world="outage", off=("give_back_makes_the_job_wait",)
    ),
    Mutation(
        what="a give-back goes straight to pending",
        world="outage",
        item_targets={"give_back": frozenset({ItemState.PENDING})},
    ),
    Mutation(
        what="a repeated finish is taken for a zombie", world="faults", off=("repeated_finish_is_recognised",)
    ),
    Mutation(
        what="a claim whose reply was lost is left to its lease",
        world="slices, faults",
        off=("repeated_fold_is_recognised",),
    ),
    Mutation(what="workers leave the publishing to the steward", world="faults", off=("worker_publishes",)),
    Mutation(what="workers leave the closing to the steward", world="faults", off=("worker_closes",)),
    Mutation(what="workers leave the tokens to the steward", world="faults", off=("token_is_passed_on",)),
    Mutation(what="the steward sends the first tokens late", world="faults", off=("first_tokens_are_sent",)),
    Mutation(
        what="a lease that ran out in a stopping job goes by delayed",
        world="cancel",
        off=("expire_of_a_stopping_job_ends_the_item",),
    ),
    Mutation(
        what="close overlooks what runs, but expects all n",
        world="faults, two portfolios",
        off=("close_counts_what_runs",),
    ),
    Mutation(
        what="a job is retried while it runs",
        world="retry, two portfolios",
        job_sources={"retry": _TABLE.job_sources["retry"] | {JobState.RUNNING}},
    ),
)
