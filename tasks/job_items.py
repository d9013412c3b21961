"""Every portfolio of a job, however many, a page in memory at a time."""

from collections.abc import Collection, Iterator

from domain.ids import JobId
from domain.item import Item, ItemState
from tasks.services import Services

_PAGE = 200


def job_items(
    job_id: JobId, services: Services, *, states: Collection[ItemState] = (), cause: str | None = None
) -> Iterator[Item]:
    """With their bodies, in the order of the request; those in any of these states, whose reason begins so.

    The job is looked for and the first page read at once, so that what is wrong is told before an answer begins.

    Raises:
        NotFound: no such job.
        StoreUnavailable: now, or at a later page.
    """
    services.jobs.get_job(job_id)

    def page(after: int) -> list[Item]:
        return list(
            services.jobs.list_items(
                job_id, states=tuple(states), after_seq=after, cause=cause, limit=_PAGE, bodies=True
            )
        )

    def rest(items: list[Item]) -> Iterator[Item]:
        while items:
            yield from items
            items = page(items[-1].seq)

    return rest(page(-1))
