"""Whether a URL says what its writer means: refused in our own words, which hold nothing of it.

A password with a character that means something in a URL moves the limits of its parts. Then a piece of it becomes a port,
a host or a path, and the libraries behind tell of that piece in their errors.
"""

import re
from typing import Final

_WITHOUT_HOST: Final = ("sqlite://", "file:")
_PATHS_OF_SOCKETS: Final = ("unix:///", "redis+socket:///")
_BEGINS_ANOTHER: Final = re.compile(r";(?=[a-z][a-z0-9+.-]*://)")  # a broker may be several URLs
_SERVER: Final = re.compile(
    r"(?:\[[0-9a-fA-F:.]+\]|[^\[\]:@\s]*)(?::\d{0,5})?"
)  # host, [IPv6 address], and a port
# Printable ASCII without what begins or ends a part of a URL; % only as the beginning of an escape.
_USER: Final = re.compile(r"(?:[!$&'()*+=:.\w~-]|%[0-9a-fA-F]{2})*", re.ASCII)
_ESCAPED: Final = (
    "percent-encode user and password: @ is %40, / is %2F, # is %23, ? is %3F, : is %3A, % is %25"
)


def fault_of_url(url: str) -> str | None:
    """What is wrong with how the URL is written, without any part of it; None: nothing."""
    if url.startswith(_WITHOUT_HOST):
        return None
    return next(filter(None, map(_fault, _BEGINS_ANOTHER.split(url))), None)


def _fault(url: str) -> str | None:
    _, separator, rest = url.partition("://")
    if not separator:
        return f"no scheme:// before its user and password; {_ESCAPED}" if "@" in url else None
    if "#" in rest:
        return f"it holds a # that is not escaped; {_ESCAPED}"
    return None if url.startswith(_PATHS_OF_SOCKETS) else _fault_of_parts(rest)


def _fault_of_parts(rest: str) -> str | None:
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    user, _, servers = authority.rpartition("@")
    if "@" in rest[len(authority) :]:
        return f"it holds a / or ? before an @, or an @ too many; {_ESCAPED}"
    if not _USER.fullmatch(user):
        return f"its user or password holds a character that is not escaped; {_ESCAPED}"
    if not all(map(_SERVER.fullmatch, servers.split(","))):
        return f"what should be host and port is none; {_ESCAPED}"
    return None
