"""What to do, in a sentence: for the state a job is in, and for what a portfolio failed by."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.item import ItemState
from domain.job import Job, JobState

_STATES: Final[Mapping[JobState, str]] = MappingProxyType(
    {
        JobState.ACCEPTED: "A steward opens it within a second. If it stays like this, none runs: start trimtab steward.",
        JobState.RUNNING: "If nothing moves, no worker answers: trimtab doctor says so; start trimtab worker.",
        JobState.WAITING: "Nothing is lost and no attempt is burned: one portfolio tries now and then. "
        "Mend what the reason names; the job then goes on by itself.",
        JobState.STOPPING: "What is in work ends, the rest is swept. Nothing to do.",
        JobState.REOPENING: "Failed portfolios are being put back. Nothing to do.",
        JobState.DONE_WITH_ERRORS: "Look at the causes below, mend what they name, then retry.",
    }
)
_OPENING_FAILS: Final = (
    "It is tried again every few seconds. Mend what the reason names; it then goes on by itself."
)

_CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "upstream_fault": "A service answered, or a file holds, what cannot be used. "
        "Mend what the reason names, of a file that line, then retry.",
        "upstream_unavailable": "A service was out until the deadline. Retry once it is back.",
        "store_unavailable": "The store was out. Retry once it is back.",
        "deadline_passed": "The job had too little time or too few seats. Retry gives it a new deadline.",
        "poison": "This portfolio ended every worker that touched it. Look at its data and the workers' logs before a retry.",
        "solver_timeout": "The solver ran out of time. Look whether the model leaves it a choice, then retry.",
        "solver_failed": "The solver gave no answer that holds. Retry; if it comes back, report it as a bug.",
        "internal_error": "A bug. The log has its story under item.attempt_failed: report it.",
    }
)
_OUTCOMES: Final[Mapping[ItemState, str]] = MappingProxyType(
    {
        ItemState.REJECTED: "The portfolio's data breaks a rule: mend the data or the policy, then post a new job.",
        ItemState.INFEASIBLE: "No answer satisfies the model: look at the conflicts, mend the model, then post a new job.",
        ItemState.FAILED: "Look at a portfolio of this cause, mend what it names, then retry.",
    }
)


def for_job(job: Job) -> str:
    """What to do about a job; empty where there is nothing."""
    if job.state is JobState.ACCEPTED and job.reason is not None:
        return _OPENING_FAILS
    return _STATES.get(job.state, "")


def for_failure(state: ItemState, cause: str) -> str:
    """What to do about portfolios that ended like this; empty where there is nothing."""
    return (_CAUSES.get(cause) if state is ItemState.FAILED else None) or _OUTCOMES.get(state, "")
