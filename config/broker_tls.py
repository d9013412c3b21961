"""TLS to a broker by its URL, always verified.

kombu reads ``rediss://`` without further words as "verify nothing", and takes none of what it needs for ``amqps://``
from the URL. Here both mean what they mean elsewhere: the certificate must be one that a known authority signed for that
host. ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` in the query name files; ``ssl_cert_reqs=none`` has to be said.
"""

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_OF_AMQP = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}


def broker_tls(url: str) -> tuple[str, dict[str, Any] | None]:
    """The URL as kombu is to have it, and what else it is to be told of TLS (None: nothing)."""
    scheme = urlsplit(url).scheme.removeprefix("kombu+")
    if scheme == "rediss":
        return _verified_redis(url), None
    return _amqps(url) if scheme == "amqps" else (url, None)


def _verified_redis(url: str) -> str:
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode({"ssl_cert_reqs": "required", **asked})))


def _amqps(url: str) -> tuple[str, dict[str, Any]]:
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    files = {name: asked.pop(word) for word, name in _OF_AMQP.items() if word in asked}
    unverified = asked.pop("ssl_cert_reqs", "required") == "none"
    tls = {
        **files,
        "cert_reqs": ssl.CERT_NONE if unverified else ssl.CERT_REQUIRED,
        "server_hostname": parts.hostname,
    }
    return urlunsplit(parts._replace(query=urlencode(asked))), tls
