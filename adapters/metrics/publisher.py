"""A publisher whose publications are timed and counted."""

from time import perf_counter

from adapters.metrics.meter import PrometheusMeter
from domain.errors import BrokerUnavailable
from domain.ports import OrderSetPublisher, Publication


class MeteredPublisher:
    """`OrderSetPublisher` in front of another one."""

    def __init__(self, publisher: OrderSetPublisher, meter: PrometheusMeter) -> None:
        self._publisher = publisher
        self._meter = meter

    def publish(self, *publications: Publication) -> None:
        begun = perf_counter()
        try:
            self._publisher.publish(*publications)
        except BrokerUnavailable:
            self._meter.not_published()
            raise
        self._meter.published(len(publications), perf_counter() - begun)

    def identity(self) -> str | None:
        return self._publisher.identity()

    def ping(self) -> None:
        self._publisher.ping()
