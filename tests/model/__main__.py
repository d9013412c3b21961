"""Explore worlds by hand: ``python -m tests.model --config L1``; see ``--help``.

    python -m tests.model                          # the small worlds, as the tests explore them
    python -m tests.model --config L1 --config L4  # larger ones, by name ("--list" tells them)
    python -m tests.model --mutations              # every planted bug, and how it is caught
    python -m tests.model --mutation "4 publish before store"   # one bug, and the shortest way to see it

Prints a Markdown table. Exit status 1 when a world is not clean or a mutation ends otherwise than its table says.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.model.checker import Verdict, check
from tests.model.configurations import LARGE, SMALL
from tests.model.model import JobModel
from tests.model.mutations import CAUGHT, HARMLESS, Mutation
from tests.model.states import Configuration, State


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments name; the exit status says whether all was as expected."""
    asked = _parse(arguments)
    if asked.list:
        for config in (*SMALL.values(), *LARGE.values()):
            _say(f"{config.name:34} {sizes(config)}")
        return 0
    mutations = {mutation.what: mutation for mutation in (*CAUGHT, *HARMLESS)}
    if asked.mutations or asked.mutation:
        return _try_mutations([mutations[what] for what in asked.mutation or mutations], asked.limit)
    return _explore([{**SMALL, **LARGE}[name] for name in asked.config or SMALL], asked.limit)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.model", description="Explore the model of a job's life."
    )
    parser.add_argument("--config", action="append", metavar="NAME", help="a world, small or large")
    parser.add_argument(
        "--mutation", action="append", metavar="WHAT", help="a planted bug; its trace is shown"
    )
    parser.add_argument("--mutations", action="store_true", help="all planted bugs")
    parser.add_argument("--list", action="store_true", help="name the worlds")
    parser.add_argument("--limit", type=int, default=5_000_000, help="give up after so many states")
    return parser.parse_args(arguments)


def _explore(configs: Sequence[Configuration], limit: int) -> int:
    _say("| world | sizes | states | edges | seconds | found |")
    _say("|---|---|---|---|---|---|")
    clean = True
    for config in configs:
        verdict, seconds = _timed(config, limit)
        clean = clean and verdict.clean
        found = verdict.problem or ("nothing" if verdict.complete else "nothing before the limit")
        numbers = f"{verdict.states:,} | {verdict.edges:,} | {seconds:.1f}"
        _say(f"| {config.name} | {sizes(config)} | {numbers} | {found} |")
        _show_trace(verdict)
    return 0 if clean else 1


def _try_mutations(mutations: Sequence[Mutation], limit: int) -> int:
    _say("| mutation | world | caught as | steps | states |")
    _say("|---|---|---|---|---|")
    expected = True
    for mutation in mutations:
        verdict, _ = _timed(mutation.config, limit)
        expected = expected and mutation.is_expected(verdict)
        found = verdict.problem or "harmless"
        steps = len(verdict.trace) if verdict.problem else "-"
        _say(f"| {mutation.what} | {mutation.world} | {found} | {steps} | {verdict.states:,} |")
        if len(mutations) == 1:
            _show_trace(verdict)
    return 0 if expected else 1


def _timed(config: Configuration, limit: int) -> tuple[Verdict[State], float]:
    started = time.process_time()
    verdict = check(JobModel(config), limit=limit)
    return verdict, time.process_time() - started


def sizes(config: Configuration) -> str:
    """P seats, N portfolios, W workers, S stewards, A attempts, and what may happen."""
    happens = [f"{fault}" for fault in sorted(config.faults)]
    happens += [name for name in ("outages", "poison") if getattr(config, name)]
    budgets = ("cancels", "deadlines", "retries", "forgets")
    happens += [f"{name} {getattr(config, name)}" for name in budgets if getattr(config, name)]
    size = f"P{config.parallelism} N{config.n} W{config.workers} S{config.stewards} A{config.attempts}"
    return f"{size}: {', '.join(happens) or 'no fault'}"


def _show_trace(verdict: Verdict[State]) -> None:
    for number, name in enumerate(verdict.trace, start=1):
        _say(f"  {number:3} {name}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
