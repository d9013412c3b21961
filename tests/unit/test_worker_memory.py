"""What a worker shares with its children."""

import gc

from worker.processes.worker import share_memory


def test_what_is_loaded_before_the_fork_is_kept_from_the_childrens_collectors() -> None:
    before = gc.get_freeze_count()
    try:
        share_memory()

        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
