"""``python -m tests.fuzz --count 10000 --seed 1``: random portfolios over all policies; status 1 when anything is wrong."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context

from tests.fuzz.batch import findings
from tests.fuzz.judge import BAD, Finding

_A_BATCH = 50
_SHOWN = 20


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="how many portfolios")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first one: to see a case again")
    parser.add_argument("--processes", type=int, default=1)
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    end = asked.first + asked.count
    batches = [
        (asked.seed, range(start, min(start + _A_BATCH, end))) for start in range(asked.first, end, _A_BATCH)
    ]
    if asked.processes > 1:
        # Unlike a Pool this one says so when a process of it dies, where a Pool would wait for ever.
        with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
            bad = _report(chain.from_iterable(pool.map(findings, batches)), asked.seed)
    else:
        bad = _report(chain.from_iterable(map(findings, batches)), asked.seed)
    _say(f"{asked.count} portfolios of seed {asked.seed} in {time.monotonic() - started:.0f} s")
    return 1 if bad else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _report(found: Iterable[tuple[int, Finding]], seed: int) -> int:
    """Print what is wrong as it is found, and the counts at the end; how much is wrong."""
    counts: Counter[str] = Counter(dict.fromkeys(BAD, 0))
    for number, finding in found:
        counts[finding.what] += 1
        if finding.what in BAD and sum(counts[each] for each in BAD) <= _SHOWN:
            _say(f"--seed {seed} --first {number} --count 1: {finding.what}: {finding.said}")
    for what, count in sorted(counts.items(), key=lambda each: (each[0] not in BAD, each[0])):
        _say(f"{count:8,}  {what}")
    return sum(counts[each] for each in BAD)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
