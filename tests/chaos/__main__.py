"""``make chaos KILLS=300 PORTFOLIOS=1000 SEED=1``: kill everything at random, and hold the end against the promises.

The last line on standard output is the report as JSON. Status 0 only when every promise held.
"""

import argparse
import json
import sys

from tests.chaos.run import Options, run


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="processes to kill; they end with the job")
    parser.add_argument("--portfolios", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the book and of what is killed when")
    parser.add_argument("--seconds", type=float, default=1800.0, help="no kill after this long")
    parser.add_argument("--slice", type=int, default=1, help="portfolios a token, at most")
    parser.add_argument(
        "--store",
        default="sqlite",
        help="sqlite; mongodb: a server of our own, killed like the rest; or a mongodb:// URL, which is left alone",
    )
    return Options(**vars(parser.parse_args()))


def main() -> int:
    report = run(_options(), tell=lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    print(json.dumps(report.document()), flush=True)  # noqa: T201 - the answer a program reads
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
