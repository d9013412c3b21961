"""The licences of what is shipped: each library of the runtime lock must state one of a list."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

# Permissive ones. MPL-2.0 binds files of its own alone, which we do not change.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Zlib",
    }
)
# As classifiers and older metadata write them.
_OTHER_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+?)(?: ?; ?(?P<marker>.+?))? \\$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One library of a lock file. ``marker``: it is wanted on some machines only."""

    name: str
    version: str
    marker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What an installed library says of its licence: an SPDX expression, classifiers, or a line of text."""

    expression: str | None
    classifiers: tuple[str, ...]
    text: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Every licence it names. An OR counts as an AND: then nobody has to know which was chosen."""
        if self.expression is not None:
            return tuple(re.split(r" (?:AND|OR) ", self.expression.replace("(", "").replace(")", "")))
        if self.classifiers:
            return tuple(_OTHER_NAMES.get(name, name) for name in self.classifiers)
        first = (self.text or "").strip().partition("\n")[0]
        return (_OTHER_NAMES.get(first, first),) if first else ()


def pins(lock: str) -> Iterator[Pin]:
    for match in _PIN.finditer(lock):
        yield Pin(name=match["name"], version=match["version"], marker=match["marker"])


def stated(name: str) -> Stated | None:
    """None: it is not installed here."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        return None

    def first(field: str) -> str | None:
        return next(iter(metadata.get_all(field) or ()), None)

    return Stated(
        expression=first("License-Expression"),
        classifiers=tuple(
            line.rpartition(" :: ")[2]
            for line in metadata.get_all("Classifier") or ()
            if line.startswith("License :: ")
        ),
        text=first("License"),
    )


def faults(lock: str, look: Callable[[str], Stated | None] = stated) -> Mapping[str, str]:
    """What is wrong, by library: nothing stated, something that is not on the list, or not installed."""
    found = {}
    for pin in pins(lock):
        licence = look(pin.name)
        if licence is None:
            if pin.marker is None:
                found[pin.name] = "not installed, so nobody can tell"
        elif not licence.names:
            found[pin.name] = "states no licence"
        elif strange := [name for name in licence.names if name not in ALLOWED]:
            found[pin.name] = f"{', '.join(strange)} is not on the list"
    return found
