"""One redis-py client a process, from the same URLs that kombu takes."""

from urllib.parse import parse_qs, urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def redis_client(url: str, *, patience_seconds: float | None = None) -> Redis:
    """Accepts ``redis://``, ``rediss://``, ``unix://`` and kombu's ``redis+socket:///path?virtual_host=0``.

    RESP2 on purpose: replies keep the shape every server from Redis 7 on gives.

    Args:
        url: of the server.
        patience_seconds: give up after so long, and do not try again; else as work in the background may.
    """
    url = _redis_py_url(url)
    tcp_only = {} if url.startswith("unix:") else {"socket_keepalive": True}
    hurried = {} if patience_seconds is None else {"retry": Retry(NoBackoff(), 0)}
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=patience_seconds or 10,
        socket_connect_timeout=patience_seconds or 5,
        health_check_interval=10,
        client_name="trimtab",
        **tcp_only,
        **hurried,
    )


def is_redis(url: str) -> bool:
    return urlsplit(url).scheme in {"redis", "rediss", "unix", "redis+socket"}


def _redis_py_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "redis+socket":
        return url
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0]
    return f"unix://{parts.path}?db={database}"
