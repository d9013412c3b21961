"""Short looks at what others run, for `doctor` and the API's health. Each answers in words, or raises."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from celery import Celery

from adapters.upstream.options import HttpOptions
from domain.errors import Unavailable

WORKERS_ANSWER_SECONDS = 2.0


def look_at_workers(app: Celery) -> str:
    """Raises Unavailable: none answered."""
    answers = app.control.ping(timeout=WORKERS_ANSWER_SECONDS)
    if not answers:
        raise Unavailable("workers", f"none answered within {WORKERS_ANSWER_SECONDS:g} s")
    return f"{len(answers)} answer"


def look_at_upstream(url: str, options: HttpOptions | None = None) -> str:
    """Any HTTP answer means somebody is there; what it answers is the business of the calls themselves.

    A file must be there and readable. An upstream may be left out where another one's file stands for it.
    ``options``: whom to trust, and what to show, over TLS.
    """
    if not url:
        return "left out"
    if not url.startswith("http"):
        with Path(unquote(urlsplit(url).path)).open("rb"):
            return url
    import httpx  # noqa: PLC0415 - a command pays for no library it does not use

    from adapters.upstream.http import tls_context  # noqa: PLC0415 - likewise

    status = httpx.get(url, timeout=3, verify=tls_context(url, options or HttpOptions())).status_code
    return f"{without_secret(url)} answers ({status} at /)"


def without_secret(url: str) -> str:
    """The URL without user and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
