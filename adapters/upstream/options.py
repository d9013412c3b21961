"""How an upstream is called, as plain values. Read from settings by whoever wires; nothing here reads them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """All times are seconds.

    A call is tried ``1 + retries`` times, with ``retry_wait``, then twice that, and so on between the tries,
    each plus a random 0 to ``retry_jitter``. No new try begins ``retry_total`` after the first one began.
    ``answer_total`` bounds one try as a whole: the ``read`` time-out starts anew with every byte that drips in.
    ``max_bytes`` bounds an answer's body. ``keepalive`` must be shorter than the upstream's own (uvicorn: 5 s),
    or requests race with connections being closed. ``bulk_age`` lets portfolios come from pages of all balances that
    are no older than this (0: each is asked for by itself). ``ca_file`` replaces the usual certificate authorities,
    ``cert_file`` is shown to services that ask who calls, with its key in ``key_file`` where it stands apart.
    """

    connect: float = 2.0
    read: float = 10.0
    write: float = 5.0
    pool: float = 5.0
    answer_total: float = 30.0
    retries: int = 3
    retry_wait: float = 1.0
    retry_jitter: float = 0.5
    retry_total: float = 45.0
    breaker_failures: int = 5
    breaker_open: float = 60.0
    pool_size: int = 8
    keepalive: float = 4.0
    bulk_age: float = 0.0
    max_bytes: int = 64 * 1024 * 1024
    verify_tls: bool = True
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    correlation_header: str = "X-Correlation-ID"
    user_agent: str = "trimtab"
