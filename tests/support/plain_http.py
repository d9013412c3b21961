"""One HTTP request with the standard library: for what a test itself asks, beside the client it tests."""

import http.client
from urllib.parse import urlsplit


def request(method: str, url: str, body: bytes | None = None, *, timeout: float = 10.0) -> bytes:
    """The body of the answer, which must be a 2xx."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body)
        answer = connection.getresponse()
        content = answer.read()
        assert 200 <= answer.status < 300, (answer.status, content)
        return content
    finally:
        connection.close()
