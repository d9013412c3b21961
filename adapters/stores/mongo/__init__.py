"""The store on MongoDB 6 or later, a replica set."""

from adapters.stores.mongo.connection import Mongo
from adapters.stores.mongo.items import MongoItems
from adapters.stores.mongo.jobs import MongoJobs
from adapters.stores.mongo.models import MongoModels


class MongoStore(MongoModels, MongoJobs, MongoItems):
    """Models, jobs and items in one database. Safe for many threads and processes, and across a fork."""

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        """Nothing is opened before the first use.

        Args:
            url: ``mongodb://`` or ``mongodb+srv://``; the database is its path, ``trimtab`` where it has none.
            timeout_seconds: the limit of one call with all of its retries. A failover takes about ten seconds.
        """
        self._mongo = Mongo(url, timeout_seconds=timeout_seconds)

    def close(self) -> None:
        """Close this process's client. A later call opens another."""
        self._mongo.close()


__all__ = ["MongoStore"]
