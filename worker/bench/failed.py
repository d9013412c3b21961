"""The one way in which a benchmark ends without a figure."""


class BenchFailed(RuntimeError):
    """A figure could not be taken; the message says why."""
